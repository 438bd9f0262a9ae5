"""Calls that are lost and come back, on a server's own doors: who may, who may not, and how it ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.server.calls import PCM, SECOND, Held, hello, speech
from tests.server.native_house import House, turns, welcome, welcomed

from legato.agents.base import Call, Speech
from legato.core.client_session import ClientSession
from legato.core.events import ConnectionLost, EventReceived, ReplyEnded
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import ResumeRequest
from legato.server import playing
from legato.server.auth import Authority
from legato.server.auth_settings import hash_of_key
from legato.server.settings import ServerSettings
from legato.server.tickets import Tickets
from legato.session_driver import monotonic_us
from legato.testing.transports import Recorder as Deaf

KEYS = {name: f"lk_{name * 32}"[:35] for name in "ab"}


async def test_a_lost_call_goes_on_with_the_same_agent(held: Held) -> None:
    house = House(held)
    caller = await house.dial()
    call = await held.call
    call.say(speech("One.", seconds=3))
    await caller.until(lambda: bool(caller.items))
    caller.play(500)
    house.lose(caller)
    assert (len(house.calls), house.calls.parked) == (1, 1)
    call.send({"type": "test.news"})
    caller.play(500)
    after = house.redial(caller)
    assert (await welcomed(after)).resumed
    await after.until(lambda: "test.news" in after.types)
    await after.until(lambda: after.whole + caller.whole == 1)
    assert (len(house.calls), house.calls.parked) == (1, 0)
    assert [event.samples for event in after.events if isinstance(event, ReplyEnded)] in ([3 * PCM.rate], [])
    after.play(3_000)
    after.session.send_event({"type": "test.hello"}, after.driver.clock())
    after.driver.settle()
    assert (await anext(aiter(call.events)))["type"] == "test.hello"


async def test_what_is_still_being_made_goes_on_over_the_next_connection(held: Held) -> None:
    go_on = asyncio.Event()

    async def slowly() -> AsyncIterator[Speech]:
        yield Speech(SECOND, PCM.rate, "One.")
        await go_on.wait()
        yield Speech(SECOND, PCM.rate, "Two.")

    house = House(held)
    caller = await house.dial()
    utterance = (await held.call).say(slowly())
    await caller.until(lambda: caller.playback.buffered >= PCM.rate)
    caller.play(1_000)
    house.lose(caller)
    after = house.redial(caller)
    assert (await welcomed(after)).resumed
    go_on.set()
    await after.until(lambda: after.whole == 1)
    after.play(1_000)
    await utterance.finished
    assert (utterance.heard_ms, utterance.heard_text) == (2_000, "One. Two.")


async def test_what_was_heard_while_the_caller_was_away_counts_when_they_are_back(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They play on what they have, and learn only afterwards that the agent fell silent."""
    house = House(held)
    caller = await house.dial()
    call = await held.call
    utterance = call.say(speech("One.", "Two.", "Three."))
    await caller.until(lambda: caller.whole == 1)
    caller.play(500)
    house.lose(caller)
    monkeypatch.setattr(playing, "FLUSH_GRACE_S", 0)
    call.interrupt()
    finished = asyncio.ensure_future(utterance.finished)
    caller.play(1_500)
    await turns()
    assert not finished.done()
    monkeypatch.setattr(playing, "FLUSH_GRACE_S", 60)
    await turns()
    after = house.redial(caller)
    assert (await welcomed(after)).resumed
    await finished
    assert (utterance.heard_ms, utterance.heard_text) == (2_000, "One. Two.")


async def test_the_old_connection_is_closed_when_another_takes_over(held: Held) -> None:
    house = House(held)
    caller = await house.dial()
    after = house.redial(caller)
    assert (await welcomed(after)).resumed
    assert caller.session.state.name == "CLOSED"
    assert len(house.calls) == 1


async def test_a_second_client_with_the_ticket_replaces_the_first(held: Held) -> None:
    house = House(held)
    caller = await house.dial()
    ticket = welcome(caller).resume_ticket
    assert ticket is not None
    thief = house.call(ClientSession(hello(resume=ResumeRequest(ticket=ticket, events=1)), monotonic_us()))
    assert (await welcomed(thief)).resumed
    await caller.until(lambda: any(isinstance(event, ConnectionLost) for event in caller.events))
    (lost,) = [event for event in caller.events if isinstance(event, ConnectionLost)]
    assert (lost.by, lost.code) == ("peer", SessionCode.REPLACED)


async def test_a_used_ticket_opens_nothing(held: Held) -> None:
    house = House(held)
    caller = await house.dial()
    old = caller.session.resume_request()
    assert old is not None
    house.lose(caller)
    after = house.redial(caller)
    await welcomed(after)
    await turns()
    replay = house.call(ClientSession(hello(resume=old), monotonic_us()))
    assert not (await welcomed(replay)).resumed
    assert after.ended is None
    assert len(house.calls) == 2


async def test_a_welcome_that_never_arrived_uses_up_no_ticket(held: Held) -> None:
    house = House(held)
    caller = await house.dial()
    house.lose(caller)
    for _ in range(3):
        lost = house.redial(caller)
        near, far = house.ends[id(lost)]
        near.handler = Deaf()
        await turns()
        assert house.calls.parked == 0
        far._end("transport", 0, "gone")
        assert house.calls.parked == 1
    assert (await welcomed(house.redial(caller))).resumed


