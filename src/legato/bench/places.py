"""Two places joined by an emulated link, in which any program may run: TCP, UDP, browsers, foreign code.

A place is a Linux network namespace with one address of each family; the only way to the other place is the
link, which the program `legato-netem` carries packets through (crates/netem-tun). Root is not needed: an
ordinary user gets a user namespace in which it may do the same. Owns the life of that program and of what is
started beside it; must not know what a network is like.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from legato.bench.processes import BenchError, end
from legato.core.errors import LegatoError, SettingsError

__all__ = ["Link", "LinkUnavailableError", "Place", "Wire", "join", "networks", "run"]

Wire = Literal["tun", "veth"]
"""What connects a place to the link; by default TUN where /dev/net/tun may be opened, else a veth pair."""

STOP_TIMEOUT_S = 10.0
LISTEN_TIMEOUT_S = 60.0
MISUSED = 2
UNAVAILABLE = 69
"""Exit codes of `legato-netem`: a wrong network or flag, and a machine or user that may not do it."""


class LinkUnavailableError(BenchError):
    """This machine cannot join places; the message says in one sentence why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """One side of the link: its addresses, and how commands get into it. `ipv6` is None without IPv6."""

    name: str
    ipv4: str
    ipv6: str | None
    entrance: tuple[str, ...]

    def command(self, words: Sequence[str]) -> list[str]:
        """Return the command line that runs `words` in this place."""
        return [*self.entrance, *words]


class Link:
    """A link that runs, with its places. Made by `join`."""

    def __init__(self, process: subprocess.Popen[str], program: str, ready: dict[str, Any]) -> None:
        """Read where the places are from the program's first line."""
        self._process = process
        self.network: str = ready["network"]
        self.about: str = ready["about"]
        self.wire: str = ready["wire"]
        self.rootless: bool = ready["user_namespace"] is not None
        self.client, self.server = (self._place(program, ready, name) for name in ("client", "server"))
        self.statistics: dict[str, Any] = {}
        """What became of the packets in each direction; filled when the link has ended."""

    @staticmethod
    def _place(program: str, ready: dict[str, Any], name: str) -> Place:
        place = ready[name]
        namespaces = [path for path in (ready["user_namespace"], place["namespace"]) if path is not None]
        return Place(name, place["ipv4"], place["ipv6"], (program, "in", *namespaces, "--"))

    @property
    def pid(self) -> int:
        """The number of the process that carries the packets."""
        return self._process.pid

    def begin(self) -> None:
        """Begin the network's story now; until then the link is as it is outside of every event."""
        _pipe(self._process.stdin).write("begin\n")
        _pipe(self._process.stdin).flush()

    def next_change(self) -> dict[str, Any]:
        """Wait until the client's addresses change and return how; raises `BenchError` if the link ends."""
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise BenchError(f"the link has ended: {_pipe(self._process.stderr).read().strip()}")
        event: dict[str, Any] = json.loads(line)
        return event

    def close(self) -> None:
        """End the link; fills `statistics`. Raises `BenchError` if it had ended by itself."""
        if self.statistics:
            return
        try:
            out, errors = self._process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, errors = self._process.communicate()
        if self._process.returncode:
            raise BenchError(_sentence(errors))
        self.statistics = json.loads(out.splitlines()[-1])


_ERRORS: dict[int, type[LegatoError]] = {MISUSED: SettingsError, UNAVAILABLE: LinkUnavailableError}


def networks() -> list[dict[str, Any]]:
    """Return every named network: `name`, `about`, `length_ms`."""
    done = subprocess.run([_program(), "list"], capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def join(network: str, *, seed: int = 1, wire: Wire | None = None) -> Iterator[Link]:
    """Join two new places by `network`: a name, or the path of a file that ends in .toml.

    Whatever still runs in the places when the block is left keeps running there, without a link. Raises
    `LinkUnavailableError` where it is not possible at all, `SettingsError` for a network that is not there or
    not right, `BenchError` for anything else.
    """
    program = _program()
    command = [program, "hold", network, "--seed", str(seed), *(("--wire", wire) if wire else ())]
    pipe = subprocess.PIPE
    # In a group of its own, it outlives Ctrl-C until it is told to end and can say what it saw.
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, process_group=0)
    line = _pipe(process.stdout).readline()
    if not line:
        _, errors = process.communicate()
        raise _ERRORS.get(process.returncode, BenchError)(_sentence(errors))
    # It sleeps nearly always and what it is late by is the link's error: it comes before other work, where
    # that is allowed. What it starts itself does not.
    with contextlib.suppress(PermissionError):
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(process.pid, policy, os.sched_param(1))
    link = Link(process, program, json.loads(line))
    try:
        yield link
    finally:
        link.close()


def run(link: Link, command: Sequence[str], *, server: str | None, port: int | None) -> int:
    """Run `command` in the client's place and `server`, a command line, in the other; begin the story.

    The server is given time until it listens at `port`, if one is named, and is ended when the command ends.
    Returns the command's exit code; it finds the addresses in NETEM_SERVER, NETEM_SERVER6 and NETEM_CLIENT.
    """
    environment = {**os.environ, "NETEM_SERVER": link.server.ipv4, "NETEM_CLIENT": link.client.ipv4}
    if link.server.ipv6 is not None:
        environment["NETEM_SERVER6"] = link.server.ipv6
    with contextlib.ExitStack() as stack:
        if server is not None:
            # Standard output belongs to the command.
            words = link.server.command(shlex.split(server))
            process = subprocess.Popen(words, env=environment, stdout=sys.stderr)
            stack.callback(end, process, STOP_TIMEOUT_S)
            if port is not None:
                wait_until_it_listens(process, port)
        link.begin()
        return subprocess.run(link.client.command(command), env=environment, check=False).returncode


def wait_until_it_listens(process: subprocess.Popen[Any], port: int) -> None:
    """Return once something in the place of `process` is bound to `port`, TCP or UDP.

    Nothing is sent: the kernel's own tables are read. Raises `BenchError` if the process ends or it takes too
    long.
    """
    give_up = time.monotonic() + LISTEN_TIMEOUT_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise BenchError(f"the server ended early, with exit code {process.returncode}")
        if _is_bound(process.pid, port):
            return
        time.sleep(0.02)
    raise BenchError(f"nothing listened at port {port} within {LISTEN_TIMEOUT_S:.0f} s")


def _is_bound(pid: int, port: int) -> bool:
    wanted = f":{port:04X}"
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with contextlib.suppress(OSError):
            rows = [line.split() for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]]
            # State 0A is a listening TCP socket; sockets of UDP have no such state.
            if any(row[1].endswith(wanted) and (table[:3] == "udp" or row[3] == "0A") for row in rows):
                return True
    return False


def _program() -> str:
    if sys.platform != "linux":
        raise LinkUnavailableError(
            "places are Linux network namespaces: on this system use virtual time instead"
        )
    beside = Path(sys.executable).with_name("legato-netem")
    found = str(beside) if beside.exists() else shutil.which("legato-netem")
    if found is None:
        raise LinkUnavailableError(
            "the program legato-netem is not installed: cargo install --path crates/netem-tun, or make setup"
        )
    return found


def _sentence(errors: str) -> str:
    lines = errors.strip().splitlines()
    return lines[-1].removeprefix("legato-netem: ") if lines else "legato-netem ended without a word"


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
