"""Listens to one caller: from coded audio to what was said, recognised while it is being said.

Owns decoding, the cut between speech and silence, and feeding recognisers. It must not know what is answered.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeAlias

from legato.agents.base import Call
from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import HEARING_RATE, Detection, SpeechToText, VoiceActivity
from legato.audio.convert import IncomingAudio
from legato.core.audio import AudioFrame, AudioGap
from legato.core.errors import AgentError

__all__ = ["Heard", "Listener", "PartlyRecognised", "Recognised", "SpeechStarted", "SpeechStopped"]

_PER_MS = HEARING_RATE // 1000
_BYTES_PER_MS = 2 * _PER_MS
_TAIL_MS = 160
"""Silence behind speech that is recognised with it, so that the last sound is whole."""
_INLINE_BYTES = 96 * _BYTES_PER_MS
"""Audio judged on the event loop at once (about a millisecond of work); more goes to a thread."""
_LONGEST_SILENCE_MS = 1_000
"""How much of a gap is heard as silence; the rest is skipped."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """A person began to speak `at_ms` into the call; the words will belong to `item`."""

    item: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """They stopped; what they said is still being recognised."""

    item: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class PartlyRecognised:
    """The whole hypothesis so far."""

    item: str
    text: str


@dataclass(frozen=True, slots=True)
class Recognised:
    """The final text, "" if there were no words; `error` if recognition failed."""

    item: str
    text: str
    error: AgentError | None = None


Heard: TypeAlias = SpeechStarted | SpeechStopped | PartlyRecognised | Recognised


class _Stretch:
    """One stretch of speech on its way to a recogniser, which may be slower than the speech."""

    def __init__(self, item: str, fed_to: int) -> None:
        self.item = item
        self.fed_to = fed_to
        self.began = fed_to
        self._waiting = bytearray()
        self._ended = False
        self._news = asyncio.Event()

    def feed(self, pcm: bytes) -> None:
        self._waiting += pcm
        self.fed_to += len(pcm) // 2
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def take(self) -> bytes:
        """Everything that waits; b"" at the end."""
        while not self._waiting and not self._ended:
            self._news.clear()
            await self._news.wait()
        pcm = bytes(self._waiting)
        self._waiting.clear()
        return pcm


class Listener:
    """Reads `call.audio` to its end and tells `on_heard` what it finds, in order for each item."""

    def __init__(
        self,
        call: Call,
        hearing: tuple[VoiceActivity, SpeechToText],
        settings: AssistantSettings,
        on_heard: Callable[[Heard], None],
        executor: Executor | None = None,
    ) -> None:
        activity, self._recognition = hearing
        self._call = call
        self._detector = activity.open(
            Detection(settings.vad_threshold, settings.min_speech_ms, settings.silence_ms, settings.prefix_ms)
        )
        self._tell = on_heard
        self._executor = executor
        self._incoming = IncomingAudio(call.input_format, HEARING_RATE)
        self._kept = bytearray()
        self._kept_from = 0  # position of the first kept sample
        self._keep_ms = settings.prefix_ms + settings.min_speech_ms + 100
        self._most = settings.max_speech_ms * _PER_MS
        self._stretch: _Stretch | None = None
        self._stretches = 0
        self._recognising: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listen until the call's audio ends; speech that is cut off by the end is not recognised any
        more."""
        try:
            async for item in self._call.audio:
                if isinstance(item, AudioGap):
                    await self._miss(item)
                else:
                    await self._hear(self._decoded(item))
                await asyncio.sleep(0)  # a burst of frames must not keep other calls waiting
        finally:
            unfinished = list(self._recognising)
            for task in unfinished:
                task.cancel()
            if unfinished:
                await asyncio.wait(unfinished)

    def _decoded(self, frame: AudioFrame) -> bytes:
        try:
            return self._incoming.take(frame)
        except ValueError:  # not audio of the format: its time passes in silence
            return self._incoming.take(AudioGap(frame.offset, frame.offset + _samples(frame)))

    async def _miss(self, gap: AudioGap) -> None:
        rate = self._call.input_format.rate
        heard = min(gap.samples, rate * _LONGEST_SILENCE_MS // 1000)
        await self._hear(self._incoming.take(AudioGap(gap.start, gap.start + heard)))
        if gap.samples > heard:
            skipped = (gap.samples - heard) * HEARING_RATE // rate
            self._detector.skip(skipped)
            self._kept.clear()
            self._kept_from = self._detector.position
            if self._stretch is not None:
                self._stretch.fed_to = self._kept_from

    async def _hear(self, pcm: bytes) -> None:
        if not pcm:
            return
        self._kept += pcm
        if len(pcm) <= _INLINE_BYTES:
            events = self._detector.feed(pcm)
        else:
            loop = asyncio.get_running_loop()
            events = await loop.run_in_executor(self._executor, self._detector.feed, pcm)
        for event in events:
            if event.kind == "started":
                self._begin(event.position)
            else:
                self._end(event.position)
        end = self._kept_from + len(self._kept) // 2
        if self._stretch is not None:
            self._feed(self._stretch, end)
            if self._stretch.fed_to - self._stretch.began > self._most:
                self._end(end)
                self._begin(end)
        self._forget(end)

    def _begin(self, position: int) -> None:
        self._stretches += 1
        stretch = _Stretch(f"{self._call.id}-heard-{self._stretches}", max(position, self._kept_from))
        self._stretch = stretch
        task = asyncio.create_task(self._recognise(stretch))
        self._recognising.add(task)
        task.add_done_callback(self._recognising.discard)
        self._tell(SpeechStarted(stretch.item, position // _PER_MS))

    def _end(self, position: int) -> None:
        stretch, self._stretch = self._stretch, None
        if stretch is not None:
            self._feed(stretch, position + _TAIL_MS * _PER_MS)
            stretch.end()
            self._tell(SpeechStopped(stretch.item, position // _PER_MS))

    def _feed(self, stretch: _Stretch, until: int) -> None:
        start, stop = stretch.fed_to - self._kept_from, until - self._kept_from
        if pcm := bytes(self._kept[2 * max(start, 0) : 2 * max(stop, 0)]):
            stretch.feed(pcm)

    def _forget(self, end: int) -> None:
        needed = self._detector.position - self._keep_ms * _PER_MS
        drop = min(needed, end) - self._kept_from
        if drop > _PER_MS * 100:
            del self._kept[: 2 * drop]
            self._kept_from += drop

    async def _recognise(self, stretch: _Stretch) -> None:
        recogniser = self._recognition.open(self._call.id)
        try:
            while pcm := await stretch.take():
                partial = await recogniser.feed(pcm)
                if partial:
                    self._tell(PartlyRecognised(stretch.item, partial))
            self._tell(Recognised(stretch.item, await recogniser.finish()))
        except AgentError as error:
            self._tell(Recognised(stretch.item, "", error))
        finally:
            await recogniser.close()


def _samples(frame: AudioFrame) -> int:
    try:
        return frame.samples
    except ValueError:
        return 0
