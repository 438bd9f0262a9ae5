"""Plays the calls of this folder's page in a browser, and brings back what the page saw.

Owns processes and files: the built package, the page's web server, a loudspeaker, Node, the browser. Must not
know what is expected of a call.
"""

import asyncio
import functools
import json
import os
import shutil
import signal
import subprocess
import threading
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.interop.browser import EXECUTABLES

FOLDER = Path(__file__).parent
PACKAGE = FOLDER.parents[2] / "clients" / "typescript"
LIMIT_SECONDS = 80.0

POLICY = "default-src 'none'; script-src 'self'{blob}; worker-src 'self'{blob}; connect-src *; img-src data:"


def node() -> str:
    """Node, with the packages that this folder needs."""
    path = shutil.which("node")
    if path is None:
        pytest.fail("Node.js 20 or newer is missing: run scripts/setup for how to get it")
    for folder in (PACKAGE, FOLDER.parent / "browsers"):
        if not (folder / "node_modules").is_dir():
            pytest.fail(f"Node packages are missing: run scripts/setup (or: npm ci --prefix {folder})")
    return path


def build() -> None:
    """Bundle the package as a release would."""
    subprocess.run([node(), "build.mjs"], cwd=PACKAGE, check=True, timeout=60, stdout=subprocess.DEVNULL)


class _Files(SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        """The built package stands beside this folder's files."""
        root = PACKAGE if path.startswith("/dist/") else FOLDER
        return str(root / path.partition("?")[0].lstrip("/"))

    def end_headers(self) -> None:
        """Forbid what strict pages forbid."""
        blob = "" if self.path.endswith("?strict") else " blob:"
        self.send_header("Content-Security-Policy", POLICY.format(blob=blob))
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def _page_server() -> Iterator[str]:
    """Serve this folder and the package; pages of a loopback address are a secure context."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/page.html"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _loudspeaker(folder: Path) -> Iterator[dict[str, str]]:
    """A sound server that plays into nothing, in real time; Firefox runs no audio without a device."""
    program = shutil.which("pulseaudio")
    if program is None:
        pytest.fail("pulseaudio is missing: run scripts/setup (or: apt-get install pulseaudio)")
    own = os.environ | {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    modules = ["-L", "module-null-sink", "-L", "module-native-protocol-unix auth-anonymous=1"]
    # The command returns when the daemon is ready.
    command = [program, "-n", "--daemonize=yes", "--exit-idle-time=-1", "--log-level=error", *modules]
    subprocess.run(command, env=own, check=True, timeout=20, stderr=subprocess.DEVNULL)
    try:
        yield {"PULSE_SERVER": f"unix:{folder / 'pulse' / 'native'}"}
    finally:
        with suppress(ProcessLookupError):
            os.kill(int((folder / "pulse" / "pid").read_text()), signal.SIGTERM)


async def played(browser: str, parameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Let a browser make all calls of the page; `folder` is for what it leaves behind."""
    program = next(filter(None, map(shutil.which, EXECUTABLES[browser])), None)
    if program is None:
        pytest.fail(
            f"{browser} is missing: run scripts/setup (or: apt-get install {EXECUTABLES[browser][0]})"
        )
    with _page_server() as page_url, _loudspeaker(folder) as sound:
        arguments = [browser, program, page_url, json.dumps(parameters)]
        return await _driven(browser, arguments, os.environ | sound)


async def _driven(browser: str, arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    # A session of its own, so that the browser's many processes can be ended together.
    process = await asyncio.create_subprocess_exec(
        *(node(), str(FOLDER / "drive.mjs"), *arguments),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            seen, errors = await process.communicate()
    except TimeoutError:
        pytest.fail(f"{browser} did not make all calls within {LIMIT_SECONDS:.0f} s")
    finally:
        # The browser has a process group of its own and ends only with a driver that has the time to end it.
        with suppress(ProcessLookupError, TimeoutError):
            process.terminate()
            await asyncio.wait_for(process.wait(), 5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if not seen:
        pytest.fail(f"driving {browser} failed:\n{errors.decode(errors='replace')}")
    result: dict[str, Any] = json.loads(seen)
    return result
