"""Whole calls over one WebSocket: every sample, interruptions, refusals, blocked UDP, bad peers beside."""

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.end_to_end.conftest import StartServer
from tests.end_to_end.stories import (
    Story,
    drained,
    interrupted_exactly,
    last_words_arrive,
    says_and_leaves,
    speak,
    until,
    url,
)
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from legato import AudioFormat, AudioFrame, Call, ClientSettings, ConnectError, Server, Speech, connect
from legato.client.devices import VirtualSpeaker
from legato.client.events import ReplyArrived, Resumed
from legato.core.errors import LocalProtocolError
from legato.core.wire import mux
from legato.core.wire.codes import SessionCode
from legato.core.wire.mux import Close, Data

PCM16K = AudioFormat("pcm16", 16_000)
AUTO = ClientSettings(input=PCM16K, output=(PCM16K,))
SOCKET = replace(AUTO, transport="websocket")


async def echo(call: Call) -> None:
    await call.say(call.audio).finished


class Tape(VirtualSpeaker):
    """A loudspeaker that keeps what it plays."""

    def __init__(self) -> None:
        super().__init__(self._keep)
        self.heard = bytearray()
        self._changed = asyncio.Event()

    def _keep(self, pcm: bytes) -> None:
        self.heard += pcm
        self._changed.set()

    async def until(self, said: bytes) -> None:
        """Wait until `said` was heard, without a sample too many or too few."""
        async with asyncio.timeout(60):
            while said not in self.heard:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def raw(server: Server, path: str = "/legato/v1", *offers: str) -> AsyncIterator[ClientConnection]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = f"wss://127.0.0.1:{server.port}{path}"
    async with connect_websocket(address, ssl=context, subprotocols=offers, proxy=None) as peer:  # type: ignore[arg-type]
        yield peer


@asynccontextmanager
async def without_udp(
    server: Server, *, refused: bool, cut: asyncio.Event | None = None
) -> AsyncIterator[str]:
    """The address of a server as seen from a network that swallows UDP, or refuses it.

    `cut` ends the first TCP connection through it.
    """
    connections: list[asyncio.StreamWriter] = []

    async def cutting() -> None:
        if cut is not None:
            await cut.wait()
            connections[0].close()

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    async def caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        connections.append(writer)
        await asyncio.gather(pass_on(reader, back), pass_on(there, writer))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        while True:
            forwarder = await asyncio.start_server(caller, "127.0.0.1", 0)
            port = forwarder.sockets[0].getsockname()[1]
            try:
                silent.bind(("127.0.0.1", port))
                break
            except OSError:  # the number is taken on UDP
                forwarder.close()
        if refused:
            silent.close()
        knife = asyncio.create_task(cutting())
        yield f"https://127.0.0.1:{port}"
        knife.cancel()
        forwarder.close()
        await forwarder.wait_closed()


async def test_an_echo_is_exact_to_the_bit(start_server: StartServer) -> None:
    said = random.Random(1).randbytes(2 * 16_000)
    tape = Tape()
    async with connect(url(await start_server(echo)), SOCKET, tape) as session:
        assert session.transport == "websocket"
        speak(session, said)
        await tape.until(said)
        statistics = session.statistics()
        assert statistics is not None
        assert statistics.rtt_us > 0
        assert min(statistics.bytes_sent, statistics.bytes_received) > len(said)
        with pytest.raises(LocalProtocolError, match="TCP cannot"):
            session.migrate()


async def test_what_is_said_while_connecting_arrives_too(start_server: StartServer) -> None:
    said = random.Random(2).randbytes(2 * 8_000)
    tape = Tape()
    session = connect(url(await start_server(echo)), SOCKET, tape)
    speak(session, said)
    await tape.until(said)
    await session.close()


@pytest.mark.parametrize("refused", [True, False])
async def test_where_udp_is_blocked_the_call_runs_over_a_websocket_within_a_second(
    start_server: StartServer, refused: bool
) -> None:
    said = random.Random(3).randbytes(2 * 8_000)
    tape = Tape()
    async with without_udp(await start_server(echo), refused=refused) as address:
        session = connect(address, AUTO, tape)
        speak(session, said)  # goes to both, and is said again to the winner
        started = session.now_us()
        async with session:
            assert session.now_us() - started < 1_000_000
            assert session.transport == "websocket"
            speak(session, said)
            await tape.until(said + said)


