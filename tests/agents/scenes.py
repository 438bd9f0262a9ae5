"""A conversation with stages that do what the test says and a caller who plays what the test plays."""

import asyncio
from collections import deque

from legato.agents.base import Speech
from legato.agents.listener import Heard, Recognised, SpeechStarted, SpeechStopped
from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import (
    USUAL,
    Delivery,
    Detection,
    Message,
    ReplyOptions,
    SpeechToTextCapabilities,
)
from legato.agents.turns import Turns
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.errors import AgentError
from legato.testing.call import MemoryCall, MemoryUtterance

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def failures(call: MemoryCall) -> list[str]:
    """Why responses failed, as the client was told."""
    ended = [event["response"] for event in call.sent_of("response.done")]
    return [
        response["status_details"]["error"]["message"] for response in ended if response["status"] == "failed"
    ]


class Model:
    """Answers from a script: pieces of text, tool calls, events to wait for, errors."""

    def __init__(self) -> None:
        self.script: deque[list] = deque()
        self.asked: list[list[tuple[str, str]]] = []
        self.tools: list[list[str]] = []
        self.options: list[ReplyOptions] = []
        self.messages: list[list[Message]] = []
        self.stopped = 0

    async def reply(self, messages, tools, options):
        self.tools.append([tool.name for tool in tools])
        self.options.append(options)
        self.messages.append(list(messages))
        self.asked.append(
            [(message.role, message.content) for message in messages if message.role != "system"]
        )
        try:
            for step in self.script.popleft():
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise

    async def close(self) -> None:
        pass


class Voice:
    """One second of sound for each sentence; texts in `broken` fail."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.deliveries: list[Delivery] = []

    async def speak(self, text: str, delivery: Delivery = USUAL):
        self.deliveries.append(delivery)
        if text in self.broken:
            raise AgentError("no voice", retryable=True)
        yield Speech(bytes(16_000), 8_000, text)

    async def close(self) -> None:
        pass


class Deaf:
    """Voice activity and recognition that find nothing: the test says what is heard."""

    capabilities = SpeechToTextCapabilities(partials=True)
    position = 0
    speaking = False

    def open(self, _: object = None) -> "Deaf":
        return self

    def adjust(self, detection: Detection) -> None:
        pass

    def feed(self, pcm: bytes) -> list:
        self.position += len(pcm) // 2
        return []

    async def close(self) -> None:
        pass


class Scene:
    """A conversation whose hearing is replaced by the test's `say` and `noise`."""

    def __init__(self, plays: bool = False, session: dict | None = None, **settings) -> None:
        session = {"type": "realtime", **(session or {})}
        opening = SessionSettings.of(session["type"]).updated(session)
        self.call = MemoryCall(plays=plays, settings=opening)
        self.model, self.voice = Model(), Voice()
        self.call.voice = self.voice
        self.turns = Turns(self.call, self.model, self.voice, AssistantSettings(instructions="", **settings))
        self.stretches = 0
        self.running = asyncio.create_task(self.turns.listen((Deaf(), Deaf()), None))

    def tell(self, *heard: Heard) -> None:
        for one in heard:
            self.turns._heard.heard(one)

    @property
    def now(self) -> int:
        """A second of input later."""
        self.call.hear_pcm(bytes(32_000))
        return self.call.dialogue.position

    def begins(self) -> int:
        self.stretches += 1
        self.tell(SpeechStarted(self.stretches, self.now))
        return self.stretches

    def ends(self, stretch: int, text: str, error: AgentError | None = None) -> None:
        self.tell(SpeechStopped(stretch, self.now), Recognised(stretch, text, 1.0, error))

    async def say(self, text: str, error: AgentError | None = None) -> None:
        self.ends(self.begins(), text, error)
        await self.settled()

    async def answer(self, count: int) -> MemoryUtterance:
        utterance = await self.call.utterance(count)
        await self.call.until(lambda: utterance.complete or utterance.settled or utterance.error is not None)
        return utterance

    def failures(self) -> list[str]:
        """Why responses failed."""
        return failures(self.call)

    async def settled(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    async def end(self) -> None:
        """Hang up; nothing is left behind."""
        self.call.end()
        await self.running
        await self.turns.close()
        assert not self.turns._tasks
