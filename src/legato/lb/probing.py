"""Sends probes to servers as the balancer sends packets of clients, and takes the answers.

Owns the sockets of the probes. What is asked and what an answer means is `health`'s. A probe travels as any
packet does, encapsulated and to the same port, so that it also proves that keys agree and that the server
believes this balancer.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence

from legato._native import EncapsulationKeys
from legato.lb.servers import Address

__all__ = ["ProbeSockets"]


class ProbeSockets(asyncio.DatagramProtocol):
    """A socket for each IP version. `on_answer` gets what servers send, without its header."""

    def __init__(self, keys: EncapsulationKeys, on_answer: Callable[[bytes], None]) -> None:
        self.keys = keys
        """May be replaced at any time."""
        self._on_answer = on_answer
        self._transports: dict[int, asyncio.DatagramTransport] = {}
        self._clients: dict[str, Address] = {}
        # Whoever is cancelled while a socket is made never sees its transport, but we do.
        self._made: list[asyncio.BaseTransport] = []
        self._is_closing = False
        self._open = 0
        self._closed = asyncio.Event()

    async def open(self, listen: Sequence[Address]) -> None:
        """Open sockets beside those of clients: at the same addresses, because servers know balancers by
        them. Without an address of a version probes leave from wherever the system says."""
        loop = asyncio.get_running_loop()
        for version, anywhere in ((4, "0.0.0.0"), (6, "::")):
            ours = [host for host, _ in listen if ipaddress.ip_address(host).version == version]
            # A machine without IPv6 has no servers there either.
            with contextlib.suppress(OSError):
                bound = _bound(ours[0] if ours else anywhere)
                transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=bound)
                self._transports[version] = transport

    async def close(self) -> None:
        """Close the sockets, and wait until the loop has let go of them."""
        self._is_closing = True
        for transport in self._made:
            transport.close()
        while self._open:
            self._closed.clear()
            await self._closed.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count an open socket."""
        self._made.append(transport)
        self._open += 1
        if self._is_closing:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a closed one."""
        self._open -= 1
        self._closed.set()

    def send(self, server: Address, packet: bytes) -> None:
        """Send a probe. That it cannot be sent shows as silence."""
        transport = self._transports.get(ipaddress.ip_address(server[0]).version)
        if transport is None or transport.is_closing():
            return
        with contextlib.suppress(OSError):
            client = self._client(server[0], transport)
            transport.sendto(self.keys.request(client, packet), server)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Take what a server sends."""
        try:
            is_reply, _, packet = self.keys.open(data)
        except ValueError:
            return
        if is_reply:
            self._on_answer(packet)

    def error_received(self, exc: Exception) -> None:
        """Ignore what the network says of earlier probes: silence says it, too."""

    def _client(self, server: str, transport: asyncio.DatagramTransport) -> Address:
        """Who the header says is asking: this socket, by the address that the server would answer to."""
        known = self._clients.get(server)
        if known is None:
            host, port = transport.get_extra_info("sockname")[:2]
            if ipaddress.ip_address(host).is_unspecified:
                host = _source_address(server)
            known = self._clients[server] = (host, port)
        return known


def _bound(host: str) -> socket.socket:
    """A socket at an address of this machine. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.bind((host, 0))
    except OSError:
        made.close()
        raise
    return made


def _source_address(server: str) -> str:
    """Which address of this machine the system would send from. Raises `OSError` if there is no way."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((server, 9))
        return str(probe.getsockname()[0])
