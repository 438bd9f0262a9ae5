"""Holds a conversation: says the lines of a plan, waits for the answers, barges in where it is planned.

Owns the order of turns and the patience with the server; what happened is the business of `turns.py`, what is
shown that of the views.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass

from legato.cli.talking.speech import Mouth, Recording
from legato.cli.talking.turns import Turn, TurnLog
from legato.client.session import RealtimeSession
from legato.core.errors import AgentError, SessionClosed

POLL_S = 0.05
"""How often the lead over playback is looked at."""

AFTER_REPLY_S = 0.3
"""A settled answer may be followed by another response within this time."""

AFTER_ECHO_S = 2.0
"""How long a reply without words, which has no end of its own, is listened to after the end of speech."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something to say: after the answer before it, or `barge_in_s` seconds into that answer's playback."""

    recording: Recording
    barge_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The lines of a conversation; `patience_s` is how long nothing may happen while an answer is due."""

    lines: tuple[Line, ...]
    patience_s: float = 20.0


class Conversation:
    """One plan, held over one call that is ready."""

    def __init__(self, session: RealtimeSession, log: TurnLog) -> None:
        """Account for everything in `log`."""
        self._session = session
        self._log = log
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._last_us = session.now_us()

    async def hold(self, plan: Plan) -> list[Turn]:
        """Say everything and hear everything; returns the turns.

        Raises `SessionClosed` when the server ends the call before everything is said and answered, and
        `AgentError` when a line gets no answer.
        """
        async with self._listening():
            mouth = Mouth(self._session.send_audio, self._session.settings.input.rate, self._session.now_us)
            self._beside(mouth.run())
            for line, following in zip(plan.lines, (*plan.lines[1:], None), strict=True):
                await self._say(mouth, line, plan.patience_s)
                if following is None or following.barge_in_s is None:
                    await self._answered(plan.patience_s)
        return self._log.turns

    async def listen(self) -> None:
        """Follow a call in which somebody else speaks, until it ends. Raises `SessionClosed` if it failed."""
        async with self._listening():
            try:
                await self._until(lambda: False)
            except SessionClosed as ended:
                if ended.code:
                    raise

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        self._beside(self._read())
        self._beside(self._measure())
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            # What they failed of was raised where the conversation waited.
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks.clear()

    def _beside(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._changed.set())
        self._tasks.append(task)

    async def _read(self) -> None:
        async for event in self._session.events:
            self._last_us = self._session.now_us()
            self._log.feed(event)
            self._changed.set()

    async def _measure(self) -> None:
        while True:
            self._log.note_lead(self._session.playback.buffered)
            self._changed.set()
            await asyncio.sleep(POLL_S)

    async def _say(self, mouth: Mouth, line: Line, patience_s: float) -> None:
        if line.barge_in_s is not None:
            await self._into_the_answer(line.barge_in_s, patience_s)
        self._log.begin(line.recording.name, mouth.next_us)
        saying = asyncio.create_task(mouth.say(line.recording))
        try:
            await self._until(saying.done)
            self._log.speech_ended(saying.result())
            self._last_us = self._session.now_us()
        finally:
            saying.cancel()

    async def _into_the_answer(self, seconds: float, patience_s: float) -> None:
        turn = self._log.current
        if turn is None:
            return

        def far_enough() -> bool:
            item = self._session.playback.current
            known = turn.parts.get(item.generation) if item is not None else None
            fresh = max(0, item.played - known.played) if item is not None and known is not None else 0
            played_s = turn.played_ms / 1000 + fresh / turn.rate
            return played_s >= seconds or turn.settled or self._idle(patience_s)

        await self._until(far_enough)

    async def _answered(self, patience_s: float) -> None:
        turn = self._log.current
        assert turn is not None
        settled_us: int | None = None

        def over() -> bool:
            nonlocal settled_us
            now = self._session.now_us()
            if not turn.settled:
                settled_us = None
                return self._echoed(turn, now) or self._idle(patience_s)
            settled_us = settled_us or now
            return now - settled_us >= AFTER_REPLY_S * 1e6

        await self._until(over)
        self._log.report(turn)
        if not turn.parts:
            said = turn.said or "what was said"
            if turn.settled:
                raise AgentError(f"the server could not answer {said}; its log says why")
            raise AgentError(f"no answer to {said} within {patience_s:g} s")

    def _echoed(self, turn: Turn, now: int) -> bool:
        end = turn.speech_end_us
        return turn.wordless and end is not None and now - end >= AFTER_ECHO_S * 1e6

    def _idle(self, patience_s: float) -> bool:
        return self._session.now_us() - self._last_us >= patience_s * 1e6

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._session.ended is not None:
                raise self._session.ended
            for task in self._tasks:
                if task.done() and (error := task.exception()) is not None:
                    raise error
            self._changed.clear()
            await self._changed.wait()
