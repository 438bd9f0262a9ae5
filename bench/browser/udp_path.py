"""A path for UDP between browsers and a server of this machine: a delay, a switch, a log of what passed.

Owns its sockets and its thread. Must not know what packets say.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_IDLE_S = 0.05
_DATAGRAM_BYTES = 65_536


class UdpPath:
    """Carries datagrams from its own port to a server's and back."""

    def __init__(self, server_port: int, one_way_s: float = 0.0) -> None:
        """Listen on a free port of 127.0.0.1."""
        self.passes = True
        """Whether anything gets through; what does not is lost."""
        self.log: list[tuple[float, int]] = []
        """When each datagram of a client passed, in seconds since 1970, and its size."""
        self._server = ("127.0.0.1", server_port)
        self._delay = one_way_s
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._front.setblocking(False)
        self.port: int = self._front.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ, None)
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._due: list[tuple[float, int, socket.socket, tuple[str, int], bytes]] = []
        self._count = 0
        self._over = False
        self._thread = threading.Thread(target=self._run, name="path")
        self._thread.start()

    def close(self) -> None:
        """Carry nothing more."""
        self._over = True
        self._thread.join()
        for one in (self._front, *self._backs.values()):
            one.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._over:
            wait = self._due[0][0] - time.monotonic() if self._due else _IDLE_S
            for key, _ in self._selector.select(max(0.0, min(wait, _IDLE_S))):
                assert isinstance(key.fileobj, socket.socket)
                self._drain(key.fileobj, key.data)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                _, _, out, address, data = heapq.heappop(self._due)
                out.sendto(data, address)

    def _drain(self, source: socket.socket, client: tuple[str, int] | None) -> None:
        """Take what has come in; `client` is whom the server answers, None for what comes from clients."""
        while True:
            try:
                data, sender = source.recvfrom(_DATAGRAM_BYTES)
            except OSError:
                return
            if not self.passes:
                continue
            if client is None:
                self.log.append((time.time(), len(data)))
                self._later(self._back(sender), self._server, data)
            else:
                self._later(self._front, client, data)

    def _later(self, out: socket.socket, address: tuple[str, int], data: bytes) -> None:
        self._count += 1
        heapq.heappush(self._due, (time.monotonic() + self._delay, self._count, out, address, data))

    def _back(self, client: tuple[str, int]) -> socket.socket:
        back = self._backs.get(client)
        if back is None:
            back = self._backs[client] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            back.bind(("127.0.0.1", 0))
            back.setblocking(False)
            self._selector.register(back, selectors.EVENT_READ, client)
        return back


@contextmanager
def udp_path(server_port: int, one_way_s: float = 0.0) -> Iterator[UdpPath]:
    """A path that ends with the block."""
    made = UdpPath(server_port, one_way_s)
    try:
        yield made
    finally:
        made.close()
