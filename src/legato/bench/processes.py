"""Processes of a measurement: started, waited for, and ended by number whatever happens.

Owns their lives; must not know what they are measured for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from legato.bench import usage
from legato.core.errors import LegatoError
from legato.server.certificates import make_development_identity

__all__ = [
    "BenchError",
    "Child",
    "Identity",
    "child",
    "divided_cores",
    "end",
    "end_when_terminated",
    "free_port",
    "module",
    "temporary_identity",
    "wait_for_port",
]

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
FIRST = -12
"""Niceness of a process under measurement."""


class BenchError(LegatoError):
    """A measurement could not be taken; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate made for one run: the PEM files, and the SHA-256 of the leaf that clients pin."""

    certificate: Path
    key: Path
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Child:
    """A process that runs, with its pipes and its log."""

    process: subprocess.Popen[str]
    name: str
    log: Path

    @property
    def pid(self) -> int:
        """Return the process's number."""
        return self.process.pid

    def cpu_us(self) -> int:
        """Return the CPU time it has used so far, in microseconds; raises `BenchError` if it has ended."""
        try:
            return usage.cpu_us(self.pid)
        except ProcessLookupError:
            raise BenchError(f"{self.name} ended early: {self.last_words()}") from None

    def cpu_us_by_thread(self) -> dict[str, int]:
        """Return the same by the names of its threads; nothing where the kernel does not say."""
        try:
            return usage.cpu_us_by_thread(self.pid)
        except FileNotFoundError:
            return {}

    def memory_bytes(self) -> int:
        """Return its resident memory in bytes; raises `BenchError` if it has ended."""
        try:
            return usage.memory_bytes(self.pid)
        except ProcessLookupError:
            raise BenchError(f"{self.name} ended early: {self.last_words()}") from None

    def readline(self) -> str:
        """Return the next line it prints; raises `BenchError` at its end."""
        line = _pipe(self.process.stdout).readline()
        if not line:
            raise BenchError(f"{self.name} ended early: {self.last_words()}")
        return line.rstrip("\n")

    def last_words(self) -> str:
        """Return the last line of its log, for an error message."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def module(name: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this installation."""
    return [sys.executable, "-m", name, *arguments]


@contextlib.contextmanager
def child(
    name: str, command: list[str], *, cores: Collection[int] = (), **environment: str
) -> Iterator[Child]:
    """Run a command beside us; ended by SIGTERM, then SIGKILL, when the block is left in whatever way.

    On `cores` of its own, if any are given, it also comes before other work of the machine, where the system
    allows that. `environment` is added to ours. What it writes to standard error goes to a log of its own.
    """
    with tempfile.TemporaryDirectory(prefix="legato-bench-") as folder:
        log = Path(folder, "log")
        with log.open("w") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**_environment(), **environment},
            )
        try:
            if cores:
                os.sched_setaffinity(process.pid, cores)
                with contextlib.suppress(PermissionError):
                    os.setpriority(os.PRIO_PROCESS, process.pid, FIRST)
            yield Child(process, name, log)
        finally:
            end(process)


def _environment() -> dict[str, str]:
    # Settings of the person who measures must not change what is measured.
    return {key: value for key, value in os.environ.items() if not key.startswith("LEGATO_")}


def end_when_terminated() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that its children end with it. For commands only."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def end(process: subprocess.Popen[Any], patience_s: float = STOP_TIMEOUT_S) -> None:
    """End a child, politely for `patience_s`, then by force."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def divided_cores() -> tuple[Collection[int], Collection[int]]:
    """Return a core for the server under measurement and those for its callers; none if there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[:1], usable[1:]) if len(usable) > 1 else ((), ())


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free for TCP and UDP at this moment."""
    for _ in range(50):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BenchError("no port of 127.0.0.1 is free for both TCP and UDP")


def wait_for_port(server: Child, port: int) -> None:
    """Return once 127.0.0.1:`port` answers a TLS handshake: the server's loop runs, so UDP is up too.

    Raises `BenchError` if the server ends or takes too long.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up:
        if server.process.poll() is not None:
            raise BenchError(f"{server.name} did not start: {server.last_words()}")
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 1) as tcp,
            context.wrap_socket(tcp),
        ):
            return
        time.sleep(0.02)
    raise BenchError(f"{server.name} was not ready within {START_TIMEOUT_S:.0f} s: {server.last_words()}")


@contextlib.contextmanager
def temporary_identity() -> Iterator[Identity]:
    """Make a certificate for 127.0.0.1, kept in files for as long as the block lasts."""
    made = make_development_identity(datetime.now(UTC))
    with tempfile.TemporaryDirectory(prefix="legato-bench-") as folder:
        certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate.write_bytes(made.chain_pem())
        key.touch(0o600)
        key.write_bytes(made.key_pem())
        yield Identity(certificate, key, made.hash)
