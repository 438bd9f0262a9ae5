"""Calls that go on with another server: what it makes of a ticket and of what the client carries."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.server.calls import INPUT, SECOND, Caller, Held, hello, speech
from tests.server.test_resuming import House, turns, welcomed

from legato.agents.base import Call
from legato.core.audio import AudioFrame, AudioGap
from legato.core.client_session import ClientSession
from legato.core.dialects.realtime.dialogue_events import ResponseWanted
from legato.core.events import ConnectionLost
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Capabilities, ResumeRequest
from legato.server import carried_calls
from legato.server.carried_calls import MOST_BYTES, CarriedCall, opened, sealed
from legato.server.tickets import MAX_STATE_CHARS, Ticket, TicketRefused, Tickets
from legato.session_driver import monotonic_us

PATIENCE_S = 60
KEY, OLD_KEY = b"k" * 32, b"o" * 32
CARRIES = Capabilities(playback_reports=True, resume=True, checkpoints=True)
MANUAL = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}


class Asked(Held):
    """An agent that takes requests."""

    takes_requests = True


class Fleet(NamedTuple):
    """Two servers with one key, and the agents that answer there."""

    first: Held
    here: House
    second: Held
    there: House


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say every change as it comes."""
    monkeypatch.setattr(carried_calls, "QUIET_S", 0.0)


@pytest.fixture(params=[Held])
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    first, second = request.param(), request.param()
    here, there = House(first, tickets=Tickets([KEY])), House(second, tickets=Tickets([KEY, OLD_KEY]))
    yield Fleet(first, here, second, there)
    for agent, house in ((first, here), (second, there)):
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


