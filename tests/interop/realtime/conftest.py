"""One server for all clients, and the environment that stock clients are told to use."""

from collections.abc import Iterator

import pytest
from tests.interop.realtime.stage import Stage, stage


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The server; it and its model live as long as all tests."""
    with stage(tmp_path_factory.mktemp("state")) as found:
        yield found


@pytest.fixture
def server(running: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The server, trusted by programs that know nothing of legato, as docs/guides/realtime.md says."""
    monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
    monkeypatch.setenv("OPENAI_API_KEY", running.key)
    monkeypatch.setenv("XDG_STATE_HOME", str(running.state))
    return running
