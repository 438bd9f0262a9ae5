"""`legato serve --workers`: several processes on one port, without privileges; each keeps its calls."""

import asyncio
import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.end_to_end.balanced import AGENT, IDLE_MS, program
from tests.end_to_end.fleet import PATIENCE_S, ROOT, FleetServer

from legato import ClientSettings, RealtimeSession, connect
from legato.client.events import ServerEvent
from legato.trust import DEVELOPMENT_CERTIFICATE

WORKERS = 4
CALLS = 12
SETTINGS = ClientSettings(
    transport="webtransport", connect_timeout_s=PATIENCE_S, max_idle_ms=IDLE_MS, resume_s=0
)
"""Without resuming, a call that goes on has the connection that it began with."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FleetServer]:
    """Four workers on a free port, all of them ready."""
    # What an unprivileged user may do, and no more.
    limited = os.geteuid() == 0 and shutil.which("setpriv")
    network = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if limited else []
    words = ["serve", "--workers", str(WORKERS), "--agent", AGENT, "--port", "0"]
    # Workers end when their parent does, and the log when they do.
    with program(tmp_path, *words, network=network) as server:
        listening = server.logged("workers listen")
        assert listening["workers"] == WORKERS
        server.url = f"https://127.0.0.1:{listening['addresses'][0].rpartition(':')[2]}"
        yield server


class Caller:
    """A call that asks which process it is in."""

    def __init__(self, url: str) -> None:
        self.session: RealtimeSession = connect(url, SETTINGS)
        self._asked = 0

    async def process(self) -> int:
        """The process that answers now."""
        self._asked += 1
        self.session.send({"type": "test.ask", "number": self._asked})
        async with asyncio.timeout(PATIENCE_S):
            async for event in self.session.events:
                if isinstance(event, ServerEvent) and event.event.get("number") == self._asked:
                    number: int = event.event["process"]
                    return number
        raise AssertionError(f"the call ended: {self.session.ended}")


async def test_calls_stay_on_their_process_and_do_not_notice_the_death_of_another(
    server: FleetServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with AsyncExitStack() as stack:
        callers = [Caller(server.url) for _ in range(CALLS)]
        for caller in callers:
            await stack.enter_async_context(caller.session)
        homes = [await caller.process() for caller in callers]
        assert len(set(homes)) > 1, "twelve calls on one of four processes"

        for caller in callers:
            caller.session.migrate()
        assert [await caller.process() for caller in callers] == homes
        for caller in callers:
            caller.session.migrate(("127.0.0.2", 0))
        assert [await caller.process() for caller in callers] == homes

        victim = Counter(homes).most_common()[-1][0]
        os.kill(victim, signal.SIGKILL)
        others = [(caller, home) for caller, home in zip(callers, homes, strict=True) if home != victim]
        for caller, home in others:
            assert await caller.process() == home
        died = await asyncio.to_thread(server.logged, "a worker died and is replaced")
        listening = await asyncio.to_thread(server.logged, "listening")
        assert listening["worker"] == died["worker"]
        for caller, home in others:
            assert await caller.process() == home

        # The one in its place knows the dead one's connections by their IDs, and resets them.
        orphan = callers[homes.index(victim)].session
        async with asyncio.timeout(PATIENCE_S):
            async for _ in orphan.events:
                pass
        assert orphan.ended is not None
        assert orphan.ended.reason == "reset by peer"

        trust = ssl.create_default_context(cafile=str(tmp_path / "legato" / DEVELOPMENT_CERTIFICATE))
        for _ in range(2 * WORKERS):
            answer = await asyncio.to_thread(_get, f"{server.url}/healthz", trust)
            assert b"alive" in answer

    server.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, PATIENCE_S) == 0


def _get(url: str, trust: ssl.SSLContext) -> bytes:
    with urllib.request.urlopen(url, context=trust, timeout=PATIENCE_S) as response:
        body: bytes = response.read()
        return body


def test_what_is_wrong_for_all_is_said_once(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LEGATO_")}
    done = subprocess.run(
        [sys.executable, "-m", "legato", "serve", "--workers", "3", "--agent", "nobody", "--port", "0"],
        env=own | {"XDG_STATE_HOME": str(tmp_path)},
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("legato: ") == 1
    assert "nobody" in done.stderr
