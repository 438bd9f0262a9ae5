"""One server with the assistant for everything that documents and examples do."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from legato.bench.processes import child, free_port, wait_for_port

LEGATO = str(Path(sys.executable).with_name("legato"))


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where server and clients keep and find the development certificate."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def server(state: Path) -> Iterator[str]:
    """The address of a server with the assistant, trusted as on one's own machine."""
    port = free_port()
    command = [LEGATO, "serve", "--port", str(port), "--drain-seconds", "0"]
    with child("the server", command, XDG_STATE_HOME=str(state)) as process:
        wait_for_port(process, port)
        yield f"https://localhost:{port}"
