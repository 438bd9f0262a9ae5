"""A path to a server on this machine that can die and come back from another address.

Owns a relay of datagrams on the event loop, so that a demonstration needs no rights; must not know what
passes. What it does to packets is what a network does, not an imitation of its effect on a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

__all__ = ["BreakablePath"]

_READ_BYTES = 65_536
_WAITING_BYTES = 1 << 20

Address = tuple[str, int]


class BreakablePath:
    """Between any number of clients and 127.0.0.1:`server_port`; made on a running event loop."""

    def __init__(self, server_port: int) -> None:
        """Let everything pass."""
        self.dead = False
        """Whether nothing passes, in either direction."""
        self.lost = 0
        """Packets that met a dead network, or an address that was gone."""
        self._loop = asyncio.get_running_loop()
        self._server = ("127.0.0.1", server_port)
        self._far: dict[Address, socket.socket] = {}
        self._near = _bound()
        self._loop.add_reader(self._near, self._outward)

    @property
    def url(self) -> str:
        """Where clients find the server."""
        return f"https://127.0.0.1:{self._near.getsockname()[1]}"

    @property
    def server(self) -> Address:
        """Where the next packet of a client goes."""
        return self._server

    @property
    def seen_at(self) -> list[int]:
        """The ports at which the server sees the clients now."""
        return [far.getsockname()[1] for far in self._far.values()]

    def passes(self, client: Address) -> bool:
        """Whether a packet of that client's, or for it, passes now."""
        return not self.dead

    def move(self) -> None:
        """Reach the server from other ports from now on; what comes to the old ones is lost."""
        for far in self._far.values():
            self._loop.remove_reader(far)
            far.close()
        self._far.clear()

    def close(self) -> None:
        """Let nothing pass any more. Idempotent."""
        self.move()
        self._loop.remove_reader(self._near)
        self._near.close()

    def _outward(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, client = self._near.recvfrom(_READ_BYTES)
                if self.passes(client):
                    self._exit(client).sendto(data, self.server)
                else:
                    self.lost += 1

    def _exit(self, client: Address) -> socket.socket:
        far = self._far.get(client)
        if far is None:
            far = self._far[client] = _bound()
            self._loop.add_reader(far, self._homeward, far, client)
        return far

    def _homeward(self, far: socket.socket, client: Address) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = far.recv(_READ_BYTES)
                if self.passes(client):
                    self._near.sendto(data, client)
                else:
                    self.lost += 1


def _bound() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WAITING_BYTES)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made
