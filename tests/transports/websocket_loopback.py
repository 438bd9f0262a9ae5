"""A server of streams over WebSockets, on a loopback port with TLS, and clients that come to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from legato.core.wire import mux
from legato.core.wire.codes import WEBSOCKET_PROTOCOL
from legato.server.certificates import ServerIdentity, make_development_identity
from legato.testing.transports import Recorder
from legato.transports.base import Handler, Transport
from legato.transports.websocket_incoming import IncomingStreams
from legato.transports.websocket_streams import WebSocketTransport
from legato.transports.websocket_upgrade import IncomingWebSocket, ServerWebSocket
from legato.transports.webtransport import ConnectTarget

NOW = datetime.now(UTC)
IDENTITY = make_development_identity(NOW)


class Loopback:
    """A server whose sessions are recorded, or answered by `answer`."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.made: asyncio.Queue[WebSocketTransport] = asyncio.Queue()
        self.make: Callable[[Transport], Handler] = lambda _: self.recorder
        self.answer: Callable[[IncomingWebSocket], None] = self._accept
        self.open: set[object] = set()

    def _accept(self, incoming: IncomingWebSocket) -> None:
        transport = IncomingStreams(incoming).accept(self.make)
        assert isinstance(transport, WebSocketTransport)
        self.made.put_nowait(transport)

    async def start(self, directory: Path, identity: ServerIdentity = IDENTITY) -> None:
        self.identity = identity
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        path = directory / "identity.pem"
        path.write_bytes(identity.key_pem() + identity.chain_pem())
        context.load_cert_chain(path)
        self.server = await asyncio.get_running_loop().create_server(
            lambda: ServerWebSocket(lambda incoming: self.answer(incoming), connections=self.open),
            "127.0.0.1",
            0,
            ssl=context,
        )
        self.port: int = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        for connection in [*self.open]:
            assert isinstance(connection, ServerWebSocket)
            connection.shutdown()
        self.server.close()
        await self.server.wait_closed()

    @property
    def target(self) -> ConnectTarget:
        return ConnectTarget(
            addresses=[("127.0.0.1", self.port)],
            server_name="localhost",
            authority=f"localhost:{self.port}",
            path="/legato/v1",
            certificate_hashes=[self.identity.hash],
        )

    async def dial(self, handler: Handler, target: ConnectTarget | None = None) -> WebSocketTransport:
        transport = WebSocketTransport(server=False)
        transport.handler = handler
        await transport.connect(target or self.target)
        return transport

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[ClientConnection]:
        """A stock client that says any message."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"wss://127.0.0.1:{self.port}/legato/v1"
        async with connect(url, ssl=context, subprotocols=[WEBSOCKET_PROTOCOL], compression=None) as client:  # type: ignore[list-item]
            yield client


async def messages(peer: ClientConnection) -> AsyncIterator[mux.Message]:
    """What the server says, to its end."""
    async with asyncio.timeout(60):
        async for data in peer:
            assert isinstance(data, bytes)
            message = mux.decode(data)
            assert message is not None
            yield message


async def served(loopback: Loopback) -> WebSocketTransport:
    return await asyncio.wait_for(loopback.made.get(), 60)
