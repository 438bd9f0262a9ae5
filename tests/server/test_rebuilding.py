"""Calls that go on with another server: what it makes of a ticket and of what the client carries."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from tests.server.calls import SECOND, Caller, hello, speech
from tests.server.native_house import welcomed
from tests.server.two_servers import (
    CARRIES,
    PATIENCE_S,
    Fleet,
    carrying,
    dial,
    heard,
    moved,
    say,
    settled,
    taking_requests,
    user_text,
    words,
)

from legato.agents.base import Call
from legato.core.audio import AudioGap
from legato.core.client_session import ClientSession
from legato.core.dialects.realtime.dialogue_events import ResponseWanted
from legato.session_driver import monotonic_us

MANUAL = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}


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


async def spoken(fleet: Fleet) -> tuple[Caller, Call, str]:
    """A call in which the caller said something, and the item of that."""
    caller = await dial(fleet.here)
    call = await fleet.first.call
    caller.speak(bytes(2 * 16_000))
    await heard(call, 16_000)
    item = call.dialogue.speech_started(4_000)
    call.dialogue.speech_stopped(12_000)
    return caller, call, item


@taking_requests
async def test_speech_that_was_not_understood_is_heard_again(fleet: Fleet) -> None:
    caller, _, item = await spoken(fleet)
    after = await moved(fleet, caller)
    assert (await welcomed(after)).uplink_offset == 0
    again = await fleet.second.call
    assert item not in [one.id for one in again.dialogue.context(again.dialogue.begin_response().request)]  # type: ignore[union-attr]


@taking_requests
async def test_a_turn_that_was_understood_and_not_answered_is_answered(fleet: Fleet) -> None:
    caller, call, item = await spoken(fleet)
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
    say(caller, {"type": "test.second"})
    fleet.here.lose(caller)
    say(caller, {"type": "test.third"})
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
    fleet.first.await_another()
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
