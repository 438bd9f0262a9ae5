"""Streams over one WebSocket, on loopback with TLS: the contract, their order, and what is held of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.transports.websocket_loopback import Loopback, messages, served

from legato.core.wire import mux
from legato.core.wire.mux import Close, Data, Datagram, Drain, Reset, Stop
from legato.testing.transports import Recorder, check_transport
from legato.transports.base import Handler, Transport
from legato.transports.stream_queue import PIECE_BYTES
from legato.transports.websocket import WebSocketConnection
from legato.transports.websocket_streams import HELD_BYTES, LIMITS, WebSocketTransport


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

    async def test_an_owner_may_decline_in_the_middle(self, loopback: Loopback) -> None:
        class Enough(Recorder):
            transport: WebSocketTransport

            def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
                super().stream_data(stream, data, fin)
                self.transport.stop(stream, 4)

        heard = loopback.recorder = Enough()
        async with loopback.raw() as peer:
            heard.transport = await served(loopback)
            await peer.send(mux.encode(Data(2, False, b"")))
            await heard.until(lambda: 2 in heard.streams, "the stream is there")
            heard.transport.pause(2)
            for payload in (b"a", b"b", b"c"):
                await peer.send(mux.encode(Data(2, False, payload)))
            await peer.send(mux.encode(Drain()))
            await heard.until(lambda: heard.drains == 1, "all of it is held")
            heard.transport.resume(2)
            await heard.until(lambda: bool(heard.received[2]), "what is held is delivered")
            assert bytes(heard.received[2]) == b"a"
            assert heard.transport._held_bytes == 0
