"""Calls of stock clients on real sockets: what they say and hear, and who waits for whom."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import pytest
from tests.server.realtime_house import (
    ANSWER_S,
    DELTA,
    FRAME,
    KEY,
    append,
    close_of,
    eventually,
    house,
    until,
    waiting,
)

from legato.agents.base import Call, Speech
from legato.core.audio import AudioFrame
from legato.core.wire.messages import Limits
from legato.testing.realtime import check_server_events
from legato.transports.websocket_upgrade import ServerWebSocket


class TestCalls:
    async def test_audio_comes_back_among_the_events_of_a_response(self) -> None:
        async with house() as place, place.call() as caller:
            for _ in range(3):
                await caller.send(append(FRAME))
            heard = await until(caller, DELTA)
            heard += [json.loads(await caller.recv()) for _ in range(2)]
            deltas = [event for event in heard if event["type"] == DELTA]
            assert [base64.b64decode(event["delta"]) for event in deltas] == [FRAME] * 3
            created = next(event for event in heard if event["type"] == "response.created")
            added = next(event for event in heard if event["type"] == "response.output_item.added")
            assert {event["response_id"] for event in deltas} == {created["response"]["id"]}
            assert {event["item_id"] for event in deltas} == {added["item"]["id"]}
            assert {(event["output_index"], event["content_index"]) for event in deltas} == {(0, 0)}
            check_server_events(heard, ended=False)

    async def test_the_format_of_the_session(self) -> None:
        form = {"type": "audio/pcmu"}
        update = {
            "type": "session.update",
            "session": {"type": "realtime", "audio": {"input": {"format": form}, "output": {"format": form}}},
        }
        async with house() as place, place.call() as caller:
            await caller.send(json.dumps(update))
            await until(caller, "session.updated")
            await caller.send(append(b"\xff\x01\x02"))
            heard = await until(caller, DELTA)
            assert base64.b64decode(heard[-1]["delta"]) == b"\xff\x01\x02"

    async def test_a_spoken_answer_can_be_retrieved_with_its_audio(self) -> None:
        spoken = bytes(2 * 2400)

        async def says(call: Call) -> None:
            async def content() -> AsyncIterator[Speech]:
                yield Speech(spoken, 24_000, "hello")

            call.say(content())
            await waiting(call)

        async with house(says) as place, place.call() as caller:
            heard = await until(caller, "response.done")
            item_id = next(event["item_id"] for event in heard if event["type"] == DELTA)
            await caller.send(json.dumps({"type": "conversation.item.retrieve", "item_id": item_id}))
            heard += await until(caller, "conversation.item.retrieved")
            (part,) = heard[-1]["item"]["content"]
            assert base64.b64decode(part["audio"]) == spoken
            assert part["transcript"] == "hello"
            check_server_events(heard, ended=False)

    async def test_nothing_of_legatos_own_is_said(self) -> None:
        async def talks(call: Call) -> None:
            call.send({"type": "app.note", "text": "for native clients"})
            call.send({"type": "session.updated", "session": {}})
            await waiting(call)

        async with house(talks) as place, place.call() as caller:
            heard = await until(caller, "session.updated")
            assert [event["type"] for event in heard] == [
                "session.created",
                "conversation.created",
                "session.updated",
            ]

    @pytest.mark.parametrize(
        ("said", "code", "param", "event_id"),
        [
            ("{", "invalid_json", None, None),
            (b"binary", "invalid_message", None, None),
            ("{}", "missing_required_parameter", "type", None),
            ('{"type":"app.note","event_id":"e1"}', "invalid_value", "type", "e1"),
            ('{"type":"legato.hello"}', "invalid_value", "type", None),
            (
                '{"type":"input_audio_buffer.append","audio":"%%%","event_id":"e2"}',
                "invalid_value",
                "audio",
                "e2",
            ),
            ('{"type":"input_audio_buffer.append"}', "missing_required_parameter", "audio", None),
            ('{"type":"input_audio_buffer.append","audio":"YWJj"}', "invalid_value", "audio", None),
        ],
    )
    async def test_a_mistake_is_told_and_the_call_goes_on(
        self, said: str | bytes, code: str, param: str | None, event_id: str | None
    ) -> None:
        async with house() as place, place.call() as caller:
            await caller.send(said)
            heard = await until(caller, "error")
            error = heard[-1]["error"]
            assert (error["code"], error["param"], error["event_id"]) == (code, param, event_id)
            check_server_events(heard, ended=False)
            await caller.send(append(FRAME))
            await until(caller, DELTA)

    async def test_a_message_beyond_the_limit_of_the_key_ends_the_call(self) -> None:
        async with house(key_limits={"event_bytes": 2000}) as place, place.call() as caller:
            await caller.send(append(FRAME))
            await until(caller, DELTA)
            await caller.send(append(FRAME * 2))
            code, reason, _ = await close_of(caller)
            assert code == 1009
            assert "2000" in reason

    async def test_audio_that_nobody_reads_holds_the_client(self) -> None:
        read = asyncio.Event()
        frames: list[AudioFrame] = []

        async def late(call: Call) -> None:
            await read.wait()
            async for item in call.audio:
                assert isinstance(item, AudioFrame)
                frames.append(item)
                if frames[-1].end >= 24_000 * 40:
                    break

        async with house(late, Limits(unread_ms=2000)) as place, place.call() as caller:
            await until(caller, "conversation.created")

            async def send() -> None:
                for _ in range(400):
                    await caller.send(append(bytes(4800)))  # 100 ms

            sending = asyncio.create_task(send())
            (connection,) = place.connections
            assert isinstance(connection, ServerWebSocket)
            await eventually(lambda: not connection._reading)
            (live,) = place.calls._calls.values()
            assert live.call.unread <= 25
            read.set()
            await sending
            code, _, _ = await close_of(caller)
            assert code == 1000
            assert sum(frame.samples for frame in frames) == 24_000 * 40

    async def test_a_client_that_does_not_read_holds_the_agent(self) -> None:
        sent = 0

        async def talks(call: Call) -> None:
            async def content() -> AsyncIterator[Speech]:
                nonlocal sent
                while True:
                    sent += 1
                    yield Speech(bytes(48_000), 24_000)

            await call.say(content()).finished

        async with house(talks) as place, place.call(max_queue=1, close_timeout=0.1) as caller:
            await until(caller, DELTA)
            (connection,) = place.connections
            assert isinstance(connection, ServerWebSocket)
            await eventually(lambda: connection.congested)
            before = sent
            for _ in range(50):
                await asyncio.sleep(0)
            assert sent <= before + 1
            assert connection.buffered < 300_000
            # Reading again lets it go on.
            async with asyncio.timeout(ANSWER_S):
                while sent <= before + 3:
                    await caller.recv()

    async def test_audio_of_a_secret_that_may_not_append_is_refused(self) -> None:
        async with house() as place:
            narrow = place.authority.issue(place.authority.admit(KEY), None, 60, ["session.update"])
            async with place.call(key=narrow.value) as caller:
                await caller.send(append(FRAME))
                error = (await until(caller, "error"))[-1]["error"]
                assert error["code"] == "event_not_allowed"
