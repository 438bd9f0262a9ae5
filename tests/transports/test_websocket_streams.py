"""Streams over one WebSocket, on real loopback sockets with TLS: the contract, order, bounds and bad peers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from legato.core.errors import ConnectError, TransportError
from legato.core.wire import mux
from legato.core.wire.codes import WEBSOCKET_PROTOCOL, SessionCode
from legato.core.wire.mux import Close, Data, Datagram, Drain, Reset, Stop
from legato.server.certificates import make_development_identity
from legato.testing.transports import Recorder, check_transport
from legato.transports.base import Handler, Transport
from legato.transports.stream_queue import SEND_LIMIT_BYTES
from legato.transports.websocket_client import open_websocket
from legato.transports.websocket_streams import HELD_BYTES, LIMITS, IncomingStreams, WebSocketTransport
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

    async def start(self, directory: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        path = directory / "identity.pem"
        path.write_bytes(IDENTITY.key_pem() + IDENTITY.chain_pem())
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
            certificate_hashes=[IDENTITY.hash],
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


@pytest.fixture
async def loopback(tmp_path: Path) -> AsyncIterator[Loopback]:
    made = Loopback()
    await made.start(tmp_path)
    yield made
    await made.close()


async def test_it_keeps_the_contract(loopback: Loopback) -> None:
    async def pair(
        near: Callable[[Transport], Handler], far: Callable[[Transport], Handler]
    ) -> tuple[Transport, Transport, Callable[[], Awaitable[None]]]:
        loopback.make = far
        first = WebSocketTransport(server=False)
        first.handler = near(first)
        await first.connect(loopback.target)
        second = await asyncio.wait_for(loopback.made.get(), 5)

        async def release() -> None:
            first.close(0, "")
            second.close(0, "")

        return first, second, release

    await check_transport(pair)
