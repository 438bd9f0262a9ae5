"""Calls over a WebSocket through nginx before two servers, as deploy/nginx sets it up; one is killed."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from tests.end_to_end.balanced import AGENT, Caller
from tests.end_to_end.fleet import PATIENCE_S, ROOT, fleet

from legato import ClientSettings, connect
from legato.bench.processes import free_port

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SETTINGS = ClientSettings(transport="websocket", connect_timeout_s=PATIENCE_S, resume_s=PATIENCE_S)

pytestmark = pytest.mark.timeout(180)


@contextmanager
def nginx(folder: Path, ports: list[int]) -> Iterator[int]:
    """nginx with the configuration of deploy/, but with these servers, on a free port."""
    assert NGINX, "nginx is not installed: scripts/setup installs it"
    text = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text()
    port = free_port()
    text = text.replace("listen 127.0.0.1:4433", f"listen 127.0.0.1:{port}")
    for number, server in enumerate(ports, 1):
        text, count = re.subn(rf"server 127\.0\.0\.1:443{number}\b", f"server 127.0.0.1:{server}", text)
        assert count == 1
    text = text.replace("/tmp/legato-nginx.pid", str(folder / "nginx.pid"))
    text = text.replace("modules/", "/usr/lib/nginx/modules/")
    (folder / "nginx.conf").write_text(f"daemon off;\n{text}")
    command = [NGINX, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


async def listens(port: int) -> None:
    """Wait until somebody accepts connections."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    return
            await asyncio.sleep(0.05)


async def test_calls_are_spread_and_those_of_a_killed_server_go_on_at_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with fleet(tmp_path, AGENT) as servers:
        ports = [int(server.url.rpartition(":")[2]) for server in servers]
        with nginx(tmp_path, ports) as port:
            await listens(port)
            async with AsyncExitStack() as stack:
                callers = [Caller(f"https://127.0.0.1:{port}", SETTINGS) for _ in range(8)]
                homes = []
                for caller in callers:
                    await stack.enter_async_context(caller.session)
                    homes.append(await caller.process())
                assert all(caller.session.transport == "websocket" for caller in callers)
                assert len(set(homes)) == 2, "who has the fewest calls gets the next"
                servers[0].kill()
                other = servers[1].process.pid
                for caller, home in zip(callers, homes, strict=True):
                    assert await caller.process() == other
                    assert caller.resumed or home == other
                async with connect(f"https://127.0.0.1:{port}", SETTINGS) as late:
                    assert late.transport == "websocket"
