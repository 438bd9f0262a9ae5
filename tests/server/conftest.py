"""What the tests of this room are handed."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.server.calls import Held
from tests.server.two_servers import Fleet, two_servers

from legato.server import carried_calls


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have settings of their own."""
    for name in os.environ:
        if name.startswith("LEGATO_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where a test may write its settings."""
    return tmp_path / "legato.toml"


@pytest.fixture
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep development certificates of tests apart from the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    """An agent that is let go of at the end."""
    agent = Held()
    yield agent
    agent.release.set()


@pytest.fixture(params=[Held])
async def fleet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    """Two servers that give every change to the caller as it comes."""
    monkeypatch.setattr(carried_calls, "QUIET_S", 0.0)
    async with two_servers(request.param) as servers:
        yield servers
