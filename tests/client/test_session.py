"""A caller's call when things go wrong: broken promises, URLs that are none, ends at any moment."""

import asyncio
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.native.conftest import Certificate

from legato.client import playback
from legato.client.events import Interrupted, ReplyArrived
from legato.client.playback import PlaybackBuffer
from legato.client.race import Race
from legato.client.session import RealtimeSession, connect
from legato.client.settings import ClientSettings
from legato.core.audio import AudioFormat
from legato.core.errors import ConnectError, LocalProtocolError, SessionClosed, SettingsError
from legato.core.events import EventReceived, HelloReceived
from legato.core.server_session import ServerSession
from legato.core.terms import Terms
from legato.core.wire import varint
from legato.core.wire.codes import SessionCode, StreamType
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import ReplyHeader
from legato.core.wire.records import downlink_record
from legato.session_driver import SessionDriver, monotonic_us
from legato.transports.base import CloseSource, Handler, Transport
from legato.transports.webtransport import IncomingWebTransport, WebTransportEndpoint

CERTIFICATE = Certificate()
PCM = AudioFormat("pcm16", 24_000)
SETTINGS = ClientSettings(input=PCM, output=(PCM,), certificate_hashes=(CERTIFICATE.hash,))


class FakeServer:
    """Takes one call; the test says the rest, by hand."""

    def __init__(self) -> None:
        self.session = ServerSession(monotonic_us())
        self.driver = cast("SessionDriver[ServerSession]", None)
        self.events: list[EventReceived] = []
        self.endpoint = WebTransportEndpoint.listen(
            [("127.0.0.1", 0)], CERTIFICATE.identity, SimpleNamespace(), None, self._take
        )

    @property
    def url(self) -> str:
        return f"https://localhost:{self.endpoint.addresses[0][1]}"

    def _take(self, incoming: IncomingWebTransport) -> None:
        incoming.accept(self._bind)

    def _bind(self, transport: Transport) -> Handler:
        reactions = {HelloReceived: self._hello, EventReceived: self.events.append}
        self.driver = SessionDriver(self.session, transport, reactions)
        return self.driver

    def _hello(self, _: HelloReceived) -> None:
        self.session.accept(
            Terms(session_id="s", output=PCM, profile="turn", lead_ms=1000), self.driver.clock()
        )

    def reply(
        self, form: AudioFormat, *records: tuple[int, bytes], fin: bool = True, generation: int = 1
    ) -> None:
        """Send a reply of records at offsets, allowed or not."""
        header = encode_message(
            ReplyHeader(response_id="r", item_id="i", content_index=0, generation=generation, format=form)
        )
        stream = self.driver.transport.open_stream(False)
        preface = varint.encode(StreamType.DOWNLINK_AUDIO) + varint.encode(len(header)) + header
        body = b"".join(downlink_record(offset, payload) for offset, payload in records)
        self.driver.transport.send(stream, preface + body, fin)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    server = FakeServer()
    yield server
    await server.endpoint.close()


class Mute:
    """A player that the test pulls by hand."""

    buffer: PlaybackBuffer
    pulled: Callable[[], None]
    stops = 0

    def start(self, buffer: PlaybackBuffer, on_pull: Callable[[], None]) -> None:
        self.buffer, self.pulled = buffer, on_pull

    def stop(self) -> None:
        self.stops += 1


async def within(session: RealtimeSession) -> SessionClosed:
    return await asyncio.wait_for(session.wait_closed(), 60)


async def test_a_reply_in_a_format_that_was_not_offered_ends_the_call(server: FakeServer) -> None:
    async with connect(server.url, SETTINGS, Mute()) as session:
        server.reply(AudioFormat("pcm16", 48_000), (0, bytes(960)))
        assert (await within(session)).code == SessionCode.UNSUPPORTED_FORMAT


async def test_a_gap_longer_than_any_loss_ends_the_call(server: FakeServer) -> None:
    async with connect(server.url, SETTINGS, Mute()) as session:
        server.reply(PCM, (1 << 50, bytes(960)))
        assert (await within(session)).code == SessionCode.PROTOCOL_VIOLATION


async def test_a_short_gap_is_silence_of_its_length(server: FakeServer) -> None:
    async with connect(server.url, SETTINGS, Mute()) as session:
        server.reply(PCM, (0, b"\1\1" * 10), (30, b"\2\2" * 10))
        async for event in session.events:
            if isinstance(event, ReplyArrived):
                break
        assert session.playback.pull(40) == b"\1\1" * 10 + bytes(40) + b"\2\2" * 10


async def test_replies_far_ahead_of_what_is_played_end_the_call(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback, "WAITING_MAX_S", 60)
    async with connect(server.url, replace(SETTINGS, lead_ms=1_000), Mute()) as session:
        # A few bytes each, and half a minute of silence before them.
        server.reply(PCM, *((number * 29 * 24_000, bytes(2)) for number in range(8)), fin=False)
        assert (await within(session)).code == SessionCode.LIMIT_EXCEEDED
        assert session.playback.buffered < 90 * 24_000


async def test_ever_more_replies_that_say_nothing_end_the_call(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback, "WAITING_MAX_REPLIES", 5)
    async with connect(server.url, SETTINGS, Mute()) as session:
        for generation in range(1, 7):
            server.reply(PCM, fin=False, generation=generation)
        assert (await within(session)).code == SessionCode.LIMIT_EXCEEDED


