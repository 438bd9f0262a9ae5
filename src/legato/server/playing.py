"""What is on its way through the caller's player: who may be sent more, and what was heard of whom.

Owns the utterances whose audio has begun and which are not settled, and the credit they leave. It must not
know where content comes from, nor the events that describe it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from legato.core.audio import AudioFormat
from legato.core.events import PlaybackReported
from legato.core.state import ReplyState
from legato.server.line import Line
from legato.server.utterance import SpokenUtterance

__all__ = ["FLUSH_GRACE_S", "Playing"]

FLUSH_GRACE_S = 1.0
"""How long a flushed utterance waits for the player's final position before the last known one counts."""

MOST_UNHEARD = 48
"""Replies begun and not settled at once: fewer than a session keeps figures of, so that none is forgotten."""

FOLLOW_S = 0.2
"""How often it is worked out what was heard where the player does not report it."""

CREDIT_POLL_S = 0.1
"""How often credit is looked at while no report comes that would give some."""


class Playing:
    """The utterances a caller has been sent and not heard to the end."""

    __slots__ = ("_begun", "_line", "_news", "_on_change", "form", "moves", "waits_for_credit")

    def __init__(self, line: Line, form: AudioFormat, on_change: Callable[[], None]) -> None:
        """Follow what is sent in `form`; `on_change` is called when the end of playing has moved."""
        self.form = form
        self.moves = 0
        """How often something was heard, sent or completed: a player that stands still moves nothing."""
        self.waits_for_credit = False
        self._line = line
        self._on_change = on_change
        self._begun: dict[int, SpokenUtterance] = {}
        self._news = asyncio.Event()

    @property
    def unheard(self) -> list[SpokenUtterance]:
        """Return them, oldest first."""
        return list(self._begun.values())

    @property
    def ends_at(self) -> int | None:
        """Return when everything sent so far will have been played, or None if it has been."""
        now = self._line.clock()
        lead = self._line.session.ledger.lead_us(now)
        return now + lead if lead else None

    def get(self, generation: int) -> SpokenUtterance | None:
        """Return the utterance that travels as that generation."""
        return self._begun.get(generation)

    def begin(self, utterance: SpokenUtterance, response_id: str) -> int:
        """Open an utterance's reply; return its generation."""
        line = self._line
        generation = line.session.begin_reply(response_id, utterance.id, self.form, line.clock())
        utterance.generation = generation
        self._begun[generation] = utterance
        if not line.session.ledger.reports:
            self._follow(utterance)
        return generation

    def adopt(self, utterance: SpokenUtterance, generation: int) -> None:
        """Follow an utterance that another server has sent."""
        utterance.generation = generation
        self._begun[generation] = utterance

    async def place(self) -> None:
        """Wait until few enough replies are unheard that the session can follow one more."""
        while len(self._begun) >= MOST_UNHEARD and not self._line.over:
            await self._wait()

    async def room(self) -> int:
        """Wait until the caller's credit and the network take more; return how many samples."""
        line = self._line
        while True:
            await line.writable()
            credit = line.session.credit_us(line.clock())
            if credit > 0 or line.over:
                self.moves += 1
                return max(1, credit * self.form.rate // 1_000_000)
            # Without playback reports nothing but time gives credit.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CREDIT_POLL_S):
                    await self._wait()

    def report(self, report: PlaybackReported) -> SpokenUtterance | None:
        """Take the player's word for what was heard; return the utterance, not settled yet, that it will not
        go on playing although more of it is being made."""
        utterance = self._begun.get(report.generation)
        if utterance is None:
            return None
        self.moves += utterance.spoken.note_heard(report.played)
        abandoned = utterance if report.state == "stopped" and utterance.making else None
        # No player can be done with what has no end yet.
        if report.state in ("stopped", "done") and not utterance.making:
            self.settle(utterance)
        self._news.set()
        self._on_change()
        return abandoned

    def made(self, utterance: SpokenUtterance) -> None:
        """There is no more of this utterance to come."""
        self.moves += 1
        if utterance.spoken.sent == 0 or self._played_out(utterance):
            self.settle(utterance)
        self._on_change()

    def flush(self) -> None:
        """Nothing that was sent so far is to be played any more."""
        if self._begun:
            self._line.session.flush(self._line.clock())
            self._flushed(self.unheard)

    def flush_one(self, utterance: SpokenUtterance) -> None:
        """Nothing of this utterance is to be played any more."""
        if utterance.generation is None:
            utterance.settle()
            return
        self._line.session.flush_reply(utterance.generation, self._line.clock())
        self._flushed([utterance])

    def settle(self, utterance: SpokenUtterance) -> None:
        """Make what is known of an utterance final."""
        utterance.settle()
        if utterance.generation is not None:
            self._begun.pop(utterance.generation, None)
            self._news.set()

    def end(self) -> None:
        """Settle everything: the call is over."""
        for utterance in self.unheard:
            self.settle(utterance)

    def _played_out(self, utterance: SpokenUtterance) -> bool:
        """Whether the player was done with its sound while what follows that, a tool call, was still made."""
        generation = utterance.generation
        line = None if generation is None else self._line.session.ledger.get(generation)
        return line is not None and line.state is ReplyState.SETTLED

    async def _wait(self) -> None:
        """Wait until something was heard, or will never be."""
        self._news.clear()
        self.waits_for_credit = True
        try:
            await self._news.wait()
        finally:
            self.waits_for_credit = False

    def _follow(self, utterance: SpokenUtterance) -> None:
        """Note what must have been heard by now, until that is everything: the player does not say."""
        if utterance.settled or utterance.generation is None:
            return
        spoken = utterance.spoken
        heard = self._line.session.ledger.heard(utterance.generation, self._line.clock())
        self.moves += spoken.note_heard(heard)
        if heard >= spoken.sent and not utterance.making:
            self.settle(utterance)
        else:
            rest = (spoken.sent - heard) / self.form.rate or FOLLOW_S
            asyncio.get_running_loop().call_later(min(rest, FOLLOW_S), self._follow, utterance)

    def _flushed(self, stale: Iterable[SpokenUtterance]) -> None:
        """Give the player a moment to say how far it came, then settle with what is known."""
        self._line.settle()
        ledger = self._line.session.ledger
        for utterance in stale:
            if ledger.reports:
                self._settle_later(utterance)
            elif utterance.generation is not None:
                utterance.spoken.note_heard(ledger.heard(utterance.generation, self._line.clock()))
                self.settle(utterance)
        self._on_change()

    def _settle_later(self, utterance: SpokenUtterance) -> None:
        """Settle without the player's last word, unless it comes or cannot come now: a caller who is away
        plays on what they have, and tells when they are back."""
        away = self._line.parked

        def look() -> None:
            if utterance.settled:
                return
            if away or self._line.parked:
                self._settle_later(utterance)
            else:
                self.settle(utterance)

        asyncio.get_running_loop().call_later(FLUSH_GRACE_S, look)
