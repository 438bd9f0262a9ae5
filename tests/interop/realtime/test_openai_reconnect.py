"""What the stock `openai` package does when a server goes away, and what it finds when it comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.websocket_reconnection import ReconnectingEvent, ReconnectingOverrides
from tests.interop.realtime.calling import TEXT, message
from tests.interop.realtime.recording import LIMIT_S, Tapped
from tests.interop.realtime.stage import Stage
from websockets.exceptions import ConnectionClosed, InvalidStatus

from legato import Server, ServerSettings
from legato.testing.realtime import check_server_events
from legato.testing.scripted_endpoint import Hold, ScriptedEndpoint

pytestmark = pytest.mark.slow

Start = Callable[[int], Awaitable[Server]]


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with ScriptedEndpoint() as running:
        yield running


@pytest.fixture
async def start(server: Stage, endpoint: ScriptedEndpoint) -> AsyncIterator[Start]:
    """Start servers one after the other; the certificate and the key are the same for all."""
    running: list[Server] = []

    async def serve(port: int) -> Server:
        assistant = {"llm": "openai", "llm_url": endpoint.url}
        running.append(
            Server(ServerSettings.model_validate({"listen": {"port": port}, "assistant": assistant}))
        )
        await running[-1].start()
        return running[-1]

    yield serve
    for one in running:
        await one.stop()


async def answered(talk: Tapped, connection: Any) -> None:
    """Use the connection as the package wants it, in a loop; until a response is done."""
    async with asyncio.timeout(LIMIT_S):
        async for event in connection:
            if event.type == "response.done":
                return
    raise AssertionError(f"the connection ended after {talk.events[-1]}")


async def test_a_server_that_restarts_is_found_again(start: Start, endpoint: ScriptedEndpoint) -> None:
    """The hook may name the call that was lost; what is sent in between is queued and arrives."""
    first = await start(0)
    lost, attempts = asyncio.Event(), list[ReconnectingEvent]()

    def reconnecting(event: ReconnectingEvent) -> ReconnectingOverrides:
        attempts.append(event)
        lost.set()
        call = talk.the("session.created")["session"]["id"]
        return {"extra_query": {**event.extra_query, "lost_call": call}}

    async with (
        AsyncOpenAI(base_url=f"https://localhost:{first.port}/v1") as client,
        client.realtime.connect(
            model="legato", on_reconnecting=reconnecting, initial_delay=0.05, max_retries=10
        ) as connection,
    ):
        talk = Tapped(connection)
        await connection.session.update(session=TEXT)
        await connection.conversation.item.create(item=message("before"))
        await connection.response.create()
        await answered(talk, connection)
        before = list(talk.events)
        reading = asyncio.create_task(answered(talk, connection))
        await first.stop()
        await lost.wait()
        await connection.session.update(session=TEXT)
        await connection.conversation.item.create(item=message("after"))
        await connection.response.create()
        await start(first.port)
        await reading
    after = talk.events[len(before) :]
    assert attempts[0].close_code == 1012
    assert attempts[-1].extra_query.get("lost_call", before[0]["session"]["id"]) == before[0]["session"]["id"]
    assert after[0]["type"] == "session.created"
    assert after[0]["session"]["id"] != before[0]["session"]["id"]
    assert [chat["messages"][-1]["content"] for chat in endpoint.chats] == ["before", "after"]
    for events in (before, after):
        check_server_events(events)
        assert not [event for event in events if event["type"] == "error"]


async def test_a_session_outlives_its_connection(start: Start, endpoint: ScriptedEndpoint) -> None:
    """The hook names the session and the last event: nothing is missing and nothing comes twice."""
    running = await start(0)
    hold = Hold()
    endpoint.answers.extend([["Hello."], [hold, "Hello again."]])

    def reconnecting(event: ReconnectingEvent) -> ReconnectingOverrides:
        hold.release()
        session = talk.the("session.created")["session"]["id"]
        words = {"legato_resume": session, "legato_after": talk.events[-1]["event_id"]}
        return {"extra_query": {**event.extra_query, **words}}

    async with (
        AsyncOpenAI(base_url=f"https://localhost:{running.port}/v1") as client,
        client.realtime.connect(
            model="legato",
            on_reconnecting=reconnecting,
            initial_delay=0.05,
            max_retries=10,
            extra_query={"legato_resume": "on"},
        ) as connection,
    ):
        talk = Tapped(connection)
        await connection.session.update(session=TEXT)
        await connection.conversation.item.create(item=message("before"))
        await connection.response.create()
        await answered(talk, connection)
        await connection.conversation.item.create(item=message("after"))
        await connection.response.create()
        async with asyncio.timeout(LIMIT_S):
            await hold.reached.wait()
        connection._connection.transport.abort()
        await answered(talk, connection)
    assert hold.released.is_set()
    asked = [chat["messages"][-1]["content"] for chat in endpoint.chats]
    assert asked == ["before", "after"], "one conversation"
    assert talk.the("session.created")
    talk.check()


async def test_without_the_hook_the_end_is_told(start: Start) -> None:
    running = await start(0)
    async with (
        AsyncOpenAI(base_url=f"https://localhost:{running.port}/v1") as client,
        client.realtime.connect(model="legato") as connection,
    ):
        talk = Tapped(connection)
        await talk.until("conversation.created")
        await running.stop()
        try:
            await talk.until("response.done")
        except ConnectionClosed as end:
            closed = end.rcvd
    assert closed is not None
    assert (closed.code, closed.reason) == (1012, "the server stops")


async def test_a_call_goes_on_while_the_server_drains(start: Start) -> None:
    running = await start(0)
    async with AsyncOpenAI(base_url=f"https://localhost:{running.port}/v1") as client:
        async with client.realtime.connect(model="legato") as connection:
            talk = Tapped(connection)
            await connection.session.update(session=TEXT)
            await talk.until("session.updated")
            draining = asyncio.create_task(running.drain(20))
            with pytest.raises(InvalidStatus) as refused:
                await client.realtime.connect(model="legato").enter()
            await connection.conversation.item.create(item=message("still there?"))
            await connection.response.create()
            await talk.until("response.done")
        await asyncio.wait_for(draining, LIMIT_S)
    assert refused.value.response.status_code == 503
    talk.check()