async def test_the_conversation_goes_on_as_it_was_heard(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    say(caller, user_text("Count."))
    call = await fleet.first.call
    call.say(speech("One two three four.", seconds=2))
    await caller.until(lambda: caller.whole == 1)
    caller.play(1_000)
    after = await moved(fleet, caller)
    answer = await welcomed(after)
    assert (answer.resumed, answer.rebuilt, answer.session_id) == (True, True, call.id)
    again = await fleet.second.call
    assert (again.id, again.rebuilt, call.rebuilt) == (call.id, True, False)
    assert "session.created" not in after.types
    after.play(500)
    again.interrupt()
    await settled()
    assert words(again) == ["Count.", "One two three"]


async def test_what_is_left_of_a_reply_is_played_and_followed(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    (await fleet.first.call).say(speech("One.", seconds=2))
    await caller.until(lambda: caller.whole == 1)
    caller.play(500)
    after = await moved(fleet, caller)
    again = await fleet.second.call
    following = again.say(speech("Two.", seconds=1))
    await after.until(lambda: after.whole == 1)
    assert after.play(2_500) == (SECOND * 3)[24_000 : 24_000 + 120_000]
    await asyncio.wait_for(following.finished, PATIENCE_S)
    assert (following.heard_ms, following.interrupted) == (1_000, False)
    assert words(again) == ["One.", "Two."]


async def test_of_a_sentence_that_broke_off_no_word_counts_too_much(fleet: Fleet) -> None:
    more = asyncio.Event()

    async def slowly() -> AsyncIterator[Any]:
        async for piece in speech("One.", "Two and a half."):
            yield piece
        await more.wait()

    caller = await dial(fleet.here)
    (await fleet.first.call).say(slowly())
    await caller.until(lambda: caller.playback.buffered == 48_000)
    caller.play(500)
    after = await moved(fleet, caller)
    await after.until(lambda: after.whole == 1)
    again = await fleet.second.call
    after.play(1_500)
    await settled()
    assert words(again) == ["One."]
    (failed,) = [event for event in after.dialect if event["type"] == "response.done"]
    assert failed["response"]["status_details"]["error"]["code"] == "server_lost"  # type: ignore[index]


@taking_requests
async def test_an_answer_that_is_missing_is_asked_for_again(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    say(caller, user_text("Count."))
    say(caller, {"type": "response.create"})
    await caller.until(lambda: "response.created" in caller.types)
    after = await moved(fleet, caller)
    wanted = await asyncio.wait_for(anext((await fleet.second.call).requests), PATIENCE_S)
    assert isinstance(wanted, ResponseWanted)
    await after.until(lambda: "response.created" in after.types)
    assert after.types[0] == "response.done"


async def test_audio_that_no_agent_has_read_is_heard_again(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    call = await fleet.first.call
    said = bytes(range(250)) * 64 * 4
    caller.speak(said[:16_000])
    assert sum(piece.samples for piece in await heard(call, 8_000)) == 8_000
    say(caller, user_text("A change, so that it is known how much was read."))
    await settled()
    caller.speak(said[16_000:32_000])
    caller.session.end_utterance(caller.driver.clock())
    caller.driver.settle()
    await settled()
    assert caller.session.acked == 16_000
    fleet.here.lose(caller)
    caller.session.send_audio(said[32_000:], caller.driver.clock(), caller.driver.clock())
    after = fleet.there.redial(caller)
    assert (await welcomed(after)).uplink_offset == 8_000
    pieces = await heard(await fleet.second.call, 24_000)
    assert pieces[0].offset == 8_000  # type: ignore[union-attr]
    assert b"".join(piece.payload for piece in pieces) == said[16_000:]  # type: ignore[union-attr]


@taking_requests
async def test_speech_that_was_not_understood_is_heard_again(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    call = await fleet.first.call
    caller.speak(bytes(2 * 16_000))
    await heard(call, 16_000)
    item = call.dialogue.speech_started(4_000)
    call.dialogue.speech_stopped(12_000)
    after = await moved(fleet, caller)
    assert (await welcomed(after)).uplink_offset == 0
    again = await fleet.second.call
    assert item not in [one.id for one in again.dialogue.context(again.dialogue.begin_response().request)]  # type: ignore[union-attr]


@taking_requests
async def test_a_turn_that_was_understood_and_not_answered_is_answered(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    call = await fleet.first.call
    caller.speak(bytes(2 * 16_000))
    await heard(call, 16_000)
    item = call.dialogue.speech_started(4_000)
    call.dialogue.speech_stopped(12_000)
    call.dialogue.transcript_done(item, "What time is it?", 0.5)
    await moved(fleet, caller)
    again = await fleet.second.call
    wanted = await asyncio.wait_for(anext(again.requests), PATIENCE_S)
    assert isinstance(wanted, ResponseWanted)
    assert [one.text for one in again.dialogue.context(wanted.response.request)] == ["What time is it?"]


async def test_a_gap_has_its_exact_length(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    call = await fleet.first.call
    caller.speak(bytes(8_000))
    await heard(call, 4_000)
    say(caller, user_text("Hello."))
    await settled()
    request = caller.session.resume_request()
    assert request is not None
    fleet.here.lose(caller)
    late = msgspec.structs.replace(request, uplink_offset=50_000)
    after = fleet.there.call(ClientSession(hello(capabilities=CARRIES, resume=late), monotonic_us()))
    assert (await welcomed(after)).uplink_offset == 50_000
    (gap,) = await heard(await fleet.second.call, 46_000)
    assert gap == AudioGap(4_000, 50_000)


async def test_events_that_are_not_part_of_it_are_said_again(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    say(caller, {"type": "test.first"})
    say(caller, user_text("A change."))
    await settled()
    near, _ = fleet.here.ends[id(caller)]
    say(caller, {"type": "test.second"})
    fleet.here.lose(caller)
    say(caller, {"type": "test.third"})
    assert near
    await welcomed(after := fleet.there.redial(caller))
    events = aiter((await fleet.second.call).events)
    got = [(await asyncio.wait_for(anext(events), PATIENCE_S))["type"] for _ in range(2)]
    assert got == ["test.second", "test.third"]
    assert after.ended is None


async def test_settings_and_the_manner_of_turns_come_along(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    say(caller, {"type": "session.update", "session": MANUAL | {"instructions": "Be brief."}})
    await caller.until(lambda: "session.updated" in caller.types)
    after = await moved(fleet, caller)
    settings = (await fleet.second.call).dialogue.settings
    assert (settings.instructions, settings.turn_detection) == ("Be brief.", None)
    now = after.driver.clock
    after.session.send_audio(bytes(6_400), now(), now())
    say(after, {"type": "input_audio_buffer.commit", "legato_audio_offset": 3_200})
    await after.until(lambda: "input_audio_buffer.committed" in after.types)


async def test_a_call_may_move_on_and_on_and_back(fleet: Fleet) -> None:
    caller = await dial(fleet.here)
    say(caller, user_text("One."))
    after = await moved(fleet, caller)
    say(after, user_text("Two."))
    await carrying(after)
    await settled()
    stale = await fleet.first.call
    fleet.first.call = asyncio.get_running_loop().create_future()
    fleet.there.lose(after)
    back = fleet.here.redial(after)
    assert (await welcomed(back)).rebuilt
    await fleet.first.call
    assert words(await fleet.first.call) == ["One.", "Two."]
    assert stale is not await fleet.first.call
    async with asyncio.timeout(PATIENCE_S):
        async for _ in stale.audio:  # it is over for its agent
            pass
    assert fleet.here.calls.parked == 0
    fleet.first.release.set()
    await back.until(lambda: back.ended is not None)
    async with asyncio.timeout(PATIENCE_S):
        await fleet.here.calls.wait_empty()
    assert fleet.here.calls.find(stale.id) is None


# Who may not


async def refused(fleet: Fleet, caller: Caller, **changes: Any) -> None:
    """Come to the other server with a changed request: a new call begins, and nothing else happens."""
    request = caller.session.resume_request()
    assert request is not None
    bad = msgspec.structs.replace(request, **changes)
    fleet.second.call = asyncio.get_running_loop().create_future()
    other = fleet.there.call(ClientSession(hello(capabilities=CARRIES, resume=bad), monotonic_us()))
    answer = await welcomed(other)
    assert (answer.resumed, answer.rebuilt) == (False, False)
    assert not (await fleet.second.call).rebuilt
    other.session.bye(other.driver.clock())
    other.driver.settle()
    assert caller.ended is None


async def test_forged_and_mixed_up_checkpoints_begin_a_new_call(fleet: Fleet) -> None:
    caller, other = await dial(fleet.here), None
    fleet.first.call = asyncio.get_running_loop().create_future()
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
    fleet.second.release.set()
    strangers.calls.close_all(SessionCode.GOING_AWAY, "")
    await strangers.calls.wait_empty()


async def test_a_new_key_seals_while_the_old_one_still_opens(fleet: Fleet) -> None:
    older = House(fleet.first, tickets=Tickets([OLD_KEY]))
    caller = await older.dial(hello(capabilities=CARRIES))
    await carrying(caller)
    await settled()
    older.lose(caller)
    assert (await welcomed(fleet.there.redial(caller))).rebuilt
    fleet.first.release.set()
    older.calls.close_all(SessionCode.GOING_AWAY, "")
    await older.calls.wait_empty()


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
    fleet.second.call = asyncio.get_running_loop().create_future()
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
        fleet.first.call = asyncio.get_running_loop().create_future()
        callers.append(await dial(fleet.here))
    await settled()
    for caller in callers:
        fleet.here.lose(caller)
    returned = []
    for caller in callers:
        fleet.second.call = asyncio.get_running_loop().create_future()
        returned.append(fleet.there.redial(caller))
        assert (await welcomed(returned[-1])).rebuilt
    assert (len(fleet.there.calls), fleet.there.calls.parked) == (500, 0)


# What is sealed


def a_carried_call(items: int, size: int) -> CarriedCall:
    import random

    from legato.core.dialects.realtime.carried import CarriedDialogue, CarriedItem, CarriedText
    from legato.core.dialects.realtime.session_settings import SessionSettings

    chance = random.Random(1)
    texts = ["".join(chance.choices("abcdefghijklmnop", k=size)) for _ in range(items)]
    kept = tuple(
        CarriedItem(id=f"item_{index}", type="message", role="user", content=(CarriedText(text),))
        for index, text in enumerate(texts)
    )
    dialogue = CarriedDialogue(settings=SessionSettings.of(), conversation_id="conv", items=kept)
    return CarriedCall(
        call_id="call",
        holder="me",
        began_at=0,
        sealed_at=0,
        formats=(INPUT, INPUT),
        generation=0,
        events=0,
        dialogue=dialogue,
    )


def test_a_long_conversation_loses_its_oldest_items() -> None:
    tickets = Tickets([KEY])
    text = sealed(a_carried_call(400, 1_000), tickets)
    assert text is not None
    assert MOST_BYTES // 4 < len(text) < MAX_STATE_CHARS
    left = opened(text, tickets).dialogue.items
    assert left[-1].id == "item_399"
    assert 10 < len(left) < 400


def test_settings_that_are_too_large_are_not_carried() -> None:
    call = a_carried_call(0, 0)
    chance = "".join(chr(0x4E00 + (index * 7_919) % 20_000) for index in range(90_000))
    settings = msgspec.structs.replace(call.dialogue.settings, instructions=chance)
    dialogue = msgspec.structs.replace(call.dialogue, settings=settings)
    assert sealed(msgspec.structs.replace(call, dialogue=dialogue), Tickets([KEY])) is None


def test_what_another_version_sealed_is_refused() -> None:
    import zlib

    tickets = Tickets([KEY])
    with pytest.raises(TicketRefused, match="another version"):
        opened(tickets.seal_state(zlib.compress(b"{}")), tickets)


def test_a_ticket_passes_for_no_state_nor_the_other_way_round() -> None:
    tickets = Tickets([KEY])
    ticket = Ticket(call_id="c", server="s", attachment=1, holder="h", expires_at=int(time.time()) + 9)
    with pytest.raises(TicketRefused, match="version"):
        tickets.open_state(tickets.seal(ticket))
    with pytest.raises(TicketRefused, match="version"):
        tickets.open(tickets.seal_state(b"{}"), 0)


async def test_it_is_said_again_how_far_audio_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried_calls, "REFRESH_S", 0.01)
    said: list[int] = []
    position = 0
    arrived = asyncio.Event()

    def say() -> None:
        said.append(position)
        arrived.set()

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                arrived.clear()
                await arrived.wait()

    checkpoints = carried_calls.Checkpoints(say, lambda: position)
    checkpoints.note()
    checkpoints.note()
    await until(lambda: said == [0])
    position = 320
    await until(lambda: said == [0, 320])
    checkpoints.stop()
    checkpoints.note()
    assert ResumeRequest(ticket="").checkpoint is None
