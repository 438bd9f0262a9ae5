"""The contracts of the four stages: voice activity, speech to text, language model, text to speech.

Owns protocols and the values they exchange. It must not know calls, agents or any implementation.

A stage object serves all calls of a process and belongs to one event loop. Heavy work happens on other
threads or processes, so that no call into a stage holds the loop for more than a few milliseconds. Whatever
fails raises `AgentError`; `retryable` says whether the same request may succeed later. `close()` is
idempotent, releases everything and may be called while requests are in flight, which then fail.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from legato.agents.base import Outcome, Speech, ToolCall

__all__ = [
    "HEARING_RATE",
    "NO_HINTS",
    "USUAL",
    "Delivery",
    "Detection",
    "Hints",
    "Image",
    "LanguageModel",
    "Message",
    "Recogniser",
    "ReplyOptions",
    "SpeechEvent",
    "SpeechToText",
    "SpeechToTextCapabilities",
    "TextToSpeech",
    "TextToSpeechCapabilities",
    "Thought",
    "ToolSchema",
    "VoiceActivity",
    "VoiceDetector",
]

HEARING_RATE = 16_000
"""Samples per second of everything that voice activity and recognition hear: mono s16le."""


@dataclass(frozen=True, slots=True)
class Detection:
    """When sound counts as speech: at a probability of `threshold` (0 to 1) and above for at least
    `min_speech_ms`, until `silence_ms` without. `prefix_ms` before the voice belong to the speech."""

    threshold: float = 0.5
    min_speech_ms: int = 96
    silence_ms: int = 500
    prefix_ms: int = 300


class SpeechEvent(NamedTuple):
    """Speech began or ended at `position`: samples at `HEARING_RATE` since the detector was opened.

    "started" names the first sample worth recognising (padding before the voice included); "stopped" the
    first sample after the voice, which lies before the moment of the event by the silence that proved it.
    """

    kind: Literal["started", "stopped"]
    position: int


class VoiceDetector(Protocol):
    """Finds speech in one caller's audio. Synchronous; not shared between calls."""

    @property
    def speaking(self) -> bool:
        """True between "started" and "stopped"."""

    @property
    def position(self) -> int:
        """Samples judged so far; what was fed beyond the last whole window is still waiting."""

    def adjust(self, detection: Detection) -> None:
        """Judge by `detection` from here on; what was found before stands."""

    def feed(self, pcm: bytes) -> list[SpeechEvent]:
        """Judge more audio of any length; returns what was found, in order. "started" and "stopped"
        alternate. "stopped" comes with the audio that completes the silence, or a window later if that was
        in doubt. Takes a fraction of a millisecond for every 32 ms of audio and may run in a worker
        thread."""

    def skip(self, samples: int) -> list[SpeechEvent]:
        """Audio is missing here: advance the position without judging it. Speech is not ended by it."""


@runtime_checkable
class VoiceActivity(Protocol):
    """Tells speech from everything else."""

    def open(self, detection: Detection) -> VoiceDetector:
        """A detector for one caller, at position 0, with state of its own."""

    async def close(self) -> None:
        """Release the model."""


