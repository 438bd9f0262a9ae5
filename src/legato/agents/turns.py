"""Whose turn it is in one call: answers when a person has finished, falls silent when they begin.

Owns the order of turns, the conversation and the tasks of the call. It must not know how audio is coded or
which stages are at work.

A turn goes: speech starts (what is being said is interrupted), speech stops, its text comes (later turns may
have begun by then), and once nobody speaks and nothing is being recognised, everything said so far is
answered. Speech without words leaves no trace, except that an answer it cut off is taken up again.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any

from legato.agents.base import Call, ToolCall
from legato.agents.conversation import Conversation
from legato.agents.listener import (
    Heard,
    Listener,
    Recognised,
    SpeechStarted,
    SpeechStopped,
)
from legato.agents.sentences import sentences
from legato.agents.settings import AssistantSettings
from legato.agents.speaking import spoken
from legato.agents.stages.base import LanguageModel, ReplyOptions, SpeechToText, TextToSpeech, VoiceActivity
from legato.agents.timers import Timers
from legato.agents.transcript import TranscriptEvents
from legato.core.errors import AgentError

__all__ = ["Turns"]

log = logging.getLogger(__name__)

NOT_HEARD = "Sorry, I could not make out what you said. Please say it again."
NO_ANSWER = "Sorry, something went wrong with my answer. Please ask again."
_MOST_TOOL_ROUNDS = 5


class _Answer:
    """One answer, from its first written sentence until the caller has heard what they will hear of it."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.written = False  # to its end
        self.heard = ""
        self.over = False

    def unheard(self) -> list[str]:
        """The sentences that were not heard to their end."""
        words = len(self.heard.split())
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
        self._model = model
        self._voice = voice
        self._settings = settings
        self._conversation = Conversation(settings.instructions, settings.max_messages)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers = Timers(self._ring, self._start)
        self._tools = call.tools.joined_with(self._timers.tools)
        self._transcripts = TranscriptEvents(call)
        self._quiet = asyncio.Event()  # nobody speaks
        self._quiet.set()
        self._unfinished: set[str] = set()  # items that are spoken or recognised right now
        self._said: list[str] = []  # what the person said that has not been answered yet
        self._answer: _Answer | None = None  # the last one
        self._answering: asyncio.Task[None] | None = None
        self._cut_off = False  # the last answer was interrupted, and no words have followed yet

    async def listen(self, hearing: tuple[VoiceActivity, SpeechToText], executor: Executor) -> None:
        """Hold the conversation until the call's audio ends."""
        if self._settings.greeting:
            greeting = [self._settings.greeting]
            self._begin(lambda: self._take_up(greeting))
        self._start(self._obey())
        await Listener(self._call, hearing, self._settings, self._on_heard, executor).run()

    async def close(self) -> None:
        """Stop everything that goes on in the call."""
        unfinished = list(self._tasks)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished)

    # Hearing

    def _on_heard(self, heard: Heard) -> None:
        self._transcripts.tell(heard)
        if isinstance(heard, SpeechStarted):
            self._unfinished.add(heard.item)
            self._quiet.clear()
            self._cut_off = self._cut_off or (self._answer is not None and not self._answer.over)
            self._call.interrupt()
        elif isinstance(heard, SpeechStopped):
            self._quiet.set()
        elif isinstance(heard, Recognised):
            self._unfinished.discard(heard.item)
            self._on_text(heard)

    def _on_text(self, heard: Recognised) -> None:
        if heard.error is not None:
            log.warning("recognition failed: %s", heard.error)
            self._cut_off = False
            self._start(self._apologise(NOT_HEARD, heard.error))
        elif heard.text:
            self._cut_off = False
            self._said.append(heard.text)
        if self._unfinished:
            return
        if self._said:
            self._begin(self._reply)
        elif self._cut_off:
            self._cut_off = False
            interrupted = self._answer
            self._begin(lambda: self._resume(interrupted))

    # Answering

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Answer after the answer before has been settled, so that the conversation keeps its order."""
        before = self._answering

        async def in_order() -> None:
            if before is not None and not before.done():
                await asyncio.wait([before])
            await work()

        self._answering = self._start(in_order())

    async def _reply(self) -> None:
        """Answer what was said."""
        said, self._said = self._said, []
        for text in said:
            self._conversation.person_said(text)
        answer = self._answer = _Answer()
        await self._say(answer, self._composed(answer))

    async def _resume(self, interrupted: _Answer | None) -> None:
        """Take up an answer that was interrupted by something without words."""
        if interrupted is None:
            return
        if interrupted.written:
            await self._take_up(interrupted.unheard())
        else:
            await self._reply()

    async def _take_up(self, rest: list[str]) -> None:
        """Say sentences that exist already."""
        answer = self._answer = _Answer()
        answer.sentences, answer.written = rest, True
        await self._say(answer, _each(rest))

    async def _say(self, answer: _Answer, text: AsyncGenerator[str, None]) -> None:
        """Say an answer; keep of it what was heard; own up to a failure."""
        utterance = self._call.say(spoken(text, self._voice, self._settings.sentences_ahead))
        await utterance.finished
        answer.heard, answer.over = utterance.heard_text, True
        self._conversation.person_heard(answer.heard)
        if utterance.error is not None:
            log.warning("an answer failed: %s", utterance.error)
            await self._apologise(NO_ANSWER, utterance.error)

    async def _composed(self, answer: _Answer) -> AsyncGenerator[str, None]:
        """The model's answer in sentences."""
        async with aclosing(self._written()) as text, aclosing(sentences(text)) as found:
            async for sentence in found:
                answer.sentences.append(sentence)
                yield sentence
        answer.written = True

    async def _written(self) -> AsyncGenerator[str, None]:
        """The model's text, with the tools it asks for run on the way."""
        for _ in range(_MOST_TOOL_ROUNDS):
            text, calls = "", list[ToolCall]()
            messages = self._conversation.messages
            async with aclosing(self._model.reply(messages, self._tools, ReplyOptions())) as thoughts:
                async for thought in thoughts:
                    if isinstance(thought, ToolCall):
                        calls.append(thought)
                    elif isinstance(thought, str):
                        text += thought
                        yield thought
            if not calls:
                return
            results = [await self._result(call) for call in calls]
            self._conversation.used_tools(text, calls, results)
        raise AgentError("the model asks for one tool after the other")

    async def _result(self, call: ToolCall) -> str:
        try:
            return await self._tools.run(call)
        except AgentError as error:
            log.warning("%s", error)
            return f"That did not work: {error}."

    async def _apologise(self, text: str, error: AgentError) -> None:
        """Tell the caller, in words if the voice works, that something failed."""
        self._call.send(
            {"type": "error", "error": {"type": "server_error", "code": "agent_error", "message": str(error)}}
        )
        await self._quiet.wait()
        utterance = self._call.say(text)
        await utterance.finished
        self._conversation.person_heard(utterance.heard_text)

    async def _ring(self, text: str) -> None:
        await self._quiet.wait()
        utterance = self._call.say(text)
        await utterance.finished
        self._conversation.person_heard(utterance.heard_text)

    # The call

    async def _obey(self) -> None:
        """Follow the caller's events."""
        async for event in self._call.events:
            if event.get("type") == "response.cancel":
                self._call.interrupt()

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a turn failed", exc_info=error)


async def _each(texts: list[str]) -> AsyncGenerator[str, None]:
    for text in texts:
        yield text
