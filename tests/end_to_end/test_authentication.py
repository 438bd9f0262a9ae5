"""Who is let in by a real server, and what the others are told."""

import asyncio
import dataclasses
import json
import ssl
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import websockets
from tests.end_to_end.conftest import StartServer
from tests.end_to_end.relay import Relay

from legato import AudioFormat, Call, ClientSettings, ConnectError, RealtimeSession, Server, connect
from legato.client.address import resolve_target
from legato.client.events import ServerEvent
from legato.core.wire.codes import SessionCode
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import Hello
from legato.core.wire.records import control_record
from legato.server.auth import Authority, Unauthorized
from legato.server.auth_settings import hash_of_key
from legato.testing.transports import Recorder
from legato.transports.webtransport import WebTransportEndpoint
from legato.trust import DEVELOPMENT_CERTIFICATE, DEVELOPMENT_KEY, new_api_key, state_directory

PCM = AudioFormat("pcm16", 16_000)
KEY = new_api_key()


async def waits(call: Call) -> None:
    async for _ in call.audio:
        pass


def calling(server: Server, token: str | None = None) -> RealtimeSession:
    settings = ClientSettings(input=PCM, output=(PCM,), token=token)
    return connect(f"https://127.0.0.1:{server.port}", settings)


def keys(**fields: object) -> dict[str, object]:
    return {"keys": [{"name": "web", "hash": hash_of_key(KEY), **fields}]}


async def refusal(session: RealtimeSession) -> str:
    with pytest.raises(ConnectError) as caught:
        async with session:
            raise AssertionError("the call was taken")
    return str(caught.value)


async def test_a_client_of_the_same_user_needs_to_be_told_nothing(start_server: StartServer) -> None:
    server = await start_server(waits)
    async with calling(server) as session:
        assert session.welcome is not None


async def test_a_key_of_the_settings_is_accepted_and_the_development_key_is_not(
    start_server: StartServer,
) -> None:
    await start_server(waits)
    development = (state_directory() / DEVELOPMENT_KEY).read_text().strip()
    server = await start_server(waits, auth=keys())
    async with calling(server, KEY) as session:
        assert session.welcome is not None
    told = await refusal(calling(server, development))
    assert "is not known here (give an API key of this server" in told
    assert development not in told


async def test_who_shows_nothing_is_told_what_to_do(start_server: StartServer) -> None:
    server = await start_server(waits, auth=keys())
    session = calling(server)
    assert "an API key is needed" in await refusal(session)
    assert (await session.wait_closed()).code == SessionCode.UNAUTHORIZED
    assert not (state_directory() / DEVELOPMENT_KEY).exists()


async def test_without_keys_anyone_on_this_machine_is_let_in(start_server: StartServer) -> None:
    server = await start_server(waits, auth={"required": False})
    async with calling(server) as one, calling(server, "anything") as two:
        assert one.welcome is not None
        assert two.welcome is not None


async def test_calls_of_a_key_are_limited_and_come_free_again(start_server: StartServer) -> None:
    server = await start_server(waits, auth=keys(limits={"calls": 1}))
    async with calling(server, KEY):
        session = calling(server, KEY)
        assert "the key web has as many calls in progress as it may (1)" in await refusal(session)
        assert (await session.wait_closed()).code == SessionCode.OVERLOADED
    async with asyncio.timeout(60):
        while server.calls:  # noqa: ASYNC110 - nobody is told that a call is gone
            await asyncio.sleep(0)
    async with calling(server, KEY) as session:
        assert session.welcome is not None


async def test_a_call_of_a_key_ends_in_time(start_server: StartServer) -> None:
    server = await start_server(waits, auth=keys(limits={"session_seconds": 0.2}))
    async with calling(server, KEY) as session:
        ended = await asyncio.wait_for(session.wait_closed(), 60)
    assert (ended.code, ended.reason) == (SessionCode.GOING_AWAY, "the call lasted too long")


async def test_a_caller_is_told_the_limits_of_its_key(start_server: StartServer) -> None:
    server = await start_server(waits, auth=keys(limits={"audio_rate": 2, "event_bytes": 2048}))
    async with calling(server, KEY) as session:
        assert session.welcome is not None
        limits = session.welcome.limits
        assert (limits.audio_rate, limits.control_record_bytes) == (2, 2048)


