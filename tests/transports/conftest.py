"""What the tests of this room are handed."""

import pytest
from tests.transports.websocket_peers import Owner


@pytest.fixture
def owner() -> Owner:
    """Who is told what a WebSocket connection does."""
    return Owner()
