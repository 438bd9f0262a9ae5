"""Whose turn it is in one call: answers when a person has finished, falls silent when they begin.

Owns the order of turns and the tasks of the call. It must not know how audio is coded, which stages are at
work, nor the events of the protocol.

A turn goes: speech starts (the call interrupts what is being said), speech stops, its text comes (later turns
may have begun by then), and once nobody speaks and nothing is being recognised, everything said so far is
answered. Speech without words leaves no trace, except that an answer it cut off is taken up again.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any

from legato.agents.base import Call, Outcome, Speech, ToolCall, Utterance
from legato.agents.composing import Composer
from legato.agents.hearing import Hearing
from legato.agents.listener import Listener
from legato.agents.sentences import Sentences
from legato.agents.settings import AssistantSettings
from legato.agents.speaking import spoken
from legato.agents.stages.base import Delivery, LanguageModel, SpeechToText, TextToSpeech, VoiceActivity
from legato.agents.timers import Timers
from legato.core.dialects.realtime.dialogue_events import (
    AudioItemCreated,
    DialogueEvent,
    InputCleared,
    InputCommitted,
    ResponseWanted,
    SettingsChanged,
    TurnEnded,
)
from legato.core.dialects.realtime.response import Response
from legato.core.errors import AgentError

__all__ = ["DEFAULT_VOICE", "Turns"]

log = logging.getLogger(__name__)

DEFAULT_VOICE = "default"
"""The voice of a session that asked for none: the stage's own."""

NOT_HEARD = "Sorry, I could not make out what you said. Please say it again."
NO_ANSWER = "Sorry, something went wrong with my answer. Please ask again."
_MOST_OUTCOMES = 16


class _Answer:
    """One answer, from its first written sentence until the caller has heard what they will hear of it."""

    def __init__(self, repeats: bool) -> None:
        self.repeats = repeats
        """Whether it may be written anew: nobody asked for it in particular."""
        self.sentences: list[str] = []
        self.written = False  # to its end
        self.utterance: Utterance | None = None
        self.over = False

    def unheard(self) -> list[str]:
        """The sentences that were not heard to their end."""
        words = len(self.utterance.heard_text.split()) if self.utterance is not None else 0
        for place, sentence in enumerate(self.sentences):
            words -= len(sentence.split())
            if words < 0:
                return self.sentences[place:]
        return []


