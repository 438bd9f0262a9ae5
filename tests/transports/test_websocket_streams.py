"""Streams over one WebSocket, on real loopback sockets with TLS: the contract, order, bounds, bad peers."""

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
from websockets.exceptions import ConnectionClosed

from legato.core.errors import TransportError
from legato.core.wire import mux
from legato.core.wire.codes import WEBSOCKET_PROTOCOL, SessionCode
from legato.core.wire.mux import Close, Data, Datagram, Drain, Reset, Stop
from legato.server.certificates import ServerIdentity, make_development_identity
from legato.testing.transports import Recorder, check_transport
from legato.transports.base import Handler, Transport
from legato.transports.stream_queue import PIECE_BYTES, SEND_LIMIT_BYTES
from legato.transports.websocket import WebSocketConnection
from legato.transports.websocket_incoming import IncomingStreams
from legato.transports.websocket_streams import HELD_BYTES, LIMITS, WebSocketTransport
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
        second = await asyncio.wait_for(loopback.made.get(), 60)

        async def release() -> None:
            first.close(0, "")
            second.close(0, "")

        return first, second, release

    await check_transport(pair)


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


class TestOrder:
    async def test_streams_open_in_order_whoever_is_first(self, loopback: Loopback) -> None:
        async with loopback.raw() as peer:
            transport = await served(loopback)
            first, second, third = (transport.open_stream(False) for _ in range(3))
            transport.send(third, b"three")
            transport.reset(second, 1)
            transport.send(first, b"one", True)
            transport.close(0, "")
            assert [one async for one in messages(peer)] == [
                Data(first, False, b""),
                Data(second, False, b""),
                Data(third, False, b"three"),
                Reset(second, 1),
                Data(first, True, b"one"),
                Close(0, ""),
            ]

    async def test_a_reset_opens_a_stream_that_said_nothing(self, loopback: Loopback) -> None:
        async with loopback.raw() as peer:
            transport = await served(loopback)
            stream = transport.open_stream(False)
            transport.reset(stream, 7)
            transport.reset(stream, 8)
            transport.send(stream, b"late")
            transport.close(0, "")
            said = [one async for one in messages(peer)]
            assert said == [Data(stream, False, b""), Reset(stream, 7), Close(0, "")]

    async def test_what_is_urgent_passes_what_waits(self, loopback: Loopback) -> None:
        whole = 8 << 20
        async with loopback.raw() as peer:
            transport = await served(loopback)
            await peer.send(mux.encode(Data(0, False, b"")))
            await loopback.recorder.until(lambda: 0 in loopback.recorder.streams, "a stream is reported")
            peer.transport.pause_reading()
            reply = transport.open_stream(False)
            transport.set_priority(reply, 1)
            transport.set_priority(0, 2)
            assert transport.send(reply, bytes(whole)) > whole // 2
            transport.send(0, b"news")
            transport.reset(reply, 1)
            transport.send(0, b", flushed", True)
            transport.close(0, "bye")
            peer.transport.resume_reading()
            said = [one async for one in messages(peer)]
        flood = sum(len(one.payload) for one in said if isinstance(one, Data) and one.stream == reply)
        # Only what the two kernels and the two ends of TLS hold got away.
        assert flood < whole // 2
        assert said[-3:] == [Reset(reply, 1), Data(0, True, b"news, flushed"), Close(0, "bye")]
        assert max(len(one.payload) for one in said if isinstance(one, Data)) <= PIECE_BYTES

    async def test_streams_of_one_priority_take_turns(self, loopback: Loopback) -> None:
        async with loopback.raw() as peer:
            peer.transport.pause_reading()
            transport = await served(loopback)
            streams = [transport.open_stream(False) for _ in range(2)]
            transport.send(streams[0], bytes(4 << 20), True)
            transport.send(streams[1], b"short", True)
            peer.transport.resume_reading()
            ends = []
            async for one in messages(peer):
                if isinstance(one, Data) and one.fin:
                    ends.append(one.stream)
                    if len(ends) == 2:
                        break
            assert ends == [streams[1], streams[0]]

    async def test_datagrams_do_not_wait(self, loopback: Loopback) -> None:
        async with loopback.raw() as peer:
            peer.transport.pause_reading()
            transport = await served(loopback)
            transport.send_datagram(b"first")
            transport.send(transport.open_stream(False), bytes(8 << 20), True)
            transport.send_datagram(b"dropped")
            peer.transport.resume_reading()
            heard = []
            async for one in messages(peer):
                if isinstance(one, Datagram):
                    heard.append(one.payload)
                elif isinstance(one, Data) and one.fin:
                    break
            assert heard == [b"first"]

    async def test_control_is_said_before_the_end_and_audio_is_not(self, loopback: Loopback) -> None:
        async with loopback.raw() as peer:
            await peer.send(mux.encode(Data(0, False, b"")))
            peer.transport.pause_reading()
            transport = await served(loopback)
            await loopback.recorder.until(lambda: 0 in loopback.recorder.streams, "a stream is reported")
            transport.send(transport.open_stream(False), bytes(8 << 20))
            transport.send(0, b"last words")
            transport.close(3, "enough")
            peer.transport.resume_reading()
            said = [one async for one in messages(peer)]
            assert said[-2:] == [Data(0, False, b"last words"), Close(3, "enough")]


