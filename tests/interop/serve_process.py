"""`legato serve` as a process of its own, with its log and its state directory.

Owns its start and its end. Must not know who calls it, and takes nothing from its inside but what it shows.
"""

import asyncio
import json
import os
import ssl
import sys
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

DRAIN_SECONDS = 1


class ServeProcess:
    """A running server."""

    def __init__(self, process: Process, state: Path) -> None:
        self.log: list[dict[str, Any]] = []
        self.port = 0
        self._process = process
        self._state = state
        self._told_to_stop = False

    async def logged(self, **fields: object) -> dict[str, Any]:
        """The next line of the log with these fields. Raises `EOFError` when the server has ended."""
        while True:
            line = await self._line()
            if line.items() >= fields.items():
                return line

    def certificate_pem(self) -> bytes:
        """What clients of this machine's user trust."""
        return (self._state / "legato" / "development-certificate.pem").read_bytes()

    def key(self) -> str:
        """What clients of this machine's user show."""
        return (self._state / "legato" / "development-key").read_text().strip()

    async def description(self) -> dict[str, Any]:
        """The document that tells clients how to connect."""
        return await asyncio.to_thread(self._fetch, "/.well-known/legato")

    def kill(self) -> None:
        """End the server without a word."""
        self._process.kill()

    def stop(self) -> None:
        """Ask the server to end, once."""
        if not self._told_to_stop:
            self._process.terminate()
        self._told_to_stop = True

    async def ended(self) -> int:
        """Read the log to its end; return the exit status."""
        with suppress(EOFError):
            while True:
                await self._line()
        return await self._process.wait()

    async def _line(self) -> dict[str, Any]:
        assert self._process.stderr is not None
        text = await self._process.stderr.readline()
        if not text:
            raise EOFError(f"the server has ended; it logged {self.log}")
        line: dict[str, Any] = json.loads(text)
        self.log.append(line)
        return line

    def _fetch(self, path: str) -> dict[str, Any]:
        trust = ssl.create_default_context(cadata=self.certificate_pem().decode())
        with urllib.request.urlopen(f"https://localhost:{self.port}{path}", context=trust, timeout=10) as got:
            document: dict[str, Any] = json.load(got)
        return document


@asynccontextmanager
async def serve_process(state: Path, agent: str = "echo", **more: str) -> AsyncIterator[ServeProcess]:
    """Let an agent listen on a free port of the loopback addresses; `more` is added to its environment."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LEGATO_")}
    flags = ["--agent", agent, "--port", "0", "--log-format", "json", "--drain-seconds", str(DRAIN_SECONDS)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "legato", "serve", *flags),
        stdout=DEVNULL,
        stderr=PIPE,
        env=own | {"XDG_STATE_HOME": str(state)} | more,
    )
    try:
        server = ServeProcess(process, state)
        listening = await server.logged(event="listening")
        server.port = int(listening["addresses"][0].rpartition(":")[2])
        yield server
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
