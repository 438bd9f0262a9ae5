"""`legato serve --workers`: one parent, several processes on one port, and a new one for each that dies.

Owns the sockets and the life of processes. It must not know calls: it reads no packet and runs no event loop.

The sockets belong to the parent and outlive any worker: packets for one that died wait in its socket until
the next one takes it over, and nobody else's socket changes its place in the kernel's group (see
`steer_workers`). The listening TCP sockets are shared by all: whoever is free takes the next connection.

The first worker begins alone, so that what is wrong for all is said once.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from legato import _native
from legato.core.errors import TransportError
from legato.fleet_keys import FleetKeys
from legato.server.http import bind
from legato.server.settings import ServerSettings
from legato.server.worker import Orders, Worker

__all__ = ["Workers"]

INTERRUPTED = 130
"""Exit code of whoever is stopped in the middle."""

KERNEL_BUFFER = 4 << 20
"""Bytes asked for on each side of a UDP socket; the system may give less."""

SOON_S = 5.0
"""A worker that dies younger than this is replaced after a pause, which doubles from one to the next."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

_STEERING_OCTETS = 8
_ENDING = (signal.SIGINT, signal.SIGTERM)

log = structlog.get_logger(__name__)


@dataclass
class _Place:
    """What stays when a worker dies: its number and its sockets."""

    number: int
    udp: list[socket.socket]
    process: subprocess.Popen[bytes] | None = None
    line: socket.socket | None = None
    started: float = 0.0
    ready: bool = False
    pause: float = 0.0
    start_at: float | None = None

    def start_later(self, now: float, again: bool) -> None:
        """Try anew, after a pause if it is not the first time."""
        self.pause = min(max(2 * self.pause, FIRST_PAUSE_S), LONGEST_PAUSE_S) if again else 0.0
        self.start_at = now + self.pause


