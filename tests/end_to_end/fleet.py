"""Servers that are processes of their own and share the keys of a fleet. Owns their start and their end."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
"""For a process to start, log or end on a busy machine."""


class FleetServer:
    """One running server; its log is read by a thread of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = ""

    def wait_for_it(self) -> None:
        """Wait until it listens."""
        listening = self.logged("listening")
        self.url = f"https://localhost:{listening['addresses'][0].rpartition(':')[2]}"

    def logged(self, event: str) -> dict[str, Any]:
        """The next line of the log about that event; raises `AssertionError` if none comes."""
        while True:
            try:
                text = self._lines.get(timeout=PATIENCE_S)
            except Empty:
                raise AssertionError(f"no {event!r} in the log: {self.log}") from None
            assert text, f"the server has ended without {event!r}: {self.log}"
            line: dict[str, Any] = json.loads(text)
            self.log.append(line)
            if line["event"] == event:
                return line

    def kill(self) -> None:
        """End it without a chance to say anything."""
        self.process.kill()

    def stop(self) -> None:
        """Ask it to drain."""
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """End it, whatever it does, and its log."""
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put("")


@contextmanager
def fleet(state: Path, agent: str, count: int = 2, drain_seconds: int = 20) -> Iterator[list[FleetServer]]:
    """Servers with one agent, one key and one certificate on free ports of the loopback addresses."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LEGATO_")}
    own |= {
        "XDG_STATE_HOME": str(state),
        "HEARD": str(state),
        "LEGATO_RESUME__KEYS": json.dumps(["0123456789abcdef" * 3]),
    }
    flags = ["--agent", agent, "--port", "0", "--log-format", "json", "--drain-seconds", str(drain_seconds)]
    command = [sys.executable, "-m", "legato", "serve", *flags]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    servers: list[FleetServer] = []
    try:
        for _ in range(count):
            servers.append(FleetServer(subprocess.Popen(command, env=own, cwd=ROOT, text=True, **pipes)))
            # One after the other: the first one makes the certificate and the key that all of them use.
            servers[-1].wait_for_it()
        yield servers
    finally:
        for server in servers:
            server.end()
