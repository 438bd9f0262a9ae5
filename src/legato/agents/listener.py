"""Listens to one caller: from coded audio to what was said, recognised while it is being said.

Owns decoding, the cut between speech and silence, and feeding recognisers. It must not know items, responses
or what is answered.

When speech ends is up to the session: after a fixed silence (`server_vad`), when the words sound complete
(`semantic_vad`), or when the client says so (no turn detection); then silence still separates stretches, so
that they are recognised while the person goes on.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from legato.agents.base import Call
from legato.agents.completeness import SETTLED_MS, waiting_ms
from legato.agents.recognising import as_agent_error, hints_of
from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import (
    HEARING_RATE,
    Detection,
    SpeechEvent,
    SpeechToText,
    VoiceActivity,
)
from legato.agents.stretch import Stretch
from legato.audio.convert import IncomingAudio
from legato.audio.resample import Resampler
from legato.core.audio import AudioFrame, AudioGap
from legato.core.dialects.realtime.turn_detection import SemanticVad, ServerVad, TurnDetection
from legato.core.errors import AgentError

__all__ = [
    "Dropped",
    "Heard",
    "Listener",
    "PartlyRecognised",
    "Reached",
    "Recognised",
    "SpeechStarted",
    "SpeechStopped",
]

_PER_MS = HEARING_RATE // 1000
_BYTES_PER_MS = 2 * _PER_MS
_TAIL_MS = 160
"""Silence behind speech that is recognised with it, so that the last sound is whole."""
_INLINE_BYTES = 96 * _BYTES_PER_MS
"""Audio judged on the event loop at once (about a millisecond of work); more goes to a thread."""
_SLICE = HEARING_RATE
"""Samples decoded and judged in one go: a second."""
_MOST_AT_ONCE = 8
"""Stretches that wait to be understood before no more audio is read: a caller who sends speech faster than it
can be recognised has to wait, and does not fill the memory."""
_LONGEST_SILENCE_MS = 1_000
"""How much of a gap is heard as silence; the rest is skipped."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """A person began to speak at `position` (samples of the input format since the call began); the words
    will belong to `stretch`."""

    stretch: int
    position: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """They stopped: `position` is where that became certain, behind the silence that proved it. What they
    said is still being recognised."""

    stretch: int
    position: int


@dataclass(frozen=True, slots=True)
class PartlyRecognised:
    """The whole hypothesis so far."""

    stretch: int
    text: str


@dataclass(frozen=True, slots=True)
class Recognised:
    """The final text, "" if there were no words; `error` if recognition failed."""

    stretch: int
    text: str
    seconds: float
    error: AgentError | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """Nobody wants to know what was said in this stretch; nothing follows about it."""

    stretch: int


@dataclass(frozen=True, slots=True)
class Reached:
    """The audio has come to where the client cut it: stretches told from here on lie behind `position`."""

    position: int


Heard: TypeAlias = SpeechStarted | SpeechStopped | PartlyRecognised | Recognised | Dropped | Reached


class Listener:
    """Reads `call.audio` to its end and tells `on_heard` what it finds, in order for each stretch."""

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
        self._settings = settings
        self._turns: TurnDetection | None = call.dialogue.settings.turn_detection
        self._lag_ms = 0  # by which audio comes out of the resampler later than it went in
        self._detection = self._detection_for(self._turns)
        self._detector = activity.open(self._detection)
        self._tell = on_heard
        self._executor = executor
        self._incoming: IncomingAudio | None = None
        self._consumed = 0  # samples of the input format
        self._kept = bytearray()
        self._kept_from = 0  # position of the first kept sample
        self._most = settings.max_speech_ms * _PER_MS
        self._stretch: Stretch | None = None
        self._pause = -1  # where the silence began that may end speech, if the words agree
        self._stretches = 0
        self._cuts: deque[tuple[int, bool]] = deque()  # positions of the input format, and whether to forget
        self._recognising: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Listen until the call's audio ends; speech that is cut off by the end is not recognised any
        more."""
        try:
            async for item in self._call.audio:
                if self._incoming is None:
                    self._incoming = self._opened()
                if isinstance(item, AudioGap):
                    await self._miss(self._incoming, item)
                else:
                    await self._take(self._incoming, item)
                self._consumed += item.samples
                self._cut()
                await asyncio.sleep(0)  # a burst of frames must not keep other calls waiting
                while len(self._recognising) > _MOST_AT_ONCE:
                    await asyncio.wait(self._recognising.values(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            unfinished = list(self._recognising.values())
            for task in unfinished:
                task.cancel()
            if unfinished:
                await asyncio.wait(unfinished)

    def _opened(self) -> IncomingAudio:
        """What decodes the call's audio, whose format is fixed with the first of it.

        Speech must not be heard to end a frame late because its last sample is still in the resampler.
        """
        form = self._call.input_format
        self._lag_ms = _lag_ms(form.rate)
        self._follow_rules()
        return IncomingAudio(form, HEARING_RATE)

    def adjust(self, turns: TurnDetection | None) -> None:
        """End speech by these rules from here on."""
        if turns != self._turns:
            self._turns = turns
            self._follow_rules()
            self._consider_pause()

    def cut(self, position: int, forget: bool = False) -> None:
        """The client ends what was said at `position` of the input; with `forget` nobody wants to know it.
        Takes effect when the audio has come that far."""
        self._cuts.append((position, forget))
        self._cut()

    def _follow_rules(self) -> None:
        self._detection = self._detection_for(self._turns)
        self._detector.adjust(self._detection)

    def _detection_for(self, turns: TurnDetection | None) -> Detection:
        settings = self._settings
        threshold, prefix = settings.vad_threshold, settings.prefix_ms
        if isinstance(turns, ServerVad):
            threshold, prefix = turns.threshold, turns.prefix_padding_ms
        silence = max(0, self._silence_ms(turns) - self._lag_ms)
        return Detection(threshold, settings.min_speech_ms, silence, prefix)

    def _silence_ms(self, turns: TurnDetection | None) -> int:
        """The silence that separates stretches."""
        if isinstance(turns, ServerVad):
            return turns.silence_duration_ms
        return SETTLED_MS if isinstance(turns, SemanticVad) else self._settings.silence_ms

    @property
    def _end_position(self) -> int:
        return self._kept_from + len(self._kept) // 2

    def _input_position(self, position: int) -> int:
        return position * self._call.input_format.rate // HEARING_RATE

    async def _take(self, incoming: IncomingAudio, frame: AudioFrame) -> None:
        if frame.samples * HEARING_RATE <= self._call.input_format.rate * _SLICE:
            await self._hear(_decoded(incoming, frame))
            return
        # A client may send minutes at once: then the work is done in slices, and not on the event loop.
        loop = asyncio.get_running_loop()
        pcm = await loop.run_in_executor(self._executor, _decoded, incoming, frame)
        for start in range(0, len(pcm), 2 * _SLICE):
            await self._hear(pcm[start : start + 2 * _SLICE])

    async def _miss(self, incoming: IncomingAudio, gap: AudioGap) -> None:
        rate = self._call.input_format.rate
        heard = min(gap.samples, rate * _LONGEST_SILENCE_MS // 1000)
        await self._hear(incoming.take(AudioGap(gap.start, gap.start + heard)))
        if gap.samples > heard:
            skipped = (gap.samples - heard) * HEARING_RATE // rate
            self._detector.skip(skipped)
            self._kept.clear()
            self._kept_from = self._detector.position
            if self._stretch is not None:
                self._stretch.skip(self._kept_from)
            self._consider_pause()

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
            self._follow(event)
        end = self._end_position
        if self._stretch is not None:
            self._feed(self._stretch, end)
            if self._stretch.fed_to - self._stretch.began > self._most:
                goes_on = self._goes_on
                self._end(end, end)
                if goes_on:
                    self._begin(end)
        self._consider_pause()
        self._forget(end)

    def _follow(self, event: SpeechEvent) -> None:
        if event.kind == "started":
            if self._stretch is None:
                self._begin(event.position)
            self._pause = -1  # otherwise they only paused
        elif isinstance(self._turns, SemanticVad):
            self._pause = event.position
        else:
            self._end(event.position + _TAIL_MS * _PER_MS, event.position + self._silence)

    @property
    def _goes_on(self) -> bool:
        """Whether there is speech right now: what begins in a pause would have no end."""
        return self._detector.speaking and self._pause < 0

    @property
    def _silence(self) -> int:
        return self._silence_ms(self._turns) * _PER_MS

    def _consider_pause(self) -> None:
        """End speech if the silence so far is long enough for what was said."""
        stretch = self._stretch
        if stretch is None or self._pause < 0:
            return
        if isinstance(self._turns, SemanticVad):
            longest = self._turns.max_wait_ms
            understood = stretch.heard_to >= self._pause or not self._recognition.capabilities.partials
            wait = (waiting_ms(stretch.words, longest) if understood else longest) * _PER_MS
        else:  # the rules have changed in the pause
            wait = self._silence
        so_far = max(self._end_position, self._detector.position) + self._lag_ms * _PER_MS - self._pause
        if so_far >= wait:
            self._end(self._pause + _TAIL_MS * _PER_MS, self._pause + wait)

    def _begin(self, position: int) -> None:
        self._stretches += 1
        stretch = self._stretch = Stretch(self._stretches, max(position, self._kept_from))
        task = asyncio.create_task(self._recognise(stretch))
        self._recognising[stretch.number] = task
        task.add_done_callback(lambda _: self._recognising.pop(stretch.number, None))
        self._tell(SpeechStarted(stretch.number, self._input_position(position)))

    def _end(self, heard_to: int, certain_at: int) -> None:
        """Speech has ended; what lies before `heard_to` is recognised with it."""
        stretch, self._stretch, self._pause = self._stretch, None, -1
        if stretch is not None:
            self._feed(stretch, heard_to)
            stretch.end()
            self._tell(SpeechStopped(stretch.number, self._input_position(certain_at)))

    def _cut(self) -> None:
        while self._cuts and self._cuts[0][0] <= self._consumed:
            position, forget = self._cuts.popleft()
            end = min(position * HEARING_RATE // self._call.input_format.rate, self._end_position)
            stretch, goes_on = self._stretch, self._goes_on
            cuts = stretch is not None and stretch.began < end
            if stretch is not None and cuts and forget:
                self._stretch, self._pause = None, -1
                self._recognising[stretch.number].cancel()
                self._tell(Dropped(stretch.number))
            elif cuts:
                self._end(end, end)
            self._tell(Reached(position))
            if cuts and goes_on:
                self._begin(end)

    def _feed(self, stretch: Stretch, until: int) -> None:
        start, stop = stretch.fed_to - self._kept_from, until - self._kept_from
        if pcm := bytes(self._kept[2 * max(start, 0) : 2 * max(stop, 0)]):
            stretch.feed(pcm)

    def _forget(self, end: int) -> None:
        keep_ms = self._detection.prefix_ms + self._detection.min_speech_ms + 100
        drop = min(self._detector.position - keep_ms * _PER_MS, end) - self._kept_from
        if drop > _PER_MS * 100:
            del self._kept[: 2 * drop]
            self._kept_from += drop

    async def _recognise(self, stretch: Stretch) -> None:
        error = None
        try:
            text = await self._words(stretch)
        except Exception as broken:
            text, error = "", as_agent_error(broken)
            # They speak on: what became of their words is told when they have ended.
            while pcm := await stretch.take():
                stretch.heard_to += len(pcm) // 2
        self._tell(Recognised(stretch.number, text, stretch.seconds, error))

    async def _words(self, stretch: Stretch) -> str:
        hints = hints_of(self._call.dialogue.settings)
        recogniser = self._recognition.open(self._call.id, hints)
        try:
            while pcm := await stretch.take():
                partial = await recogniser.feed(pcm)
                stretch.heard_to += len(pcm) // 2
                if partial:
                    stretch.words = partial
                    self._tell(PartlyRecognised(stretch.number, partial))
                if stretch is self._stretch:
                    self._consider_pause()
            return await recogniser.finish()
        finally:
            await recogniser.close()


@lru_cache
def _lag_ms(rate: int) -> int:
    """How much later audio comes out of a resampler than it went in, rounded up; measured on silence."""
    ready = Resampler(rate, HEARING_RATE).process(bytes(2 * rate))
    return math.ceil((HEARING_RATE - len(ready) // 2) / _PER_MS)


def _decoded(incoming: IncomingAudio, frame: AudioFrame) -> bytes:
    try:
        return incoming.take(frame)
    except ValueError:  # not audio of the format: its time passes in silence
        return incoming.take(AudioGap(frame.offset, frame.offset + frame.samples))
