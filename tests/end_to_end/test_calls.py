"""Whole calls over real sockets: every sample arrives, replies come in bursts, addresses change."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
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
    url,
)

from legato import AudioFormat, AudioFrame, Call, ClientSettings, ConnectError, Speech, connect
from legato.client.events import PlaybackChanged, ReplyArrived, ReplyBegan, ServerEvent
from legato.client.settings import ProfileChoice

PCM16K = AudioFormat("pcm16", 16_000)
PCM24K = AudioFormat("pcm16", 24_000)
PLAIN = ClientSettings(input=PCM16K, output=(PCM24K,))
BLOCK = 640


def noise(seconds: float, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(2 * round(16_000 * seconds))


class Recorder:
    """An agent that keeps what it hears until `wanted` bytes are here."""

    def __init__(self, wanted: int) -> None:
        self.heard = bytearray()
        self.done = asyncio.Event()
        self.calls = 0
        self._wanted = wanted

    async def __call__(self, call: Call) -> None:
        self.calls += 1
        async for frame in call.audio:
            assert isinstance(frame, AudioFrame), "broken promise: a gap"
            assert frame.offset == len(self.heard) // 2
            self.heard += frame.payload
            if len(self.heard) >= self._wanted:
                self.done.set()


async def test_every_sample_arrives(start_server: StartServer) -> None:
    said = noise(5)
    agent = Recorder(len(said))
    server = await start_server(agent)
    async with connect(url(server), PLAIN) as session:
        speak(session, said)
        await asyncio.wait_for(agent.done.wait(), 60)
    assert bytes(agent.heard) == said


async def test_what_is_said_while_connecting_arrives_too(start_server: StartServer) -> None:
    said = noise(1)
    agent = Recorder(len(said))
    server = await start_server(agent)
    session = connect(url(server), PLAIN)
    speak(session, said)
    await asyncio.wait_for(agent.done.wait(), 60)
    await session.close()
    assert bytes(agent.heard) == said


async def test_a_change_of_port_and_address_in_mid_utterance_loses_nothing(start_server: StartServer) -> None:
    said = noise(6)
    agent = Recorder(len(said))
    server = await start_server(agent)
    async with connect(url(server), PLAIN) as session:
        third = len(said) // 3 // BLOCK * BLOCK
        speak(session, said[:third])
        session.migrate()
        speak(session, said[third : 2 * third])
        session.migrate(("127.0.0.2", 0))
        speak(session, said[2 * third :])
        await asyncio.wait_for(agent.done.wait(), 60)
        statistics = session.statistics()
        assert session.ended is None
    assert bytes(agent.heard) == said
    assert agent.calls == 1, "the call was not made anew"
    assert statistics is not None


@pytest.mark.parametrize(
    ("wished", "late_ms", "granted"),
    [
        ("duplex", 20_000, 20_000),
        ("duplex", None, 400),
        ("duplex", 1, 20),
        ("turn", 250, None),
        ("auto", 9, None),
    ],
)
async def test_a_call_that_must_be_on_time_is_granted(
    wished: ProfileChoice, late_ms: int | None, granted: int | None, start_server: StartServer
) -> None:
    said = noise(1)
    agent = Recorder(len(said))
    server = await start_server(agent)
    settings = replace(PLAIN, profile=wished, late_ms=late_ms)
    async with connect(url(server), settings) as session:
        assert session.welcome is not None
        assert session.welcome.profile == ("duplex" if granted else "turn")
        assert session.welcome.late_ms == granted
        assert session.welcome.lead_ms == min(10_000, (granted or 10_000) + 600)
        if granted is None or granted > 10_000:  # a busy machine is late itself
            speak(session, said)
            session.migrate()
            await asyncio.wait_for(agent.done.wait(), 60)
            assert bytes(agent.heard) == said, "nothing was late"


async def test_a_reply_of_eight_seconds_is_here_within_two(start_server: StartServer) -> None:
    async def talkative(call: Call) -> None:
        async def speech() -> AsyncIterator[Speech]:
            for second in range(8):
                yield Speech(bytes(48_000), 24_000, f"Second {second}.")

        call.say(speech())
        await asyncio.Event().wait()

    server = await start_server(talkative)
    async with connect(url(server), PLAIN) as session:
        began = arrived = None
        async for event in session.events:
            if isinstance(event, ReplyBegan):
                began = event.at_us
            elif isinstance(event, ReplyArrived):
                arrived = event
                break
        assert began is not None
        assert arrived is not None
        assert arrived.samples == 8 * 24_000
        assert arrived.at_us - began < 2_000_000
        current = session.playback.current
        assert current is not None
        assert current.played < 3 * 24_000, "playback keeps the pace of a person's ear"


async def test_interrupting_is_exact_on_both_sides(start_server: StartServer) -> None:
    story = Story(8, PCM24K.rate)
    async with connect(url(await start_server(story)), PLAIN) as session:
        await interrupted_exactly(session, story)


async def test_statistics_and_events(start_server: StartServer) -> None:
    async def friendly(call: Call) -> None:
        async for event in call.events:
            call.send({"type": "conversation.item.added", "echo": event})

    server = await start_server(friendly)
    async with connect(url(server), PLAIN) as session:
        change = {"type": "realtime", "instructions": "be kind"}
        session.send({"type": "session.update", "session": change})
        told = [await anext(session.events) for _ in range(4)]
        events = {event.type: event.event for event in told if isinstance(event, ServerEvent)}
        assert events["session.created"]["session"]["instructions"] == ""
        assert events["session.updated"]["session"]["instructions"] == "be kind"
        assert events["conversation.item.added"]["echo"]["session"] == change
        statistics = session.statistics()
        assert statistics is not None
        assert statistics.bytes_sent > 0
        assert session.welcome is not None
        assert session.welcome.session_id.startswith("call_")


async def test_a_wrong_path_is_a_clear_error(start_server: StartServer) -> None:
    server = await start_server(Recorder(1))
    with pytest.raises(ConnectError, match="404"):
        async with connect(f"{url(server)}/wrong", PLAIN):
            pass


async def test_a_wrong_certificate_is_a_clear_error(start_server: StartServer) -> None:
    server = await start_server(Recorder(1))
    settings = ClientSettings(input=PCM16K, output=(PCM24K,), certificate_hashes=(bytes(32),))
    with pytest.raises(ConnectError, match="certificate"):
        async with connect(url(server), settings):
            pass


async def test_nobody_there_is_a_clear_error() -> None:
    settings = ClientSettings(input=PCM16K, output=(PCM24K,), certificate_hashes=(bytes(32),))
    with pytest.raises(ConnectError, match="nobody listens"):
        async with connect("https://127.0.0.1:9", settings):
            pass


async def test_silence_from_the_other_end_is_a_clear_error() -> None:
    settings = ClientSettings(
        input=PCM16K, output=(PCM24K,), connect_timeout_s=0.3, certificate_hashes=(bytes(32),)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError, match="is a server running"):
            async with connect(f"https://127.0.0.1:{silent.getsockname()[1]}", settings):
                pass


async def test_too_many_calls_are_turned_away(start_server: StartServer) -> None:
    server = await start_server(Recorder(1), limits={"calls": 1})
    async with connect(url(server), PLAIN):
        with pytest.raises(ConnectError, match="429"):
            async with connect(url(server), PLAIN):
                pass


async def test_draining_lets_calls_end_and_takes_no_new_ones(start_server: StartServer) -> None:
    await drained(start_server, PLAIN)


async def test_the_last_words_of_an_agent_arrive_before_the_end(start_server: StartServer) -> None:
    async with connect(url(await start_server(says_and_leaves)), PLAIN) as session:
        await last_words_arrive(session)


async def test_a_reply_to_a_caller_who_interrupts_it_half_made_does_not_silence_the_next(
    start_server: StartServer,
) -> None:
    async def talkative(call: Call) -> None:
        async def endless() -> AsyncIterator[Speech]:
            while True:
                yield Speech(bytes(48_000), 24_000, "On and on.")

        async def short() -> AsyncIterator[Speech]:
            yield Speech(bytes(4_800), 24_000, "Yes?")

        await call.say(endless()).finished
        await call.say(short()).finished
        call.send({"type": "conversation.item.added"})
        await asyncio.Event().wait()

    server = await start_server(talkative, lead_ms=1000)
    async with connect(url(server), PLAIN) as session:
        async for event in session.events:
            if isinstance(event, PlaybackChanged) and event.generation == 1 and event.played >= 4800:
                if event.state == "playing":
                    session.interrupt()
            elif isinstance(event, ServerEvent) and event.type == "conversation.item.added":
                break
        assert session.ended is None