@pytest.mark.parametrize("origin", ["https://example.com", "null"])
async def test_without_keys_pages_from_elsewhere_are_turned_away(
    start_server: StartServer, origin: str
) -> None:
    server = await start_server(waits, auth={"required": False})
    _, code, reason = await said(server, Hello(input=PCM, output=(PCM,)), origin)
    assert code == SessionCode.UNAUTHORIZED
    assert "pages of this machine only" in reason


async def client_secret(server: Server, **wish: object) -> str:
    """What `POST /v1/realtime/client_secrets` gives the holder of the key."""
    trust = ssl.create_default_context(cafile=state_directory() / DEVELOPMENT_CERTIFICATE)
    async with httpx.AsyncClient(verify=trust) as http:
        answer = await http.post(
            f"https://localhost:{server.port}/v1/realtime/client_secrets",
            json=wish,
            headers={"authorization": f"Bearer {KEY}"},
        )
    assert answer.status_code == 200, answer.text
    value: str = answer.json()["value"]
    return value


async def test_a_client_secret_opens_a_call_with_its_session_and_what_it_allows(
    start_server: StartServer,
) -> None:
    server = await start_server(waits, auth=keys())
    secret = await client_secret(server, session=SHOES, allowed_client_events=["response.cancel"])
    async with calling(server, secret) as call:
        begun = await next_event(call, "session.created")
        assert begun["session"]["instructions"] == "You sell shoes."
        call.send({**GIFTS, "event_id": "mine"})
        error = (await next_event(call, "error"))["error"]
        assert (error["code"], error["event_id"]) == ("event_not_allowed", "mine")
        assert call.ended is None


async def test_a_client_secret_ends_with_its_server(start_server: StartServer) -> None:
    first, second = [await start_server(waits, auth=keys()) for _ in range(2)]
    secret = await client_secret(first)
    async with calling(first, secret):
        assert "signed by another server" in await refusal(calling(second, secret))


async def test_servers_with_one_signing_secret_accept_each_others(start_server: StartServer) -> None:
    auth = {**keys(), "secrets": ["the signing secret of the whole fleet"]}
    first, second = [await start_server(waits, auth=auth) for _ in range(2)]
    async with calling(second, await client_secret(first)) as session:
        assert session.welcome is not None


def dialled(server: Server, query: str, token: str | None, **how: Any) -> websockets.connect:
    """A WebSocket to the Realtime API."""
    trust = ssl.create_default_context(cafile=state_directory() / DEVELOPMENT_CERTIFICATE)
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    url = f"wss://localhost:{server.port}/v1/realtime?{query}"
    return websockets.connect(url, ssl=trust, additional_headers=headers, **how)


async def told(socket: websockets.ClientConnection, kind: str) -> dict[str, Any]:
    """The next event of that type over a WebSocket."""
    async with asyncio.timeout(60):
        while True:
            event: dict[str, Any] = json.loads(await socket.recv())
            if event["type"] == kind:
                return event


SHOES = {"type": "realtime", "instructions": "You sell shoes."}
GIFTS = {"type": "session.update", "session": {"type": "realtime", "instructions": "You give shoes away."}}


async def test_a_page_may_do_what_its_secret_allows_and_its_server_the_rest(
    start_server: StartServer,
) -> None:
    server = await start_server(waits, auth=keys())
    secret = await client_secret(server, session=SHOES, allowed_client_events=["response.cancel"])
    offers = ["realtime", f"openai-insecure-api-key.{secret}", "openai-agents-sdk.0.20.0"]
    async with dialled(server, "model=x", None, subprotocols=offers) as page:
        assert page.subprotocol == "realtime"
        assert (await told(page, "session.created"))["session"]["instructions"] == "You sell shoes."
        await page.send(json.dumps(GIFTS))
        assert (await told(page, "error"))["error"]["code"] == "event_not_allowed"
        assert page.response is not None
        query = f"call_id={page.response.headers['x-legato-call-id']}"
        async with dialled(server, query, KEY) as owner:
            await told(owner, "session.created")
            await owner.send(json.dumps(GIFTS))
            for socket in (owner, page):
                changed = await told(socket, "session.updated")
                assert changed["session"]["instructions"] == "You give shoes away."


