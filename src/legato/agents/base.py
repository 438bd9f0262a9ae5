"""The contract between a call and the agent that answers it.

Owns the words both sides share: `Agent`, `Call`, `Utterance`, `Speech`, tools. It must not know any agent,
any transport or the server; the server implements `Call` and `Utterance`, agents only use them.

Everything here belongs to one event loop: no method may be called from another thread.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.errors import AgentError

if TYPE_CHECKING:
    from legato.agents.stages.base import TextToSpeech
    from legato.core.dialects.realtime.dialogue import DialogueEvent
    from legato.core.dialects.realtime.items import Item
    from legato.core.dialects.realtime.response import Response, ResponseRequest, Trigger
    from legato.core.dialects.realtime.session_settings import SessionSettings
    from legato.core.dialects.realtime.usage import Usage

__all__ = [
    "Agent",
    "Call",
    "CallDialogue",
    "Content",
    "Outcome",
    "ResponseContent",
    "Speech",
    "Tool",
    "ToolCall",
    "ToolSet",
    "Utterance",
]


@dataclass(frozen=True, slots=True)
class Speech:
    """A piece of speech that is already audio.

    `pcm` is mono s16le at `rate` samples per second and holds whole samples; it may be empty. `text` is the
    text whose sound *begins* in this piece: a sentence that arrives in several pieces carries its text on the
    first one and "" on the others. What the caller heard is worked out from it, so an omitted text is never
    counted as heard.
    """

    pcm: bytes
    rate: int
    text: str = ""

    @property
    def samples(self) -> int:
        """Length in samples at `rate`."""
        return len(self.pcm) // 2


Content: TypeAlias = (
    str
    | AsyncIterable[str]
    | AsyncIterable[Speech]
    | AsyncIterable[AudioFrame | AudioGap]
    | AsyncIterable[AudioFrame]
)
"""What can be said: text, text that is still being written, speech, or encoded audio in the call's output
format."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A wish of a language model: run the tool `name` with `arguments` (the text of a JSON object).

    As content of a response the arguments may come in several pieces in a row that bear the same `id`.
    """

    id: str
    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a response ended, as its last piece of content: cut short for a `reason`, or complete; and what it
    took."""

    status: Literal["completed", "incomplete"] = "completed"
    reason: Literal["max_output_tokens", "content_filter"] | None = None
    usage: Usage | None = None


ResponseContent: TypeAlias = AsyncIterable[Speech | str | ToolCall | Outcome]
"""What a response consists of: `Speech` if it is to be heard, text (`str`) if it is to be read, calls of the
caller's tools, and at the end an `Outcome` if there is more to say than that it is complete."""


@runtime_checkable
class Utterance(Protocol):
    """One thing the agent says, from `Call.say` until the caller has heard it or never will.

    All attributes may be read at any time and keep their last value once `finished` has settled.
    """

    @property
    def id(self) -> str:
        """Name of the conversation item, unique within the call."""

    @property
    def text(self) -> str:
        """The text given so far (it grows while the content is being written); "" for encoded audio."""

    @property
    def heard_ms(self) -> int:
        """Milliseconds that the caller's player reported as played; never decreases."""

    @property
    def heard_text(self) -> str:
        """The beginning of `text` that was heard, cut at a word: exact at the ends of `Speech` pieces that
        carry a text, estimated by proportion inside one."""

    @property
    def interrupted(self) -> bool:
        """True if anything of it was, or will be, left unheard: interrupted, cancelled, failed, or the call
        over."""

    @property
    def error(self) -> AgentError | None:
        """Why the content broke off, if it raised; what had been made before it is still delivered."""

    @property
    def finished(self) -> Awaitable[None]:
        """Settles once: played to the end, flushed, or the call over. Never raises, may be awaited by several
        tasks and again later; cancelling the awaiting task does not stop the utterance."""

    def cancel(self) -> None:
        """Stop this utterance: what is unplayed is flushed at the caller. Idempotent, never raises.
        Utterances queued behind it are still said."""


class CallDialogue(Protocol):
    """The conversation of a call in the OpenAI Realtime API's terms, for an agent that takes requests.

    Positions are samples of the input format since the call began. Each method tells the caller what follows
    from it, in the events of that API; see `legato.core.dialects.realtime`.
    """

    @property
    def settings(self) -> SessionSettings:
        """The session's settings as they are now; `SettingsChanged` is the request that follows a change."""

    def context(self, request: ResponseRequest) -> list[Item]:
        """What a model is to see for `request`, in order: of what was spoken, only what was heard."""

    def speech_started(self, position: int) -> str:
        """A person began to speak; returns the item that the speech will become. Interrupts what is being
        said unless the session says otherwise."""

    def speech_stopped(self, position: int) -> None:
        """They stopped: the speech becomes an item (`SpeechCommitted`, then `TurnEnded` if it is to be
        answered)."""

    def transcript_delta(self, item_id: str, text: str) -> None:
        """These words were recognised, behind those told before."""

    def transcript_done(self, item_id: str, text: str, seconds: float) -> None:
        """The final words of an item with `seconds` of audio; "" if there were none."""

    def transcript_failed(self, item_id: str, message: str) -> None:
        """Recognition failed."""

    def begin_response(self, trigger: Trigger = "turn") -> Response | None:
        """Begin a response that no client asked for; None while another one is being made."""


