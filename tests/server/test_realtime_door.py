"""The door of the Realtime API on real sockets: who comes in, what they ask for, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.server.realtime_house import (
    ANSWER_S,
    KEY,
    OTHER_KEY,
    append,
    call_id_of,
    close_of,
    house,
    refusal,
    until,
    waiting,
)

from legato.agents.base import Call, Speech
from legato.core.errors import AgentError
from legato.core.wire.messages import Limits
from legato.testing.realtime import check_server_events


class TestWhoComesIn:
    async def test_a_key_as_bearer(self) -> None:
        async with house() as place, place.call() as caller:
            (created,) = await until(caller, "session.created")
            call_id = call_id_of(caller)
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
        async with house(key_limits={"calls": 1}) as place, place.call() as caller:
            await until(caller, "session.created")
            status, error, _ = await refusal(place.call())
            assert (status, error["type"]) == (429, "rate_limit_error")
            async with place.call(key=OTHER_KEY) as other:
                await until(other, "session.created")
            assert caller.state.name == "OPEN"

    async def test_nobody_while_the_server_takes_no_calls(self) -> None:
        async with house() as place, place.call() as caller:
            call_id = call_id_of(caller)
            place.reason = "draining"
            status, error, headers = await refusal(place.call())
            assert (status, error["code"], error["type"]) == (503, "draining", "server_error")
            assert headers["Retry-After"] == "1"
            async with place.call(f"?call_id={call_id}") as side:
                await until(side, "session.created")


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
        async with house(waiting, key_limits={"session_seconds": 0.05}) as place, place.call() as caller:
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
