"""Peers that break the rules, and peers that break down: each gets its answer, calls beside it go on."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from tests.end_to_end.conftest import StartServer

from legato import AudioFormat, AudioFrame, Call, ClientSettings, Server, connect
from legato.client.address import resolve_target
from legato.client.session import RealtimeSession
from legato.core.wire import varint
from legato.core.wire.codes import SessionCode
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import Hello
from legato.core.wire.records import control_record, uplink_record
from legato.testing.transports import Recorder
from legato.transports.webtransport import WebTransportEndpoint, WebTransportSession
from legato.trust import development_key

PCM16K = AudioFormat("pcm16", 16_000)
PLAIN = ClientSettings(input=PCM16K, output=(PCM16K,))
FRAME = bytes(640)


def url(server: Server) -> str:
    return f"https://127.0.0.1:{server.port}"


async def echo(call: Call) -> None:
    await call.say(call.audio).finished  # type: ignore[arg-type]


def good_hello() -> bytes:
    """The record with which a client of this user begins."""
    token = development_key("localhost")
    return control_record(encode_message(Hello(input=PCM16K, output=(PCM16K,), token=token)))


class Raw:
    """A client that says what it likes."""

    def __init__(self, endpoint: WebTransportEndpoint, heard: Recorder, session: WebTransportSession) -> None:
        self.endpoint = endpoint
        self.heard = heard
        self.session = session

    @classmethod
    async def dial(cls, server: Server) -> "Raw":
        endpoint = WebTransportEndpoint.client(SimpleNamespace(initial_rtt_ms=100))
        heard = Recorder()
        session = endpoint.connect(await resolve_target(url(server), PLAIN), lambda _: heard)
        return cls(endpoint, heard, session)

    def control(self, *records: bytes) -> int:
        stream = self.session.open_stream(True)
        for record in records:
            self.session.send(stream, record)
        return stream

    def hello(self) -> int:
        return self.control(good_hello())

    async def ended(self, code: SessionCode) -> str:
        await self.heard.until(lambda: self.heard.end is not None, f"the session ends with {code!r}")
        assert self.heard.end is not None
        by, ended_with, reason = self.heard.end
        assert (by, ended_with) == ("peer", code), self.heard.end
        return reason


class Witness:
    """A well-behaved call beside the bad one: every frame must come back."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session
        self._sent = 0

    async def __aenter__(self) -> "Witness":
        await self.session.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def loses_nothing(self, frames: int = 25) -> None:
        """Send frames as a microphone does and wait until each was echoed."""
        for _ in range(frames):
            self.session.send_audio(FRAME)
            self._sent += 320
        async with asyncio.timeout(60):
            while self._echoed() < self._sent:
                await anext(self.session.events)

    def _echoed(self) -> int:
        current = self.session.playback.current
        return 0 if current is None else current.received


def violations() -> list[tuple[str, Callable[[Raw], None], SessionCode]]:
    """Name, what the client does, and how the session must end."""

    def audio(raw: Raw, *data: bytes) -> None:
        raw.hello()
        stream = raw.session.open_stream(False)
        for piece in (varint.encode(1), *data):
            raw.session.send(stream, piece)

    record = control_record
    return [
        (
            "garbage for a hello",
            lambda raw: raw.control(record(b"\xff\x00{")) and None,
            SessionCode.PROTOCOL_VIOLATION,
        ),
        (
            "an unknown version",
            lambda raw: (
                raw.control(record(encode_message(Hello(input=PCM16K, output=(PCM16K,), version=99))))
                and None
            ),
            SessionCode.UNSUPPORTED_VERSION,
        ),
        (
            "an oversized control record",
            lambda raw: raw.control(varint.encode(0) + varint.encode(1 << 30) + bytes(1000)) and None,
            SessionCode.LIMIT_EXCEEDED,
        ),
        (
            "an oversized audio record",
            lambda raw: audio(raw, varint.encode(1 << 20) + bytes(100)),
            SessionCode.LIMIT_EXCEEDED,
        ),
        (
            "half a sample",
            lambda raw: audio(raw, uplink_record(0, 0, b"abc")),
            SessionCode.PROTOCOL_VIOLATION,
        ),
    ]