@runtime_checkable
class Call(Protocol):
    """One caller, as an agent sees them.

    The server runs the agent as one task. When the agent returns, the call is closed with NO_ERROR, after
    what it said has been played; when it raises, with AGENT_ERROR. When the call ends first, `audio` and
    `events` stop, every utterance settles, and the task is cancelled if it has not returned by itself soon
    after.
    """

    voice: TextToSpeech | None
    """Speaks the text given to `say`. An agent sets it once, before it first says text; the agent closes
    it."""

    @property
    def id(self) -> str:
        """Opaque, unique, safe to log."""

    @property
    def rebuilt(self) -> bool:
        """Whether the call began on another server, whose agent is gone: the conversation so far is in
        `dialogue`, and `audio` goes on behind what that agent has understood."""

    @property
    def input_format(self) -> AudioFormat:
        """Format of the payloads in `audio`; fixed for the call."""

    @property
    def output_format(self) -> AudioFormat:
        """Format in which the caller is answered; fixed for the call. Encoded audio given to `say` must be
        in it."""

    @property
    def audio(self) -> AsyncIterator[AudioFrame | AudioGap]:
        """What the caller says: frames in order of `offset` (in samples), each starting where the one before
        ended, or after an `AudioGap` that names exactly the samples that are lost. Payloads are still encoded
        (decode with `legato.audio`); `captured_us` is the caller's clock.

        One iterator for the whole call: every access returns the same one, only one task may read it, and
        cancelling that task's `__anext__` loses no frame. Frames may come faster than real time. It ends when
        the call does. Audio that is not read is bounded by the call's limits, then by flow control.
        """

    @property
    def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the caller sends beside audio and is not legato's own business, in order; same rules as
        `audio`. Unread events beyond the server's bound are dropped, oldest first."""

    @property
    def dialogue(self) -> CallDialogue:
        """The conversation, its items and settings."""

    @property
    def requests(self) -> AsyncIterator[DialogueEvent]:
        """What the conversation asks of the agent, in order; same rules as `audio`. Only an agent with an
        attribute `takes_requests` that is true is asked: it answers each `ResponseWanted` with `respond`.
        Other agents say what they like when they like, and find the caller's wishes in `events`."""

    @property
    def tools(self) -> ToolSet:
        """What the agent may do for this caller, beyond what it can do by itself."""

    def say(self, content: Content) -> Utterance:
        """Say `content` after everything said before it; returns at once.

        Text is cut into sentences and spoken by `voice`, the first before the last is written. `Speech` is
        converted to the call's output format. `AudioFrame`s pass through untouched, payload by payload; an
        `AudioGap` among them is left out. The content is read ahead of playback as far as credit allows; it
        is closed (`aclose`) when the utterance ends early. Content that raises settles the utterance with
        `error`; exceptions that are no `AgentError` are wrapped into one.

        The call itself sends the events that describe the answer (`response.created`,
        `response.output_audio_transcript.delta`, `response.done`, ...).

        Raises `AgentError` if it is text and `voice` is None. On a call that is over, the utterance returned
        is settled already.
        """

    def respond(self, response: Response, content: ResponseContent) -> Utterance:
        """Give `response` its content, after everything said before it; returns at once.

        Speech is sent and followed like that of `say`, text and tool calls as they come. What is not heard
        settles at once. Responses out of band (`conversation` "none") do not wait for others.
        """

    def interrupt(self) -> None:
        """Fall silent: flush everything that is being said or queued; each utterance settles as interrupted.
        Idempotent, returns at once, never raises. `heard_ms` becomes final when `finished` settles."""

    def send(self, event: dict[str, Any]) -> None:
        """Send the caller one event (a JSON object with a "type"), in order. Never waits; ignored once the
        call is over."""


Agent: TypeAlias = Callable[[Call], Awaitable[None]]
"""Answers one call; called once for each. It must let cancellation through and leave no task behind."""


@dataclass(frozen=True, slots=True)
class Tool:
    """Something an agent can do. `parameters` is the JSON schema of the object that `run` receives; `run`
    answers with text for the language model and raises `AgentError` if it cannot."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: Callable[[Mapping[str, Any]], Awaitable[str]]


class ToolSet:
    """An immutable set of tools, by name; of two with one name the later wins."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools = {tool.name: tool for tool in tools}

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def joined_with(self, tools: Iterable[Tool]) -> ToolSet:
        """A set that holds these tools and `tools`."""
        return ToolSet([*self, *tools])

    async def run(self, call: ToolCall) -> str:
        """Run one tool. Raises `AgentError` if it is unknown, its arguments are no JSON object, or it
        fails."""
        tool = self._tools.get(call.name)
        if tool is None:
            raise AgentError(f"no tool is called {call.name!r}", retryable=False)
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError as error:
            raise AgentError(f"arguments of {call.name!r} are not JSON: {error}", retryable=False) from error
        if not isinstance(arguments, dict):
            raise AgentError(f"arguments of {call.name!r} are not a JSON object", retryable=False)
        try:
            return await tool.run(arguments)
        except AgentError:
            raise
        except Exception as error:
            raise AgentError(f"tool {call.name!r} failed: {error}", retryable=False) from error
