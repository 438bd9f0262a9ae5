"""Plays the calls of this folder's page in a browser, and brings back what the page saw.

Owns the built package, the page's files and a loudspeaker. Must not know what is expected of a call.
"""

import asyncio
import functools
import json
import os
import shutil
import signal
import subprocess
from asyncio.subprocess import DEVNULL
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.interop.driving import driver, node, page_server, program

FOLDER = Path(__file__).parent
PACKAGE = FOLDER.parents[2] / "clients" / "typescript"
LIMIT_SECONDS = 110.0

POLICY = "default-src 'none'; script-src 'self'{blob}; worker-src 'self'{blob}; connect-src *; img-src data:"


def package_node() -> str:
    """Node, with the packages that this folder needs."""
    return node(PACKAGE, FOLDER.parent / "browsers")


def build() -> None:
    """Bundle the package as a release would."""
    subprocess.run(
        [package_node(), "build.mjs"], cwd=PACKAGE, check=True, timeout=60, stdout=subprocess.DEVNULL
    )


Deeds = Mapping[str, Callable[[], None]]
"""What a page can have done to its network, by name."""


def bundle(entry: Path, outfile: Path) -> None:
    """Bundle a program as an application would."""
    command = [package_node(), str(FOLDER / "bundle.mjs"), str(entry), str(outfile)]
    subprocess.run(command, check=True, timeout=60)


class _Files(SimpleHTTPRequestHandler):
    def __init__(self, *given: Any, deeds: Deeds, made: Path) -> None:
        self._deeds = deeds
        self._made = made
        super().__init__(*given)

    def do_POST(self) -> None:
        """Do something to the network."""
        self._deeds[self.path.removeprefix("/do/")]()
        self.send_response(204)
        self.end_headers()

    def translate_path(self, path: str) -> str:
        """The built package, and what was made for a test, stand beside this folder's files."""
        file = path.partition("?")[0].lstrip("/")
        if file.startswith("made/"):
            return str(self._made / file.removeprefix("made/"))
        return str((PACKAGE if file.startswith("dist/") else FOLDER) / file)

    def end_headers(self) -> None:
        """Forbid what strict pages forbid."""
        blob = "" if self.path.endswith("strict") else " blob:"
        self.send_header("Content-Security-Policy", POLICY.format(blob=blob))
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


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


async def played(
    browser: str,
    parameters: dict[str, Any],
    folder: Path,
    pages: Sequence[str],
    deeds: Deeds | None = None,
) -> dict[str, Any]:
    """Let a browser make all calls of these pages: modules of this folder, or of `folder` ("made/..."),
    "strict" with a policy that forbids code made on the spot. `folder` is also for what the browser leaves;
    `deeds` are called from other threads."""
    handler = functools.partial(_Files, deeds=deeds or {}, made=folder)
    with page_server(handler) as page_url, _loudspeaker(folder) as sound:
        urls = [f"{page_url}?module={page}" for page in pages]
        arguments = (browser, program(browser), json.dumps(parameters), *urls)
        command = (package_node(), str(FOLDER / "drive.mjs"), *arguments)
        async with driver(command, DEVNULL, os.environ | sound) as process:
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    seen, errors = await process.communicate()
            except TimeoutError:
                pytest.fail(f"{browser} did not make all calls within {LIMIT_SECONDS:.0f} s")
    if not seen:
        pytest.fail(f"driving {browser} failed:\n{errors.decode(errors='replace')}")
    result: dict[str, Any] = json.loads(seen)
    return result
