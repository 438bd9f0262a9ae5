"""Calls whose network dies, over real sockets: samples and events arrive once, replies have no gap."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import msgspec
import pytest
from tests.end_to_end.conftest import StartServer
from tests.end_to_end.relay import Relay
from tests.end_to_end.test_calls import BLOCK, PCM16K, PCM24K, noise

from legato import AudioFrame, Call, ClientSettings, SessionClosed, Speech, connect
from legato.client.devices import VirtualSpeaker
from legato.client.events import PlaybackChanged, Resumed, ServerEvent
from legato.core import ClientSession, SessionCode
from legato.core.audio import AudioGap

SETTINGS = ClientSettings(input=PCM16K, output=(PCM24K,))
REPLY = random.Random(7).randbytes(2 * 24_000 * 6)
"""Six seconds that sound like nothing else."""


@pytest.fixture
def relays() -> Iterator[list[Relay]]:
    """Relays that are closed afterwards."""
    opened: list[Relay] = []
    yield opened
    for relay in opened:
        relay.close()


class Companion:
    """An agent that listens, talks for six seconds, and counts aloud in events all the while."""

    def __init__(self) -> None:
        self.heard: list[AudioFrame | AudioGap] = []
        self.received: list[int] = []
        self.calls = 0
        self.said: asyncio.Future[tuple[int, bool]] = asyncio.get_running_loop().create_future()

    async def __call__(self, call: Call) -> None:
        self.calls += 1
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(call))
            tasks.create_task(self._read(call))
            tasks.create_task(self._count(call))
            tasks.create_task(self._talk(call))

    async def _listen(self, call: Call) -> None:
        async for piece in call.audio:
            self.heard.append(piece)

    async def _read(self, call: Call) -> None:
        async for event in call.events:
            if event["type"] == "test.number":
                self.received.append(event["number"])

    async def _count(self, call: Call) -> None:
        for number in range(60):
            call.send({"type": "test.number", "number": number})
            await asyncio.sleep(0.1)

    async def _talk(self, call: Call) -> None:
        async def speech() -> AsyncIterator[Speech]:
            for start in range(0, len(REPLY), 4_800):
                yield Speech(REPLY[start : start + 4_800], 24_000)

        utterance = call.say(speech())
        await utterance.finished
        if not self.said.done():
            self.said.set_result((utterance.heard_ms, utterance.interrupted))

    @property
    def pcm(self) -> bytes:
        assert all(isinstance(piece, AudioFrame) for piece in self.heard), "a gap in what was heard"
        return b"".join(piece.payload for piece in self.heard if isinstance(piece, AudioFrame))


class Person:
    """Speaks in real time, sends a number with every tenth block, and keeps what is heard and told."""

    def __init__(self, relay: Relay, settings: ClientSettings = SETTINGS) -> None:
        self.played = bytearray()
        self.numbers: list[int] = []
        self.resumed: list[Resumed] = []
        self.underruns = 0
        self.session = connect(relay.url, settings, VirtualSpeaker(self.played.extend))

    async def follow(self) -> None:
        async for event in self.session.events:
            if isinstance(event, ServerEvent) and event.type == "test.number":
                self.numbers.append(event.event["number"])
            elif isinstance(event, Resumed):
                self.resumed.append(event)
            elif isinstance(event, PlaybackChanged):
                self.underruns = max(self.underruns, event.underruns)

    async def speak(self, pcm: bytes) -> int:
        sent = 0
        for index, start in enumerate(range(0, len(pcm), BLOCK)):
            self.session.send_audio(pcm[start : start + BLOCK])
            if index % 10 == 0:
                self.session.send({"type": "test.number", "number": sent})
                sent += 1
            await asyncio.sleep(0.02)
        return sent


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - of three unlike things, one of them in the server
            await asyncio.sleep(0.02)


def heard_of(played: bytearray) -> bytes:
    """What was played from the first sound of the reply on, as long as the reply."""
    start = played.find(REPLY[:64])
    return bytes(played[start : start + len(REPLY)])


@pytest.mark.parametrize("cut", [True, False], ids=["for good", "until it comes back on another port"])
async def test_the_network_dies_in_mid_sentence(
    start_server: StartServer, relays: list[Relay], cut: bool
) -> None:
    agent = Companion()
    server = await start_server(agent)
    relay = Relay(server.port)
    relays.append(relay)
    person = Person(relay)
    said = noise(6)
    async with person.session:
        following = asyncio.create_task(person.follow())
        speaking = asyncio.create_task(person.speak(said))
        await until(lambda: len(person.played) > 2 * 24_000)
        relay.dead = True
        if cut:
            relay.cut()
        await asyncio.sleep(3)
        relay.move()
        relay.dead = False
        sent = await speaking
        await until(lambda: len(agent.pcm) == len(said))
        await until(lambda: len(person.numbers) == 60)
        await until(lambda: len(agent.received) == sent)
        assert await asyncio.wait_for(agent.said, 15) == (6_000, False)
        following.cancel()
    assert agent.pcm == said, "every sample, once, in order"
    assert agent.calls == 1
    assert person.numbers == list(range(60)), "every event, once, in order"
    assert agent.received == list(range(sent))
    assert heard_of(person.played) == REPLY, "the reply without a gap"
    assert person.underruns == 0
    if cut:
        (resumed,) = person.resumed
        assert (resumed.welcome.resumed, resumed.lost_samples) == (True, 0)
        assert 2_000 < resumed.gap_ms < 8_000


async def test_a_client_that_never_comes_back_ends_its_call_after_the_window(
    start_server: StartServer, relays: list[Relay]
) -> None:
    agent = Companion()
    server = await start_server(agent, resume={"seconds": 0.5}, engine={"max_idle_ms": 1_000})
    relay = Relay(server.port)
    relays.append(relay)
    person = Person(relay, replace(SETTINGS, keep_alive_ms=300, max_idle_ms=1_000, resume_s=1))
    async with person.session:
        await until(lambda: len(person.played) > 4_800)
        relay.dead = True
        ended = await asyncio.wait_for(person.session.wait_closed(), 60)
        await until(lambda: server.calls == 0)
    assert ended.by == "transport"
    with pytest.raises(SessionClosed):
        person.session.send({"type": "test.number", "number": 0})


async def test_after_the_window_a_new_call_takes_what_was_kept(
    start_server: StartServer, relays: list[Relay]
) -> None:
    agent = Companion()
    server = await start_server(agent, resume={"seconds": 0.2}, engine={"max_idle_ms": 1_000})
    relay = Relay(server.port)
    relays.append(relay)
    person = Person(relay, replace(SETTINGS, keep_alive_ms=300, max_idle_ms=1_000))
    said = noise(4)
    async with person.session:
        following = asyncio.create_task(person.follow())
        await until(lambda: len(person.played) > 4_800)
        relay.dead = True
        relay.cut()
        await person.speak(said)
        await until(lambda: server.calls == 0)
        relay.dead = False
        await until(lambda: bool(person.resumed))
        await until(lambda: len(agent.pcm) == len(said))
        await until(lambda: 3 in person.numbers[-5:])
        following.cancel()
    (resumed,) = person.resumed
    assert (resumed.welcome.resumed, resumed.lost_samples) == (False, 0)
    assert agent.pcm == said, "nothing that was kept is lost"
    assert agent.calls == 2


async def test_a_second_client_with_the_ticket_ends_the_first_with_a_clear_code(
    start_server: StartServer,
) -> None:
    server = await start_server(Companion())
    async with connect(f"https://127.0.0.1:{server.port}", SETTINGS) as first:
        request = first._session.resume_request()
        assert request is not None
        async with connect(f"https://127.0.0.1:{server.port}", SETTINGS) as other:
            line = other._line
            hello = msgspec.structs.replace(line.session.hello, resume=request)
            thief = line._connection(ClientSession(hello, line.clock()), other.url)
            await line._dial(thief, SessionCode.NO_ERROR)
            ended = await asyncio.wait_for(first.wait_closed(), 60)
            thief.hang_up()
    assert (ended.by, ended.code) == ("peer", SessionCode.REPLACED)
