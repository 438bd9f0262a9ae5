"""What an agent says, in order: coded, sent as far as credit allows, and followed until it was heard.

Owns the queue of utterances and the events that describe an answer (`response.created` ... `response.done`).
It must not know agents, nor how a session moves bytes.

One task works on one utterance at a time, from its content to its last payload; being heard comes later and
is settled by the playback reports. The next utterance is sent while the one before is still playing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

import structlog

from legato.agents.base import Content
from legato.agents.stages.base import TextToSpeech
from legato.core.audio import AudioFormat
from legato.core.errors import AgentError
from legato.core.events import PlaybackReported, ReplyCancelled
from legato.core.server_session import ServerSession
from legato.server.content import Piece, pieces
from legato.server.utterance import SpokenUtterance
from legato.session_driver import SessionDriver

__all__ = ["FLUSH_GRACE_S", "Speaker"]

FLUSH_GRACE_S = 1.0
"""How long a flushed utterance waits for the player's final position before the last known one counts."""

STALLED_S = 60.0
"""How long a player may stand still before nobody waits any longer for it to play what was said."""

MOST_UNHEARD = 48
"""Replies begun and not settled at once: fewer than a session keeps figures of, so that none is forgotten."""

FOLLOW_S = 0.2
"""How often it is worked out what was heard where the player does not report it."""

CREDIT_POLL_S = 0.1
"""How often credit is looked at while no report comes that would give some."""

YIELD_EVERY = 10
"""Payloads sent in one go before other calls get their turn."""

log = structlog.get_logger(__name__)