class Turns:
    """The conversation of one call."""

    def __init__(
        self, call: Call, model: LanguageModel, voice: TextToSpeech, settings: AssistantSettings
    ) -> None:
        self._call = call
        self._dialogue = call.dialogue
        self._voice = voice
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers = Timers(self._announce, self._start)
        self._composer = Composer(call, model, call.tools.joined_with(self._timers.tools), settings)
        self._hearing: Hearing | None = None
        self._quiet = asyncio.Event()  # nobody speaks
        self._quiet.set()
        self._ended: set[str] = set()  # items that end a turn and are not understood yet
        self._outcomes: dict[str, str | AgentError] = {}  # what became of items that ended no turn (yet)
        self._to_answer = False
        self._answer: _Answer | None = None  # the last one
        self._replying: asyncio.Task[None] | None = None  # until its response has begun
        self._saying: dict[asyncio.Task[None], Utterance] = {}  # until it was heard
        self._sorry: asyncio.Task[None] | None = None  # until they have heard that they were not
        self._cut_off = False  # the last answer was interrupted, and no words have followed yet

    async def listen(self, stages: tuple[VoiceActivity, SpeechToText], executor: Executor) -> None:
        """Hold the conversation until the call's audio ends."""
        hearing = self._hearing = Hearing(self._call, stages[1], self._on_speech, self._on_words)
        listener = Listener(self._call, stages, self._settings, hearing.heard, executor)
        hearing.follow(listener)
        if self._settings.greeting and not self._call.rebuilt:
            self._start(self._take_up([self._settings.greeting]))
        self._start(self._obey())
        await listener.run()

    async def close(self) -> None:
        """Stop everything that goes on in the call."""
        unfinished = list(self._tasks)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished)

    # Hearing

    def _on_speech(self, began: bool) -> None:
        hearing = self._heard
        if began:
            self._quiet.clear()
            turns = self._dialogue.settings.turn_detection
            interrupts = turns is not None and turns.interrupt_response
            talking = self._answer is not None and not self._answer.over
            self._cut_off = self._cut_off or (interrupts and talking)
        elif not hearing.speaking:
            self._quiet.set()
            self._go_on()

    def _on_words(self, item: str, text: str, error: AgentError | None) -> None:
        if text or error is not None:
            self._cut_off = False
        self._outcomes[item] = text if error is None else error
        if len(self._outcomes) > _MOST_OUTCOMES:
            del self._outcomes[next(iter(self._outcomes))]
        self._end_turn(item)
        self._go_on()

    def _end_turn(self, item: str) -> None:
        """Look whether an item both ends a turn and has been understood."""
        if item not in self._ended or item not in self._outcomes:
            return
        self._ended.discard(item)
        outcome = self._outcomes.pop(item)
        if isinstance(outcome, AgentError):
            log.warning("recognition failed: %s", outcome)
            if self._sorry is None or self._sorry.done():
                self._sorry = self._start(self._announce(NOT_HEARD))
        elif outcome:
            self._to_answer = True

    def _go_on(self) -> None:
        """Answer, or take up what was cut off, if it is time to."""
        if self._heard.busy:
            return
        if self._to_answer and self._replying is None:
            self._to_answer = False
            self._replying = self._start(self._reply())
        elif self._cut_off and not self._to_answer:
            self._cut_off = False
            if self._answer is not None:
                self._start(self._resume(self._answer))

    @property
    def _heard(self) -> Hearing:
        assert self._hearing is not None
        return self._hearing

    # What is asked of the assistant

    async def _obey(self) -> None:
        async for event in self._call.requests:
            self._follow(event)

    def _follow(self, event: DialogueEvent) -> None:
        hearing = self._heard
        if isinstance(event, ResponseWanted):
            if event.response.request.conversation == "auto":
                self._forget_turns()
            self._respond(event.response)
        elif isinstance(event, TurnEnded):
            self._ended.add(event.item_id)
            self._end_turn(event.item_id)
            self._go_on()
        elif isinstance(event, SettingsChanged):
            hearing.adjust(event.settings.turn_detection)
        elif isinstance(event, InputCommitted):
            hearing.commit(event)
        elif isinstance(event, InputCleared):
            hearing.clear(event)
        elif isinstance(event, AudioItemCreated):
            self._start(hearing.give(event))

    def _forget_turns(self) -> None:
        """Answer no turn that has ended so far by itself: what the client asked for answers it."""
        self._ended.clear()
        self._to_answer = self._cut_off = False
        if self._replying is not None:
            self._replying.cancel()

    # Answering

    async def _reply(self) -> None:
        """Answer what was said."""
        try:
            response = await self._begun_response()
        finally:
            self._replying = None
        if response is not None:
            self._respond(response)

    async def _begun_response(self) -> Response | None:
        """A response, once no other is being written; None if the person has gone on by then, or there is to
        be none."""
        await self._settled()
        while not self._heard.busy:
            response = self._dialogue.begin_response("turn")
            if response is not None or not self._saying:
                self._to_answer = False  # it answers what was said meanwhile, too
                return response
            await asyncio.wait(self._saying, return_when=asyncio.FIRST_COMPLETED)
        self._to_answer = True
        return None

    async def _settled(self) -> None:
        """Wait until it is known how much was heard of what was cut off, for the context's sake."""
        for utterance in list(self._saying.values()):
            if utterance.interrupted:
                await utterance.finished

    def _respond(self, response: Response) -> None:
        """Give a response its content."""
        request = response.request
        answer = _Answer(repeats=request.trigger == "turn")
        utterance = self._call.respond(response, self._content(response, answer))
        if request.conversation == "auto":
            self._answer = answer
        self._see_through(utterance, answer, response)

    async def _content(
        self, response: Response, answer: _Answer
    ) -> AsyncGenerator[Speech | str | ToolCall | Outcome, None]:
        await self._settled()
        await self._heard.understood()
        wishes = response.request.settings
        written = self._composer.write(response.request)
        if "text" in wishes.output_modalities:
            async with aclosing(written):
                async for thought in written:
                    yield thought
            answer.written = True
            return
        delivery = Delivery("" if wishes.voice == DEFAULT_VOICE else wishes.voice, wishes.speed)
        aloud = spoken(_parts(written, answer), self._voice, self._settings.sentences_ahead, delivery)
        async with aclosing(aloud):
            async for piece in aloud:
                yield piece

    async def _resume(self, cut_off: _Answer) -> None:
        """Take up an answer that was interrupted by something without words."""
        await self._settled()
        if self._heard.busy:  # they try again
            self._cut_off = True
        elif cut_off.written:
            await self._take_up(cut_off.unheard())
        elif cut_off.repeats:
            self._to_answer = True
            self._go_on()

    async def _take_up(self, rest: list[str]) -> None:
        """Say sentences that exist already."""
        answer = _Answer(repeats=False)
        answer.sentences, answer.written = rest, True
        if rest and (utterance := self._say(rest)) is not None:
            self._answer = answer
            self._see_through(utterance, answer, None)

    def _say(self, sentences: list[str]) -> Utterance | None:
        """Say, or in a session of text write, sentences that nobody asked for; None if that is not possible
        now."""
        settings = self._dialogue.settings
        if settings.type == "transcription":
            return None
        if "text" not in settings.output_modalities:
            return self._call.say(self._aloud(sentences))
        response = self._dialogue.begin_response("agent")
        return None if response is None else self._call.respond(response, _each([" ".join(sentences)]))

    async def _aloud(self, sentences: list[str]) -> AsyncGenerator[Speech, None]:
        settings = self._dialogue.settings
        delivery = Delivery("" if settings.voice == DEFAULT_VOICE else settings.voice, settings.speed)
        ahead = self._settings.sentences_ahead
        async with aclosing(spoken(_each(sentences), self._voice, ahead, delivery)) as speech:
            async for piece in speech:
                if isinstance(piece, Speech):
                    yield piece

    def _see_through(self, utterance: Utterance, answer: _Answer, response: Response | None) -> None:
        """Follow an answer until it was heard; own up to a failure, in words if the voice works. The response
        itself has told the client."""
        answer.utterance = utterance
        listening = self._listen_to(utterance)

        async def to_its_end() -> None:
            await listening
            answer.over = True
            if utterance.error is not None:
                log.warning("an answer failed: %s", utterance.error)
                if response is None or _aloud_to_the_caller(response):
                    await self._announce(NO_ANSWER)

        self._start(to_its_end())

    def _listen_to(self, utterance: Utterance) -> "asyncio.Task[None]":
        """A task that ends when the utterance was heard, or never will be."""

        async def heard() -> None:
            await utterance.finished

        task = self._start(heard())
        self._saying[task] = utterance
        task.add_done_callback(lambda _: self._saying.pop(task))
        return task

    async def _announce(self, text: str) -> None:
        """Say something as soon as nobody speaks."""
        await self._quiet.wait()
        while (utterance := self._say([text])) is None and self._saying:
            await asyncio.wait(self._saying, return_when=asyncio.FIRST_COMPLETED)
        if utterance is not None:
            await self._listen_to(utterance)

    # The call

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a turn failed", exc_info=error)


def _aloud_to_the_caller(response: Response) -> bool:
    """Whether the person notices that this response is missing."""
    request = response.request
    return request.conversation == "auto" and "audio" in request.settings.output_modalities


async def _parts(
    written: AsyncGenerator[str | ToolCall | Outcome, None], answer: _Answer
) -> AsyncGenerator[str | ToolCall | Outcome, None]:
    """A response in whole sentences; tool calls keep their place among them."""
    collected = Sentences()
    async with aclosing(written):
        async for thought in written:
            if isinstance(thought, str):
                found = collected.feed(thought)
            else:
                found = iter([rest] if (rest := collected.flush()) else [])
            for sentence in found:
                answer.sentences.append(sentence)
                yield sentence
            if not isinstance(thought, str):
                yield thought
    answer.written = True


async def _each(texts: list[str]) -> AsyncGenerator[str | ToolCall | Outcome, None]:
    for text in texts:
        yield text
