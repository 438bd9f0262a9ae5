"""The queue of what an agent says when things go out of step: refusals, failures, ends at awkward moments."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.server.calls import PCM, Caller, Held, dial, hello

from legato.agents.base import Call, Speech, ToolCall
from legato.core.errors import AgentError
from legato.core.wire.messages import Capabilities, Playback, PlaybackState

SECOND = bytes(2 * PCM.rate)


async def said(*texts: str, samples: int = PCM.rate) -> AsyncIterator[Speech]:
    for text in texts:
        yield Speech(bytes(2 * samples), PCM.rate, text)


async def endless(closed: asyncio.Event) -> AsyncIterator[Speech]:
    try:
        while True:
            yield Speech(SECOND, PCM.rate, "On and on.")
    finally:
        closed.set()


def report(caller: Caller, generation: int, played: int, state: PlaybackState) -> None:
    """Say something about a reply that the player may or may not have done."""
    item = caller.items[generation]
    caller.session.report_playback(
        Playback(item_id=item.item_id, generation=generation, played=played, state=state), 0
    )


async def test_a_player_that_stops_an_unfinished_reply_ends_it() -> None:
    agent = Held()
    caller, _ = await dial(agent, lead_ms=2000)
    call = await agent.call
    closed = asyncio.Event()
    first = call.say(endless(closed))
    await caller.until(lambda: caller.playback.buffered >= 2 * PCM.rate)
    # As a person's own client interrupts: silence here and now, then the wish to have the reply stopped.
    caller.playback.flush(1)
    caller.report()
    caller.session.send_event({"type": "response.cancel"}, 0)
    caller.driver.settle()
    await asyncio.wait_for(closed.wait(), 60)
    await first.finished
    assert first.interrupted
    second = call.say(said("Next."))
    await caller.until(lambda: caller.whole == 1)
    caller.play(1000)
    await second.finished
    assert second.heard_text == "Next."


async def test_a_player_that_is_done_too_early_settles_nothing() -> None:
    agent = Held()
    caller, _ = await dial(agent, lead_ms=2000)
    call = await agent.call
    closed = asyncio.Event()
    utterance = call.say(endless(closed))
    await caller.until(lambda: caller.playback.buffered >= 2 * PCM.rate)
    report(caller, 1, PCM.rate, "done")
    caller.driver.settle()
    await caller.until(lambda: caller.playback.buffered >= 3 * PCM.rate)
    call.interrupt()
    await asyncio.wait_for(closed.wait(), 60)
    await utterance.finished
    assert utterance.interrupted


async def test_speech_that_is_heard_while_a_tool_call_is_still_written_settles() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    written = asyncio.Event()

    async def content() -> AsyncIterator[Speech | ToolCall]:
        yield Speech(SECOND, PCM.rate, "Let me see.")
        yield ToolCall("call_1", "look", '{"where": ')
        await written.wait()
        yield ToolCall("call_1", "look", '"there"}')

    response = call.dialogue.begin_response()
    assert response is not None
    utterance = call.respond(response, content())
    await caller.until(lambda: caller.whole == 1)
    caller.play(1500)
    for _ in range(20):
        await asyncio.sleep(0)
    written.set()
    await utterance.finished
    assert not utterance.interrupted
    assert utterance.heard_text == "Let me see."


async def test_half_a_character_costs_no_more_than_itself() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    utterance = call.say(said("One \ud83d."))
    await caller.until(lambda: "response.done" in caller.types)
    caller.play(1000)
    await utterance.finished
    assert utterance.error is None
    assert utterance.heard_text == "One \ufffd."

    async def content() -> AsyncIterator[str | ToolCall]:
        yield "Two \ud83d"
        yield "\ude00."
        yield ToolCall("call_1", "look", '{"where": "\ud83d')
        yield ToolCall("call_1", "look", '\ude00"}')

    written = {"type": "realtime", "output_modalities": ["text"]}
    call.dialogue.receive({"type": "session.update", "session": written})
    response = call.dialogue.begin_response()
    assert response is not None
    call.respond(response, content())
    await caller.until(lambda: caller.types.count("response.done") == 2)
    done = caller.dialect[-1]["response"]
    assert done["output"][0]["content"][0]["text"] == "Two \U0001f600."
    assert done["output"][1]["arguments"] == '{"where": "\U0001f600"}'


async def test_a_caller_without_reports_is_taken_to_hear_in_real_time() -> None:
    agent = Held()
    caller, _ = await dial(agent, hello(capabilities=Capabilities(playback_reports=False)))
    call = await agent.call
    first = call.say(said("Short.", samples=PCM.rate // 20))
    second = call.say(said("Shorter.", samples=PCM.rate // 50))
    await asyncio.wait_for(second.finished, 60)
    assert (first.heard_ms, first.heard_text, first.interrupted) == (50, "Short.", False)
    assert (second.heard_ms, second.interrupted) == (20, False)
    assert caller.ended is None


async def test_an_interruption_without_reports_leaves_what_time_says() -> None:
    agent = Held()
    caller, _ = await dial(agent, hello(capabilities=Capabilities(playback_reports=False)))
    call = await agent.call
    utterance = call.say(said("A long story.", samples=9 * PCM.rate))
    await caller.until(lambda: caller.whole == 1)
    call.interrupt()
    await utterance.finished
    assert utterance.interrupted
    assert utterance.heard_ms < 9000


async def test_the_end_of_a_call_settles_what_has_not_begun() -> None:
    agent = Held()
    _, calls = await dial(agent)
    call = await agent.call
    utterance = call.say(said("Never."))
    calls.close_all(0, "over")  # type: ignore[arg-type]
    await asyncio.wait_for(asyncio.ensure_future(utterance.finished), 60)
    assert utterance.interrupted
    agent.release.set()


async def test_content_that_is_cancelled_from_within_is_a_failure() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call

    async def broken() -> AsyncIterator[Speech]:
        yield Speech(SECOND, PCM.rate, "So far.")
        raise asyncio.CancelledError

    utterance = call.say(broken())
    after = call.say(said("And on."))
    await caller.until(lambda: caller.whole == 2)
    caller.play(2000)
    await utterance.finished
    await after.finished
    assert isinstance(utterance.error, AgentError)
    assert (utterance.heard_ms, after.heard_ms) == (1000, 1000)


async def test_what_broke_off_can_still_be_cancelled() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call

    async def broken() -> AsyncIterator[Speech]:
        yield Speech(SECOND, PCM.rate, "So far.")
        raise AgentError("the voice is gone")

    utterance = call.say(broken())
    await caller.until(lambda: caller.whole == 1)
    utterance.cancel()
    await caller.until(lambda: caller.playback.buffered == 0)
    await utterance.finished


async def test_more_short_utterances_than_a_session_remembers_all_settle() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    spoken = [call.say(said("Beep.", samples=24)) for _ in range(100)]
    for _ in range(1000):
        await asyncio.sleep(0)
    everything = asyncio.gather(*(one.finished for one in spoken))
    while not everything.done():
        await caller.until(lambda: caller.playback.buffered > 0 or everything.done())
        caller.play(1000)
        for _ in range(100):
            await asyncio.sleep(0)
    assert {one.heard_ms for one in spoken} == {1}


async def test_a_player_that_stands_still_does_not_hold_a_finished_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("legato.server.speaking.STALLED_S", 0.05)

    async def polite(call: Call) -> None:
        call.say(said("Goodbye."))

    caller, calls = await dial(polite)
    await asyncio.wait_for(calls.wait_empty(), 60)
    await caller.until(lambda: caller.ended is not None)
    assert caller.whole == 1


async def test_content_that_takes_its_time_holds_a_call_whose_agent_has_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("legato.server.speaking.STALLED_S", 0.02)
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[Speech]:
        await go_on.wait()
        yield Speech(SECOND, PCM.rate, "At last.")

    async def patient(call: Call) -> None:
        call.say(slow())

    caller, calls = await dial(patient)
    await caller.until(lambda: "response.created" in caller.types)
    await asyncio.sleep(0.1)  # the player has nothing to play for much longer than it may stand still
    assert len(calls) == 1
    monkeypatch.setattr("legato.server.speaking.STALLED_S", 60)
    await asyncio.sleep(0.05)
    go_on.set()
    await caller.until(lambda: caller.whole == 1)
    assert len(calls) == 1
    caller.play(1000)
    await asyncio.wait_for(calls.wait_empty(), 60)


async def test_a_caller_without_reports_hears_an_agent_out_that_has_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("legato.server.speaking.STALLED_S", 0.4)

    async def brief(call: Call) -> None:
        call.say(said(*["More."] * 10, samples=PCM.rate // 10))

    silent = hello(capabilities=Capabilities(playback_reports=False))
    caller, calls = await dial(brief, silent, lead_ms=100)
    await asyncio.wait_for(calls.wait_empty(), 60)
    await caller.until(lambda: caller.ended is not None)
    assert caller.items[1].received == PCM.rate
    assert caller.whole == 1


async def test_saying_nothing_ends_at_once() -> None:
    async def brief(call: Call) -> None:
        call.say(said())

    caller, calls = await dial(brief)
    await asyncio.wait_for(calls.wait_empty(), 60)
    await caller.until(lambda: caller.ended is not None)
    assert "response.done" in caller.types
