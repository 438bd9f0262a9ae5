"""The Realtime API on a whole server: one port with TLS, plain HTTP beside WebSockets, and the end."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from legato import Call, Server, ServerSettings
from legato.core.wire.messages import JsonObject
from legato.server.realtime_http import REALTIME_PATH

ANSWER_S = 60


pytestmark = pytest.mark.usefixtures("state_directory")


async def waiting(call: Call) -> None:
    async for _ in call.audio:
        pass


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    settings = ServerSettings.model_validate({"listen": {"port": 0}, "auth": {"required": False}})
    async with Server(settings, waiting) as server:
        yield server


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def calling(server: Server, path: str = REALTIME_PATH) -> connect:
    return connect(f"wss://127.0.0.1:{server.port}{path}", ssl=trusting(), compression=None, proxy=None)


def asking(server: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"https://127.0.0.1:{server.port}", verify=trusting())


async def first(connection: ClientConnection) -> JsonObject:
    async with asyncio.timeout(ANSWER_S):
        event: JsonObject = json.loads(await connection.recv())
        return event


async def close_code(connection: ClientConnection) -> int:
    async with asyncio.timeout(ANSWER_S):
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await connection.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


async def test_calls_and_pages_share_a_port(server: Server) -> None:
    async with calling(server) as caller, asking(server) as http:
        assert (await first(caller))["type"] == "session.created"
        assert (await http.get("/healthz")).status_code == 200
        assert server.calls == 1


async def test_no_page_where_a_websocket_is_needed(server: Server) -> None:
    async with asking(server) as http:
        answer = await http.get(REALTIME_PATH)
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    assert answer.json()["error"]["code"] == "upgrade_required"


@pytest.mark.parametrize("path", ["/calls", "/calls/call_1/hangup", "/"])
async def test_what_openai_has_and_legato_has_not_is_refused_as_openai_does(
    server: Server, path: str
) -> None:
    async with asking(server) as http:
        answer = await http.post(REALTIME_PATH + path)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("not_found", "invalid_request_error")
    assert "there is no WebRTC" in error["message"]


async def test_no_websocket_where_none_is(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with calling(server, "/v1/elsewhere"):
            raise AssertionError("the call was taken")
    assert refused.value.response.status_code == 404
    error = json.loads(bytes(refused.value.response.body or b""))["error"]
    assert error["code"] == "not_found"
    assert REALTIME_PATH in error["message"]


async def test_client_secrets_are_made_and_open_calls(server: Server) -> None:
    session = {"type": "realtime", "instructions": "be brief"}
    async with asking(server) as http:
        answer = await http.post("/v1/realtime/client_secrets", json={"session": session})
    secret = answer.json()["value"]
    headers = {"Authorization": f"Bearer {secret}"}
    url = f"wss://127.0.0.1:{server.port}{REALTIME_PATH}"
    async with connect(url, ssl=trusting(), additional_headers=headers, proxy=None) as caller:
        assert (await first(caller))["session"]["instructions"] == "be brief"


async def test_a_page_from_elsewhere_may_not_call_without_a_key(server: Server) -> None:
    url = f"wss://127.0.0.1:{server.port}{REALTIME_PATH}"
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url, ssl=trusting(), origin="https://evil.example", proxy=None):  # type: ignore[arg-type]
            raise AssertionError("the call was taken")
    assert refused.value.response.status_code == 403


async def test_a_drain_lets_calls_end_and_takes_no_more(server: Server) -> None:
    async with calling(server) as caller:
        await first(caller)
        draining = asyncio.create_task(server.drain(0.2))
        await asyncio.sleep(0)
        with pytest.raises(InvalidStatus) as refused:
            async with calling(server):
                raise AssertionError("the call was taken")
        assert refused.value.response.status_code == 503
        assert await close_code(caller) == 1012
        await draining


async def test_a_stop_ends_calls_at_once(server: Server) -> None:
    async with calling(server) as caller:
        await first(caller)
        stopping = asyncio.create_task(server.stop())
        assert await close_code(caller) == 1012
        await stopping
        assert server.calls == 0
