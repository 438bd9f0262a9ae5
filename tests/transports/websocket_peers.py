"""Both ends of a WebSocket on real loopback sockets: what the tests of the transport share."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from legato.transports.base import CloseSource
from legato.transports.messages import MessageLimits
from legato.transports.websocket import WebSocketConnection
from legato.transports.websocket_upgrade import IncomingWebSocket, ServerWebSocket

ANSWER_S = 60


class Owner:
    """Writes down what a connection tells it; echoes if told to."""

    def __init__(self, echo: bool = False) -> None:
        self.echo = echo
        self.messages: list[str | bytes] = []
        self.ends: list[tuple[CloseSource, int, str]] = []
        self.drains = 0
        self.ended = asyncio.Event()
        self.news = asyncio.Event()
        self.fails_at = ""

    def bind(self, connection: WebSocketConnection) -> Owner:
        self.connection = connection
        return self

    def message(self, data: str | bytes) -> None:
        if self.fails_at and data == self.fails_at:
            raise ValueError("the owner's own mistake")
        self.messages.append(data)
        self.news.set()
        if self.echo:
            (self.connection.send_text if isinstance(data, str) else self.connection.send_binary)(data)  # type: ignore[operator]

    def drained(self) -> None:
        self.drains += 1
        self.news.set()

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        self.ends.append((by, code, reason))
        self.ended.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(ANSWER_S):
            while not done():
                self.news.clear()
                await self.news.wait()


def accepting(owner: Owner) -> Callable[[IncomingWebSocket], None]:
    def answer(incoming: IncomingWebSocket) -> None:
        incoming.accept(owner.bind)

    return answer


class OpenConnections(set[object]):
    """The connections that are open; tells when the last one is not any more."""

    def __init__(self) -> None:
        super().__init__()
        self.none = asyncio.Event()
        self.none.set()

    def add(self, connection: object) -> None:
        super().add(connection)
        self.none.clear()

    def discard(self, connection: object) -> None:
        super().discard(connection)
        if not self:
            self.none.set()


class Place:
    """A listening server whose upgrades `answer` decides about."""

    def __init__(self, answer: Callable[[IncomingWebSocket], None], limits: MessageLimits | None) -> None:
        self.answer = answer
        self.limits = limits
        self.open = OpenConnections()
        self.made: list[WebSocketConnection] = []
        self.port = 0

    def protocol(self) -> WebSocketConnection:
        connection = ServerWebSocket(self.answer, self.limits, self.open)
        self.made.append(connection)
        return connection

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/somewhere?a=b"


@asynccontextmanager
async def place(
    answer: Callable[[IncomingWebSocket], None],
    limits: MessageLimits | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Place]:
    made = Place(answer, limits)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(made.protocol, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for connection in list(made.open):
            assert isinstance(connection, WebSocketConnection)
            connection._transport.abort()
        async with asyncio.timeout(ANSWER_S):
            await made.open.none.wait()
            await server.wait_closed()


def client(url: str, **more: object) -> connect:
    return connect(url, compression=None, ping_interval=None, max_size=None, **more)  # type: ignore[arg-type]


class Raw:
    """A client that says exactly the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def frame(self, opcode: Opcode, data: bytes, fin: bool = True) -> None:
        self.writer.write(Frame(opcode, data, fin).serialize(mask=True))

    async def read_frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(ANSWER_S):
            head = await self.reader.readexactly(2)
            size = head[1] & 0x7F
            if size >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return head[0] & 0x0F, await self.reader.readexactly(size)

    async def closed_with(self) -> tuple[int, str]:
        while True:
            opcode, data = await self.read_frame()
            if opcode == Opcode.CLOSE:
                return int.from_bytes(data[:2], "big"), data[2:].decode()


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    async with asyncio.timeout(ANSWER_S):
        answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101")
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
