"""A server's door of the Realtime API on a loopback port, and stock clients that come to it."""

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

from legato.agents.base import Agent, Call
from legato.agents.echo import echo
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Limits
from legato.server.auth import Authority
from legato.server.auth_settings import hash_of_key
from legato.server.realtime_door import RealtimeDoor
from legato.server.sessions import CallTerms, LiveCalls
from legato.server.settings import ServerSettings
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
async def house(
    agent: Agent = echo, limits: Limits | None = None, key_limits: dict[str, object] | None = None
) -> AsyncIterator[House]:
    """Two keys open its door; the first has the limits of `key_limits`."""
    keys = [
        {"name": "web", "hash": hash_of_key(KEY), "limits": key_limits or {}},
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


def call_id_of(connection: ClientConnection) -> str:
    """The id that the server gave to a call when it let it in."""
    assert connection.response is not None
    return connection.response.headers["x-legato-call-id"]


def append(audio: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()})


async def waiting(call: Call) -> None:
    """An agent that listens and says nothing."""
    async for _ in call.audio:
        pass