async def test_a_trickle_is_answered_too(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legato.transports.websocket_streams.MARK_INTERVAL_S", 0)
    near, answered = Recorder(), asyncio.Event()
    client = await loopback.dial(near)
    await near.until(lambda: near.is_open, "consent is reported")
    connection = client._connection
    assert connection is not None
    before = client.statistics().bytes_received

    def told(words: bytes) -> None:
        client._answered(words)
        if int.from_bytes(words, "big") > 1:  # the first is sent when the session begins
            answered.set()

    connection.on_pong = told
    client.send(client.open_stream(False), b"a")
    await asyncio.wait_for(answered.wait(), 60)
    assert client.statistics().bytes_received > before
    client.close(0, "")
    await client.released()


class TestStops:
    async def test_a_stop_is_answered_with_a_reset(self, loopback: Loopback) -> None:
        async with loopback.raw() as peer:
            transport = await served(loopback)
            stream = transport.open_stream(False)
            transport.send(stream, b"a")
            await peer.send(mux.encode(Stop(stream, 3)))
            said = messages(peer)
            assert [await anext(said), await anext(said)] == [Data(stream, False, b"a"), Reset(stream, 3)]
            assert loopback.recorder.stops == {stream: 3}
            assert transport.send(stream, b"more") == 0
            await peer.send(mux.encode(Stop(stream, 3)))  # crossed our reset
            await peer.send(mux.encode(Datagram(b"!")))
            await loopback.recorder.until(lambda: bool(loopback.recorder.datagrams), "it goes on")

    async def test_what_was_declined_is_dropped(self, loopback: Loopback) -> None:
        heard = loopback.recorder
        async with loopback.raw() as peer:
            transport = await served(loopback)
            await peer.send(mux.encode(Data(2, False, b"a")))
            await heard.until(lambda: heard.received[2] == b"a", "data is delivered")
            transport.pause(2)
            await peer.send(mux.encode(Data(2, False, b"held")))
            await peer.send(mux.encode(Drain()))
            await heard.until(lambda: heard.drains == 1, "order")
            transport.stop(2, 4)
            transport.stop(2, 5)
            await peer.send(mux.encode(Data(2, False, b"late")))
            await peer.send(mux.encode(Reset(2, 4)))
            await peer.send(mux.encode(Drain()))
            await heard.until(lambda: heard.drains == 2, "order")
            transport.close(0, "")
            assert [one async for one in messages(peer)] == [Stop(2, 4), Close(0, "")]
            assert (bytes(heard.received[2]), heard.resets, heard.finished) == (b"a", {}, set())


class TestPause:
    async def test_what_is_held_is_bounded_and_nothing_is_lost(
        self, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        full = asyncio.Event()
        pause = WebSocketConnection.pause

        def told(connection: WebSocketConnection) -> None:
            full.set()
            pause(connection)

        monkeypatch.setattr(WebSocketConnection, "pause", told)
        heard, sent = loopback.recorder, 16 << 20
        near = Recorder()
        client = await loopback.dial(near)
        transport = await served(loopback)
        stream = client.open_stream(False)
        client.send(stream, b"!")
        await heard.until(lambda: heard.received[stream] == b"!", "data is delivered")
        transport.pause(stream)
        client.send(stream, bytes(sent), True)
        await full.wait()
        assert transport._held_bytes < HELD_BYTES + LIMITS.message_bytes
        assert client._queue.buffered(stream) > sent // 2
        transport.resume(stream)
        await heard.until(lambda: stream in heard.finished, "a resumed stream is delivered")
        assert len(heard.received[stream]) == 1 + sent
        client.close(0, "")
        await client.released()

    async def test_an_owner_may_pause_again_in_the_middle(self, loopback: Loopback) -> None:
        class OneByOne(Recorder):
            transport: WebSocketTransport

            def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
                super().stream_data(stream, data, fin)
                self.transport.pause(stream)

        heard = loopback.recorder = OneByOne()
        async with loopback.raw() as peer:
            heard.transport = await served(loopback)
            for payload in (b"a", b"b", b"c"):
                await peer.send(mux.encode(Data(2, payload == b"c", payload)))
            await peer.send(mux.encode(Drain()))
            await heard.until(lambda: heard.drains == 1, "other streams go on")
            for whole in (b"a", b"ab", b"abc"):
                await heard.until(lambda whole=whole: bytes(heard.received[2]) == whole, "resume")  # type: ignore[misc]
                heard.transport.resume(2)
            assert heard.finished == {2}


class TestEnds:
    @pytest.mark.parametrize(
        ("words", "code"),
        [
            ("text", SessionCode.PROTOCOL_VIOLATION),
            (b"\x40", SessionCode.PROTOCOL_VIOLATION),
            (mux.encode(Data(2, False, bytes(65_537))), SessionCode.LIMIT_EXCEEDED),
        ],
    )
    async def test_a_violation_is_answered_with_its_code(
        self, loopback: Loopback, words: str | bytes, code: SessionCode
    ) -> None:
        async with loopback.raw() as peer:
            await peer.send(words)
            (end,) = [one async for one in messages(peer)]
            assert isinstance(end, Close)
            assert end.code == code
            assert peer.close_code == 1000
        heard = loopback.recorder
        await heard.until(lambda: heard.end is not None, "the end is reported")
        assert heard.end == ("local", code, end.reason)

    async def test_a_message_beyond_all_bounds(self, loopback: Loopback) -> None:
        heard = loopback.recorder
        async with loopback.raw() as peer:
            await peer.send(bytes(LIMITS.message_bytes + 1))
            await heard.until(lambda: heard.end is not None, "the end is reported")
            assert heard.end is not None
            assert heard.end[:2] == ("local", SessionCode.LIMIT_EXCEEDED)
            with pytest.raises(ConnectionClosed):
                await peer.recv()
            assert peer.close_code == 1009

    async def test_a_websocket_that_ends_without_a_close_is_a_lost_transport(
        self, loopback: Loopback
    ) -> None:
        heard = loopback.recorder
        async with loopback.raw() as peer:
            await served(loopback)
            await peer.close(4000, "something else")
            await heard.until(lambda: heard.end is not None, "the end is reported")
        assert heard.end == ("transport", 0, "something else")

    async def test_nothing_counts_behind_the_end(self, loopback: Loopback) -> None:
        heard = loopback.recorder
        async with loopback.raw() as peer:
            await peer.send(mux.encode(Close(5, "over")))
            await peer.send(b"\x40")
            await heard.until(lambda: heard.end is not None, "the end is reported")
            assert [one async for one in messages(peer)] == []
        assert heard.end == ("peer", 5, "over")

    async def test_a_reader_that_stands_still_is_cut_off(
        self, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        impatient = replace(LIMITS, keep_alive_s=0.1, close_s=0.1)
        monkeypatch.setattr("legato.transports.websocket_incoming.LIMITS", impatient)
        heard = loopback.recorder
        async with loopback.raw() as peer:
            peer.transport.pause_reading()
            transport = await served(loopback)
            transport.send(transport.open_stream(False), bytes(16 << 20))
            await heard.until(lambda: heard.end is not None, "the end is reported")
            assert heard.end == ("transport", 0, "the peer is gone: it does not answer pings")
            peer.transport.abort()

    async def test_who_ignores_backpressure_is_told(self, loopback: Loopback) -> None:
        client = await loopback.dial(Recorder())
        (await served(loopback)).pause(2)
        stream = client.open_stream(False)
        with pytest.raises(TransportError, match="wait until writable"):
            for _ in range(2):
                client.send(stream, bytes(SEND_LIMIT_BYTES))
        client.close(0, "")
        await client.released()


class TestConnecting:
    async def ended(self, loopback: Loopback, target: ConnectTarget) -> tuple[str, int, str]:
        near = Recorder()
        client = await loopback.dial(near, target)
        stream = client.open_stream(True)
        client.send(stream, b"hello")
        await near.until(lambda: near.end is not None, "the end is reported")
        assert not near.is_open
        await client.released()
        assert near.end is not None
        return near.end

    async def test_a_certificate_with_another_hash(self, loopback: Loopback) -> None:
        target = replace(loopback.target, certificate_hashes=[bytes(32)])
        reason = "its certificate is not trusted (its hash is not the expected one)"
        assert await self.ended(loopback, target) == ("transport", 0, reason)

    @pytest.mark.parametrize(
        ("days", "fault"), [(-60, "it has expired"), (60, "it is not valid yet")], ids=("old", "new")
    )
    async def test_a_certificate_out_of_its_time(self, tmp_path: Path, days: int, fault: str) -> None:
        other = Loopback()
        await other.start(tmp_path, make_development_identity(NOW + timedelta(days=days)))
        reason = f"its certificate is not trusted ({fault})"
        assert await self.ended(other, other.target) == ("transport", 0, reason)
        await other.close()

    async def test_a_certificate_of_nobody(self, loopback: Loopback) -> None:
        target = replace(loopback.target, certificate_hashes=[])
        by, _, reason = await self.ended(loopback, target)
        assert by == "transport"
        assert reason.startswith("its certificate is not trusted (")

    async def test_roots(self, loopback: Loopback) -> None:
        near = Recorder()
        target = replace(loopback.target, certificate_hashes=[], roots=list(IDENTITY.chain))
        client = await loopback.dial(near, target)
        await near.until(lambda: near.is_open, "consent is reported")
        client.close(0, "")
        await client.released()

    async def test_a_refusal(self, loopback: Loopback) -> None:
        loopback.answer = lambda incoming: incoming.reject(503, b"later\n")
        assert await self.ended(loopback, loopback.target) == ("peer", 0, "the server answered 503")

    async def test_a_server_of_another_protocol(self, loopback: Loopback) -> None:
        def answer(incoming: IncomingWebSocket) -> None:
            incoming.accept(Silent)

        loopback.answer = answer
        reason = "the server speaks another protocol on WebSockets"
        assert await self.ended(loopback, loopback.target) == ("peer", 0, reason)

    async def test_a_port_where_nobody_listens(self, loopback: Loopback) -> None:
        target = replace(loopback.target, addresses=[("127.0.0.1", 9)])
        assert await self.ended(loopback, target) == ("transport", 0, "the connection was refused")

    async def test_the_second_address(self, loopback: Loopback) -> None:
        near = Recorder()
        addresses = [("127.0.0.1", 9), *loopback.target.addresses]
        client = await loopback.dial(near, replace(loopback.target, addresses=addresses))
        await near.until(lambda: near.is_open, "consent is reported")
        client.close(0, "")
        await client.released()

    async def test_giving_up_before_the_answer(self, loopback: Loopback) -> None:
        asked = asyncio.Event()
        loopback.answer = lambda _: asked.set()
        near = Recorder()
        client = await loopback.dial(near)
        await asyncio.wait_for(asked.wait(), 60)
        client.close(0, "never mind")
        await near.until(lambda: near.end is not None, "the end is reported")
        assert near.end == ("local", 0, "never mind")
        await asyncio.wait_for(client.released(), 60)

    async def test_an_answer_that_is_no_http(self, loopback: Loopback) -> None:
        def answer(incoming: IncomingWebSocket) -> None:
            connection = incoming._connection
            connection._transport.write(b"\x16\x03\x01" * 10_000)
            connection._transport.close()

        loopback.answer = answer
        by, _, reason = await self.ended(loopback, loopback.target)
        assert by == "transport"
        assert "closed" in reason or "without" in reason


class Silent:
    """Listens to a WebSocket and says nothing."""

    def __init__(self, _: object) -> None:
        """Take any connection."""

    def message(self, data: str | bytes) -> None:
        """Ignore."""

    def drained(self) -> None:
        """Ignore."""

    def closed(self, by: str, code: int, reason: str) -> None:
        """Ignore."""
