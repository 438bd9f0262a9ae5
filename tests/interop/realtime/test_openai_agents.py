"""The stock `openai-agents` package against `legato serve`: three scenes, no errors."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agents.realtime import (
    OpenAIRealtimeWebSocketModel,
    RealtimeAgent,
    RealtimePlaybackTracker,
    RealtimeRunner,
    RealtimeSession,
)
from agents.realtime.openai_realtime import DEFAULT_REALTIME_MODEL
from tests.interop.realtime.recording import LIMIT_S, Recording
from tests.interop.realtime.speech import BYTES_PER_MS, spoken
from tests.interop.realtime.stage import Stage

from agents import function_tool
from legato.agents.base import ToolCall
from legato.testing.scripted_endpoint import Hold

pytestmark = pytest.mark.slow

LONG = "One hundred and forty four. That is a gross. A dozen of dozens has been called so for a long time."


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


class Run(Recording):
    """One session of the package, and what went over its WebSocket."""

    def __init__(self) -> None:
        super().__init__()
        self.session: RealtimeSession
        self.seen: list[Any] = []
        self._changed = asyncio.Event()

    async def watch(self) -> None:
        """Take every event of the session, as an application would."""
        async for event in self.session:
            self.seen.append(event)
            if event.type == "raw_model_event" and event.data.type == "raw_server_event":
                self.events.append(event.data.data)
            self._changed.set()

    async def until(self, reached: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(LIMIT_S):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def speak(self, text: str) -> None:
        """Say something."""
        pcm = spoken(text)
        for start in range(0, len(pcm), 9600):
            await self.session.send_audio(pcm[start : start + 9600])

    def seen_of(self, kind: str) -> list[Any]:
        """The session's own events of a type."""
        return [event for event in self.seen if event.type == kind]

    def finish(self) -> None:
        """No error of any kind, on either side of the package."""
        self.check()
        assert not self.seen_of("error")
        wrong = [e.data for e in self.seen_of("raw_model_event") if e.data.type in ("error", "exception")]
        assert not wrong


@asynccontextmanager
async def running(
    stage: Stage,
    agent: RealtimeAgent[Any],
    model: str = "",
    player: RealtimePlaybackTracker | None = None,
) -> AsyncIterator[Run]:
    """An agent in conversation. Unless told otherwise the package names a model of its own, and takes it that
    audio is played as it comes."""
    run, transport = Run(), OpenAIRealtimeWebSocketModel()
    runner = RealtimeRunner(agent, model=transport)
    run.session = await runner.run(
        model_config={
            "url": stage.url.replace("https", "wss") + (f"/realtime?model={model}" if model else "/realtime"),
            "initial_model_settings": {"model_name": model} if model else {},
            **({"playback_tracker": player} if player is not None else {}),
        }
    )
    async with run.session:
        send = transport._websocket.send

        async def tapped(data: str) -> None:
            run.sent.append(json.loads(data))
            await send(data)

        transport._websocket.send = tapped
        watching = asyncio.create_task(run.watch())
        await run.until(lambda: run.of("session.updated"))
        yield run
    await watching
    run.finish()


async def test_a_spoken_turn(server: Stage) -> None:
    server.script(["One hundred and forty four."])
    async with running(server, RealtimeAgent(name="clerk", instructions="You sell eggs.")) as run:
        await run.speak("what is twelve times twelve")
        await run.until(lambda: run.of("response.done"))
    (question, answer) = run.seen_of("history_updated")[-1].history
    assert question.content[0].transcript == "what is twelve times twelve"
    assert answer.content[0].transcript == "One hundred and forty four."
    assert b"".join(event.audio.data for event in run.seen_of("audio")) == run.audio
    assert len(run.audio) > 1000 * BYTES_PER_MS
    assert "You sell eggs." in server.chats[0]["messages"][0]["content"]
    assert run.of("session.updated")[-1]["session"]["model"] == DEFAULT_REALTIME_MODEL


