"""A call as an agent sees it: hearing, speaking, being interrupted, exchanging events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from tests.server.calls import INPUT, PCM, SECOND, Held, dial, hello, speech

from legato.agents.base import Speech
from legato.agents.stages.base import TextToSpeechCapabilities
from legato.core.audio import AudioFrame, AudioGap
from legato.core.errors import AgentError, LocalProtocolError
from legato.core.events import Flushed, GapReported, ReplyAudio
from legato.server.call import ServerCall


class Voice:
    """Speaks each sentence as one second of sound."""

    capabilities = TextToSpeechCapabilities()

    def __init__(self) -> None:
        self.spoken: list[str] = []

    async def speak(self, text: str) -> AsyncIterator[Speech]:
        self.spoken.append(text)
        yield Speech(SECOND, PCM.rate, text)

    async def close(self) -> None: ...


async def test_audio_reaches_the_agent_in_order_with_capture_times() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    assert call.input_format == INPUT
    for number in range(5):
        caller.speak(bytes([number]) * 640)
    frames = [await anext(call.audio) for _ in range(5)]
    assert [frame.offset for frame in frames if isinstance(frame, AudioFrame)] == [0, 320, 640, 960, 1280]
    assert [frame.payload[0] for frame in frames if isinstance(frame, AudioFrame)] == [0, 1, 2, 3, 4]


async def test_a_cancelled_read_loses_nothing() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    waiting = asyncio.ensure_future(anext(call.audio))
    await asyncio.sleep(0)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    caller.speak(bytes(640))
    frame = await anext(call.audio)
    assert isinstance(frame, AudioFrame)
    assert frame.offset == 0


async def test_what_is_said_is_heard_to_its_end() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    utterance = call.say(speech("One.", "Two."))
    await caller.until(lambda: caller.whole == 1 and "response.done" in caller.types)
    heard = b"".join(caller.play(500) for _ in range(4))
    await utterance.finished
    assert heard == SECOND * 2
    assert (utterance.heard_ms, utterance.heard_text, utterance.interrupted) == (2000, "One. Two.", False)
    assert caller.types == [
        "session.created",
        "conversation.created",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]


async def test_an_interruption_leaves_what_was_heard() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    utterance = call.say(speech("One two three four.", "Five six seven eight.", "Nine ten."))
    await caller.until(lambda: caller.whole == 1 and "response.done" in caller.types)
    caller.play(1500)
    await asyncio.sleep(0)
    call.interrupt()
    await utterance.finished
    assert utterance.interrupted
    assert utterance.heard_ms == 1500
    assert utterance.heard_text == "One two three four. Five six"
    assert caller.play(100) == bytes(2 * PCM.rate // 10)


async def test_an_interruption_stops_what_is_still_being_made() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[Speech]:
        try:
            while True:
                yield Speech(SECOND, PCM.rate, "On and on.")
        finally:
            closed.set()

    utterance = call.say(endless())
    await caller.until(lambda: caller.playback.buffered >= 9 * PCM.rate)
    call.interrupt()
    await closed.wait()
    await utterance.finished
    await caller.until(lambda: "response.done" in caller.types)
    assert caller.dialect[-1]["response"]["status"] == "cancelled"  # type: ignore[index]
    assert utterance.heard_text == ""


async def test_credit_bounds_how_far_a_reply_runs_ahead() -> None:
    agent = Held()
    caller, _ = await dial(agent, lead_ms=2000)
    call = await agent.call
    call.say(speech(*["More."] * 10))
    await caller.until(lambda: caller.playback.buffered >= 2 * PCM.rate)
    for _ in range(50):
        await asyncio.sleep(0)
    assert caller.playback.buffered <= 2.2 * PCM.rate
    caller.play(1000)
    await caller.until(lambda: caller.playback.buffered >= 2 * PCM.rate)


async def test_utterances_are_said_one_after_the_other() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    first, second = call.say(speech("First.")), call.say(speech("Second."))
    await caller.until(lambda: caller.whole == 2)
    caller.play(2000)
    await first.finished
    await second.finished
    assert (first.heard_text, second.heard_text) == ("First.", "Second.")


async def test_cancelling_one_utterance_leaves_the_others() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    first, second, third = (call.say(speech(text)) for text in ("First.", "Second.", "Third."))
    await caller.until(lambda: caller.whole == 3)
    caller.play(100)
    second.cancel()
    second.cancel()
    await second.finished
    caller.play(2000)
    await third.finished
    await first.finished
    assert (first.heard_ms, second.heard_ms, third.heard_ms) == (1000, 0, 1000)
    assert second.interrupted
    assert not third.interrupted


async def test_cancelling_what_is_queued_never_begins_it() -> None:
    agent = Held()
    await dial(agent, lead_ms=500)
    call = await agent.call
    call.say(speech("Long.", seconds=5))
    queued = call.say(speech("Never."))
    queued.cancel()
    await queued.finished
    assert queued.interrupted
    assert queued.text == ""


async def test_text_is_spoken_sentence_by_sentence() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    call.voice = voice = Voice()

    async def written() -> AsyncIterator[str]:
        for piece in ("Hello th", "ere. How are", " you?"):
            yield piece

    utterance = call.say(written())
    await caller.until(lambda: caller.whole == 1 and "response.done" in caller.types)
    assert voice.spoken == ["Hello there.", "How are you?"]
    assert utterance.text == "Hello there. How are you?"


async def test_text_without_a_voice_is_refused_at_once() -> None:
    agent = Held()
    await dial(agent)
    call = await agent.call
    with pytest.raises(AgentError, match="no voice"):
        call.say("Hello")


async def test_encoded_audio_passes_untouched() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call

    async def frames() -> AsyncIterator[AudioFrame | AudioGap]:
        yield AudioFrame.of(0, 0, b"\1\2" * 480, PCM)
        yield AudioGap(480, 960)
        yield AudioFrame.of(960, 0, b"\3\4" * 480, PCM)

    utterance = call.say(frames())
    await caller.until(lambda: caller.whole == 1 and "response.done" in caller.types)
    assert caller.play(40) == b"\1\2" * 480 + b"\3\4" * 480
    await utterance.finished
    assert utterance.text == ""


async def test_what_the_caller_says_can_be_said_back() -> None:
    agent = Held()
    caller, _ = await dial(agent, hello(input=PCM))
    call = await agent.call
    assert isinstance(call, ServerCall)
    utterance = call.say(call.audio)
    caller.speak(b"\1\2" * 480)
    await caller.until(lambda: any(isinstance(event, ReplyAudio) for event in caller.events))
    call.hear_gap(GapReported(AudioGap(480, 960)))
    caller.speak(b"\3\4" * 480)
    await caller.until(lambda: sum(isinstance(event, ReplyAudio) for event in caller.events) == 2)
    assert caller.play(40) == b"\1\2" * 480 + b"\3\4" * 480
    utterance.cancel()
    await caller.until(lambda: any(isinstance(event, Flushed) for event in caller.events))
    await utterance.finished


async def test_content_that_breaks_off_is_reported_and_what_was_made_is_heard() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call

    async def broken() -> AsyncIterator[Speech]:
        yield Speech(SECOND, PCM.rate, "So far.")
        raise AgentError("the voice is gone", retryable=True)

    utterance = call.say(broken())
    await caller.until(lambda: caller.whole == 1 and "response.done" in caller.types)
    caller.play(1000)
    await utterance.finished
    assert utterance.error is not None
    assert utterance.error.retryable
    assert utterance.heard_text == "So far."
    assert utterance.interrupted
    assert caller.dialect[-1]["response"]["status"] == "failed"  # type: ignore[index]


async def test_the_end_of_a_call_settles_everything() -> None:
    agent = Held()
    caller, calls = await dial(agent)
    call = await agent.call
    utterance = call.say(speech("Never heard."))
    await caller.until(lambda: caller.playback.buffered > 0)
    caller.session.close(0, "bye", caller.driver.clock())
    caller.driver.settle()
    assert [item async for item in call.audio] == []
    assert [event async for event in call.events] == []
    await utterance.finished
    assert utterance.interrupted
    agent.release.set()
    await calls.wait_empty()
    late = call.say(speech("Too late."))
    await late.finished
    assert late.interrupted
    call.send({"type": "ignored"})


async def test_events_go_both_ways_but_legatos_own_are_refused() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    caller.session.send_event({"type": "session.update", "session": {"type": "realtime"}}, 0)
    caller.session.send_event({"type": "something.between.us"}, 0)
    caller.driver.settle()
    assert [(await anext(call.events))["type"] for _ in range(2)] == [
        "session.update",
        "something.between.us",
    ]
    call.send({"type": "something.else"})
    await caller.until(lambda: caller.types[2:] == ["session.updated", "something.else"])
    with pytest.raises(LocalProtocolError):
        call.send({"type": "legato.flush"})


async def test_unread_events_are_bounded_by_what_they_weigh_and_the_latest_stay() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    for number in range(30):
        caller.session.send_event({"type": "note", "number": number, "text": "x" * 100_000}, 0)
    caller.session.send_event({"type": "last"}, 0)
    caller.driver.settle()
    call.send({"type": "ping"})
    await caller.until(lambda: "ping" in caller.types)
    for _ in range(10):
        await asyncio.sleep(0)
    caller.session.close(0, "", 0)
    caller.driver.settle()
    kept = [event async for event in call.events]
    assert kept[-1]["type"] == "last"
    assert [event["number"] for event in kept[:-1]] == list(range(20, 30))
    agent.release.set()


async def test_response_cancel_interrupts() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    call = await agent.call
    utterance = call.say(speech("One.", "Two."))
    await caller.until(lambda: caller.whole == 1 and "response.done" in caller.types)
    caller.session.send_event({"type": "response.cancel"}, 0)
    caller.driver.settle()
    await utterance.finished
    assert utterance.interrupted
