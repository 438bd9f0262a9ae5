"""Connecting streams over a WebSocket: whom a client trusts, and what a server may answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.transports.websocket_loopback import IDENTITY, NOW, Loopback

from legato.server.certificates import make_development_identity
from legato.testing.transports import Recorder
from legato.transports.websocket_incoming import IncomingStreams
from legato.transports.websocket_upgrade import IncomingWebSocket
from legato.transports.webtransport import ConnectTarget


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

    async def test_a_consent_with_the_end_right_behind_it(self, loopback: Loopback) -> None:
        def answer(incoming: IncomingWebSocket) -> None:
            IncomingStreams(incoming).accept(lambda _: Recorder())
            incoming._connection.shutdown()

        loopback.answer = answer
        near = Recorder()
        client = await loopback.dial(near)
        await near.until(lambda: near.end is not None, "the end is reported")
        assert near.is_open
        assert near.end == ("transport", 0, "the server stops")
        await client.released()

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
