"""Real servers on loopback, each with a state directory of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from legato import Agent, Server, ServerSettings

StartServer = Callable[..., Awaitable[Server]]


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep development certificates of tests apart from the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    """Start servers with an agent and settings by keyword; all are stopped afterwards."""
    servers: list[Server] = []

    async def start(agent: Agent, **settings: object) -> Server:
        wanted = {"listen": {"port": 0}, "agent": "echo", **settings}
        server = Server(ServerSettings.model_validate(wanted), agent)
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        await server.stop()
