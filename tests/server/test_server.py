"""The server's life: started and stopped in any order, with agents that do not let go."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from legato import AudioFormat, Call, ClientSettings, Server, ServerSettings, SettingsError, connect
from legato.core.errors import LegatoError
from legato.core.wire.codes import SessionCode

PCM = AudioFormat("pcm16", 16_000)
PLAIN = ClientSettings(input=PCM, output=(PCM,))
pytestmark = pytest.mark.usefixtures("state_directory")


class Agent:
    """Waits in each call until told otherwise; counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.calls = 0
        self.arrived = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.let_go = asyncio.Event()
        self.stubborn = False

    async def __call__(self, call: Call) -> None:
        self.calls += 1
        self.arrived.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            if not self.stubborn:
                raise
            await self.let_go.wait()

    async def close(self) -> None:
        self.closed += 1


def settings(**changes: object) -> ServerSettings:
    return ServerSettings.model_validate({"listen": {"port": 0}, "agent": "echo", **changes})


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    agent = Agent()
    yield agent
    agent.let_go.set()


def url(server: Server) -> str:
    return f"https://127.0.0.1:{server.port}"


async def test_stopping_twice_at_once_closes_the_agent_once(agent: Agent) -> None:
    async with Server(settings(), agent) as server:
        await asyncio.gather(server.stop(), server.stop(), server.serve_forever())
    assert agent.closed == 1
    await server.stop()
    assert agent.closed == 1


async def test_every_address_means_one_port_for_udp_and_tcp_alike(agent: Agent) -> None:
    async with Server(settings(listen={"host": "*", "port": 0}), agent) as server:
        addresses = list(server.addresses)
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.close()
        await writer.wait_closed()
    families = ["0.0.0.0", "::"][: len(addresses)]
    assert addresses == [(family, addresses[0][1]) for family in families]


async def test_a_port_in_use_releases_everything_and_says_so(agent: Agent) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        server = Server(settings(listen={"host": "127.0.0.1", "port": port}), agent)
        with pytest.raises(LegatoError, match=str(port)):
            await server.start()
    assert agent.closed == 1
    await server.stop()
    assert agent.closed == 1
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as free:
        free.bind(("127.0.0.1", port))


async def test_an_agent_that_does_not_return_is_cancelled_when_the_server_stops(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("legato.server.server.AGENT_GRACE_S", 0.05)
    server = Server(settings(), agent)
    await server.start()
    async with connect(url(server), PLAIN) as session:
        await agent.arrived.wait()
        await asyncio.wait_for(server.stop(), 60)
        assert agent.cancelled.is_set()
        assert server.calls == 0
        assert (await session.wait_closed()).code == SessionCode.GOING_AWAY
    assert agent.closed == 1


async def test_an_agent_that_ignores_its_cancellation_does_not_hold_the_server(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("legato.server.server.AGENT_GRACE_S", 0.05)
    agent.stubborn = True
    server = Server(settings(), agent)
    await server.start()
    async with connect(url(server), PLAIN):
        await agent.arrived.wait()
        await server.drain(0.05)
        await asyncio.wait_for(server.stop(), 60)
    assert agent.cancelled.is_set()
    assert server.calls == 1


async def test_an_agent_that_cannot_be_closed_does_not_hold_the_server(agent: Agent) -> None:
    async def fail() -> None:
        raise RuntimeError("no")

    agent.close = fail  # type: ignore[method-assign]
    server = Server(settings(), agent)
    await server.start()
    port = server.port
    with pytest.raises(RuntimeError):
        await server.stop()
    await asyncio.wait_for(server.serve_forever(), 60)
    again = Server(settings(listen={"host": "127.0.0.1", "port": port}), Agent())
    await again.start()
    await again.stop()


async def test_a_stopped_server_has_no_calls_and_an_unknown_agent_is_named() -> None:
    with pytest.raises(SettingsError, match="nobody"):
        Server(settings(agent="nobody"))
    assert Server(settings(), Agent()).calls == 0


@pytest.mark.parametrize(("name", "made"), [("builtins:repr", "str"), ("asyncio:sleep", "coroutine")])
def test_what_is_made_must_be_an_agent(name: str, made: str) -> None:
    with pytest.raises(SettingsError, match=f"'{name}' is no agent: it made a {made}, not an async function"):
        Server(settings(agent=name))


async def test_a_call_has_a_longest_duration(agent: Agent) -> None:
    async with Server(settings(limits={"session_seconds": 0.1}), agent) as server:
        async with connect(url(server), PLAIN) as session:
            ended = await asyncio.wait_for(session.wait_closed(), 60)
            assert (ended.code, ended.reason) == (SessionCode.GOING_AWAY, "the call lasted too long")
        agent.let_go.set()