class Workers:
    """The parent process."""

    def __init__(self, settings: ServerSettings, flags: dict[str, Any], config: Path | None) -> None:
        """Bind the port. `flags` and `config` are what the workers load their settings from again.

        Raises `SettingsError` and `TransportError` with one sentence for the operator.
        """
        self._settings = settings
        self._flags = flags
        self._config = config
        self._steering = secrets.token_bytes(_STEERING_OCTETS)
        keys = FleetKeys.new() if settings.fleet.keys is None else FleetKeys.load(settings.fleet.keys)
        self._keys = keys.dump()
        profile = _native.QuicLbConfig.aws_nlb() if settings.fleet.profile == "aws-nlb" else keys.quic_lb[0]
        self._tcp = bind(settings.listen.host, settings.listen.port)
        groups = [_group(tcp, settings.workers) for tcp in self._tcp]
        for group in groups:
            _native.steer_workers(group[0].fileno(), len(group), self._steering, profile.cid_length)
        self._places = [
            _Place(number, [group[number] for group in groups]) for number in range(settings.workers)
        ]
        self._places[0].start_at = time.monotonic()
        self._stopping = 0
        self._outcome = 0
        self._served = False

    @property
    def addresses(self) -> list[str]:
        """Where all of them listen."""
        names = (tcp.getsockname() for tcp in self._tcp)
        return [f"{name[0]}:{name[1]}" for name in names]

    def run(self) -> int:
        """Keep the workers running until told to stop; return the exit code of the program."""
        with _signals() as (woken, taken):
            while True:
                for number in taken():
                    self._on_signal(number)
                self._reap()
                if self._stopping and all(place.process is None for place in self._places):
                    break
                self._start_due()
                self._tell()
                self._wait(woken)
        for place in self._places:
            for each in place.udp:
                each.close()
        for tcp in self._tcp:
            tcp.close()
        log.info("stopped")
        return self._outcome

    def _on_signal(self, number: int) -> None:
        if number in _ENDING:
            self._stop()

    def _stop(self) -> None:
        """Pass the wish to end on: once to drain, twice to end at once."""
        self._stopping += 1
        if self._stopping > 1:
            self._outcome = INTERRUPTED
        for place in self._places:
            place.start_at = None
            if place.process is not None:
                place.process.send_signal(signal.SIGTERM)

    def _reap(self) -> None:
        now = time.monotonic()
        for place in self._places:
            status = place.process.poll() if place.process is not None else None
            if status is None:
                continue
            self._ended(place, status, now)

    def _ended(self, place: _Place, status: int, now: float) -> None:
        first = not place.ready and not self._served
        place.process, place.ready = None, False
        if place.line is not None:
            place.line.close()
            place.line = None
        if self._stopping:
            return
        if first:
            # It could not even begin, and has said why: neither could the next one.
            self._outcome = status if status > 0 else 1
            self._stop()
            return
        lived = now - place.started
        place.start_later(now, again=lived <= SOON_S)
        log.error("a worker died and is replaced", worker=place.number, status=status, lived=round(lived, 1))

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.process is None and place.start_at is not None and place.start_at <= now:
                place.start_at = None
                place.started = now
                try:
                    self._start(place)
                except OSError as error:
                    if not self._served:
                        raise
                    # No memory, or too many processes, for a moment: the other workers have calls.
                    place.start_later(now, again=True)
                    log.error("a worker cannot be started now", worker=place.number, reason=str(error))

    def _start(self, place: _Place) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        udp = tuple(each.fileno() for each in place.udp)
        tcp = tuple(each.fileno() for each in self._tcp)
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            Worker.order(
                ours,
                Orders(
                    number=place.number,
                    count=len(self._places),
                    udp=udp,
                    tcp=tcp,
                    steering=self._steering,
                    keys=self._keys,
                    flags={key: _plain(value) for key, value in self._flags.items() if value is not None},
                    config=None if self._config is None else str(self._config),
                    announce=place.number == 0 and not self._served,
                ),
            )
            place.process = subprocess.Popen(
                [sys.executable, "-m", "legato", "serve", "--worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(), *udp, *tcp),
                # Ctrl-C reaches the parent alone, which passes it on once.
                process_group=0,
            )
            undo.pop_all()
        ours.setblocking(False)
        place.line = ours

    def _tell(self) -> None:
        """Take notice of workers that are ready, and say so when all are for the first time."""
        for place in self._places:
            if place.line is None or place.ready:
                continue
            with contextlib.suppress(BlockingIOError):
                place.ready = bool(place.line.recv(64))
                if not place.ready:
                    # It is ending, as the system is about to say.
                    place.line.close()
                    place.line = None
                elif not self._served and place.number == 0:
                    self._start_others()
        if not self._served and all(place.ready for place in self._places):
            self._served = True
            log.info("workers listen", addresses=self.addresses, workers=len(self._places))

    def _start_others(self) -> None:
        for place in self._places[1:]:
            place.start_at = None if self._stopping else time.monotonic()

    def _wait(self, woken: int) -> None:
        """Until a signal, word of a worker, or the time to start one."""
        due = [place.start_at for place in self._places if place.start_at is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        readable: list[Any] = [woken]
        readable += [place.line for place in self._places if place.line is not None and not place.ready]
        select.select(readable, [], [], timeout)


def _plain(value: Any) -> Any:
    """A flag as JSON can hold it."""
    return str(value) if isinstance(value, Path) else value


def _group(tcp: socket.socket, count: int) -> list[socket.socket]:
    """UDP sockets that share the address of a TCP socket, in the order of the workers."""
    made: list[socket.socket] = []
    with contextlib.ExitStack() as undo:
        for _ in range(count):
            each = undo.enter_context(socket.socket(tcp.family, socket.SOCK_DGRAM))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
            if tcp.family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                each.bind(tcp.getsockname())
            except OSError as error:
                port = tcp.getsockname()[1]
                raise TransportError(f"port {port} cannot be shared by workers: {error.strerror}") from None
            made.append(each)
        undo.pop_all()
    return made


@contextlib.contextmanager
def _signals() -> Iterator[tuple[int, Any]]:
    """A descriptor that is readable when signals came, and a function that takes them."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    # The handlers do nothing: the numbers come through the pipe.
    caught = (*_ENDING, signal.SIGCHLD)
    former = {number: signal.signal(number, lambda *_: None) for number in caught}
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def taken() -> bytes:
        try:
            return os.read(reading, 256)
        except BlockingIOError:
            return b""

    try:
        yield reading, taken
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in former.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