@pytest.mark.parametrize(
    ("act", "code"), [case[1:] for case in violations()], ids=[case[0] for case in violations()]
)
async def test_a_violation_ends_only_its_own_session(
    start_server: StartServer, act: Callable[[Raw], None], code: SessionCode
) -> None:
    server = await start_server(echo)
    async with Witness(connect(url(server), PLAIN)) as witness:
        raw = await Raw.dial(server)
        act(raw)
        assert await raw.ended(code), "a reason for people"
        await witness.loses_nothing()
        await raw.endpoint.close()


def pour(raw: Raw, seconds: int) -> None:
    """Send audio as fast as the connection takes it."""
    raw.hello()
    stream = raw.session.open_stream(False)
    raw.session.send(stream, varint.encode(1))
    for number in range(seconds * 2):
        raw.session.send(stream, uplink_record(number * 8_000, 0, bytes(16_000)))


async def test_audio_far_faster_than_real_time_ends_the_session(start_server: StartServer) -> None:
    async def greedy(call: Call) -> None:
        async for _ in call.audio:
            pass

    server = await start_server(greedy)
    raw = await Raw.dial(server)
    pour(raw, 400)
    assert "too fast" in await raw.ended(SessionCode.LIMIT_EXCEEDED)
    await raw.endpoint.close()


async def test_audio_that_the_agent_does_not_take_waits_and_is_whole(start_server: StartServer) -> None:
    wake, whole = asyncio.Event(), asyncio.Event()

    async def sleepy(call: Call) -> None:
        await wake.wait()
        async for frame in call.audio:
            assert isinstance(frame, AudioFrame)
            if frame.end == 100 * 16_000:
                whole.set()

    server = await start_server(sleepy)
    raw = await Raw.dial(server)
    pour(raw, 100)
    async with connect(url(server), PLAIN):
        assert raw.heard.end is None
    wake.set()
    await asyncio.wait_for(whole.wait(), 60)
    await raw.endpoint.close()


async def test_opening_every_stream_there_is_hurts_nobody_else(start_server: StartServer) -> None:
    server = await start_server(echo)
    async with Witness(connect(url(server), PLAIN)) as witness:
        raw = await Raw.dial(server)
        raw.hello()
        await raw.heard.until(lambda: bool(raw.heard.received), "the session is welcomed")
        for _ in range(300):
            raw.session.send(raw.session.open_stream(False), varint.encode(1))
            raw.session.open_stream(True)
        await witness.loses_nothing()
        await raw.endpoint.close()


async def test_no_hello_is_not_waited_for_for_ever(start_server: StartServer) -> None:
    server = await start_server(echo, limits={"hello_timeout_seconds": 0.2})
    raw = await Raw.dial(server)
    raw.control(varint.encode(0))
    await raw.ended(SessionCode.HELLO_TIMEOUT)
    await raw.endpoint.close()


async def test_garbage_and_replays_on_the_port_disturb_nobody(start_server: StartServer) -> None:
    server = await start_server(echo)
    chance = random.Random(7)
    async with Witness(connect(url(server), PLAIN)) as witness:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            noise.setblocking(False)
            for number in range(2000):
                size = chance.choice((0, 1, 20, 21, 50, 1200, 1400))
                first = chance.choice((0x00, 0x40, 0x7F, 0xC0, 0xC3, 0xFF))
                datagram = bytes([first]) + chance.choice(
                    (chance.randbytes(size), b"\0\0\0\1\x08" + chance.randbytes(size))
                )
                for _ in range(1 + number % 2):
                    try:
                        noise.sendto(datagram, ("127.0.0.1", server.port))
                    except BlockingIOError:
                        await asyncio.sleep(0)
        await witness.loses_nothing()


