"""Calls of stock clients that outlive their connections: what is kept, said again, and refused."""

import asyncio
import json
from typing import Any

import pytest
from tests.server.realtime_house import (
    ANSWER_S,
    OTHER_KEY,
    append,
    close_of,
    eventually,
    house,
    refusal,
    until,
)
from websockets.asyncio.client import ClientConnection

from legato.agents.base import Call
from legato.server import realtime_resuming
from legato.server.realtime_resuming import SaidEvents


def texts(*numbers: int) -> list[bytes]:
    return [b'{"type":"x","event_id":"e%d"}' % number for number in numbers]


def test_events_behind_one_are_said_again() -> None:
    said = SaidEvents()
    for text in texts(1, 2, 3):
        said.add(text, sent=True)
    assert said.after("e1") == texts(2, 3)
    assert said.after("e3") == []
    assert said.after("e") is None
    assert said.after(None) == []
    for text in texts(4, 5):
        said.add(text, sent=False)
    assert said.after(None) == texts(4, 5)
    said.all_sent()
    assert said.after(None) == []


def test_the_oldest_events_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_resuming, "KEPT_BYTES", 300)
    said = SaidEvents()
    for text in texts(*range(10)):
        said.add(text, sent=False)
    assert said.after("e0") is None
    assert said.after("e8") == texts(9)
    assert said.after(None) is None


class Telling:
    """An agent that listens, and hands its call to the test."""

    def __init__(self) -> None:
        self.call: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        self.heard = 0

    async def __call__(self, call: Call) -> None:
        self.call.set_result(call)
        async for piece in call.audio:
            self.heard += piece.samples


async def began(connection: ClientConnection) -> tuple[str, str]:
    """The id of the session, and of the last event so far."""
    events = await until(connection, "conversation.created")
    return events[0]["session"]["id"], events[-1]["event_id"]


async def changed(connection: ClientConnection) -> dict[str, Any]:
    await connection.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
    return (await until(connection, "session.updated"))[-1]


async def test_a_session_goes_on_and_lacks_no_event() -> None:
    agent = Telling()
    async with house(agent) as place:
        first = await place.call("?legato_resume=on")
        session, last = await began(first)
        await first.send(append(bytes(4_800)))
        await eventually(lambda: agent.heard == 2_400)
        missed = await changed(first)
        first.transport.abort()
        await eventually(lambda: place.calls.parked == 1)
        (await agent.call).dialogue.transcript_delta("item", "")
        item = (await agent.call).dialogue.speech_started(0)
        async with place.call(f"?legato_resume={session}&legato_after={last}") as second:
            again = await until(second, "input_audio_buffer.speech_started")
            assert again[0] == missed
            assert again[-1]["item_id"] == item
            assert "session.created" not in [event["type"] for event in again]
            await second.send(append(bytes(4_800)))
            await eventually(lambda: agent.heard == 4_800)
            assert place.calls.parked == 0
            await changed(second)


async def test_without_the_last_event_only_what_was_not_sent_comes() -> None:
    agent = Telling()
    async with house(agent) as place:
        first = await place.call("?legato_resume=on")
        session, _ = await began(first)
        first.transport.abort()
        await eventually(lambda: place.calls.parked == 1)
        (await agent.call).dialogue.speech_started(0)
        async with place.call(f"?legato_resume={session}") as second:
            assert len(await until(second, "input_audio_buffer.speech_started")) == 1


async def test_the_newest_connection_wins_and_the_other_is_told() -> None:
    agent = Telling()
    async with house(agent) as place:
        first = await place.call("?legato_resume=on")
        session, last = await began(first)
        async with place.call(f"?legato_resume={session}&legato_after={last}") as second:
            assert await close_of(first) == (1008, "another connection continues the call", [])
            await changed(second)
            assert len(place.calls) == 1


async def test_nobody_else_goes_on_with_it() -> None:
    async with house(Telling()) as place:
        first = await place.call("?legato_resume=on")
        session, _ = await began(first)
        for query, key, status, code in (
            (f"?legato_resume={session}", OTHER_KEY, 404, "session_not_found"),
            ("?legato_resume=call_0123456789abcdef", None, 404, "session_not_found"),
            (f"?legato_resume={session}&legato_after=event_x", None, 409, "events_lost"),
        ):
            call = place.call(query) if key is None else place.call(query, key=key)
            got, error, _ = await refusal(call)
            assert (got, error["code"]) == (status, code)
        await changed(first)
        await first.close()


async def test_a_session_that_did_not_ask_for_it_ends_with_its_connection() -> None:
    async with house(Telling()) as place:
        first = await place.call("")
        session, _ = await began(first)
        first.transport.abort()
        await eventually(lambda: not place.calls)
        status, error, _ = await refusal(place.call(f"?legato_resume={session}"))
        assert (status, error["code"]) == (404, "session_not_found")


async def test_nobody_waits_longer_than_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(Telling()) as place:
        place.door._window_s = 0.01
        first = await place.call("?legato_resume=on")
        await began(first)
        first.transport.abort()
        async with asyncio.timeout(ANSWER_S):
            await place.calls.wait_empty()
        assert (place.calls.parked, place.door._lines) == (0, {})


async def test_an_orderly_end_is_an_end() -> None:
    async with house(Telling()) as place:
        first = await place.call("?legato_resume=on")
        await began(first)
        await first.close()
        async with asyncio.timeout(ANSWER_S):
            await place.calls.wait_empty()
