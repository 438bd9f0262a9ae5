"""Who may go on with another server, and who may not."""

from typing import Any

import msgspec
import pytest
from tests.server.calls import Caller, hello, speech
from tests.server.native_house import House, welcomed
from tests.server.two_servers import (
    CARRIES,
    OLD_KEY,
    Fleet,
    carrying,
    dial,
    emptied,
    moved,
    settled,
    words,
)

from legato.core.client_session import ClientSession
from legato.core.events import ConnectionLost
from legato.core.wire.codes import SessionCode
from legato.server.tickets import MAX_STATE_CHARS, Tickets
from legato.session_driver import monotonic_us


async def refused(fleet: Fleet, caller: Caller, **changes: Any) -> None:
    """Come to the other server with a changed request: a new call begins, and nothing else happens."""
    request = caller.session.resume_request()
    assert request is not None
    bad = msgspec.structs.replace(request, **changes)
    fleet.second.await_another()
    other = fleet.there.call(ClientSession(hello(capabilities=CARRIES, resume=bad), monotonic_us()))
    answer = await welcomed(other)
    assert (answer.resumed, answer.rebuilt) == (False, False)
    assert not (await fleet.second.call).rebuilt
    other.session.bye(other.driver.clock())
    other.driver.settle()
    assert caller.ended is None


async def test_forged_and_mixed_up_checkpoints_begin_a_new_call(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    fleet.first.await_another()
    other = await dial(fleet.here)
    await settled()
    request = caller.session.resume_request()
    foreign = other.session.resume_request()
    assert request is not None
    assert foreign is not None
    assert request.checkpoint is not None
    flipped = request.checkpoint[:-4] + ("AAAA" if request.checkpoint[-4:] != "AAAA" else "BBBB")
    for bad in ("", "x", flipped, request.ticket, "A" * (MAX_STATE_CHARS + 1), foreign.checkpoint, None):
        await refused(fleet, caller, checkpoint=bad)
    await refused(fleet, caller, ticket=request.checkpoint)
    await refused(fleet, caller, ticket=foreign.ticket)
    await refused(fleet, caller, uplink_offset=1 << 52)


async def test_a_key_that_was_dropped_opens_nothing(fleet: Fleet) -> None:
    strangers = House(fleet.second, tickets=Tickets([b"x" * 32]))
    caller = await dial(fleet.here)
    await settled()
    fleet.here.lose(caller)
    assert not (await welcomed(strangers.redial(caller))).resumed
    await emptied(strangers, fleet.second)


async def test_a_new_key_seals_while_the_old_one_still_opens(fleet: Fleet) -> None:
    older = House(fleet.first, tickets=Tickets([OLD_KEY]))
    caller = await older.dial(hello(capabilities=CARRIES))
    await carrying(caller)
    await settled()
    older.lose(caller)
    assert (await welcomed(fleet.there.redial(caller))).rebuilt
    await emptied(older, fleet.first)


async def test_the_newest_of_two_places_wins_and_the_other_is_told(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    await settled()
    request = caller.session.resume_request()
    assert request is not None
    fleet.here.lose(caller)
    greeting = hello(capabilities=CARRIES, resume=request)
    first = fleet.there.call(ClientSession(greeting, monotonic_us()))
    assert (await welcomed(first)).rebuilt
    again = fleet.there.call(ClientSession(greeting, monotonic_us()))
    assert (await welcomed(again)).resumed
    await first.until(lambda: any(isinstance(event, ConnectionLost) for event in first.events))
    (lost,) = [event for event in first.events if isinstance(event, ConnectionLost)]
    assert (lost.by, lost.code) == ("peer", SessionCode.REPLACED)
    assert len(fleet.there.calls) == 1


async def test_a_ticket_is_used_up_when_the_next_one_has_arrived(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    await settled()
    request = caller.session.resume_request()
    after = await moved(fleet, caller)
    await settled()
    fleet.second.await_another()
    replay = fleet.there.call(ClientSession(hello(capabilities=CARRIES, resume=request), monotonic_us()))
    assert not (await welcomed(replay)).resumed
    assert after.ended is None


async def test_lies_about_what_was_played_harm_nobody(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    (await fleet.first.call).say(speech("One two.", seconds=1))
    await caller.until(lambda: caller.whole == 1)
    await settled()
    request = caller.session.resume_request()
    assert request is not None
    fleet.here.lose(caller)
    lies = tuple(
        msgspec.structs.replace(request.downlink[0], generation=number, played=1 << 50, received=9)
        for number in (0, 1, 1, 1 << 52)
    )
    bad = msgspec.structs.replace(request, downlink=lies * 60, events=1 << 50)
    after = fleet.there.call(ClientSession(hello(capabilities=CARRIES, resume=bad), monotonic_us()))
    assert (await welcomed(after)).rebuilt
    again = await fleet.second.call
    following = again.say(speech("Three.", seconds=1))
    await after.until(lambda: "response.done" in after.types or after.ended is not None)
    assert after.ended is None
    assert words(again)[0] in ("", "One", "Three.")
    following.cancel()


@pytest.mark.timeout(300)
async def test_a_storm_of_callers_of_a_dead_server(fleet: Fleet) -> None:
    callers = []
    for _ in range(500):
        fleet.first.await_another()
        callers.append(await dial(fleet.here))
    await settled()
    for caller in callers:
        fleet.here.lose(caller)
    returned = []
    for caller in callers:
        fleet.second.await_another()
        returned.append(fleet.there.redial(caller))
        assert (await welcomed(returned[-1])).rebuilt
    assert (len(fleet.there.calls), fleet.there.calls.parked) == (500, 0)
