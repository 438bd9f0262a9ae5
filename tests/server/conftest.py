"""What the tests of this room are handed."""

from collections.abc import AsyncIterator

import pytest
from tests.server.calls import Held
from tests.server.two_servers import Fleet, two_servers

from legato.server import carried_calls


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
