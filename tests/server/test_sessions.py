"""The lives of calls and their agents: who ends whom, and what is said about it."""

import asyncio

import pytest
from tests.server.calls import ANYONE, Held, Incoming, dial, speech

from legato.agents.base import Call
from legato.core.events import Welcomed
from legato.core.wire.codes import SessionCode
from legato.server.native_door import NativeDoor
from legato.server.sessions import CallTerms, LiveCalls
from legato.testing.transports import Recorder
from legato.transports.memory import memory_pair


async def test_an_agent_that_returns_ends_the_call_after_what_it_said() -> None:
    async def polite(call: Call) -> None:
        call.say(speech("Goodbye."))

    caller, calls = await dial(polite)
    await caller.until(lambda: caller.whole == 1 and "response.done" in caller.types)
    assert caller.ended is None
    caller.play(1000)
    await caller.until(lambda: caller.ended is not None)
    assert caller.ended is not None
    assert caller.ended.code == SessionCode.NO_ERROR
    await calls.wait_empty()


async def test_an_agent_that_fails_ends_only_its_call() -> None:
    async def broken(call: Call) -> None:
        raise RuntimeError("a bug")

    caller, calls = await dial(broken)
    await caller.until(lambda: caller.ended is not None)
    assert caller.ended is not None
    assert caller.ended.code == SessionCode.AGENT_ERROR
    assert "a bug" not in caller.ended.reason
    await calls.wait_empty()


async def test_who_has_not_said_hello_when_the_server_leaves_is_sent_away_at_once() -> None:
    calls = LiveCalls(CallTerms(Held()))
    incoming = Incoming()
    NativeDoor(calls, ANYONE).open(incoming)
    assert incoming.make is not None
    heard = Recorder()
    memory_pair(lambda _: heard, incoming.make)
    calls.going_away(60_000)
    await calls.wait_empty()
    await heard.until(lambda: heard.end is not None, "the end is reported")
    assert heard.end is not None
    assert heard.end[:2] == ("peer", SessionCode.GOING_AWAY)


async def test_an_agent_that_outlives_its_call_is_cancelled_and_one_that_ignores_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("legato.server.sessions.AGENT_GRACE_S", 0.02)
    cancelled, named, let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()
    monkeypatch.setattr("legato.server.sessions.LiveCall._complain", lambda _: named.set())

    async def stubborn(call: Call) -> None:
        try:
            await let_go.wait()
        except asyncio.CancelledError:
            cancelled.set()
            await let_go.wait()

    caller, calls = await dial(stubborn)
    await caller.until(lambda: any(isinstance(event, Welcomed) for event in caller.events))
    caller.session.close(0, "", 0)
    caller.driver.settle()
    await asyncio.wait_for(cancelled.wait(), 60)
    await asyncio.wait_for(named.wait(), 60)
    assert len(calls) == 1
    let_go.set()
    await asyncio.wait_for(calls.wait_empty(), 60)


async def test_going_away_is_announced_and_then_done() -> None:
    agent = Held()
    caller, calls = await dial(agent)
    await agent.call
    calls.going_away(5)
    await caller.until(lambda: caller.ended is not None)
    assert caller.ended is not None
    assert caller.ended.code == SessionCode.GOING_AWAY
    agent.release.set()
    await calls.wait_empty()
