"""How a WebSocket ends, and what it does with a peer that is slow or silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.transports.websocket_peers import (
    ANSWER_S,
    Owner,
    Raw,
    accepting,
    client,
    place,
    raw,
)
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from legato.transports.messages import MessageLimits


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
        patient = MessageLimits(close_s=2 * ANSWER_S)
        async with place(accepting(owner), patient) as server, raw(server.port) as caller:
            owner.connection.close(1000)
            owner.connection.pause()
            owner.connection.resume()
            assert await caller.closed_with() == (1000, "")
            text, fragment = (Frame(Opcode.TEXT, b"late", fin).serialize(mask=True) for fin in (True, False))
            close = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)
            caller.writer.write(text * 3 + fragment + close)
            async with asyncio.timeout(ANSWER_S):
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
    def let_pass(self, owner: Owner, intervals: int) -> None:
        """So many times `keep_alive_s` pass in which nothing arrives."""
        for _ in range(intervals):
            owner.connection._look()

    async def test_a_silent_peer_is_asked_and_stays(self, owner: Owner) -> None:
        answered = asyncio.Event()
        async with place(accepting(owner)) as server, raw(server.port) as caller:
            owner.connection.on_pong = lambda _: answered.set()
            for _ in range(3):
                self.let_pass(owner, intervals=2)
                assert await caller.read_frame() == (Opcode.PING, b"")
                caller.frame(Opcode.PONG, b"")
                await asyncio.wait_for(answered.wait(), ANSWER_S)
                answered.clear()
            assert owner.ends == []

    async def test_a_peer_that_does_not_answer_is_gone(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, raw(server.port) as caller:
            self.let_pass(owner, intervals=2)
            assert await caller.read_frame() == (Opcode.PING, b"")
            self.let_pass(owner, intervals=1)
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
