"""A UDP relay on loopback whose paths a test can darken, move to another port, or cut for good."""

import asyncio
import contextlib
import itertools
import socket

_READ_BYTES = 65_536

Address = tuple[str, int]


def _bound() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    bound.setblocking(False)
    return bound


class Relay:
    """Between any number of clients and one server; made on a running event loop. Of several servers it takes
    one after the other, packet by packet."""

    def __init__(self, *server_ports: int) -> None:
        self.dark = False
        """Whether nothing passes."""
        self._servers = itertools.cycle([("127.0.0.1", port) for port in server_ports])
        self._loop = asyncio.get_running_loop()
        self._clients: set[Address] = set()
        self._cut: set[Address] = set()
        self._far: dict[Address, socket.socket] = {}
        self._near = _bound()
        self._loop.add_reader(self._near, self._from_clients)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._near.getsockname()[1]}"

    def cut(self) -> None:
        """Let nothing of the clients so far pass, ever again."""
        self._cut |= self._clients

    def move(self) -> None:
        """Reach the server from other ports, as after a change of a NAT's mapping."""
        for far in self._far.values():
            self._loop.remove_reader(far)
            far.close()
        self._far.clear()

    def close(self) -> None:
        self.move()
        self._loop.remove_reader(self._near)
        self._near.close()

    def _passes(self, client: Address) -> bool:
        return not self.dark and client not in self._cut

    def _from_clients(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, client = self._near.recvfrom(_READ_BYTES)
                self._clients.add(client)
                if self._passes(client):
                    self._towards_server(client).sendto(data, next(self._servers))

    def _towards_server(self, client: Address) -> socket.socket:
        far = self._far.get(client)
        if far is None:
            far = self._far[client] = _bound()
            self._loop.add_reader(far, self._from_server, far, client)
        return far

    def _from_server(self, far: socket.socket, client: Address) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = far.recv(_READ_BYTES)
                if self._passes(client):
                    self._near.sendto(data, client)
