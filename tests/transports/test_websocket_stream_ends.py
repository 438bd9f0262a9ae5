"""How streams over one WebSocket end, on loopback with TLS: bad peers, and those who left or stand still."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.transports.websocket_loopback import Loopback, messages, served
from websockets.exceptions import ConnectionClosed

from legato.core.errors import TransportError
from legato.core.wire import mux
from legato.core.wire.codes import SessionCode
from legato.core.wire.mux import Close, Data
from legato.testing.transports import Recorder
from legato.transports.stream_queue import SEND_LIMIT_BYTES
from legato.transports.websocket_streams import LIMITS


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

    async def test_a_reader_that_stands_still_is_cut_off(self, loopback: Loopback) -> None:
        heard = loopback.recorder
        async with loopback.raw() as peer:
            peer.transport.pause_reading()
            transport = await served(loopback)
            transport.send(transport.open_stream(False), bytes(16 << 20))
            connection = transport._connection
            assert connection is not None
            connection.limits = replace(LIMITS, keep_alive_s=0.1, close_s=0.1)
            connection._look_later()
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
