"""The examples of the browser package hold a call, in Chromium."""

import asyncio
import json
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.interop.browser_client.playing import FOLDER, PACKAGE, build, bundle, package_node
from tests.interop.driving import driver, page_server, program
from tests.interop.serve_process import serve_process

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(150)]

EXAMPLES = PACKAGE / "examples"
LIMIT_SECONDS = 80.0


class _OwnServer(SimpleHTTPRequestHandler):
    """What an application serves beside the voice server: its files, and a token for whoever may call."""

    def __init__(self, *given: Any, token: str, directory: str) -> None:
        self._token = token
        super().__init__(*given, directory=directory)

    def do_GET(self) -> None:
        """Give a file, or a token."""
        if self.path == "/token":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self._token.encode())
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def _served(folder: Path, token: str) -> Iterator[str]:
    with page_server(partial(_OwnServer, token=token, directory=str(folder))) as url:
        yield url.rpartition("/")[0]


def _set_up(folder: Path) -> None:
    """Do what the examples' first lines say."""
    build()
    shutil.copytree(EXAMPLES / "plain", folder / "plain")
    shutil.copy(PACKAGE / "dist" / "index.js", folder / "plain")
    shutil.copytree(EXAMPLES / "bundler", folder / "bundler")
    bundle(EXAMPLES / "bundler" / "main.ts", folder / "bundler" / "main.js")


async def test_the_examples_hold_a_call(tmp_path: Path) -> None:
    _set_up(tmp_path)
    async with serve_process(tmp_path / "state") as server:
        with _served(tmp_path, server.key()) as own:
            voice = (await server.description())["webtransport_url"]
            urls = [f"{own}/{name}/index.html?server={voice}" for name in ("plain", "bundler")]
            command = (package_node(), str(FOLDER / "watch.mjs"), program("chromium"), *urls)
            async with driver(command, DEVNULL) as process, asyncio.timeout(LIMIT_SECONDS):
                shown, errors = await process.communicate()
    assert shown, errors.decode(errors="replace")
    held = {"before": "idle", "state": "live", "problem": "", "after": "ended"}
    assert json.loads(shown) == [held, held]
