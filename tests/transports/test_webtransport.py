"""WebTransport over real sockets keeps the contract of transports, and one bad session hurts no other."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import cast

import pytest
from tests.native.conftest import Certificate

from legato import _native
from legato.core.errors import TransportError
from legato.testing.transports import Recorder, check_transport
from legato.transports.base import Handler, Transport
from legato.transports.webtransport import (
    ConnectTarget,
    IncomingWebTransport,
    WebTransportEndpoint,
    address_text,
)

CERTIFICATE = Certificate()


class Loopback:
    """A server that accepts everything with the handlers it is given in turn, and a client."""

    def __init__(self) -> None:
        self.makers: list[Callable[[Transport], Handler]] = []
        self.accepted: list[Transport] = []
        self.arrived = asyncio.Event()
        settings = SimpleNamespace(initial_rtt_ms=20)
        self.server = WebTransportEndpoint.listen(
            [("127.0.0.1", 0)], CERTIFICATE.identity, settings, None, self._take
        )
        self.client = WebTransportEndpoint.client(settings)

    def _take(self, incoming: IncomingWebTransport) -> None:
        self.accepted.append(incoming.accept(self.makers.pop(0)))
        self.arrived.set()

    @property
    def target(self) -> ConnectTarget:
        host, port = self.server.addresses[0]
        return ConnectTarget(
            addresses=[(host, port)],
            server_name="localhost",
            authority=f"localhost:{port}",
            path="/",
            certificate_hashes=[CERTIFICATE.hash],
        )

    async def pair(
        self, near: Callable[[Transport], Handler], far: Callable[[Transport], Handler]
    ) -> tuple[Transport, Transport]:
        self.arrived.clear()
        self.makers.append(far)
        first = self.client.connect(self.target, near)
        await asyncio.wait_for(self.arrived.wait(), 60)
        return first, self.accepted[-1]

    async def close(self) -> None:
        await self.client.close()
        await self.server.close()


@pytest.fixture
async def loopback() -> AsyncIterator[Loopback]:
    loopback = Loopback()
    yield loopback
    await loopback.close()


async def test_it_keeps_the_contract(loopback: Loopback) -> None:
    async def release() -> None: ...

    async def pair(
        near: Callable[[Transport], Handler], far: Callable[[Transport], Handler]
    ) -> tuple[Transport, Transport, Callable[[], object]]:
        return *await loopback.pair(near, far), release

    await check_transport(pair)  # type: ignore[arg-type]


async def test_a_handler_that_raises_ends_its_own_session_only(
    loopback: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Recorder):
        def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
            raise RuntimeError("a bug")

    at_good, at_bad = Recorder(), Broken()
    good, _ = await loopback.pair(lambda _: Recorder(), lambda _: at_good)
    bad, _ = await loopback.pair(lambda _: Recorder(), lambda _: at_bad)
    good_stream, bad_stream = good.open_stream(False), bad.open_stream(False)
    for number in range(100):
        bad.send(bad_stream, b"x")
        good.send(good_stream, bytes([number]))
    good.send(good_stream, b"", True)
    await at_good.until(lambda: bool(at_good.finished), "other sessions lose nothing")
    assert b"".join(map(bytes, at_good.received.values())) == bytes(range(100))
    await at_bad.until(lambda: at_bad.end is not None, "the broken session ends")
    assert "a bug" in caplog.text


class DeadEngine:
    """What is left of an engine whose thread is gone: a descriptor that stays readable, and an error."""

    def __init__(self) -> None:
        self._readable, self._writable = os.pipe()
        os.write(self._writable, b"!")
        self.drained = 0

    def fileno(self) -> int:
        return self._readable

    def send(self, stream: int, data: bytes, fin: bool = False) -> int:
        raise TransportError("the thread panicked")

    def cork(self) -> None: ...

    def drain(self) -> list[object]:
        self.drained += 1
        raise TransportError("the thread panicked")

    def shutdown(self) -> None:
        os.close(self._readable)
        os.close(self._writable)


async def test_an_engine_that_died_ends_its_sessions_and_is_not_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine, heard = DeadEngine(), Recorder()
    endpoint = WebTransportEndpoint(cast(_native.Endpoint, engine))
    endpoint.adopt(1, lambda _: heard, accepting=False)
    await heard.until(lambda: heard.end is not None, "the end is reported")
    assert heard.end == ("transport", 0, "the thread panicked")
    for _ in range(20):
        await asyncio.sleep(0)
    assert engine.drained == 1
    assert endpoint.closed
    assert "the packet engine stopped" in caplog.text
    await endpoint.close()


async def test_closing_an_endpoint_tells_its_handlers(loopback: Loopback) -> None:
    heard, far = Recorder(), Recorder()
    await loopback.pair(lambda _: heard, lambda _: far)
    await asyncio.gather(loopback.client.close(), loopback.client.close())
    assert heard.end is not None
    assert heard.end[0] == "local"
    await far.until(lambda: far.end is not None, "the peer learns of it")


async def test_closing_in_answer_to_what_was_heard_waits_for_nothing(loopback: Loopback) -> None:
    closing: list[asyncio.Task[None]] = []

    class Leaving(Recorder):
        def opened(self) -> None:
            super().opened()
            closing.append(asyncio.create_task(loopback.client.close()))

    near, far = Leaving(), Recorder()
    await loopback.pair(lambda _: near, lambda _: far)
    await near.until(lambda: bool(closing), "the session opens")
    async with asyncio.timeout(10):  # less than it takes to notice that nothing is said any more
        await closing[0]


async def test_nobody_listens_and_refusals_are_told_in_words(loopback: Loopback) -> None:
    heard = Recorder()
    lonely = WebTransportEndpoint.client(SimpleNamespace())
    lonely.connect(
        ConnectTarget([("127.0.0.1", 9)], "localhost", "localhost:9", "/", certificate_hashes=[bytes(32)]),
        lambda _: heard,
    )
    await heard.until(lambda: heard.end is not None, "a failure is reported")
    assert heard.end is not None
    assert heard.end[0] == "transport"
    assert "nobody listens" in heard.end[2]
    await lonely.close()


def test_addresses_are_written_as_people_write_them() -> None:
    assert address_text(("::1", 4433)) == "[::1]:4433"
    assert address_text(("127.0.0.1", 4433)) == "127.0.0.1:4433"
