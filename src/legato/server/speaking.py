"""What an agent says, in order: one response after the other, until each was heard or never will be.

Owns the queue of utterances and their interruption. It must not know how a response is made (`delivery.py`),
nor what the player does with it (`playing.py`).

One utterance is made at a time; being heard comes later and is settled by the playback reports. The next is
made while the one before is still playing. Responses out of band wait for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import structlog

from legato.agents.base import Content, ResponseContent
from legato.agents.stages.base import TextToSpeech
from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.dialects.realtime.dialogue_events import ResponseCancelled, Truncated
from legato.core.dialects.realtime.response import Response
from legato.core.errors import AgentError
from legato.core.events import PlaybackReported, ReplyCancelled
from legato.server.content import Part, parts, pieces
from legato.server.delivery import Delivery
from legato.server.line import Line
from legato.server.live_dialogue import LiveDialogue
from legato.server.playing import Playing
from legato.server.utterance import SpokenUtterance

__all__ = ["Speaker"]

STALLED_S = 60.0
"""How long a player may stand still before nobody waits any longer for it to play what was said."""

PARKED_US = 3_600_000_000
"""Longer than any caller without a connection is waited for."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Saying:
    """An utterance that is to be made, or is being made by `task`."""

    utterance: SpokenUtterance
    source: AsyncIterator[Part]
    task: asyncio.Task[None] | None = None


