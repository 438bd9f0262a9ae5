"""A call that exists only in memory, to test agents: the server's own `ServerCall` on a line to the test.

The test is the caller: it feeds audio and events, reads what was sent, and decides how much of an answer has
been heard.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from legato.agents.base import Content, ResponseContent, Tool, ToolSet
from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.dialects.realtime.dialogue_events import Opening
from legato.core.dialects.realtime.response import Response
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.events import AudioReceived, GapReported, PlaybackReported
from legato.core.playout import PlayoutLedger
from legato.core.wire.messages import Playback, PlaybackState
from legato.server.call import ServerCall
from legato.server.utterance import SpokenUtterance
from legato.session_driver import monotonic_us

__all__ = ["MemoryCall", "MemoryUtterance"]

FRAME_MS = 20


class _MemoryLine:
    """A line and its session: keeps what is sent, for the test to play."""

    def __init__(self, clock: Callable[[], int], on_change: Callable[[], None], plays: bool) -> None:
        self.session = self
        self.clock = clock
        self.ledger = PlayoutLedger(reports=True)
        self.over = False
        self.parked = False
        self.congested = False
        self.plays = plays
        self.events: list[dict[str, Any]] = []
        self.payloads: dict[int, list[bytes]] = {}
        self.complete: set[int] = set()
        self.player: Callable[[PlaybackReported], None]
        self._changed = on_change

    def begin_reply(
        self, response_id: str, item_id: str, form: AudioFormat, now: int, content_index: int = 0
    ) -> int:
        generation = len(self.payloads) + 1
        self.ledger.begin(generation, item_id, content_index, form.rate)
        self.payloads[generation] = []
        return generation

    def send_audio(self, generation: int, payload: bytes, samples: int, now: int) -> bool:
        progress = self.ledger.get(generation)
        if progress is None or not progress.audible:
            return False
        progress.sent += samples
        self.payloads[generation].append(payload)
        self._changed()
        return True

    def end_reply(self, generation: int, now: int) -> None:
        self.complete.add(generation)
        if self.plays:
            self._tell_soon(self.report(generation, self.sent(generation)))
        self._changed()

    def flush(self, now: int) -> int:
        for generation in self.payloads:
            self.flush_reply(generation, now)
        return len(self.payloads)

    def flush_reply(self, generation: int, now: int) -> None:
        self.ledger.flush(generation, generation, now)
        self._tell_soon(self.report(generation, self.played(generation), "stopped"))

    def credit_us(self, now: int) -> int:
        return 3_600_000_000

    def send_event(self, event: dict[str, Any], now: int) -> None:
        self.events.append(event)
        self._changed()

    def consumed(self, samples: int, size: int) -> bool:
        self._changed()
        return False

    def going_away(self, in_ms: int, now: int) -> None:
        """Nobody waits for it."""

    def close(self, code: int, reason: str, now: int) -> None:
        self.over = True
        self._changed()

    def settle(self) -> None:
        """Nothing is held back."""

    carry_out = settle

    async def writable(self) -> None:
        """There is always room."""

    delivered = writable

    # The player

    def sent(self, generation: int) -> int:
        """Samples of a reply so far."""
        line = self.ledger.get(generation)
        return line.sent if line is not None else 0

    def played(self, generation: int) -> int:
        """Samples of a reply that were played."""
        line = self.ledger.get(generation)
        return line.played if line is not None else 0

    def report(
        self, generation: int, played: int, state: PlaybackState | None = None
    ) -> PlaybackReported | None:
        """Note what the player did; returns what the server is to be told, if there is anything new."""
        progress = self.ledger.get(generation)
        if progress is None or progress.playback in ("stopped", "done"):
            return None
        whole = generation in self.complete and played >= progress.sent
        told = Playback(
            item_id=progress.item_id,
            generation=generation,
            played=played,
            buffered=progress.sent - played,
            state=state or ("done" if whole else "playing"),
        )
        self.ledger.report(told)
        return PlaybackReported(
            told.item_id, 0, generation, played, told.buffered, told.underruns, told.state
        )

    def tell(self, report: PlaybackReported | None) -> None:
        """Let the server know."""
        if report is not None:
            self.player(report)
            self._changed()

    def _tell_soon(self, report: PlaybackReported | None) -> None:
        """Let the server know as soon as it has done what it is doing."""
        asyncio.get_running_loop().call_soon(self.tell, report)


class MemoryUtterance:
    """What the agent says, as agent and test see it. `made_ms` and `played_ms` are milliseconds."""

    def __init__(self, spoken: SpokenUtterance, line: _MemoryLine) -> None:
        self._spoken = spoken
        self._line = line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spoken, name)

    @property
    def finished(self) -> Awaitable[None]:
        """Settles when played, flushed, or the call is over."""
        return self._spoken.finished

    @property
    def complete(self) -> bool:
        """Whether all of it was made."""
        return self._spoken.spoken.complete

    @property
    def audio(self) -> list[bytes]:
        """The payloads so far."""
        generation = self._spoken.generation
        return self._line.payloads[generation] if generation is not None else []

    @property
    def pcm(self) -> bytes:
        """All payloads so far."""
        return b"".join(self.audio)

    @property
    def made_ms(self) -> float:
        """How much sound was made."""
        return self._spoken.spoken.sent * 1000 / self._spoken.rate

    @property
    def played_ms(self) -> float:
        """How much of it the test has played."""
        return self._spoken.spoken.heard * 1000 / self._spoken.rate


class MemoryCall(ServerCall):
    """One caller. With `plays` each utterance is heard as soon as it is complete, otherwise by `play`."""

    def __init__(
        self,
        input_format: AudioFormat | None = None,
        output_format: AudioFormat | None = None,
        tools: Iterable[Tool] = (),
        plays: bool = True,
        settings: SessionSettings | None = None,
    ) -> None:
        source = input_format or AudioFormat("pcm16", 16_000)
        formats = (source, output_format or source)
        ids = itertools.count(1)
        opening = Opening(
            session_id="memory",
            settings=settings or SessionSettings.of(),
            new_id=lambda prefix: f"{prefix}_{next(ids)}",
            formats=formats,
        )
        self._changed = asyncio.Event()
        self._memory = _MemoryLine(monotonic_us, self._changed.set, plays)
        super().__init__(opening, self._memory, formats, ToolSet(tools))
        self._memory.player = self.speaker.playback
        self.utterances: list[MemoryUtterance] = []
        self._offset = 0
        self.open()

    # The agent's side

    def say(self, content: Content) -> MemoryUtterance:
        """See `Call.say`."""
        return self._noted(self.speaker.say(content, self.voice))

    def respond(self, response: Response, content: ResponseContent) -> MemoryUtterance:
        """See `Call.respond`."""
        return self._noted(self.speaker.respond(response, content))

    # The test's side

    @property
    def sent(self) -> list[dict[str, Any]]:
        """Every event so far."""
        return self._memory.events

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self._memory.over

    @property
    def saying(self) -> bool:
        """Whether something is being made right now."""
        return any(utterance.making for utterance in self.utterances)

    def hear(self, *items: AudioFrame | AudioGap) -> None:
        """The agent hears frames or gaps."""
        for item in items:
            if isinstance(item, AudioGap):
                self.hear_gap(GapReported(item))
            else:
                self.hear_audio(AudioReceived(item))

    def hear_pcm(self, pcm: bytes) -> None:
        """The agent hears mono s16le at the input rate, in frames of 20 ms behind everything before."""
        step = 2 * self.input_format.rate * FRAME_MS // 1000
        for start in range(0, len(pcm), step):
            payload = pcm[start : start + step]
            captured = self._offset * 1_000_000 // self.input_format.rate
            self.hear(AudioFrame.of(self._offset, captured, payload, self.input_format))
            self._offset += len(payload) // 2

    def lose(self, samples: int) -> None:
        """The agent hears of a gap."""
        self.hear(AudioGap(self._offset, self._offset + samples))
        self._offset += samples

    def play(self, milliseconds: float) -> None:
        """So much more of what has been made is heard."""
        line, samples = self._memory, int(milliseconds * self.output_format.rate / 1000)
        for generation in line.payloads:
            step = min(samples, line.sent(generation) - line.played(generation))
            if step > 0:
                line.tell(line.report(generation, line.played(generation) + step))
                samples -= step

    def end(self) -> None:
        """The call is over."""
        self._memory.over = True
        super().end()
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that happens in the call: audio read, an event sent, speech made, played,
        over."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _taken(self, item: AudioFrame | AudioGap) -> None:
        super()._taken(item)
        self._changed.set()

    async def heard_all(self) -> None:
        """Wait until the agent has read all audio."""
        await self.until(lambda: self.unread == 0)

    def sent_of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type sent so far."""
        return [event for event in self.sent if event["type"] == kind]

    async def event(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`-th event of a type."""
        await self.until(lambda: len(self.sent_of(kind)) >= count)
        return self.sent_of(kind)[count - 1]

    async def utterance(self, count: int = 1) -> MemoryUtterance:
        """Wait for the `count`-th utterance."""
        await self.until(lambda: len(self.utterances) >= count)
        return self.utterances[count - 1]

    def _noted(self, spoken: SpokenUtterance) -> MemoryUtterance:
        utterance = MemoryUtterance(spoken, self._memory)
        self.utterances.append(utterance)
        finished = asyncio.ensure_future(spoken.finished)
        finished.add_done_callback(lambda _: self._changed.set())
        self._changed.set()
        return utterance
