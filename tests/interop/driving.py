"""Programs that drive a browser of this machine: finding them, serving them a page, ending them for good.

Owns Node, the browsers' executables, the page's web server and processes. Must not know what a page does.
"""

import asyncio
import os
import shutil
import signal
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

EXECUTABLES = {
    "chromium": ("chromium", "google-chrome"),
    "firefox": ("firefox-esr", "firefox"),
}


def program(browser: str) -> str:
    """The browser's executable."""
    path = next(filter(None, map(shutil.which, EXECUTABLES[browser])), None)
    if path is None:
        pytest.fail(
            f"{browser} is missing: run scripts/setup (or: apt-get install {EXECUTABLES[browser][0]})"
        )
    return path


def node(*folders: Path) -> str:
    """Node, with the packages that these folders need."""
    path = shutil.which("node")
    if path is None:
        pytest.fail("Node.js 20 or newer is missing: run scripts/setup for how to get it")
    for folder in folders:
        if not (folder / "node_modules").is_dir():
            pytest.fail(f"Node packages are missing: run scripts/setup (or: npm ci --prefix {folder})")
    return path


@contextmanager
def page_server(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve a page; those of a loopback address are a secure context."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/page.html"
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def driver(
    command: tuple[str, ...], stdin: int, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """A process that drives a browser; both are gone behind the context."""
    # A session of its own, so that the browser's many processes can be ended together.
    process = await asyncio.create_subprocess_exec(
        *command, stdin=stdin, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True
    )
    try:
        yield process
    finally:
        # The browser has a process group of its own and ends only with a driver that has the time to end it.
        with suppress(ProcessLookupError, TimeoutError):
            process.terminate()
            await asyncio.wait_for(process.wait(), 60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