class Speaker:
    """Says things on one call."""

    def __init__(
        self, line: Line, dialogue: LiveDialogue, form: AudioFormat, new_id: Callable[[str], str]
    ) -> None:
        """Speak on `line` in `form`; `new_id` makes ids with a prefix."""
        self._line = line
        self._dialogue = dialogue
        self._new_id = new_id
        self._playing = Playing(line, form, self._playing_moved)
        self._waiting: list[_Saying] = []
        self._current: _Saying | None = None
        self._aside: set[_Saying] = set()
        self._over = False

    @property
    def form(self) -> AudioFormat:
        """The format of what is said from now on."""
        return self._playing.form

    @form.setter
    def form(self, form: AudioFormat) -> None:
        self._playing.form = form

    @property
    def _making(self) -> list[_Saying]:
        return [*self._aside, *([self._current] if self._current is not None else [])]

    @property
    def unsettled(self) -> list[SpokenUtterance]:
        """Return every utterance that is queued, being made or not yet heard to its end, oldest first."""
        unmade = [*self._making, *self._waiting]
        silent = (saying.utterance for saying in unmade if saying.utterance.generation is None)
        return [*self._playing.unheard, *silent]

    def say(self, content: Content, voice: TextToSpeech | None) -> SpokenUtterance:
        """Queue `content`; see `agents.base.Call.say`."""
        if isinstance(content, str) and voice is None:
            raise AgentError("the call has no voice: set call.voice to a TextToSpeech before saying text")
        return self._queue(pieces(content, self.form, voice), None)

    def pass_on(self, sound: AsyncIterator[AudioFrame | AudioGap]) -> SpokenUtterance:
        """Queue what is sound already, and needs no making."""
        return self._queue(sound, None)

    def respond(self, response: Response, content: ResponseContent) -> SpokenUtterance:
        """Give a response its content; see `agents.base.Call.respond`."""
        return self._queue(parts(content, self.form), response)

    def adopt(self, item_id: str, generation: int) -> None:
        """Follow an answer that another server has sent, until it was heard."""
        utterance = SpokenUtterance(item_id, self.form.rate, self._cancel)
        utterance.spoken = self._dialogue.spoken(item_id) or utterance.spoken
        utterance.making = False
        self._playing.adopt(utterance, generation)

    def interrupt(self) -> None:
        """Flush everything that is said to the caller; see `agents.base.Call.interrupt`."""
        for saying in self._waiting:
            self._drop(saying)
        self._waiting.clear()
        if self._current is not None:
            self._stop(self._current)
        for utterance in self._playing.unheard:
            utterance.note_interrupted()
        self._playing.flush()
        self._next()

    def playback(self, report: PlaybackReported) -> None:
        """Take the player's word for what was heard."""
        abandoned = self._playing.report(report)
        if abandoned is not None:
            # What is still being made would be sent in vain.
            self._cancel(abandoned)
            self._playing.settle(abandoned)

    def cancelled(self, event: ReplyCancelled) -> None:
        """Stop an utterance that the caller does not want."""
        utterance = self._playing.get(event.generation)
        if utterance is not None:
            utterance.cancel()

    def response_cancelled(self, event: ResponseCancelled) -> None:
        """Stop making a response that is over; what was sent of it may be played."""
        for saying in [*self._making, *self._waiting]:
            response = saying.utterance.response
            if response is not None and response.id == event.response_id:
                saying.utterance.note_interrupted()
                if saying in self._waiting:
                    self._waiting.remove(saying)
                    self._drop(saying)
                else:
                    self._stop(saying)
        self._next()

    def truncated(self, event: Truncated) -> None:
        """Settle an utterance of which the caller will hear no more than it says."""
        for utterance in self._playing.unheard:
            if utterance.id == event.item_id:
                utterance.note_interrupted()
                self._playing.flush_one(utterance)
                self._playing.settle(utterance)

    async def heard(self) -> None:
        """Wait until nothing is queued, being sent or unheard, or the player has stood still for too long."""
        playing = self._playing
        while pending := self.unsettled:
            moves = playing.moves
            try:
                async with asyncio.timeout(STALLED_S):
                    await pending[-1].finished
            except TimeoutError:
                making = self._current is not None and not playing.waits_for_credit
                making = making or self._line.parked
                if moves == playing.moves and not making:
                    log.warning("the player stands still", unheard=len(pending), seconds=STALLED_S)
                    return

    def parked(self) -> None:
        """The caller is away: until they are back, no time counts as silence of theirs."""
        self._dialogue.playback_ends(self._line.clock() + PARKED_US)

    def continued(self) -> None:
        """The caller is back."""
        self._playing_moved()

    def end(self) -> None:
        """Settle everything: the call is over."""
        self._over = True
        stale = self.unsettled
        for saying in self._making:
            self._stop(saying)
        for utterance in stale:
            utterance.settle()
        self._waiting.clear()
        self._playing.end()

    def _queue(self, source: AsyncIterator[Part], response: Response | None) -> SpokenUtterance:
        utterance = SpokenUtterance(self._new_id("item"), self.form.rate, self._cancel)
        utterance.response = response
        saying = _Saying(utterance, source)
        if self._over or (response is not None and response.over):
            self._drop(saying)
        elif response is not None and response.request.conversation == "none":
            self._aside.add(saying)
            self._make(saying, response)
        else:
            self._waiting.append(saying)
            self._next()
        return utterance

    def _next(self) -> None:
        """Make the first utterance whose response has begun or can begin."""
        if self._current is not None or self._over:
            return
        for saying in tuple(self._waiting):
            response = saying.utterance.response
            if response is None and self._dialogue.writing:
                continue  # until that response is made, which may wait behind this one
            self._waiting.remove(saying)
            response = response or self._dialogue.begin_response("agent")
            if response is None:  # a session in which nobody is answered
                self._drop(saying)
                continue
            saying.utterance.response = response
            self._current = saying
            self._make(saying, response)
            return

    def _make(self, saying: _Saying, response: Response) -> None:
        delivery = Delivery(saying.utterance, response, self._line, self._dialogue, self._playing)
        task = asyncio.get_running_loop().create_task(delivery.run(saying.source))
        saying.task = task
        task.add_done_callback(lambda _: self._made(saying))

    def _made(self, saying: _Saying) -> None:
        assert saying.task is not None
        if not saying.task.cancelled() and (error := saying.task.exception()) is not None:
            log.error("speaking failed", exc_info=error)
        if saying.utterance.making:  # it was stopped before it began
            saying.utterance.making = False
            self._drop(saying)
        self._aside.discard(saying)
        if self._current is saying:
            self._current = None
        self._next()

    def _stop(self, saying: _Saying) -> None:
        """Stop making an utterance; what was sent of it is left to play."""
        saying.utterance.note_interrupted()
        if saying.task is not None:
            saying.task.cancel()
        if saying.utterance.generation is None:
            saying.utterance.settle()
        if self._current is saying:
            self._current = None

    def _drop(self, saying: _Saying) -> None:
        """Settle an utterance that is never made."""
        saying.utterance.note_interrupted()
        saying.utterance.settle()
        response = saying.utterance.response
        if response is not None and not self._line.over:
            response.end("cancelled", self._line.clock(), "turn_detected")
            self._dialogue.settle()

    def _cancel(self, utterance: SpokenUtterance) -> None:
        """Stop one utterance, wherever it is, and flush it."""
        utterance.note_interrupted()
        for saying in self._waiting:
            if saying.utterance is utterance:
                self._waiting.remove(saying)
                self._drop(saying)
                return
        for saying in self._making:
            if saying.utterance is utterance:
                self._stop(saying)
        self._playing.flush_one(utterance)
        self._next()

    def _playing_moved(self) -> None:
        self._dialogue.playback_ends(self._playing.ends_at)