async def test_a_tool(server: Stage) -> None:
    """The model asks, the package runs the function by itself, the model speaks of the result."""
    server.script([ToolCall("call_1", "get_weather", '{"city": "Riga"}')], ["It rains there."])
    async with running(server, RealtimeAgent(name="clerk", tools=[get_weather]), "mine") as run:
        await run.speak("how is the weather")
        await run.until(lambda: len(run.of("response.done")) == 2)
    (used,) = run.seen_of("tool_end")
    assert run.of("session.updated")[-1]["session"]["model"] == "mine"
    assert (used.tool.name, used.output) == ("get_weather", "It rains in Riga.")
    assert server.chats[1]["messages"][-1]["content"] == "It rains in Riga."
    assert run.of("response.output_audio_transcript.done")[-1]["transcript"] == "It rains there."


async def test_an_interruption_by_hand(server: Stage) -> None:
    """The application stops an answer that is still being made."""
    hold = Hold()
    server.script([LONG + " ", hold, "And so on."])
    player = RealtimePlaybackTracker()
    async with running(server, RealtimeAgent(name="clerk"), player=player) as run:
        await run.session.send_message("tell me everything")
        await run.until(lambda: len(run.audio) > 100 * BYTES_PER_MS)
        item = run.of("response.output_audio.delta")[0]["item_id"]
        player.on_play_ms(item, 0, 100)
        await run.session.interrupt()
        await run.until(lambda: run.of("response.done") and run.of("conversation.item.truncated"))
        server.model.release(hold)
    assert run.the("response.done")["response"]["status"] == "cancelled"
    assert run.the("conversation.item.truncated")["audio_end_ms"] == 100


async def test_an_interruption(server: Stage) -> None:
    """The player had played 1200 ms: there the package truncates, and the server remembers just that."""
    played_ms, player = 1200, RealtimePlaybackTracker()
    server.script([LONG], ["Fine."])
    async with running(server, RealtimeAgent(name="clerk"), player=player) as run:
        await run.speak("what is twelve times twelve")
        await run.until(lambda: run.of("response.done"))
        item = run.the("response.done")["response"]["output"][0]["id"]
        player.on_play_ms(item, 0, played_ms)
        await run.speak("stop it please")
        await run.until(lambda: len(run.of("response.done")) == 2)
        await run.until(lambda: len(run.of("conversation.item.retrieved")) >= 2)
    (asked,) = (event for event in run.sent if event["type"] == "conversation.item.truncate")
    cut = run.the("conversation.item.truncated")
    assert asked["item_id"] == cut["item_id"] == item
    assert asked["audio_end_ms"] == cut["audio_end_ms"] == played_ms
    assert run.seen_of("audio_interrupted")[0].item_id == item
    kept = [event["item"] for event in run.of("conversation.item.retrieved") if event["item"]["id"] == item]
    (part,) = kept[-1]["content"]
    assert len(base64.b64decode(part["audio"])) == played_ms * BYTES_PER_MS
    (remembered,) = (one["content"] for one in server.chats[1]["messages"] if one["role"] == "assistant")
    assert LONG.startswith(remembered)
    assert remembered == part["transcript"]
    assert 0 < len(remembered) < len(LONG) / 2


async def test_an_interruption_in_the_making(server: Stage) -> None:
    """The model still writes, and the package counts by its clock: the server cuts where it says."""
    hold = Hold()
    server.script([LONG + " ", hold, "And so on."], ["Fine."])
    async with running(server, RealtimeAgent(name="clerk")) as run:
        await run.session.send_message("tell me everything")
        await run.until(lambda: run.of("response.output_audio.delta"))
        await run.speak("stop it please")
        await run.until(lambda: len(run.of("response.done")) == 2)
        await run.until(lambda: run.of("conversation.item.retrieved"))
        server.model.release(hold)
    first = run.of("response.done")[0]["response"]
    assert (first["status"], first["status_details"]["reason"]) == ("cancelled", "turn_detected")
    (asked,) = (event for event in run.sent if event["type"] == "conversation.item.truncate")
    cut = run.the("conversation.item.truncated")
    assert asked["item_id"] == cut["item_id"] == first["output"][0]["id"]
    assert asked["audio_end_ms"] == cut["audio_end_ms"]
    kept = [event["item"] for event in run.of("conversation.item.retrieved")]
    (part,) = next(item["content"] for item in kept if item["id"] == cut["item_id"])
    assert len(base64.b64decode(part["audio"] or "")) == cut["audio_end_ms"] * BYTES_PER_MS