@dataclass(frozen=True, slots=True)
class SpeechToTextCapabilities:
    """`partials`: hypotheses arrive while the person speaks. `simultaneous`: how many recognisers work at
    once; further ones wait their turn; None: no bound of its own."""

    partials: bool
    simultaneous: int | None = None


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of speech before it is heard: its `language` (ISO 639-1), "" if that is not said, and a
    `prompt` with words that are likely. A stage that cannot make use of a prompt ignores it; one that does
    not understand the language says so."""

    language: str = ""
    prompt: str = ""


NO_HINTS = Hints()


class Recogniser(Protocol):
    """Turns one stretch of speech into text. `feed` calls, then one `finish`, then `close`; one task at a
    time."""

    async def feed(self, pcm: bytes) -> str | None:
        """Hear more audio (mono s16le at `HEARING_RATE`, any length). Returns the whole hypothesis so far if
        it changed, else None. May wait for a free recogniser. After a cancelled `feed` only `close` is
        allowed."""

    async def finish(self) -> str:
        """The final text; "" if there were no words."""

    async def close(self) -> None:
        """Give everything back. Idempotent, allowed at any time, never raises."""


@runtime_checkable
class SpeechToText(Protocol):
    """Recognises speech."""

    @property
    def capabilities(self) -> SpeechToTextCapabilities:
        """What it can do; constant."""

    def open(self, caller: str = "", hints: Hints = NO_HINTS) -> Recogniser:
        """A recogniser for one stretch of speech; takes nothing from the pool before it is fed. What is
        learnt about a voice may help with later speech of the same `caller` (an opaque name)."""

    async def warm(self) -> None:
        """Get ready, so that the first speech does not wait for what is loaded only once. Raises nothing:
        what cannot be got ready fails when it is needed."""

    async def close(self) -> None:
        """Release every model; open recognisers fail."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: a `data:` URL, or one that the endpoint can fetch. `detail` is how closely to look."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation. `images` only on a user's, `tool_calls` only on an assistant's,
    `tool_call_id` only on a tool's answer."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    images: tuple[Image, ...] = ()


class ToolSchema(Protocol):
    """A tool as a model knows it: `parameters` is the JSON schema of its arguments. Who runs it is no
    business of the model."""

    @property
    def name(self) -> str:
        """Unique among the tools of one request."""

    @property
    def description(self) -> str:
        """What it does, and when to use it."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The schema."""


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """How to answer. `tool_choice`: whether tools may or must be used; `tool_name`: exactly this one must, if
    it is not "". `max_tokens`: where the answer is cut short; None: nowhere. `parallel_tool_calls`: whether
    several at once are allowed; None: as the model likes. `effort`: how much to reason, in the endpoint's own
    words; "": as the model likes."""

    tool_choice: Literal["auto", "none", "required"] = "auto"
    tool_name: str = ""
    max_tokens: int | None = None
    parallel_tool_calls: bool | None = None
    effort: str = ""


Thought: TypeAlias = str | ToolCall | Outcome
"""A piece of a language model's answer: some text, a tool it wants to use, or at the end how it ended."""


@runtime_checkable
class LanguageModel(Protocol):
    """Writes the answer."""

    def reply(
        self, messages: Sequence[Message], tools: Iterable[ToolSchema], options: ReplyOptions
    ) -> AsyncGenerator[Thought, None]:
        """The answer to `messages`, as it is written: pieces of text of any size, which join to the whole,
        and tool calls, one after the other. The arguments of a call may come in pieces: `ToolCall`s in a row
        with one `id`, whose arguments join to the whole. At most one `Outcome`, and nothing behind it: a
        model that knows no usage and was not cut short may omit it.

        Nothing is asked of the model before the first `__anext__`; ending the iteration early (`aclose`)
        stops the work. Raises `AgentError`, also after the first pieces."""

    async def close(self) -> None:
        """Release connections and models."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How to speak: `voice` by its name, "" for the stage's own; `speed` as a multiple of its usual one. A
    stage that has no such voice uses its own."""

    voice: str = ""
    speed: float = 1.0


USUAL = Delivery()
"""As the stage speaks when nothing is asked of it."""


@dataclass(frozen=True, slots=True)
class TextToSpeechCapabilities:
    """`voices`: names that can be chosen, empty if unknown. `streams`: sound arrives before the whole is
    made."""

    voices: Sequence[str] = ()
    streams: bool = False


@runtime_checkable
class TextToSpeech(Protocol):
    """Speaks text."""

    @property
    def capabilities(self) -> TextToSpeechCapabilities:
        """What it can do; constant."""

    def speak(self, text: str, delivery: Delivery = USUAL) -> AsyncGenerator[Speech, None]:
        """`text` as speech: pieces in order, all of one rate; the first carries `text`. Text without
        anything to pronounce gives no piece. May be called for several texts at once. Nothing is made before
        the first `__anext__`; ending early (`aclose`) stops the work. Raises `AgentError`, also after the
        first pieces."""

    async def close(self) -> None:
        """Release connections, processes and models."""
