"""A UDP relay on loopback whose paths a test can darken, move to another port, or cut for good."""

import itertools

from legato.cli.showing.path import Address, BreakablePath


class Relay(BreakablePath):
    """A breakable path whose clients can be cut off. It takes one of several servers after the other, packet
    by packet."""

    def __init__(self, *server_ports: int) -> None:
        super().__init__(server_ports[0])
        self._servers = itertools.cycle([("127.0.0.1", port) for port in server_ports])
        self._clients: set[Address] = set()
        self._cut: set[Address] = set()

    @property
    def server(self) -> Address:
        return next(self._servers)

    def cut(self) -> None:
        """Let nothing of the clients so far pass, ever again."""
        self._cut |= self._clients

    def passes(self, client: Address) -> bool:
        self._clients.add(client)
        return super().passes(client) and client not in self._cut
