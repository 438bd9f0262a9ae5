"""Two servers of one fleet in memory, and a caller who turns from one to the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from tests.server.calls import Caller, Held, hello
from tests.server.native_house import House, turns, welcomed

from legato.agents.base import Call
from legato.core.audio import AudioFrame, AudioGap
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Capabilities
from legato.server.tickets import Tickets

PATIENCE_S = 60
KEY, OLD_KEY = b"k" * 32, b"o" * 32
CARRIES = Capabilities(playback_reports=True, resume=True, checkpoints=True)


class Asked(Held):
    """An agent that takes requests."""

    takes_requests = True


class Fleet(NamedTuple):
    """Two servers with one key, and the agents that answer there."""

    first: Held
    here: House
    second: Held
    there: House


@asynccontextmanager
async def two_servers(agent: type[Held]) -> AsyncIterator[Fleet]:
    """The second one opens what an older key has sealed, too."""
    first, second = agent(), agent()
    here, there = House(first, tickets=Tickets([KEY])), House(second, tickets=Tickets([KEY, OLD_KEY]))
    yield Fleet(first, here, second, there)
    await emptied(here, first)
    await emptied(there, second)


async def emptied(house: House, agent: Held) -> None:
    """The server stops, and its agent lets go of its calls."""
    agent.release.set()
    house.calls.close_all(SessionCode.GOING_AWAY, "")
    await house.calls.wait_empty()


taking_requests = pytest.mark.parametrize("fleet", [Asked], indirect=True)


async def settled() -> None:
    """Let what was done be said, and a checkpoint of it after that."""
    await turns()
    await asyncio.sleep(0.01)
    await turns()


async def dial(house: House) -> Caller:
    caller = await house.dial(hello(capabilities=CARRIES))
    await carrying(caller)
    return caller


async def carrying(caller: Caller) -> None:
    """Wait until the client has a checkpoint: it is no event that its owner sees."""
    async with asyncio.timeout(PATIENCE_S):
        while not caller.session.carries:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def moved(fleet: Fleet, caller: Caller, **changes: Any) -> Caller:
    """The server is gone; the caller turns to the other one."""
    await settled()
    fleet.here.lose(caller)
    after = fleet.there.redial(caller, **changes)
    await welcomed(after)
    return after


def say(caller: Caller, event: dict[str, Any]) -> None:
    caller.session.send_event(event, caller.driver.clock())
    caller.driver.settle()


def user_text(text: str) -> dict[str, Any]:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return {"type": "conversation.item.create", "item": item}


async def heard(call: Call, samples: int) -> list[AudioFrame | AudioGap]:
    """The next pieces of audio, up to so many samples."""
    pieces: list[AudioFrame | AudioGap] = []
    while sum(piece.samples for piece in pieces) < samples:
        pieces.append(await asyncio.wait_for(anext(aiter(call.audio)), PATIENCE_S))
    return pieces


def words(call: Call) -> list[str]:
    """What a model would be shown."""
    request = call.dialogue.begin_response("agent")
    assert request is not None
    return [item.text for item in call.dialogue.context(request.request)]
