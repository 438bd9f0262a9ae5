"""Connections beside a call on real sockets: what they see, what they may say, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.server.realtime_house import (
    ANSWER_S,
    DELTA,
    FRAME,
    KEY,
    OTHER_KEY,
    House,
    append,
    call_id_of,
    close_of,
    eventually,
    house,
    refusal,
    until,
    waiting,
)
from websockets.asyncio.client import ClientConnection

from legato.agents.base import Call
from legato.server.realtime_door import MOST_SIDEBANDS


class TestSidebands:
    @asynccontextmanager
    async def attached(
        self, place: House, key: str = KEY, caller_key: str = KEY
    ) -> AsyncIterator[tuple[ClientConnection, ClientConnection]]:
        async with place.call(key=caller_key) as caller:
            call_id = call_id_of(caller)
            async with place.call(f"?call_id={call_id}", key=key) as side:
                assert call_id_of(side) == call_id
                yield caller, side

    async def test_it_sees_the_events_but_no_audio(self) -> None:
        async with house() as place, self.attached(place) as (caller, side):
            seen = await until(side, "session.created")
            await until(caller, "conversation.created")
            await caller.send(append(FRAME))
            await until(caller, DELTA)
            await caller.send("{}")  # refused on the spot, which concerns the sender only
            await caller.send(json.dumps({"type": "response.cancel"}))
            seen += await until(side, "response.done")
            assert DELTA not in {event["type"] for event in seen}
            assert "response.output_item.added" in {event["type"] for event in seen}
            assert "error" not in {event["type"] for event in seen}
            assert len({event["event_id"] for event in seen}) == len(seen)

    async def test_what_it_says_is_done(self) -> None:
        async with house(waiting) as place, self.attached(place) as (caller, side):
            update = {"type": "session.update", "session": {"type": "realtime", "instructions": "whisper"}}
            await side.send(json.dumps(update))
            for connection in (caller, side):
                updated = (await until(connection, "session.updated"))[-1]
                assert updated["session"]["instructions"] == "whisper"

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            (append(FRAME), "event_not_allowed"),
            (b"binary", "invalid_message"),
            ("nonsense", "invalid_json"),
        ],
    )
    async def test_what_it_may_not_say_is_told_to_it_alone(self, said: str | bytes, code: str) -> None:
        async with house(waiting) as place, self.attached(place) as (caller, side):
            await side.send(said)
            assert (await until(side, "error"))[-1]["error"]["code"] == code
            await side.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
            told = await until(caller, "session.updated")
            assert "error" not in {event["type"] for event in told}

    async def test_a_key_may_say_what_its_client_secret_may_not(self) -> None:
        async with house(waiting) as place:
            narrow = place.authority.issue(
                place.authority.admit(KEY), None, 60, ["input_audio_buffer.append"]
            )
            update = json.dumps({"type": "session.update", "session": {"type": "realtime"}})
            async with self.attached(place, caller_key=narrow.value) as (caller, side):
                await caller.send(update)
                assert (await until(caller, "error"))[-1]["error"]["code"] == "event_not_allowed"
                await side.send(update)
                await until(caller, "session.updated")

    async def test_a_call_of_somebody_else_looks_like_none(self) -> None:
        async with house(waiting) as place, place.call() as caller:
            call_id = call_id_of(caller)
            answers = [
                await refusal(place.call(f"?call_id={name}", key=OTHER_KEY))
                for name in (call_id, "call_0123456789abcdef", "")
            ]
            assert {status for status, _, _ in answers[:2]} == {404}
            assert answers[0][1] == answers[1][1]

    async def test_a_call_whose_agent_lingers_is_over(self) -> None:
        ended, release = asyncio.Event(), asyncio.Event()

        async def lingering(call: Call) -> None:
            await waiting(call)
            ended.set()
            await release.wait()

        async with house(lingering) as place:
            async with place.call() as caller:
                call_id = call_id_of(caller)
            await asyncio.wait_for(ended.wait(), ANSWER_S)
            status, error, _ = await refusal(place.call(f"?call_id={call_id}"))
            assert (status, error["code"]) == (404, "call_id_not_found")
            release.set()

    async def test_there_are_not_too_many(self) -> None:
        async with house(waiting) as place, place.call() as caller:
            query = f"?call_id={call_id_of(caller)}"
            sides = [await place.call(query) for _ in range(MOST_SIDEBANDS)]
            status, error, _ = await refusal(place.call(query))
            assert (status, error["code"]) == (429, "too_many_attached")
            await sides.pop().close()
            live = place.calls.find(query.removeprefix("?call_id="))
            assert live is not None
            await eventually(lambda: live.attended < MOST_SIDEBANDS)
            async with place.call(query) as again:
                await until(again, "session.created")
            for side in sides:
                await side.close()

    async def test_it_ends_with_the_call_and_the_call_not_with_it(self) -> None:
        async with house(waiting) as place, self.attached(place) as (caller, side):
            await side.close()
            async with place.call(f"?call_id={call_id_of(caller)}") as second:
                await until(second, "session.created")
                await caller.close()
                code, reason, _ = await close_of(second)
                assert (code, reason) == (1000, "the call is over")
