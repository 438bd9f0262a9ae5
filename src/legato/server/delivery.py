"""The making of one response: its content is taken, announced and sent as far as credit allows.

Owns the way of one response from `response.created` to `response.done`. It must not know which response comes
next, nor what becomes of the audio once it is sent: that is `playing.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import structlog

from legato.agents.base import Outcome, ToolCall
from legato.agents.whole_text import WholeText, whole
from legato.core.audio import AudioFrame, AudioGap
from legato.core.dialects.realtime.response import Failure, Response
from legato.core.errors import AgentError
from legato.server.content import Part, Piece
from legato.server.line import Line
from legato.server.live_dialogue import LiveDialogue
from legato.server.playing import Playing
from legato.server.utterance import SpokenUtterance

__all__ = ["Delivery"]

YIELD_EVERY = 10
"""Payloads sent in one go before other calls get their turn."""

log = structlog.get_logger(__name__)


class Delivery:
    """Gives a response its content; `run` once."""

    __slots__ = (
        "_dialogue", "_line", "_outcome", "_playing", "_response", "_sounding", "_text", "_tool",
        "_utterance", "_writing",
    )  # fmt: skip

    def __init__(
        self,
        utterance: SpokenUtterance,
        response: Response,
        line: Line,
        dialogue: LiveDialogue,
        playing: Playing,
    ) -> None:
        """Deliver `utterance` as `response`, which has begun."""
        self._utterance = utterance
        self._response = response
        self._line = line
        self._dialogue = dialogue
        self._playing = playing
        self._outcome = Outcome()
        self._tool = ""  # id of the tool call whose arguments are coming
        self._text = WholeText()  # of the message or the arguments
        self._writing = False
        self._sounding = False

    async def run(self, source: AsyncIterator[Part]) -> None:
        """Send everything that `source` gives. Raises only `asyncio.CancelledError`, when it is stopped."""
        utterance = self._utterance
        stopped = False
        try:
            await self._send(source)
            utterance.spoken.complete = True
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                stopped = True
                raise
            # Nobody stopped this: a task that the content waited for was cancelled.
            utterance.error = AgentError("what was to be said broke off: it was cancelled from within")
        except AgentError as error:
            utterance.error = error
        except Exception as error:
            log.warning("content broke off", utterance=utterance.id, exc_info=error)
            utterance.error = AgentError(f"what was to be said broke off: {error}")
        finally:
            utterance.making = False
            if utterance.error is not None:
                utterance.note_interrupted()
            if isinstance(source, AsyncGenerator):
                with contextlib.suppress(Exception):
                    await source.aclose()
            self._finish(stopped)

    async def _send(self, source: AsyncIterator[Part]) -> None:
        line, playing, spoken = self._line, self._playing, self._utterance.spoken
        clock = line.clock
        generation: int | None = None
        room = in_a_row = 0
        async for part in source:
            if isinstance(part, AudioFrame):
                text = ""
            elif isinstance(part, Piece):
                text = part.text
            else:
                if not isinstance(part, AudioGap):  # nothing sounds where something was lost
                    self._announce(part)
                continue
            samples = part.samples
            if generation is None:
                generation = await self._begin()
            if text:
                self._response.transcript(whole(text), spoken.sent)
                self._dialogue.settle()
            if room < samples or line.congested:
                room = await playing.room()
                in_a_row = 0
            # Asked for anew: the line may have gone on over another connection meanwhile.
            line.session.send_audio(generation, part.payload, samples, clock())
            line.carry_out()
            spoken.sent += samples
            room -= samples
            in_a_row += 1
            if in_a_row >= YIELD_EVERY:
                in_a_row = 0
                await asyncio.sleep(0)

    async def _begin(self) -> int:
        """Open the spoken message."""
        if self._writing or self._tool:
            raise AgentError("speech comes before the text and the tool calls of a response, not behind them")
        await self._playing.place()
        self._sounding = True
        utterance = self._utterance
        self._response.open_message(utterance.id, utterance.spoken)
        self._dialogue.settle()
        return self._playing.begin(utterance, self._response.id)

    def _announce(self, part: str | ToolCall | Outcome) -> None:
        """Say what is not sound."""
        response, utterance = self._response, self._utterance
        if isinstance(part, str):
            if not self._writing:
                # The first message bears the utterance's name; one behind a tool call is another item.
                response.open_message(None if self._tool else utterance.id)
                self._writing, self._text = True, WholeText()
            response.text(self._text.take(part))
        elif isinstance(part, ToolCall):
            self._end_audio()
            if part.id != self._tool:
                self._tool, self._text = part.id, WholeText()
                self._writing = False
                response.function_call(whole(part.id), whole(part.name))
            response.arguments(self._text.take(part.arguments))
        elif isinstance(part, Outcome):
            self._outcome = part
        self._dialogue.settle()

    def _end_audio(self) -> None:
        """Nothing more will sound."""
        if self._sounding and self._utterance.generation is not None:
            self._line.session.end_reply(self._utterance.generation, self._line.clock())
        self._sounding = False

    def _finish(self, stopped: bool) -> None:
        """End the response, whether it was made to its end, broke off or was `stopped`; one that the caller
        cancelled is over already."""
        utterance, outcome = self._utterance, self._outcome
        if self._line.over:
            utterance.settle()
            return
        now = self._line.clock()
        if stopped:
            self._response.end("cancelled", now, "turn_detected")
        else:
            self._end_audio()
            if utterance.error is None:
                self._response.end(outcome.status, now, outcome.reason, usage=outcome.usage)
            else:
                self._response.end(
                    "failed", now, error=Failure(whole(str(utterance.error))), usage=outcome.usage
                )
        self._dialogue.settle()
        self._playing.made(utterance)
