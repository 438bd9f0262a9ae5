"""The door of the Realtime API on real sockets: who comes in, what they say and hear, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from legato.agents.base import Agent, Call, Speech
from legato.agents.echo import echo
from legato.core.audio import AudioFrame
from legato.core.errors import AgentError
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Limits
from legato.server.auth import Authority
from legato.server.auth_settings import hash_of_key
from legato.server.realtime_door import MOST_SIDEBANDS, RealtimeDoor
from legato.server.sessions import CallTerms, LiveCalls
from legato.server.settings import ServerSettings
from legato.testing.realtime import check_server_events
from legato.transports.websocket_upgrade import ServerWebSocket
from legato.trust import new_api_key

ANSWER_S = 60
KEY, OTHER_KEY = new_api_key(), new_api_key()
FRAME = bytes(range(256)) * 3 + bytes(192)
DELTA = "response.output_audio.delta"


class House:
    """Live calls behind a door on a loopback port."""

    def __init__(self, agent: Agent, limits: Limits, authority: Authority) -> None:
        self.calls = LiveCalls(CallTerms(agent, limits=limits))
        self.authority = authority
        self.reason: str | None = None
        self.door = RealtimeDoor(self.calls, authority, lambda: self.reason)
        self.connections: set[object] = set()
        self.port = 0

    def protocol(self) -> ServerWebSocket:
        return ServerWebSocket(self.door.open, connections=self.connections)

    def call(self, query: str = "", key: str | None = KEY, **more: Any) -> connect:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        url = f"ws://127.0.0.1:{self.port}/v1/realtime{query}"
        return connect(url, additional_headers=headers, max_size=None, compression=None, proxy=None, **more)


@asynccontextmanager
async def house(agent: Agent = echo, limits: Limits | None = None, **key: object) -> AsyncIterator[House]:
    keys = [
        {"name": "web", "hash": hash_of_key(KEY), **key},
        {"name": "other", "hash": hash_of_key(OTHER_KEY)},
    ]
    settings = ServerSettings.model_validate({"auth": {"keys": keys}})
    made = House(agent, limits or Limits(), Authority(settings))
    server = await asyncio.get_running_loop().create_server(made.protocol, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.calls.close_all(SessionCode.GOING_AWAY, "the test is over")
        made.calls.cancel_agents()
        async with asyncio.timeout(ANSWER_S):
            await made.calls.wait_empty()
        server.close()
        for connection in list(made.connections):
            assert isinstance(connection, ServerWebSocket)
            connection._transport.abort()
        await server.wait_closed()


async def eventually(done: Callable[[], bool]) -> None:
    """Let everybody else work until it is so."""
    async with asyncio.timeout(ANSWER_S):
        while not done():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)


async def until(connection: ClientConnection, *types: str) -> list[dict[str, Any]]:
    """Everything up to the first event of one of these types."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(ANSWER_S):
        while not found or found[-1]["type"] not in types:
            found.append(json.loads(await connection.recv()))
    return found


async def close_of(connection: ClientConnection) -> tuple[int, str, list[dict[str, Any]]]:
    """How the server closes, and what it said before."""
    said: list[dict[str, Any]] = []
    async with asyncio.timeout(ANSWER_S):
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                said.append(json.loads(await connection.recv()))
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason, said


async def refusal(call: connect) -> tuple[int, dict[str, Any], Any]:
    """Status, error and headers of a refused upgrade."""
    with pytest.raises(InvalidStatus) as refused:
        async with call:
            raise AssertionError("the call was taken")
    response = refused.value.response
    assert response.headers["Content-Type"] == "application/json"
    return response.status_code, json.loads(bytes(response.body or b""))["error"], response.headers


def append(audio: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()})


async def waiting(call: Call) -> None:
    """An agent that listens and says nothing."""
    async for _ in call.audio:
        pass