async def test_a_client_that_never_reads_costs_bounded_memory(start_server: StartServer) -> None:
    server = await start_server(echo)
    async with Witness(connect(url(server), PLAIN)) as witness:
        raw = await Raw.dial(server)
        control = raw.hello()
        raw.session.pause(control)
        stream = raw.session.open_stream(False)
        raw.session.send(stream, varint.encode(1))
        second = bytes(32_000)
        for number in range(100):
            raw.session.send(stream, uplink_record(number * 16_000, 0, second))
        await witness.loses_nothing()
        assert raw.heard.end is None
        await raw.endpoint.close()


async def test_a_loop_that_blocks_four_fifths_of_the_time_loses_no_frame(start_server: StartServer) -> None:
    server = await start_server(echo)
    async with Witness(connect(url(server), PLAIN)) as witness:

        async def block() -> None:
            while True:
                time.sleep(0.08)  # noqa: ASYNC251 - blocking the loop is what is tested
                await asyncio.sleep(0.02)

        blocking = asyncio.create_task(block())
        await witness.loses_nothing(100)
        blocking.cancel()
        statistics = witness.session.statistics()
        assert statistics is not None
        assert statistics.lost_packets == 0


async def test_two_hundred_clients_at_once_all_get_through(start_server: StartServer) -> None:
    server = await start_server(echo)
    async with Witness(connect(url(server), PLAIN)) as witness:
        endpoint = WebTransportEndpoint.client(SimpleNamespace(initial_rtt_ms=100))
        target = await resolve_target(url(server), PLAIN)
        hello = good_hello()
        crowd = [Recorder() for _ in range(200)]
        for heard in crowd:
            session = endpoint.connect(target, lambda _, heard=heard: heard)  # type: ignore[misc]
            session.send(session.open_stream(True), hello)
        for heard in crowd:
            await heard.until(lambda heard=heard: bool(heard.received), "every client is welcomed")  # type: ignore[misc]
        await witness.loses_nothing()
        assert server.calls == 201
        await endpoint.close()


STOPPED_CLIENT = """
import asyncio, sys
from legato import AudioFormat, ClientSettings, connect

async def main():
    pcm = AudioFormat("pcm16", 16000)
    async with connect(sys.argv[1], ClientSettings(input=pcm, output=(pcm,))) as session:
        print("up", flush=True)
        while True:
            session.send_audio(bytes(640))
            await asyncio.sleep(0.02)

asyncio.run(main())
"""


async def test_a_stopped_client_harms_nobody_and_comes_back(start_server: StartServer) -> None:
    calls: list[Call] = []

    async def counting(call: Call) -> None:
        calls.append(call)
        await echo(call)

    server = await start_server(counting)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STOPPED_CLIENT, url(server), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"up\n"
        os.kill(process.pid, signal.SIGSTOP)
        async with Witness(connect(url(server), PLAIN)) as witness:
            await witness.loses_nothing(50)
        os.kill(process.pid, signal.SIGCONT)
        async with Witness(connect(url(server), PLAIN)) as witness:
            await witness.loses_nothing(50)
        assert server.calls >= 1
    finally:
        process.kill()
        await process.wait()


async def test_frames_of_one_call_are_whole(start_server: StartServer) -> None:
    seen: list[AudioFrame] = []
    done = asyncio.Event()

    async def listen(call: Call) -> None:
        async for frame in call.audio:
            assert isinstance(frame, AudioFrame)
            seen.append(frame)
            if frame.end >= 16_000:
                done.set()

    server = await start_server(listen)
    async with connect(url(server), PLAIN) as session:
        start = session.now_us()
        for number in range(50):
            session.send_audio(FRAME, start + number * 20_000)
        await asyncio.wait_for(done.wait(), 60)
    assert [frame.captured_us - start for frame in seen] == [number * 20_000 for number in range(50)]
