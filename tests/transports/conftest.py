"""What the tests of this room are handed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.transports.websocket_loopback import Loopback
from tests.transports.websocket_peers import Owner


@pytest.fixture
def owner() -> Owner:
    """Who is told what a WebSocket connection does."""
    return Owner()


@pytest.fixture
async def loopback(tmp_path: Path) -> AsyncIterator[Loopback]:
    """A server whose streams travel over WebSockets."""
    made = Loopback()
    await made.start(tmp_path)
    yield made
    await made.close()
