"""The WebSocket transport on real loopback sockets, against a stock client and against raw bytes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from legato.server.certificates import make_development_identity
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


@pytest.fixture
def owner() -> Owner:
    return Owner()


class TestUpgrade:
    async def test_it_is_described_and_answered(self, owner: Owner) -> None:
        seen: list[IncomingWebSocket] = []

        def answer(incoming: IncomingWebSocket) -> None:
            seen.append(incoming)
            incoming.accept(owner.bind, subprotocol="two", headers=[("X-Name", "value")])

        async with place(answer) as server, client(server.url, subprotocols=["one", "two"]) as caller:
            assert caller.subprotocol == "two"
            assert caller.response is not None
            assert caller.response.headers["X-Name"] == "value"
            incoming = seen[0]
            assert (incoming.path, incoming.query) == ("/somewhere", "a=b")
            assert incoming.subprotocols == ["one", "two"]
            assert incoming.header("host") == f"127.0.0.1:{server.port}"
            assert incoming.header("x-unknown") is None
            assert incoming.remote.startswith("127.0.0.1:")
            info = owner.connection.info
            assert (info.name, info.remote) == ("websocket", incoming.remote)
            assert info.local == f"127.0.0.1:{server.port}"

    async def test_it_is_refused_with_a_body(self) -> None:
        def answer(incoming: IncomingWebSocket) -> None:
            incoming.reject(401, b'{"error":1}', [("Content-Type", "application/json")])

        async with place(answer) as server:
            with pytest.raises(InvalidStatus) as refused:
                async with client(server.url):
                    pass
            response = refused.value.response
            assert response.status_code == 401
            assert response.body == b'{"error":1}'
            assert response.headers["Content-Type"] == "application/json"

    async def test_what_is_no_upgrade_is_told_so(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            async with asyncio.timeout(ANSWER_S):
                answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 400")
            assert b"Sec-WebSocket-Key" in answer
            writer.close()

    async def test_an_owner_that_fails_answers_500(self) -> None:
        def answer(incoming: IncomingWebSocket) -> None:
            raise ValueError("a mistake")

        async with place(answer) as server:
            with pytest.raises(InvalidStatus) as refused:
                async with client(server.url):
                    pass
            assert refused.value.response.status_code == 500

    async def test_an_owner_that_fails_behind_its_answer_ends_the_connection(self) -> None:
        def answer(incoming: IncomingWebSocket) -> None:
            def bind(connection: WebSocketConnection) -> Owner:
                raise ValueError("a mistake")

            incoming.accept(bind)

        async with place(answer) as server, raw(server.port) as caller:
            caller.frame(Opcode.TEXT, b"hello")
            assert await caller.closed_with() == (1011, "an internal error")

    async def test_the_answer_may_come_later(self, owner: Owner) -> None:
        asked: list[IncomingWebSocket] = []
        here = asyncio.Event()

        def answer(incoming: IncomingWebSocket) -> None:
            asked.append(incoming)
            here.set()

        async with place(answer) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: bGVnYXRvIG1lYXN1cmVzIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            async with asyncio.timeout(ANSWER_S):
                await here.wait()
            # What is said too early waits for the answer.
            server.made[0].data_received(Frame(Opcode.TEXT, b"early").serialize(mask=True))
            assert owner.messages == []
            asked[0].accept(owner.bind)
            await owner.until(lambda: owner.messages == ["early"])
            assert (await reader.readline()).startswith(b"HTTP/1.1 101")
            writer.close()

    async def test_who_left_before_the_answer_is_reported_gone(self, owner: Owner) -> None:
        asked: list[IncomingWebSocket] = []
        here = asyncio.Event()

        def answer(incoming: IncomingWebSocket) -> None:
            asked.append(incoming)
            here.set()

        async with place(answer) as server:
            async with asyncio.timeout(ANSWER_S):
                waiting = asyncio.create_task(client(server.url).__aenter__())
                await here.wait()
                server.made[0]._transport.abort()
                with contextlib.suppress(Exception):
                    await waiting
            asked[0].accept(owner.bind)
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
            assert owner.ends[0][:2] == ("transport", 1006)
            asked[0].reject(400)  # too late for anything
            owner.connection.send_text("lost")
            assert owner.messages == []


class TestMessages:
    async def test_texts_and_bytes_both_ways(self) -> None:
        owner = Owner(echo=True)
        async with place(accepting(owner)) as server, client(server.url) as caller:
            for message in ("", "grüß", b"", b"\x00\xff", "x" * 200, b"y" * 70_000):
                await caller.send(message)
                assert await caller.recv() == message
            assert owner.messages[1] == "grüß"

    async def test_over_tls(self, tmp_path: Path) -> None:
        identity = make_development_identity(datetime.now(UTC))
        file = tmp_path / "both.pem"
        file.write_bytes(identity.key_pem() + identity.chain_pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        trust = ssl.create_default_context(cadata=identity.chain_pem().decode())
        owner = Owner(echo=True)
        async with place(accepting(owner), tls=context) as server:
            url = server.url.replace("ws://", "wss://")
            async with client(url, ssl=trust) as caller:
                await caller.send("a" * 300_000)
                assert len(await caller.recv()) == 300_000
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
            assert owner.ends == [("peer", 1000, "")]

    async def test_fragments_are_joined_with_control_frames_in_between(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, raw(server.port) as caller:
            euro = "€".encode()
            caller.frame(Opcode.TEXT, euro[:1], fin=False)
            caller.frame(Opcode.PING, b"there?")
            caller.frame(Opcode.CONT, b"", fin=False)
            caller.frame(Opcode.CONT, euro[1:])
            caller.frame(Opcode.BINARY, b"1", fin=False)
            caller.frame(Opcode.CONT, b"2")
            caller.frame(Opcode.TEXT, b"whole")
            await owner.until(lambda: len(owner.messages) == 3)
            assert owner.messages == ["€", b"12", "whole"]
            assert await caller.read_frame() == (Opcode.PONG, b"there?")

    async def test_frames_in_single_bytes(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, raw(server.port):
            sent = b"".join(
                Frame(Opcode.TEXT, text).serialize(mask=True) for text in (b"a", b"b" * 130, b"c" * 66_000)
            )
            connection = server.made[0]
            for at in range(300):
                connection.data_received(sent[at : at + 1])
            connection.data_received(sent[300:])
            assert owner.messages == ["a", "b" * 130, "c" * 66_000]

    async def test_messages_wait_while_the_owner_pauses(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, client(server.url) as caller:
            await caller.send("1")
            await owner.until(lambda: owner.messages == ["1"])
            owner.connection.pause()
            connection = server.made[0]
            connection.data_received(Frame(Opcode.TEXT, b"2").serialize(mask=True))
            assert owner.messages == ["1"]
            await caller.send("3")
            owner.connection.resume()
            await owner.until(lambda: owner.messages == ["1", "2", "3"])

    async def test_pings_are_answered_while_the_owner_pauses(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, client(server.url) as caller:
            owner.connection.pause()
            await caller.send("a" * 100_000)
            async with asyncio.timeout(ANSWER_S):
                await (await caller.ping())
            assert owner.messages == []
            owner.connection.resume()
            await owner.until(lambda: owner.messages == ["a" * 100_000])

    @pytest.mark.parametrize(("size", "most"), [(2, 64), (10_000, 27)])
    async def test_not_much_is_read_while_the_owner_pauses(self, owner: Owner, size: int, most: int) -> None:
        async with place(accepting(owner)) as server, client(server.url):
            owner.connection.pause()
            connection = server.made[0]
            message = Frame(Opcode.TEXT, b"a" * size).serialize(mask=True)
            for _ in range(most - 1):
                connection.data_received(message)
            assert connection._transport.is_reading()
            connection.data_received(message)
            assert not connection._transport.is_reading()
            owner.connection.resume()
            assert connection._transport.is_reading()
            await owner.until(lambda: len(owner.messages) == most)


class TestBadInput:
    @pytest.mark.parametrize(
        ("said", "code", "why"),
        [
            (Frame(Opcode.TEXT, b"\xff").serialize(mask=True), 1007, "not UTF-8 (byte 0)"),
            (Frame(Opcode.TEXT, b"x").serialize(mask=False), 1002, "masking"),
            (Frame(Opcode.CONT, b"x").serialize(mask=True), 1002, "continuation"),
            (b"\xc1" + Frame(Opcode.TEXT, b"x").serialize(mask=True)[1:], 1002, "reserved"),
            (b"\x83" + Frame(Opcode.TEXT, b"x").serialize(mask=True)[1:], 1002, "opcode"),
            (Frame(Opcode.TEXT, b"x" * 2000).serialize(mask=True)[:8], 1009, "1000"),
            (
                Frame(Opcode.TEXT, b"x" * 600, fin=False).serialize(mask=True)
                + Frame(Opcode.CONT, b"x" * 600).serialize(mask=True),
                1009,
                "1000",
            ),
            (
                Frame(Opcode.TEXT, b"\xe2", fin=False).serialize(mask=True)
                + Frame(Opcode.CONT, b"x").serialize(mask=True),
                1007,
                "UTF-8",
            ),
        ],
        ids=[
            "not UTF-8",
            "not masked",
            "continues nothing",
            "reserved bit",
            "unknown opcode",
            "too long",
            "too long in fragments",
            "not UTF-8 in fragments",
        ],
    )
    async def test_it_ends_the_connection_with_a_reason(
        self, owner: Owner, said: bytes, code: int, why: str
    ) -> None:
        limits = MessageLimits(message_bytes=1000)
        async with (
            place(accepting(owner), limits) as server,
            raw(server.port) as caller,
        ):
            caller.frame(Opcode.TEXT, b"fine")
            caller.writer.write(said + Frame(Opcode.TEXT, b"too late").serialize(mask=True))
            found, reason = await caller.closed_with()
            assert found == code
            assert why in reason
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
            assert owner.messages == ["fine"]
            assert owner.ends == [("local", code, reason)]
            assert await caller.reader.read() == b""

    async def test_the_limit_of_an_upgrade_may_differ(self, owner: Owner) -> None:
        def answer(incoming: IncomingWebSocket) -> None:
            incoming.accept(owner.bind, limits=MessageLimits(message_bytes=10))

        async with place(answer) as server, client(server.url) as caller:
            await caller.send("x" * 10)
            await caller.send("x" * 11)
            with pytest.raises(ConnectionClosed) as closed:
                await caller.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009

    async def test_an_owner_that_fails_ends_only_this_connection(self) -> None:
        broken, fine = Owner(), Owner(echo=True)
        broken.fails_at = "boom"
        owners = [broken, fine]

        def answer(incoming: IncomingWebSocket) -> None:
            incoming.accept(owners.pop(0).bind)

        async with place(answer) as server:
            async with client(server.url) as first, client(server.url) as second:
                await first.send("boom")
                with pytest.raises(ConnectionClosed) as closed:
                    await first.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1011
                await second.send("still here")
                assert await second.recv() == "still here"
            assert broken.ends == [("local", 1011, "an internal error")]

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.binary(max_size=300), max_size=6))
    async def test_random_bytes_end_in_order(self, pieces: list[bytes]) -> None:
        owner = Owner()
        async with place(accepting(owner)) as server, raw(server.port) as caller:
            for piece in pieces:
                server.made[0].data_received(piece)
            caller.writer.write_eof()
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
            assert len(owner.ends) == 1


class TestEnd:
    async def test_the_peer_closes(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, client(server.url) as caller:
            await caller.send("last words")
            await caller.close(4001, "enough")
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
            assert owner.messages == ["last words"]
            assert owner.ends == [("peer", 4001, "enough")]
            assert owner.connection.over
            owner.connection.close(1000)
            owner.connection.send_binary(b"lost")

    async def test_the_peer_vanishes(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server:
            async with raw(server.port) as caller:
                caller.writer.transport.abort()
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
            assert owner.ends[0][:2] == ("transport", 1006)

    async def test_half_a_connection_is_none(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, raw(server.port) as caller:
            caller.frame(Opcode.TEXT, b"said")
            caller.writer.write_eof()
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
                assert await caller.reader.read() == b""
            assert owner.messages == ["said"]
            assert owner.ends[0][:2] == ("transport", 1006)

    async def test_the_owner_closes_behind_what_it_said(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, client(server.url) as caller:
            owner.connection.send_text("x" * 500_000)
            owner.connection.close(1013, "overloaded: " + "ü" * 100)
            assert len(await caller.recv()) == 500_000
            with pytest.raises(ConnectionClosed) as closed:
                await caller.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
            assert closed.value.rcvd.reason.startswith("overloaded: ü")
            assert owner.ends == []

    async def test_a_peer_that_does_not_answer_a_close_is_cut(self, owner: Owner) -> None:
        limits = MessageLimits(close_s=0.05)
        async with (
            place(accepting(owner), limits) as server,
            raw(server.port) as caller,
        ):
            owner.connection.close(1000)
            assert await caller.closed_with() == (1000, "")
            async with asyncio.timeout(ANSWER_S):
                with contextlib.suppress(ConnectionError):
                    assert await caller.reader.read() == b""
                await server.open.none.wait()

    async def test_what_a_peer_says_before_it_answers_a_close_is_dropped(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, raw(server.port) as caller:
            owner.connection.close(1000)
            owner.connection.pause()
            owner.connection.resume()
            assert await caller.closed_with() == (1000, "")
            text, fragment = (Frame(Opcode.TEXT, b"late", fin).serialize(mask=True) for fin in (True, False))
            close = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)
            caller.writer.write(text * 3 + fragment + close)
            async with asyncio.timeout(1):
                assert await caller.reader.read() == b""
            assert owner.messages == []
            assert len(server.made[0]._items) == 0

    async def test_the_http_server_stops(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, client(server.url) as caller:
            server.made[0].shutdown()
            with pytest.raises(ConnectionClosed) as closed:
                await caller.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            assert owner.ends == [("local", 1012, "the server stops")]
            server.made[0].shutdown()


class TestSlowPeers:
    """Peers that do not read. A small receive buffer makes the kernel's part small."""

    @asynccontextmanager
    async def reluctant(self, owner: Owner, limits: MessageLimits) -> AsyncIterator[Raw]:
        async with (
            place(accepting(owner), limits) as server,
            raw(server.port) as caller,
        ):
            caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
            yield caller

    def fill(self, owner: Owner) -> int:
        """Send until a sender should wait; return how many messages that took."""
        count = 0
        while not owner.connection.congested:
            owner.connection.send_text("x" * 10_000)
            count += 1
            assert count < 10_000
        return count

    async def test_a_sender_waits_and_goes_on(self, owner: Owner) -> None:
        async with self.reluctant(owner, MessageLimits()) as caller:
            count = self.fill(owner)
            assert owner.connection.buffered > MessageLimits().high_water_bytes
            assert owner.drains == 0
            caller.reader._transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(count):
                assert await caller.read_frame() == (Opcode.TEXT, b"x" * 10_000)
            await owner.until(lambda: owner.drains == 1)
            assert not owner.connection.congested

    async def test_what_is_asked_for_is_not_read_until_there_is_room(self) -> None:
        owner = Owner(echo=True)
        limits = MessageLimits(pause_bytes=100_000)
        async with self.reluctant(owner, limits) as caller:
            self.fill(owner)
            ask = Frame(Opcode.TEXT, b"y" * 50_000).serialize(mask=True)
            owner.connection.data_received(ask * 20)
            assert len(owner.messages) < 5
            assert owner.connection.buffered < 100_000 + 3 * 60_000
            caller.reader._transport.resume_reading()  # type: ignore[attr-defined]
            echoes = 0
            while echoes < 20:
                _, data = await caller.read_frame()
                echoes += data == b"y" * 50_000
            assert len(owner.messages) == 20

    async def test_too_much_unread_ends_the_connection(self, owner: Owner) -> None:
        limits = MessageLimits(unsent_bytes=200_000, close_s=0.05)
        async with self.reluctant(owner, limits):
            self.fill(owner)
            for _ in range(100):
                owner.connection.send_text("x" * 10_000)
            assert owner.connection.over
            by, code, reason = owner.ends[0]
            assert (by, code) == ("local", 1008)
            assert "bytes wait to be read" in reason
            assert owner.connection.buffered < 400_000

    async def test_nothing_read_for_long_ends_the_connection(self, owner: Owner) -> None:
        async with self.reluctant(owner, MessageLimits(keep_alive_s=0.05, close_s=0.05)):
            self.fill(owner)
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
            assert owner.ends[0][:2] == ("local", 1008)


class TestKeepAlive:
    async def test_a_silent_peer_is_asked_and_stays(self, owner: Owner) -> None:
        limits = MessageLimits(keep_alive_s=0.05)
        async with (
            place(accepting(owner), limits) as server,
            raw(server.port) as caller,
        ):
            for _ in range(3):
                assert await caller.read_frame() == (Opcode.PING, b"")
                caller.frame(Opcode.PONG, b"")
            assert owner.ends == []

    async def test_a_peer_that_does_not_answer_is_gone(self, owner: Owner) -> None:
        limits = MessageLimits(keep_alive_s=0.05)
        async with (
            place(accepting(owner), limits) as server,
            raw(server.port) as caller,
        ):
            assert await caller.read_frame() == (Opcode.PING, b"")
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
            assert owner.ends == [("transport", 1006, "the peer is gone: it does not answer pings")]

    async def test_a_peer_that_left_is_noticed_while_nobody_reads(self, owner: Owner) -> None:
        limits = MessageLimits(keep_alive_s=0.05)
        async with place(accepting(owner), limits) as server:
            async with raw(server.port) as caller:
                owner.connection.pause()
                caller.writer.transport.abort()
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
            assert owner.ends[0][:2] == ("transport", 1006)