@pytest.mark.parametrize("ticket", ["", "forged", "A" * 200, "ü" * 5_000])
async def test_a_forged_ticket_begins_a_new_call(held: Held, ticket: str) -> None:
    house = House(held)
    forger = house.call(
        ClientSession(hello(resume=ResumeRequest(ticket=ticket, uplink_offset=77)), monotonic_us())
    )
    answer = await welcomed(forger)
    assert (answer.resumed, answer.uplink_offset) == (False, 77)


async def test_tickets_of_others_open_nothing() -> None:
    settings = {"keys": [{"name": name, "hash": hash_of_key(key)} for name, key in KEYS.items()]}
    authority = Authority(ServerSettings.model_validate({"auth": settings}))

    async def idle(call: Call) -> None:
        await asyncio.Event().wait()

    house = House(idle, authority)
    caller = await house.dial(hello(token=KEYS["a"]))
    house.lose(caller)
    foreign = house.redial(caller, token=KEYS["b"])
    assert not (await welcomed(foreign)).resumed
    nobody = house.call(
        ClientSession(hello(resume=foreign.session.hello.resume, token="wrong"), monotonic_us())
    )
    await nobody.until(lambda: nobody.ended is not None)
    assert nobody.ended is not None
    assert nobody.ended.code == SessionCode.UNAUTHORIZED
    own = house.call(
        ClientSession(hello(resume=foreign.session.hello.resume, token=KEYS["a"]), monotonic_us())
    )
    assert (await welcomed(own)).resumed
    house.calls.cancel_agents()
    await house.calls.wait_empty()


async def test_a_ticket_of_another_server_is_told_apart(held: Held) -> None:
    key = b"k" * 32
    there, here = House(held, tickets=Tickets([key])), House(held, tickets=Tickets([key]))
    caller = await there.dial()
    there.lose(caller)
    assert not (await welcomed(here.redial(caller))).resumed


async def test_after_the_window_the_call_is_over_and_another_begins(held: Held) -> None:
    house = House(held, window_s=0.02)
    caller = await house.dial()
    call = await held.call
    house.lose(caller)
    async for _ in call.audio:
        pass
    held.release.set()
    held.await_another()
    await house.calls.wait_empty()
    assert house.calls.parked == 0
    assert not (await welcomed(house.redial(caller))).resumed


async def test_without_a_window_a_lost_call_ends_at_once(held: Held) -> None:
    house = House(held, window_s=0)
    caller = await house.dial()
    assert welcome(caller).resume_ticket is None
    house.lose(caller)
    held.release.set()
    await house.calls.wait_empty()


async def test_an_agent_that_is_done_waits_for_its_caller_to_hear_of_it(held: Held) -> None:
    house = House(held)
    caller = await house.dial()
    call = await held.call
    house.lose(caller)
    call.send({"type": "test.last_words"})
    held.release.set()
    after = house.redial(caller)
    await after.until(lambda: after.ended is not None)
    assert "test.last_words" in after.types
    assert after.ended is not None
    assert after.ended.code == SessionCode.NO_ERROR
    await house.calls.wait_empty()


async def test_who_comes_back_to_a_call_that_was_ended_is_told_how(held: Held) -> None:
    house = House(held)
    caller = await house.dial()
    house.lose(caller)
    house.calls.close_all(SessionCode.GOING_AWAY, "the server stops")
    held.release.set()
    await house.calls.wait_empty()
    after = house.redial(caller)
    await after.until(lambda: after.ended is not None)
    assert after.ended is not None
    assert (after.ended.code, after.ended.reason) == (SessionCode.GOING_AWAY, "the server stops")


async def test_a_full_server_takes_back_its_own(held: Held) -> None:
    house = House(held, most_calls=1)
    caller = await house.dial()
    house.lose(caller)
    stranger = house.call(ClientSession(hello(), monotonic_us()))
    await stranger.until(lambda: stranger.ended is not None)
    assert stranger.ended is not None
    assert stranger.ended.code == SessionCode.OVERLOADED
    assert (await welcomed(house.redial(caller))).resumed


async def test_a_storm_of_returning_callers_leaves_one_call_each(held: Held) -> None:
    async def idle(call: Call) -> None:
        await asyncio.Event().wait()

    house = House(idle)
    callers = [await house.dial() for _ in range(100)]
    for caller in callers:
        house.lose(caller)
    assert house.calls.parked == 100
    returned = [house.redial(caller) for caller in callers]
    for caller in returned:
        assert (await welcomed(caller)).resumed
    assert (len(house.calls), house.calls.parked) == (100, 0)
    house.calls.cancel_agents()
    await house.calls.wait_empty()


async def test_events_held_for_audio_survive_the_connection(held: Held) -> None:
    house = House(held)
    caller = await house.dial()
    call = await held.call
    update = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    now = caller.driver.clock
    caller.session.send_event({"type": "session.update", "session": update}, now())
    caller.session.send_event({"type": "input_audio_buffer.commit", "legato_audio_offset": 3_200}, now())
    caller.driver.settle()
    await caller.until(lambda: "session.updated" in caller.types)
    house.lose(caller)
    caller.session.send_audio(bytes(6_400), now(), now())
    after = house.redial(caller)
    await after.until(lambda: "input_audio_buffer.committed" in after.types)
    assert not any(
        isinstance(event, EventReceived) and event.event["type"] == "error" for event in after.events
    )
    assert welcome(after).session_id == call.id