async def test_a_call_outlives_its_websocket(start_server: StartServer) -> None:
    said = random.Random(6).randbytes(2 * 32_000)
    heard, half, whole, cut = bytearray(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def listener(call: Call) -> None:
        async for frame in call.audio:
            assert isinstance(frame, AudioFrame)
            assert frame.offset == len(heard) // 2
            heard.extend(frame.payload)
            if len(heard) >= len(said) // 2:
                half.set()
            if len(heard) == len(said):
                whole.set()

    async with (
        without_udp(await start_server(listener), refused=True, cut=cut) as address,
        connect(address, AUTO) as session,
    ):
        speak(session, said[: len(said) // 2])
        await asyncio.wait_for(half.wait(), 60)
        cut.set()
        await until(session, lambda event: isinstance(event, Resumed))
        assert session.transport == "websocket"
        speak(session, said[len(said) // 2 :])
        await asyncio.wait_for(whole.wait(), 60)
    assert bytes(heard) == said


async def test_where_udp_gets_through_webtransport_carries_the_call(start_server: StartServer) -> None:
    tape = Tape()
    said = random.Random(4).randbytes(2 * 4_000)
    session = connect(url(await start_server(echo)), AUTO, tape)
    speak(session, said)
    async with session:
        assert session.transport == "webtransport"
        speak(session, said)
        await tape.until(said + said)


async def test_interrupting_is_exact_on_both_sides(start_server: StartServer) -> None:
    story = Story(30, PCM16K.rate)
    async with connect(url(await start_server(story)), SOCKET) as session:
        await interrupted_exactly(session, story)


async def test_the_last_words_of_an_agent_arrive_before_the_end(start_server: StartServer) -> None:
    async with connect(url(await start_server(says_and_leaves)), SOCKET) as session:
        await last_words_arrive(session)


class TestRefusals:
    async def test_a_wrong_path(self, start_server: StartServer) -> None:
        with pytest.raises(ConnectError, match="answered 404"):
            async with connect(f"{url(await start_server(echo))}/wrong", SOCKET):
                pass

    async def test_a_wrong_certificate(self, start_server: StartServer) -> None:
        wrong = replace(SOCKET, certificate_hashes=(bytes(32),))
        with pytest.raises(ConnectError, match="its certificate is not trusted"):
            async with connect(url(await start_server(echo)), wrong):
                pass

    async def test_a_wrong_key(self, start_server: StartServer) -> None:
        with pytest.raises(ConnectError, match="give an API key"):
            async with connect(url(await start_server(echo)), replace(SOCKET, token="lg_wrong")):
                pass

    async def test_too_many_calls(self, start_server: StartServer) -> None:
        server = await start_server(echo, limits={"calls": 1})
        async with connect(url(server), AUTO):
            with pytest.raises(ConnectError, match="answered 429"):
                async with connect(url(server), SOCKET):
                    pass

    async def test_a_server_that_stops(self, start_server: StartServer) -> None:
        await drained(start_server, SOCKET)

    async def test_nobody_there(self) -> None:
        with pytest.raises(ConnectError, match="the connection was refused"):
            async with connect("https://127.0.0.1:9", SOCKET):
                pass

    async def test_nobody_there_for_either(self) -> None:
        with pytest.raises(
            ConnectError, match=r"nobody listens.*; as a WebSocket: the connection was refused"
        ):
            async with connect("https://127.0.0.1:9", AUTO):
                pass

    async def test_a_websocket_without_the_subprotocol(self, start_server: StartServer) -> None:
        server = await start_server(echo)
        with pytest.raises(InvalidStatus) as raised:
            async with raw(server):
                pass
        assert raised.value.response.status_code == 400


async def test_garbage_ends_its_own_call_and_no_other(start_server: StartServer) -> None:
    server = await start_server(echo)
    tape = Tape()
    said = random.Random(5).randbytes(2 * 4_800)
    async with connect(url(server), SOCKET, tape) as session:
        for garbage in (
            b"",
            b"\x40",
            mux.encode(Data(0, False, b"\0\2{]")),
            "text",
            mux.encode(Data(6, False, b"")),
            bytes(70_000),
        ):
            async with raw(server, "/legato/v1", "legato.v1") as peer:
                await peer.send(garbage)
                end = mux.decode(await asyncio.wait_for(peer.recv(decode=False), 60))
                assert isinstance(end, Close)
                assert end.code in (SessionCode.PROTOCOL_VIOLATION, SessionCode.LIMIT_EXCEEDED)
                with pytest.raises(ConnectionClosed):
                    await asyncio.wait_for(peer.recv(), 60)
                assert peer.close_code == 1000
        speak(session, said)
        await tape.until(said)


async def test_a_reader_that_stands_still_disturbs_nobody(start_server: StartServer) -> None:
    async def talkative(call: Call) -> None:
        async def speech() -> AsyncIterator[Speech]:
            for _ in range(6):
                yield Speech(bytes(32_000), 16_000, "On and on.")

        await call.say(speech()).finished

    server = await start_server(talkative)
    async with connect(url(server), SOCKET) as slow:
        transport = slow._line.connection.transport
        assert transport is not None
        connection = transport._connection  # type: ignore[attr-defined]
        connection._transport.pause_reading()
        async with connect(url(server), SOCKET) as quick:
            await until(quick, lambda event: isinstance(event, ReplyArrived))
        connection._transport.resume_reading()
        await until(slow, lambda event: isinstance(event, ReplyArrived))
