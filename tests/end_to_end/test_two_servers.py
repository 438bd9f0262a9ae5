"""Two servers as processes: one is killed in mid-reply or told to stop, the call goes on at the other."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.end_to_end.fleet import FleetServer, fleet
from tests.end_to_end.recording_agent import REPLY, read
from tests.end_to_end.test_calls import BLOCK, PCM16K, PCM24K, noise

from legato import ClientSettings, RealtimeSession, connect
from legato.client.devices import VirtualSpeaker
from legato.client.events import PlaybackChanged, Resumed, ServerLeaving

AGENT = "tests.end_to_end.recording_agent:build"
MID_REPLY_S = 1.5


class Caller:
    """Somebody who speaks in real time and keeps what happens."""

    def __init__(self, first: FleetServer, second: FleetServer, heard: Path) -> None:
        # Nothing is played before the whole reply is here, so that a slow machine makes no gap in it.
        settings = ClientSettings(input=PCM16K, output=(PCM24K,), alternatives=(second.url,), start_ms=60_000)
        self.played = bytearray()
        self.resumed: list[Resumed] = []
        self.resumed_at = 0.0
        self.leaving: list[ServerLeaving] = []
        self.done = False
        self.left_in_mid_reply = False
        self._heard = [heard / str(server.process.pid) for server in (first, second)]
        self.session: RealtimeSession = connect(first.url, settings, VirtualSpeaker(self.played.extend))

    @asynccontextmanager
    async def on_the_line(self) -> AsyncIterator[None]:
        async with self.session:
            following = asyncio.create_task(self._follow())
            yield
            following.cancel()

    async def speak(self, pcm: bytes) -> None:
        started = time.monotonic()
        for index, start in enumerate(range(0, len(pcm), BLOCK)):
            self.session.send_audio(pcm[start : start + BLOCK])
            await asyncio.sleep(max(0, started + 0.02 * (index + 1) - time.monotonic()))

    async def _follow(self) -> None:
        async for event in self.session.events:
            if isinstance(event, Resumed):
                self.resumed.append(event)
                self.resumed_at = time.monotonic()
                self.left_in_mid_reply = not self.done
            elif isinstance(event, PlaybackChanged):
                self.done = self.done or event.state == "done"
            elif isinstance(event, ServerLeaving):
                self.leaving.append(event)

    @property
    def in_mid_reply(self) -> bool:
        start = self.played.find(REPLY[:64])
        return start >= 0 and len(self.played) - start > MID_REPLY_S * 2 * 24_000

    def heard(self) -> bytes:
        """What both servers' agents have heard, up to the first sample that none of them has."""
        whole = bytearray()
        for place in self._heard:
            for start, payload in read(place) if place.exists() else ():
                if 2 * start <= len(whole):
                    whole[2 * start : 2 * start + len(payload)] = payload
        return bytes(whole)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - another process writes files
            await asyncio.sleep(0.05)


@pytest.mark.timeout(240)
async def test_a_server_is_killed_in_mid_reply(tmp_path: Path) -> None:
    said = noise(4)
    with fleet(tmp_path, AGENT) as (first, second):
        caller = Caller(first, second, tmp_path)
        async with caller.on_the_line():
            speaking = asyncio.create_task(caller.speak(said))
            await until(lambda: caller.in_mid_reply)
            first.kill()
            killed_at = time.monotonic()
            await until(lambda: bool(caller.resumed))
            await speaking
            await until(lambda: caller.done and len(caller.heard()) == len(said))
        await asyncio.to_thread(second.logged, "call rebuilt")
    (resumed,) = caller.resumed
    print(
        f"went on {caller.resumed_at - killed_at:.2f} s after the kill; lost {resumed.lost_samples} samples"
    )
    assert resumed.welcome.rebuilt
    assert caller.left_in_mid_reply
    assert resumed.lost_samples == 0
    assert caller.resumed_at - killed_at < 30
    assert caller.heard() == said, "every captured sample"
    begin = caller.played.find(REPLY[:64])
    assert caller.played[begin : begin + len(REPLY)] == REPLY, "the reply without a gap"


@pytest.mark.timeout(240)
async def test_a_server_that_stops_is_left_at_a_pause(tmp_path: Path) -> None:
    said = noise(2)
    # So patient that the pause comes first on any machine.
    with fleet(tmp_path, AGENT, drain_seconds=100) as (first, second):
        caller = Caller(first, second, tmp_path)
        async with caller.on_the_line():
            await until(lambda: caller.in_mid_reply)
            first.stop()
            await until(lambda: bool(caller.leaving))
            await caller.speak(said)
            await until(lambda: bool(caller.resumed))
            await until(lambda: len(caller.heard()) == len(said))
            status = await asyncio.to_thread(first.process.wait, 60)
        await asyncio.to_thread(second.logged, "call rebuilt")
    assert status == 0
    assert not caller.left_in_mid_reply
    assert caller.heard() == said, "every captured sample"
    begin = caller.played.find(REPLY[:64])
    assert caller.played[begin : begin + len(REPLY)] == REPLY, "the reply without a gap"
