"""A link with a delay: everything sent through it arrives `delay` later, each way, in order, without loss.

Owns two relays on 127.0.0.1, one of datagrams and one of TCP bytes, in one thread over `select`; must not
know what passes. The delay is good to about 0.2 ms above what is asked, never below.

A TCP handshake with a relay takes no time, as both ends are on this machine. To give it the round trip it
would take on a real link, the relay holds what a new connection sends for one more round trip; that is
exact for protocols in which the client speaks first, TLS among them.

Runs as a process: `python -m legato.bench.delay_relay udp|tcp LISTEN_PORT SERVER_PORT ONE_WAY_MS`.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import select
import socket
import sys
import time
from collections.abc import Callable

__all__ = ["DatagramRelay", "StreamRelay"]

_READ_BYTES = 64 * 1024


class _Relay:
    """What is on its way, and when it is due."""

    def __init__(self, delay_ns: int) -> None:
        self.delay_ns = delay_ns
        self.readers: dict[socket.socket, Callable[[], None]] = {}
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def later(self, extra_ns: int, deliver: Callable[[], None]) -> None:
        """Deliver after the delay, plus `extra_ns`."""
        when = time.monotonic_ns() + self.delay_ns + extra_ns
        heapq.heappush(self._due, (when, next(self._order), deliver))

    def run(self) -> None:
        """Relay until the process is ended."""
        print("ready", flush=True)
        while True:
            now = time.monotonic_ns()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            wait = (self._due[0][0] - now) / 1e9 if self._due else 1.0
            for ready in select.select(list(self.readers), [], [], wait)[0]:
                if ready in self.readers:
                    self.readers[ready]()


class DatagramRelay(_Relay):
    """Relays UDP between the clients of one port and a server; each client gets a port of its own."""

    def __init__(self, listen: int, server: int, delay_ns: int) -> None:
        """Bind 127.0.0.1:`listen`, towards 127.0.0.1:`server`."""
        super().__init__(delay_ns)
        self._server = ("127.0.0.1", server)
        self._towards: dict[tuple[str, int], socket.socket] = {}
        self._near = _datagram_socket(listen)
        self.readers[self._near] = self._from_client

    def _from_client(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, client = self._near.recvfrom(_READ_BYTES)
                far = self._towards.get(client) or self._new_client(client)
                self.later(0, lambda far=far, data=data: _send(far, data, self._server))  # type: ignore[misc]

    def _new_client(self, client: tuple[str, int]) -> socket.socket:
        far = self._towards[client] = _datagram_socket(0)
        self.readers[far] = lambda: self._from_server(far, client)
        return far

    def _from_server(self, far: socket.socket, client: tuple[str, int]) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                data = far.recv(_READ_BYTES)
                self.later(0, lambda data=data: _send(self._near, data, client))  # type: ignore[misc]


class StreamRelay(_Relay):
    """Relays TCP connections of one port to a server."""

    def __init__(self, listen: int, server: int, delay_ns: int) -> None:
        """Bind 127.0.0.1:`listen`, towards 127.0.0.1:`server`."""
        super().__init__(delay_ns)
        self._server = ("127.0.0.1", server)
        self._listener = socket.create_server(("127.0.0.1", listen), backlog=64)
        self.readers[self._listener] = self._accept

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(self._server)
        established = time.monotonic_ns() + 2 * self.delay_ns
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.readers[one] = lambda one=one, other=other: self._pass(  # type: ignore[misc]
                one, other, established
            )

    def _pass(self, source: socket.socket, sink: socket.socket, established: int) -> None:
        try:
            data = source.recv(_READ_BYTES)
        except ConnectionError:
            data = b""
        handshake = max(0, established - time.monotonic_ns())
        if data:
            self.later(handshake, lambda: _send_all(sink, data))
        else:
            del self.readers[source]
            self.later(handshake, sink.close if sink not in self.readers else lambda: _half_close(sink))


def _datagram_socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", port))
    made.setblocking(False)
    return made


def _send(sender: socket.socket, data: bytes, to: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):
        sender.sendto(data, to)


def _send_all(sink: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        sink.sendall(data)


def _half_close(sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    relay = DatagramRelay if sys.argv[1] == "udp" else StreamRelay
    relay(int(sys.argv[2]), int(sys.argv[3]), int(float(sys.argv[4]) * 1e6)).run()
