"""Who is let in by a real server, and what the others are told."""

import asyncio
from pathlib import Path

import pytest
from tests.end_to_end.conftest import StartServer

from legato import AudioFormat, Call, ClientSettings, ConnectError, RealtimeSession, Server, connect
from legato.core.wire.codes import SessionCode
from legato.server.auth_settings import hash_of_key
from legato.trust import DEVELOPMENT_KEY, new_api_key, state_directory

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


async def test_who_shows_nothing_is_told_what_to_do(start_server: StartServer, tmp_path: Path) -> None:
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
    async with asyncio.timeout(10):
        while server.calls:  # noqa: ASYNC110 - nobody is told that a call is gone
            await asyncio.sleep(0)
    async with calling(server, KEY) as session:
        assert session.welcome is not None


async def test_a_call_of_a_key_ends_in_time(start_server: StartServer) -> None:
    server = await start_server(waits, auth=keys(limits={"session_seconds": 0.2}))
    async with calling(server, KEY) as session:
        ended = await asyncio.wait_for(session.wait_closed(), 10)
    assert (ended.code, ended.reason) == (SessionCode.GOING_AWAY, "the call lasted too long")
