"""Barge-in in two phases over real sockets: a reply that is held goes on, or is over, to the sample."""

import asyncio
import random
from collections.abc import AsyncIterator

from tests.end_to_end.conftest import StartServer
from tests.end_to_end.test_calls import PLAIN, url

from legato import Call, Speech, connect
from legato.client.devices import VirtualSpeaker
from legato.client.events import Interrupted, PlaybackChanged, ServerEvent

REPLY = random.Random(7).randbytes(2 * 24_000 * 3)


async def words() -> AsyncIterator[Speech]:
    for start in range(0, len(REPLY), 4_800):
        yield Speech(REPLY[start : start + 4_800], 24_000)


class Speaking:
    """An agent that says one thing, and interrupts itself where it is told to."""

    def __init__(self) -> None:
        self.interrupts = asyncio.Event()
        self.heard: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def __call__(self, call: Call) -> None:
        utterance = call.say(words())
        interrupting = asyncio.create_task(self.interrupts.wait())
        interrupting.add_done_callback(lambda task: task.cancelled() or call.interrupt())
        await utterance.finished
        interrupting.cancel()
        self.heard.set_result(utterance.heard_ms)
        async for _ in call.audio:
            pass


async def test_a_reply_that_was_held_goes_on_from_the_same_sample(start_server: StartServer) -> None:
    server = await start_server(agent := Speaking())
    played = bytearray()
    async with connect(url(server), PLAIN, VirtualSpeaker(played.extend)) as session:
        states: list[str] = []
        async with asyncio.timeout(60):
            async for event in session.events:
                if isinstance(event, PlaybackChanged):
                    states.append(event.state)
                    if event.state == "playing" and event.played > 12_000 and "paused" not in states:
                        session.duck()
                    elif event.state == "done":
                        break
                elif isinstance(event, ServerEvent) and event.type == "legato.unduck":
                    states.append("denied")
            assert await agent.heard == 3_000
    assert states.index("paused") < states.index("denied") < states.index("done")
    start, stop = played.find(REPLY[:64]), played.find(REPLY[-64:]) + 64
    silence = stop - start - len(REPLY)
    assert silence > 2 * 24_000 // 2
    held = next(at for at in range(0, len(REPLY), 960) if played[start + at : start + at + 960] == bytes(960))
    assert played[start : start + held] == REPLY[:held]
    assert played[start + held + silence : stop] == REPLY[held:]


async def test_a_reply_that_is_interrupted_is_over_where_it_was_held(start_server: StartServer) -> None:
    server = await start_server(agent := Speaking())
    async with connect(url(server), PLAIN) as session:
        held = 0
        async with asyncio.timeout(60):
            async for event in session.events:
                if isinstance(event, PlaybackChanged):
                    if event.state == "playing" and event.played > 12_000 and not held:
                        session.duck()
                        held = session.playback.current.played if session.playback.current else 0
                        agent.interrupts.set()
                    elif event.state == "stopped":
                        assert event.played == held
                        break
                else:
                    assert not isinstance(event, Interrupted) or held
            assert await agent.heard == held // 24
