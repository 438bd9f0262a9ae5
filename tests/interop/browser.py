"""Plays scenes in a browser and brings back what it saw, and what the server of `scenes.py` saw.

Owns processes and files: the page's web server, Node, the browser. Must not know what is expected of a scene.
"""

import asyncio
import functools
import json
import os
import shutil
import signal
import threading
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.interop.scenes import SessionRecord, stage

FOLDER = Path(__file__).parent / "browsers"
LIMIT_SECONDS = 55.0
EXECUTABLES = {
    "chromium": ("chromium", "google-chrome"),
    "firefox": ("firefox-esr", "firefox"),
}


@dataclass
class Performance:
    """What the page saw in each scene, and what the server saw of each session by its path."""

    browser: str
    page: dict[str, Any]
    server: dict[str, SessionRecord]


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def _page_server() -> Iterator[str]:
    """Serve the scenes' folder; pages of a loopback address are a secure context."""
    handler = functools.partial(_Files, directory=str(FOLDER))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/page.html"
        finally:
            server.shutdown()
            thread.join()


def _program(browser: str) -> str:
    found = filter(None, map(shutil.which, EXECUTABLES[browser]))
    path = next(found, None)
    if path is None:
        pytest.fail(
            f"{browser} is missing: run scripts/setup (or: apt-get install {EXECUTABLES[browser][0]})"
        )
    return path


def _node() -> str:
    path = shutil.which("node")
    if path is None:
        pytest.fail("Node.js 20 or newer is missing: run scripts/setup for how to get it")
    if not (FOLDER / "node_modules").is_dir():
        pytest.fail(
            "Node packages are missing: run scripts/setup (or: npm ci --prefix tests/interop/browsers)"
        )
    return path


@asynccontextmanager
async def played(browser: str, module: str, parameters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Let a browser play all scenes of a module of `browsers/`; it stays alive as long as the context."""
    with _page_server() as page_url:
        arguments = [browser, _program(browser), page_url, module, json.dumps(parameters)]
        async with _driven(browser, arguments) as seen:
            yield seen


@asynccontextmanager
async def _driven(browser: str, arguments: list[str]) -> AsyncIterator[dict[str, Any]]:
    # A session of its own, so that the browser's many processes can be ended together.
    process = await asyncio.create_subprocess_exec(
        *(_node(), str(FOLDER / "drive.mjs"), *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            seen = await process.stdout.readline()
            if not seen:
                errors = await process.stderr.read()
                pytest.fail(f"driving {browser} failed:\n{errors.decode(errors='replace')}")
            yield json.loads(seen)
            process.stdin.close()
            await process.wait()
    except TimeoutError:
        pytest.fail(f"{browser} did not play all scenes within {LIMIT_SECONDS:.0f} s")
    finally:
        # The browser has a process group of its own and ends only with a driver that has the time to end it.
        with suppress(ProcessLookupError, TimeoutError):
            process.terminate()
            await asyncio.wait_for(process.wait(), 5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _perform(browser: str) -> Performance:
    async with stage() as running:
        parameters = {"port": running.port, "certificateHash": list(running.identity.hash)}
        async with played(browser, "scenes.mjs", parameters) as page:
            # A session that stays open shows in its test.
            with suppress(TimeoutError):
                await asyncio.wait_for(running.all_ended(), 5)
        return Performance(browser, page, {record.path: record for record in running.sessions})


def perform(browser: str) -> Performance:
    """Play all scenes in a browser, within a minute."""
    return asyncio.run(_perform(browser))