class TestWhoComesIn:
    async def test_a_key_as_bearer(self) -> None:
        async with house() as place, place.call() as caller:
            (created,) = await until(caller, "session.created")
            assert caller.response is not None
            call_id = caller.response.headers["x-legato-call-id"]
            assert place.calls.find(call_id) is not None
            assert created["session"]["type"] == "realtime"
            assert caller.subprotocol is None

    async def test_a_key_as_subprotocol_is_never_echoed(self) -> None:
        offered = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-agents-sdk.0.20.0"]
        async with house() as place, place.call(key=None, subprotocols=offered) as caller:
            assert caller.subprotocol == "realtime"
            await until(caller, "session.created")

    async def test_nobody_without_a_key(self) -> None:
        async with house() as place:
            status, error, headers = await refusal(place.call(key=None))
            assert (status, error["code"], error["type"]) == (401, "missing_api_key", "invalid_request_error")
            assert headers["WWW-Authenticate"] == "Bearer"
            status, error, _ = await refusal(place.call(key="sk-wrong"))
            assert (status, error["code"]) == (401, "invalid_api_key")
            assert len(place.calls) == 0

    async def test_no_more_calls_than_the_key_may_have(self) -> None:
        async with house_with_key_limits({"calls": 1}) as place, place.call() as caller:
            await until(caller, "session.created")
            status, error, _ = await refusal(place.call())
            assert (status, error["type"]) == (429, "rate_limit_error")
            async with place.call(key=OTHER_KEY) as other:
                await until(other, "session.created")
            assert caller.state.name == "OPEN"

    async def test_nobody_while_the_server_takes_no_calls(self) -> None:
        async with house() as place, place.call() as caller:
            assert caller.response is not None
            call_id = caller.response.headers["x-legato-call-id"]
            place.reason = "draining"
            status, error, headers = await refusal(place.call())
            assert (status, error["code"], error["type"]) == (503, "draining", "server_error")
            assert headers["Retry-After"] == "1"
            async with place.call(f"?call_id={call_id}") as side:
                await until(side, "session.created")


@asynccontextmanager
async def house_with_key_limits(limits: dict[str, object], agent: Agent = echo) -> AsyncIterator[House]:
    settings = ServerSettings.model_validate(
        {
            "auth": {
                "keys": [
                    {"name": "web", "hash": hash_of_key(KEY), "limits": limits},
                    {"name": "other", "hash": hash_of_key(OTHER_KEY)},
                ]
            }
        }
    )
    async with house(agent) as place:
        place.authority = Authority(settings)
        place.door = RealtimeDoor(place.calls, place.authority, lambda: place.reason)
        yield place


class TestWhatIsAskedFor:
    @pytest.mark.parametrize(
        "query", ["?model=gpt-x&foo=bar&foo=baz", "?model=gpt-x&", "?%ff=%ff&model=gpt-x"]
    )
    async def test_a_model_and_whatever_else(self, query: str) -> None:
        async with house() as place, place.call(query) as caller:
            (created,) = await until(caller, "session.created")
            assert created["session"]["model"] == "gpt-x"

    async def test_nothing_at_all(self) -> None:
        async with house() as place, place.call() as caller:
            (created,) = await until(caller, "session.created")
            assert created["session"]["model"] == "legato"

    async def test_transcription(self) -> None:
        async with house() as place, place.call("?intent=transcription") as caller:
            (created,) = await until(caller, "session.created")
            assert created["session"]["type"] == "transcription"

    async def test_too_much(self) -> None:
        async with house() as place:
            status, error, _ = await refusal(place.call("?" + "a=b&" * 100))
            assert (status, error["code"]) == (400, "invalid_url")


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
        async with house_with_key_limits({"event_bytes": 2000}) as place, place.call() as caller:
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