class Speaker:
    """Says things on one call."""

    def __init__(self, driver: SessionDriver, form: AudioFormat, new_id: Callable[[str], str]) -> None:
        """Speak on the server session of `driver` in `form`; `new_id` makes ids with a prefix."""
        assert isinstance(driver.session, ServerSession)
        self._driver = driver
        self._session = driver.session
        self._format = form
        self._new_id = new_id
        self._waiting: deque[tuple[SpokenUtterance, Content, TextToSpeech | None]] = deque()
        self._current: SpokenUtterance | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun: dict[int, SpokenUtterance] = {}
        self._credit = asyncio.Event()
        self._waits_for_credit = False
        self._moves = 0  # how often something was heard, sent or completed
        self._over = False

    @property
    def unsettled(self) -> list[SpokenUtterance]:
        """Return every utterance that is queued, being sent or not yet heard to its end, oldest first."""
        queued = [entry[0] for entry in self._waiting]
        current = [self._current] if self._current is not None and self._current.generation is None else []
        return [*self._begun.values(), *current, *queued]

    def say(self, content: Content, voice: TextToSpeech | None) -> SpokenUtterance:
        """Queue `content`; see `agents.base.Call.say`."""
        if isinstance(content, str) and voice is None:
            raise AgentError("the call has no voice: set call.voice to a TextToSpeech before saying text")
        utterance = SpokenUtterance(self._new_id("item"), self._new_id("resp"), self._cancel)
        utterance.rate = self._format.rate
        if self._over:
            utterance.settle()
            return utterance
        self._waiting.append((utterance, content, voice))
        self._next()
        return utterance

    def interrupt(self) -> None:
        """Flush everything; see `agents.base.Call.interrupt`."""
        stale = self.unsettled
        if not stale:
            return
        self._waiting.clear()
        for utterance in stale:
            utterance.note_interrupted()
            if utterance.generation is None:
                utterance.settle()
        self._stop_current()
        if self._begun:
            self._session.flush(self._driver.clock())
            self._flushed(list(self._begun.values()))

    def playback(self, report: PlaybackReported) -> None:
        """Take the player's word for what was heard."""
        utterance = self._begun.get(report.generation)
        if utterance is None:
            return
        self._moves += utterance.note_heard(report.played)
        if report.state == "stopped" and utterance is self._current:
            # The player will not go on: what is still being made would be sent in vain.
            self._cancel(utterance)
        # No player can be done with what has no end yet.
        if report.state == "stopped" or (report.state == "done" and utterance is not self._current):
            self._settle(utterance)
        self._credit.set()

    def cancelled(self, event: ReplyCancelled) -> None:
        """Stop an utterance that the caller does not want."""
        utterance = self._begun.get(event.generation)
        if utterance is not None:
            utterance.cancel()

    async def heard(self) -> None:
        """Wait until nothing is queued, being sent or unheard, or the player has stood still for too long."""
        while pending := self.unsettled:
            moves = self._moves
            try:
                async with asyncio.timeout(STALLED_S):
                    await pending[-1].finished
            except TimeoutError:
                making = self._task is not None and not self._waits_for_credit
                if moves == self._moves and not making:
                    log.warning("the player stands still", unheard=len(pending), seconds=STALLED_S)
                    return

    def end(self) -> None:
        """Settle everything: the call is over."""
        self._over = True
        stale = self.unsettled
        self._stop_current()
        for utterance in stale:
            utterance.settle()
        self._waiting.clear()
        self._begun.clear()

    def _next(self) -> None:
        if self._task is None and self._waiting:
            utterance, content, voice = self._waiting.popleft()
            self._current = utterance
            self._task = asyncio.get_running_loop().create_task(self._say(utterance, content, voice))
            self._task.add_done_callback(self._said)

    def _said(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("speaking failed", exc_info=error)
        if self._task is task:
            self._task = None
            self._current = None
            if not self._over:
                self._next()

    def _stop_current(self) -> None:
        task, self._task, self._current = self._task, None, None
        if task is not None:
            task.cancel()

    async def _say(self, utterance: SpokenUtterance, content: Content, voice: TextToSpeech | None) -> None:
        source = pieces(content, self._format, voice)
        self._event("response.created", response={"id": utterance.response_id, "status": "in_progress"})
        status = "completed"
        try:
            await self._send(utterance, source)
            utterance.complete = True
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                status = "cancelled"
                raise
            # Nobody stopped this: a task that the content waited for was cancelled.
            utterance.error = AgentError("what was to be said broke off: it was cancelled from within")
        except AgentError as error:
            utterance.error = error
        except Exception as error:
            log.warning("content broke off", utterance=utterance.id, exc_info=error)
            utterance.error = AgentError(f"what was to be said broke off: {error}")
        finally:
            if utterance.error is not None:
                status = "failed"
                utterance.note_interrupted()
            with contextlib.suppress(Exception):
                await source.aclose()
            self._finish(utterance, status)

    async def _send(self, utterance: SpokenUtterance, source: AsyncGenerator[Piece, None]) -> None:
        session, driver = self._session, self._driver
        generation: int | None = None
        room = in_a_row = 0
        async for payload, samples, text in source:
            if generation is None:
                await self._place()
                generation = self._begin(utterance)
            if text:
                self._label(utterance, text)
            if room < samples or driver.congested:
                room = await self._room()
                in_a_row = 0
            session.send_audio(generation, payload, samples, driver.clock())
            driver.carry_out()
            utterance.sent += samples
            room -= samples
            in_a_row += 1
            if in_a_row >= YIELD_EVERY:
                in_a_row = 0
                await asyncio.sleep(0)

    def _label(self, utterance: SpokenUtterance, text: str) -> None:
        """Record and announce the text that begins to sound with the next payload."""
        utterance.note_text(text)
        self._event(
            "response.output_audio_transcript.delta",
            response_id=utterance.response_id,
            item_id=utterance.id,
            content_index=0,
            delta=text + " ",
        )

    async def _room(self) -> int:
        """Wait until the caller's credit and the network take more; return how many samples."""
        while True:
            await self._driver.writable()
            credit = self._session.credit_us(self._driver.clock())
            if credit > 0 or self._over:
                self._moves += 1
                return max(1, credit * self._format.rate // 1_000_000)
            # Without playback reports nothing but time gives credit.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CREDIT_POLL_S):
                    await self._news()

    async def _place(self) -> None:
        """Wait until few enough replies are unheard that the session can follow one more."""
        while len(self._begun) >= MOST_UNHEARD and not self._over:
            await self._news()

    async def _news(self) -> None:
        """Wait until something was heard, or will never be."""
        self._credit.clear()
        self._waits_for_credit = True
        try:
            await self._credit.wait()
        finally:
            self._waits_for_credit = False

    def _begin(self, utterance: SpokenUtterance) -> int:
        generation = self._session.begin_reply(
            utterance.response_id, utterance.id, self._format, self._driver.clock()
        )
        utterance.generation = generation
        self._begun[generation] = utterance
        if not self._session.ledger.reports:
            self._follow(utterance)
        return generation

    def _finish(self, utterance: SpokenUtterance, status: str) -> None:
        """End the reply on the wire, whether it was said to its end or broke off."""
        self._moves += 1
        if utterance is self._current:
            self._current = None
        if self._driver.over:
            utterance.settle()
            return
        if utterance.generation is not None and status != "cancelled":
            self._session.end_reply(utterance.generation, self._driver.clock())
        if utterance.text:
            self._event(
                "response.output_audio_transcript.done",
                response_id=utterance.response_id,
                item_id=utterance.id,
                content_index=0,
                transcript=utterance.text,
            )
        self._event("response.done", response={"id": utterance.response_id, "status": status})
        if utterance.sent == 0:
            self._settle(utterance)

    def _follow(self, utterance: SpokenUtterance) -> None:
        """Note what must have been heard by now, until that is everything: the player does not say."""
        if utterance.settled or utterance.generation is None:
            return
        heard = self._session.ledger.heard(utterance.generation, self._driver.clock())
        self._moves += utterance.note_heard(heard)
        if heard >= utterance.sent and utterance is not self._current:
            self._settle(utterance)
        else:
            rest = (utterance.sent - heard) / self._format.rate or FOLLOW_S
            asyncio.get_running_loop().call_later(min(rest, FOLLOW_S), self._follow, utterance)

    def _event(self, kind: str, **fields: Any) -> None:
        if not self._driver.over:
            self._session.send_event({"type": kind, **fields}, self._driver.clock())
            self._driver.settle()

    def _cancel(self, utterance: SpokenUtterance) -> None:
        utterance.note_interrupted()
        for entry in self._waiting:
            if entry[0] is utterance:
                self._waiting.remove(entry)
                utterance.settle()
                return
        if utterance is self._current:
            self._stop_current()
            self._next()
        if utterance.generation is None:
            utterance.settle()
        else:
            self._session.flush_reply(utterance.generation, self._driver.clock())
            self._flushed([utterance])

    def _flushed(self, stale: list[SpokenUtterance]) -> None:
        """Give the player a moment to say how far it came, then settle with what is known."""
        self._driver.settle()
        loop, ledger = asyncio.get_running_loop(), self._session.ledger
        for utterance in stale:
            if ledger.reports:
                loop.call_later(FLUSH_GRACE_S, self._settle, utterance)
            elif utterance.generation is not None:
                utterance.note_heard(ledger.heard(utterance.generation, self._driver.clock()))
                self._settle(utterance)

    def _settle(self, utterance: SpokenUtterance) -> None:
        utterance.settle()
        if utterance.generation is not None:
            self._begun.pop(utterance.generation, None)
            self._credit.set()