async def test_a_call_is_not_attended_with_another_secret(start_server: StartServer) -> None:
    server = await start_server(waits, auth=keys())
    one, other = [await client_secret(server) for _ in range(2)]
    async with dialled(server, "model=x", one) as page:
        assert page.response is not None
        query = f"call_id={page.response.headers['x-legato-call-id']}"
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with dialled(server, query, other):
                raise AssertionError("the call was attended")
        assert caught.value.response.status_code == 404
        async with dialled(server, query, one) as again:
            assert await told(again, "session.created")


@pytest.mark.parametrize(
    ("token", "code"),
    [(None, "missing_api_key"), (new_api_key(), "invalid_api_key"), ("ek_x", "invalid_client_secret")],
    ids=["no key", "another key", "no secret of ours"],
)
async def test_a_websocket_is_refused_with_openais_error(
    start_server: StartServer, token: str | None, code: str
) -> None:
    server = await start_server(waits, auth=keys())
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with dialled(server, "model=x", token):
            raise AssertionError("the call was taken")
    answer = caught.value.response
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert json.loads(answer.body or b"")["error"]["code"] == code


async def test_a_websocket_beyond_the_calls_of_its_key_is_refused(start_server: StartServer) -> None:
    server = await start_server(waits, auth=keys(limits={"calls": 1}))
    async with dialled(server, "model=x", KEY):
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with dialled(server, "model=x", KEY):
                raise AssertionError("the call was taken")
        assert caught.value.response.status_code == 429


async def test_an_event_beyond_the_limit_of_its_key_ends_the_call(start_server: StartServer) -> None:
    server = await start_server(waits, auth=keys(limits={"event_bytes": 1024}))
    async with dialled(server, "model=x", KEY) as socket:
        await socket.send(json.dumps({"type": "response.cancel", "event_id": "x" * 1024}))
        with pytest.raises(websockets.ConnectionClosed) as caught:
            await told(socket, "nothing")
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


async def next_event(session: RealtimeSession, kind: str) -> dict[str, Any]:
    """The next event of that type."""
    async with asyncio.timeout(60):
        async for event in session.events:
            if isinstance(event, ServerEvent) and event.type == kind:
                return event.event
    raise AssertionError(f"the call ended without {kind}")


async def said(server: Server, hello: Hello, origin: str | None = None) -> tuple[str, int, str]:
    """How the session of a client ends that says this, perhaps from a page."""
    target = await resolve_target(f"https://127.0.0.1:{server.port}", ClientSettings())
    endpoint = WebTransportEndpoint.client(SimpleNamespace(initial_rtt_ms=100))
    heard = Recorder()
    session = endpoint.connect(dataclasses.replace(target, origin=origin), lambda _: heard)
    session.send(session.open_stream(True), control_record(encode_message(hello)))
    await heard.until(lambda: heard.end is not None, "the session ends")
    await endpoint.close()
    assert heard.end is not None
    return heard.end


async def test_a_key_that_is_withdrawn_ends_a_call_only_when_it_needs_another_connection(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server(waits, auth=keys())
    path = Relay(server.port)
    settings = ClientSettings(input=PCM, output=(PCM,), token=KEY, keep_alive_ms=300, max_idle_ms=1_000)

    def nobody(*_: object) -> None:
        raise Unauthorized(401, "invalid_api_key", "this key was withdrawn")

    async with connect(path.url, settings) as call:
        monkeypatch.setattr(Authority, "admit", nobody)
        line = call._line
        line._leaving = True  # or the attempt would be given up for a path that is sound
        line._begin("reconnect", line._reconnect)
        await asyncio.wait_for(asyncio.shield(line._tasks["reconnect"]), 60)
        assert call.ended is None
        path.dead = True
        ended = await asyncio.wait_for(call.wait_closed(), 60)
    path.close()
    assert (ended.by, ended.code) == ("peer", SessionCode.UNAUTHORIZED)
    assert "withdrawn" in ended.reason
