"""Agents with something to tell, and how their calls go: the same over whatever carries a call."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from tests.end_to_end.conftest import StartServer

from legato import Call, ClientSettings, ConnectError, Server, Speech, connect
from legato.client.events import PlaybackChanged, ServerEvent, ServerLeaving
from legato.client.session import RealtimeSession

ANSWER_S = 60


def url(server: Server) -> str:
    return f"https://127.0.0.1:{server.port}"


def speak(session: RealtimeSession, pcm: bytes) -> None:
    """Say this in pieces of 20 ms."""
    for start in range(0, len(pcm), 640):
        session.send_audio(pcm[start : start + 640])


async def until(session: RealtimeSession, wanted: Callable[[object], bool]) -> None:
    """Wait for an event."""
    async with asyncio.timeout(ANSWER_S):
        async for event in session.events:
            if wanted(event):
                return
    raise AssertionError("the call ended before that")


class Story:
    """An agent that tells a long story, and notes how many milliseconds of it were heard."""

    def __init__(self, seconds: int, rate: int) -> None:
        self.rate = rate
        self.heard: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pcm = bytes(2 * rate * seconds)

    async def __call__(self, call: Call) -> None:
        utterance = call.say(self._told())
        await utterance.finished
        self.heard.set_result(utterance.heard_ms)
        await asyncio.Event().wait()

    async def _told(self) -> AsyncIterator[Speech]:
        yield Speech(self._pcm, self.rate, "A long story.")


async def interrupted_exactly(session: RealtimeSession, story: Story) -> None:
    """Interrupt a story after a fifth of a second: both sides agree on what of it was heard."""
    stopped = None
    async for event in session.events:
        if isinstance(event, PlaybackChanged):
            if event.state == "stopped":
                stopped = event
                break
            if event.played >= story.rate // 5:
                session.interrupt()
    assert stopped is not None
    assert session.playback.buffered == 0
    assert await asyncio.wait_for(story.heard, ANSWER_S) == stopped.played * 1000 // story.rate


async def says_and_leaves(call: Call) -> None:
    """An agent that says much and is done at once."""
    for number in range(50):
        call.send({"type": "conversation.item.added", "number": number, "text": "x" * 10_000})


async def last_words_arrive(session: RealtimeSession) -> None:
    """All that `says_and_leaves` said comes before the end, which is a good one."""
    said = [event.event async for event in session.events if isinstance(event, ServerEvent)]
    numbers = [event["number"] for event in said if event["type"] == "conversation.item.added"]
    assert numbers == list(range(50))
    assert (await session.wait_closed()).code == 0


async def drained(start_server: StartServer, settings: ClientSettings) -> None:
    """A server that stops tells its caller, lets the call end, and takes no other."""
    leave = asyncio.Event()

    async def patient(_: Call) -> None:
        await leave.wait()

    server = await start_server(patient)
    async with connect(url(server), settings) as session:
        draining = asyncio.create_task(server.drain(ANSWER_S))
        await until(session, lambda event: isinstance(event, ServerLeaving))
        with pytest.raises(ConnectError, match="answered 503"):
            async with connect(url(server), settings):
                pass
        leave.set()
        await asyncio.wait_for(draining, ANSWER_S)
        assert (await session.wait_closed()).code == 0