class TestEnds:
    async def test_the_agent_is_done(self) -> None:
        async def hello(call: Call) -> None:
            async def content() -> AsyncIterator[Speech]:
                yield Speech(bytes(480), 24_000, "bye")

            call.say(content())

        async with house(hello) as place, place.call() as caller:
            code, _, said = await close_of(caller)
            assert code == 1000
            assert said[-1]["type"] == "response.done"
            check_server_events(said)

    async def test_the_agent_fails(self) -> None:
        async def fails(call: Call) -> None:
            raise AgentError("the model is not there")

        async with house(fails) as place, place.call() as caller:
            code, reason, said = await close_of(caller)
            assert (code, reason) == (1011, "the model is not there")
            assert said[-1]["type"] == "error"
            assert said[-1]["error"]["message"] == "the model is not there"
            assert said[-1]["error"]["type"] == "server_error"

    async def test_the_caller_leaves(self) -> None:
        async with house() as place:
            async with place.call() as caller:
                await until(caller, "session.created")
                assert len(place.calls) == 1
            async with asyncio.timeout(ANSWER_S):
                await place.calls.wait_empty()

    async def test_the_server_stops(self) -> None:
        async with house(waiting) as place, place.call() as caller:
            await until(caller, "conversation.created")
            place.calls.going_away(30)
            code, reason, _ = await close_of(caller)
            assert (code, reason) == (1012, "the server goes away")

    async def test_the_call_has_lasted_as_long_as_it_may(self) -> None:
        async with house_with_key_limits({"session_seconds": 0.05}, waiting) as place, place.call() as caller:
            code, reason, _ = await close_of(caller)
            assert (code, reason) == (1001, "the call lasted too long")

    async def test_too_much_at_once_for_the_agent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("legato.server.call.UNREAD_PIECES", 100)

        async def deaf(call: Call) -> None:
            await asyncio.Event().wait()

        async with house(deaf, Limits(unread_ms=10**9, unread_bytes=10**9)) as place, place.call() as caller:
            await until(caller, "conversation.created")
            for _ in range(101):
                await caller.send(append(b"\x00\x00"))
            code, reason, said = await close_of(caller)
            assert (code, reason) == (1008, "too many pieces of audio wait")
            assert said[-1]["error"]["code"] == "limit_exceeded"


class TestSidebands:
    @asynccontextmanager
    async def attached(
        self, place: House, key: str = KEY, caller_key: str = KEY
    ) -> AsyncIterator[tuple[ClientConnection, ClientConnection]]:
        async with place.call(key=caller_key) as caller:
            assert caller.response is not None
            call_id = caller.response.headers["x-legato-call-id"]
            async with place.call(f"?call_id={call_id}", key=key) as side:
                assert side.response is not None
                assert side.response.headers["x-legato-call-id"] == call_id
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

    async def test_audio_of_a_secret_that_may_not_append_is_refused(self) -> None:
        async with house() as place:
            narrow = place.authority.issue(place.authority.admit(KEY), None, 60, ["session.update"])
            async with place.call(key=narrow.value) as caller:
                await caller.send(append(FRAME))
                error = (await until(caller, "error"))[-1]["error"]
                assert error["code"] == "event_not_allowed"

    async def test_a_call_of_somebody_else_looks_like_none(self) -> None:
        async with house(waiting) as place, place.call() as caller:
            assert caller.response is not None
            call_id = caller.response.headers["x-legato-call-id"]
            answers = [
                await refusal(place.call(f"?call_id={name}", key=OTHER_KEY))
                for name in (call_id, "call_0123456789abcdef", "")
            ]
            assert {status for status, _, _ in answers[:2]} == {404}
            assert answers[0][1] == answers[1][1]

    async def test_there_are_not_too_many(self) -> None:
        async with house(waiting) as place, place.call() as caller:
            assert caller.response is not None
            query = f"?call_id={caller.response.headers['x-legato-call-id']}"
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
            assert caller.response is not None
            await side.close()
            async with place.call(f"?call_id={caller.response.headers['x-legato-call-id']}") as second:
                await until(second, "session.created")
                await caller.close()
                code, reason, _ = await close_of(second)
                assert (code, reason) == (1000, "the call is over")
