"""The WebSocket transport on real loopback sockets, against a stock client and against raw bytes."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.transports.websocket_peers import (
    ANSWER_S,
    Owner,
    accepting,
    client,
    place,
    raw,
)
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from legato.server.certificates import make_development_identity
from legato.transports import websocket
from legato.transports.messages import MessageLimits
from legato.transports.websocket_upgrade import IncomingWebSocket


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

    async def test_who_sends_a_lot_at_once_lets_others_have_their_turn(
        self, owner: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(websocket, "TURN_S", 0)
        async with place(accepting(owner)) as server, client(server.url):
            connection = server.made[0]
            texts = [f"{number:04}" for number in range(5000)]
            flood = b"".join(Frame(Opcode.TEXT, text.encode()).serialize(mask=True) for text in texts)
            connection.data_received(flood[:40_000])
            assert 0 < len(owner.messages) < 1000
            assert not connection._transport.is_reading()
            connection.data_received(flood[40_000:])
            assert len(owner.messages) < 1000
            await owner.until(lambda: len(owner.messages) == 5000)
            assert owner.messages == texts
            assert connection._transport.is_reading()

    async def test_what_waits_for_its_turn_is_taken_in_before_the_end(
        self, owner: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(websocket, "TURN_S", 0)
        async with place(accepting(owner)) as server, client(server.url):
            connection = server.made[0]
            connection.data_received(Frame(Opcode.TEXT, b"word").serialize(mask=True) * 2000)
            connection.eof_received()
            assert owner.messages == ["word"] * 2000

    async def test_frames_in_single_bytes(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server, raw(server.port):
            sent = b"".join(
                Frame(Opcode.TEXT, text).serialize(mask=True) for text in (b"a", b"b" * 130, b"c" * 66_000)
            )
            connection = server.made[0]
            for at in range(300):
                connection.data_received(sent[at : at + 1])
            connection.data_received(sent[300:])
            await owner.until(lambda: len(owner.messages) == 3)
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
    async def test_not_much_is_read_while_the_owner_pauses(
        self, owner: Owner, size: int, most: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(websocket, "TURN_S", ANSWER_S)
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

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
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
