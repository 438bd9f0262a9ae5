"""A path to a server that a test can silence, restore and break: UDP and TCP on one port of the loopback.

Owns the relays. Must not know what they carry.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress

Address = tuple[str, int]

PIECE = 65_536


class _Upstream(asyncio.DatagramProtocol):
    """The far side of one client's packets."""

    def __init__(self, path: ShakyPath, client: Address) -> None:
        self._path = path
        self._client = client

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Pass on what the server says, to a client that is not cut off."""
        if not self._path.silent and self._client in self._path.upstreams:
            self._path.udp.sendto(data, self._client)


class _Downstream(asyncio.DatagramProtocol):
    """The near side, for all clients."""

    def __init__(self, path: ShakyPath) -> None:
        self._path = path

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Pass on what a client says."""
        self._path.forward(data, addr)


class ShakyPath:
    """Both relays; operations are for the event loop that runs them."""

    def __init__(self, server: Address) -> None:
        self.server = server
        self.silent = False
        self.upstreams: dict[Address, asyncio.DatagramTransport | None] = {}
        self.udp: asyncio.DatagramTransport
        self.deaf_to_udp = False
        self._dead: set[Address] = set()
        self._cut: list[asyncio.DatagramTransport] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tcp: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # What happens to a path

    def silence(self) -> None:
        """Nothing passes in either direction; TCP keeps what comes meanwhile."""
        self.silent = True
        self._flowing.clear()

    def restore(self) -> None:
        """All passes again."""
        self.silent = False
        self._flowing.set()

    def kill(self) -> None:
        """End every connection: UDP without a word, TCP with a reset. New ones pass."""
        self._dead.update(self.upstreams)
        self._cut += [upstream for upstream in self.upstreams.values() if upstream is not None]
        self.upstreams.clear()
        for writer in self._tcp:
            writer.transport.abort()

    def lead_to(self, server: Address) -> None:
        """End every connection; new ones go to another server."""
        self.server = server
        self.kill()

    def block_udp(self) -> None:
        """No packet of UDP passes any more."""
        self.deaf_to_udp = True

    def free_udp(self) -> None:
        """UDP passes again."""
        self.deaf_to_udp = False

    # How it passes things on

    def forward(self, data: bytes, client: Address) -> None:
        """Take a packet of a client's."""
        if self.silent or self.deaf_to_udp or client in self._dead:
            return
        if client not in self.upstreams:
            self.upstreams[client] = None
            self._keep(self._open(client, data))
        elif (upstream := self.upstreams[client]) is not None:
            upstream.sendto(data)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection of a client's."""
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(*self.server)
            self._tcp |= {writer, far_writer}
            await asyncio.gather(self._pour(reader, far_writer), self._pour(far_reader, writer))

    def close(self) -> None:
        """Release all sockets."""
        self.udp.close()
        for upstream in (*self._cut, *self.upstreams.values()):
            if upstream is not None:
                upstream.close()
        for writer in self._tcp:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    async def _open(self, client: Address, first: bytes) -> None:
        loop = asyncio.get_running_loop()
        upstream, _ = await loop.create_datagram_endpoint(
            lambda: _Upstream(self, client), remote_addr=self.server
        )
        self.upstreams[client] = upstream
        upstream.sendto(first)

    async def _pour(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(PIECE):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.close()

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _one_port() -> tuple[socket.socket, socket.socket]:
    """A port that is free for both."""
    while True:
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
            return udp, tcp
        except OSError:
            udp.close()
            tcp.close()


@asynccontextmanager
async def shaky_path(server: Address) -> AsyncIterator[tuple[ShakyPath, int]]:
    """A path to `server`, and the port at which it begins."""
    path = ShakyPath(server)
    udp, tcp = _one_port()
    port: int = tcp.getsockname()[1]
    loop = asyncio.get_running_loop()
    path.udp, _ = await loop.create_datagram_endpoint(lambda: _Downstream(path), sock=udp)
    listener = await asyncio.start_server(path.serve, sock=tcp)
    try:
        yield path, port
    finally:
        listener.close()
        path.close()
        await asyncio.sleep(0)