class Strict(FakeServer):
    """Takes calls with the token "mine" only."""

    def _hello(self, event: HelloReceived) -> None:
        if event.hello.token == "mine":
            super()._hello(event)
        else:
            self.session.refuse(SessionCode.UNAUTHORIZED, "who are you?", self.driver.clock())


@pytest.fixture
async def strict() -> AsyncIterator[Strict]:
    server = Strict()
    yield server
    await server.endpoint.close()


async def test_who_is_not_known_is_told_what_to_do(strict: Strict) -> None:
    with pytest.raises(
        ConnectError, match=r"did not take the call: who are you\? \(give an API key .*LEGATO_API_KEY"
    ):
        async with connect(strict.url, replace(SETTINGS, token="yours"), Mute()):
            raise AssertionError("the call was taken")


async def test_a_token_travels_in_the_hello(strict: Strict) -> None:
    async with connect(strict.url, replace(SETTINGS, token="mine"), Mute()) as session:
        assert session.welcome is not None


async def test_an_interruption_is_told_once(server: FakeServer) -> None:
    player = Mute()
    async with connect(server.url, SETTINGS, player) as session:
        generation = server.session.begin_reply("r", "i", PCM, 0)
        server.session.send_audio(generation, bytes(48_000), 24_000, 0)
        server.driver.settle()
        events = session.events
        await anext(events)
        session.interrupt()
        server.session.flush_reply(generation, 0)
        server.session.send_event({"type": "after"}, 0)
        server.driver.settle()
        kinds: list[type] = []
        async for event in events:
            kinds.append(type(event))
            if getattr(event, "type", "") == "after":
                break
        assert kinds.count(Interrupted) == 1


@pytest.mark.parametrize("url", ["https://[bad", "ftp://x", "https://x:99999", f"https://{'a' * 70}.example"])
async def test_a_url_that_is_none_is_told_at_once(url: str) -> None:
    with pytest.raises(SettingsError):
        async with asyncio.timeout(60), connect(url, SETTINGS):
            pass


async def test_no_answer_is_told_with_what_is_known_about_the_other_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = asyncio.Event()
    closed = Race.closed

    def told(race: Race, runner: Any, by: CloseSource, code: int, reason: str) -> None:
        closed(race, runner, by, code, reason)
        refused.set()

    monkeypatch.setattr(Race, "closed", told)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        session = connect(f"https://127.0.0.1:{silent.getsockname()[1]}", SETTINGS, Mute())
        await asyncio.wait_for(refused.wait(), 60)
        session.settings = replace(SETTINGS, connect_timeout_s=0.001)
        with pytest.raises(
            ConnectError, match=r"no answer .* \(as a WebSocket: the connection was refused\)"
        ):
            await session.ready()


async def test_whatever_goes_wrong_on_the_way_to_a_call_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> object:
        raise RuntimeError("no luck")

    monkeypatch.setattr("legato.client.line.resolve_target", fail)
    with pytest.raises(ConnectError, match="no luck"):
        async with asyncio.timeout(60), connect("https://localhost", SETTINGS):
            pass


async def test_a_player_that_cannot_start_is_why_the_call_does_not(server: FakeServer) -> None:
    class Broken(Mute):
        def start(self, buffer: PlaybackBuffer, on_pull: Callable[[], None]) -> None:
            raise SettingsError("no loudspeaker can be opened")

    with pytest.raises(SettingsError, match="loudspeaker"):
        async with asyncio.timeout(60), connect(server.url, SETTINGS, Broken()):
            pass


async def test_after_the_end_everything_says_so_and_nothing_grows(server: FakeServer) -> None:
    player = Mute()
    async with connect(server.url, SETTINGS, player) as session:
        server.session.close(SessionCode.GOING_AWAY, "enough", 0)
        server.driver.settle()
        ended = await within(session)
        assert (ended.by, ended.code, ended.reason) == ("peer", SessionCode.GOING_AWAY, "enough")
        depths = []
        for _ in range(3):
            with pytest.raises(SessionClosed, match="enough"):
                session.send_audio(bytes(960))
            try:
                session.end_utterance()
            except SessionClosed:
                depths.append(len(traceback.extract_tb(sys.exc_info()[2])))
        assert len(set(depths)) == 1
        for late in (session.interrupt, session.migrate):
            with pytest.raises(SessionClosed):
                late()
        assert [event async for event in session.events] == []
        player.pulled()
        assert session.statistics() is not None
    assert player.stops == 1


async def test_closing_twice_at_once_and_moving_too_early(server: FakeServer) -> None:
    session = connect(server.url, SETTINGS, Mute())
    with pytest.raises(LocalProtocolError, match="path"):
        session.migrate()
    assert session.statistics() is None
    await asyncio.gather(session.close(), session.close())
    await session.close()
    with pytest.raises(ConnectError):
        await session.ready()


async def after_turns(turns: int, work: Awaitable[object]) -> None:
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 50])
async def test_giving_up_at_any_moment_leaves_no_task_behind(server: FakeServer, turns: int) -> None:
    async def call() -> None:
        async with connect(server.url, SETTINGS):
            await asyncio.Event().wait()

    await after_turns(turns, call())
    others = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert {task.get_name() for task in others} & {"connect", "virtual speaker"} == set()
