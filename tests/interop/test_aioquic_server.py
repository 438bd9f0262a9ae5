"""Our client against a WebTransport server on aioquic."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.interop.aioquic_server import Host, aioquic_server
from tests.interop.scenes import SPEECH

from legato.server.certificates import make_development_identity
from legato.transports.base import CloseSource, Transport
from legato.transports.webtransport import ConnectTarget, WebTransportEndpoint


class Visitor:
    """Keeps what a session brings."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.data: dict[int, bytes] = {}
        self.finished: dict[int, asyncio.Future[bytes]] = {}
        self.accepted = asyncio.Event()
        self.server_streams: asyncio.Queue[int] = asyncio.Queue()
        self.datagrams: asyncio.Queue[bytes] = asyncio.Queue()
        self.over: asyncio.Future[tuple[CloseSource, int, str]] = asyncio.get_running_loop().create_future()

    def opened(self) -> None:
        self.accepted.set()

    def stream_opened(self, stream: int, bidirectional: bool) -> None:
        self.server_streams.put_nowait(stream)

    def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
        self.data[stream] = self.data.get(stream, b"") + data
        if fin:
            self.whole(stream).set_result(self.data[stream])

    def stream_reset(self, stream: int, code: int) -> None:
        """Never expected."""

    def stream_stopped(self, stream: int, code: int) -> None:
        """Never expected."""

    def stream_writable(self, stream: int) -> None:
        """Nothing waits for room."""

    def datagram(self, data: bytes) -> None:
        self.datagrams.put_nowait(data)

    def draining(self) -> None:
        """aioquic never asks."""

    def path_changed(self, remote: str) -> None:
        """Of no interest."""

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        self.over.set_result((by, code, reason))

    def whole(self, stream: int) -> asyncio.Future[bytes]:
        """All bytes of a stream, once it has ended."""
        return self.finished.setdefault(stream, asyncio.get_running_loop().create_future())

    def ask(self, data: bytes, *, bidirectional: bool = True) -> int:
        """Open a stream, write to it and end it."""
        stream = self.transport.open_stream(bidirectional)
        self.transport.send(stream, data, True)
        return stream


class House:
    """A server and a client that can visit it."""

    def __init__(self, host: Host, certificate_hash: bytes, endpoint: WebTransportEndpoint) -> None:
        self.host = host
        self._hash = certificate_hash
        self._endpoint = endpoint

    def visit(self, path: str = "/echo") -> Visitor:
        """Start a session."""
        visitors: list[Visitor] = []

        def handler(transport: Transport) -> Visitor:
            visitors.append(Visitor(transport))
            return visitors[0]

        target = ConnectTarget(
            addresses=[("127.0.0.1", self.host.port)],
            server_name="localhost",
            authority=f"localhost:{self.host.port}",
            path=path,
            certificate_hashes=[self._hash],
        )
        self._endpoint.connect(target, handler)
        return visitors[0]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    identity = make_development_identity(datetime.now(UTC))
    endpoint = WebTransportEndpoint.client(object())
    async with aioquic_server(identity, tmp_path) as host:
        yield House(host, identity.hash, endpoint)
        await endpoint.close()


async def test_streams_opened_before_the_answer_are_echoed(house: House) -> None:
    visitor = house.visit()
    streams = {visitor.ask(text := f"stream {number}".encode()): text for number in range(20)}
    for stream, text in streams.items():
        assert await visitor.whole(stream) == text
    assert visitor.accepted.is_set()


async def test_a_large_stream_survives_flow_control(house: House) -> None:
    visitor = house.visit()
    assert await visitor.whole(visitor.ask(SPEECH * 5)) == SPEECH * 5


async def test_a_unidirectional_stream_comes_back_on_another(house: House) -> None:
    visitor = house.visit()
    visitor.ask(b"one way", bidirectional=False)
    assert await visitor.whole(await visitor.server_streams.get()) == b"one way"


async def test_datagrams_are_echoed(house: House) -> None:
    visitor = house.visit()
    await visitor.accepted.wait()
    visitor.transport.send_datagram(b"beat")
    assert await visitor.datagrams.get() == b"beat"


async def test_the_server_ends_the_session(house: House) -> None:
    visitor = house.visit()
    visitor.ask(b"close")
    assert await visitor.over == ("peer", 4242, "enough said")


async def test_the_client_ends_the_session(house: House) -> None:
    visitor = house.visit()
    await visitor.whole(visitor.ask(b"x"))
    visitor.transport.drain()
    visitor.transport.close(17, "done here")
    assert await visitor.over == ("local", 17, "done here")
    await house.host.session_ended.wait()
    assert house.host.capsules == b"\x80\x00\x78\xae\x00\x68\x43\x0d" + (17).to_bytes(4) + b"done here"


async def test_a_path_that_is_not_there(house: House) -> None:
    visitor = house.visit("/nowhere")
    by, _, reason = await visitor.over
    assert by == "peer"
    assert "404" in reason
