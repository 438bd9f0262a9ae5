"""The way into a native call, and the order of its events and audio."""

import asyncio

from tests.server.calls import PCM, Caller, Held, dial, hello, speech

from legato.core.audio import AudioFormat
from legato.core.wire.codes import SessionCode
from legato.server import native_call
from legato.server.auth import Authority
from legato.server.settings import ServerSettings

KEYED = Authority(ServerSettings(), development_key="sk-legato-" + "a" * 43)


async def test_a_format_nobody_has_is_refused_with_a_name() -> None:
    agent = Held()
    caller, calls = await dial(agent, hello(output=()))
    await caller.until(lambda: caller.ended is not None)
    assert caller.ended is not None
    assert caller.ended.code == SessionCode.UNSUPPORTED_FORMAT
    await calls.wait_empty()


async def test_the_first_playable_format_is_taken() -> None:
    agent = Held()
    pcmu = AudioFormat("pcmu", 8_000)
    await dial(agent, hello(output=(pcmu, PCM)))
    assert (await agent.call).output_format == pcmu


async def test_who_shows_no_key_or_a_wrong_one_is_turned_away_in_words() -> None:
    for token, word in ((None, "needed"), ("sk-legato-" + "b" * 43, "not known")):
        caller, calls = await dial(Held(), hello(token=token), authority=KEYED)
        await caller.until(lambda caller=caller: caller.ended is not None)  # type: ignore[misc]
        assert caller.ended is not None
        assert caller.ended.code == SessionCode.UNAUTHORIZED
        assert word in caller.ended.reason
        await calls.wait_empty()


def say(caller: Caller, **event: object) -> None:
    caller.session.send_event(event, caller.driver.clock())
    caller.driver.settle()


async def without_turns() -> tuple[Caller, Held]:
    """A call whose caller commits by hand."""
    agent = Held()
    caller, _ = await dial(agent)
    await agent.call
    audio = {"input": {"turn_detection": None}}
    say(caller, type="session.update", session={"type": "realtime", "audio": audio})
    await caller.until(lambda: "session.updated" in caller.types)
    return caller, agent


async def test_a_commit_and_what_follows_wait_for_the_audio_they_are_about() -> None:
    caller, _ = await without_turns()
    say(caller, type="input_audio_buffer.commit", legato_audio_offset=3200)
    say(caller, type="conversation.item.retrieve", item_id="unknown")
    caller.speak(bytes(3200))
    for _ in range(20):
        await asyncio.sleep(0)
    assert caller.types[-1] == "session.updated"
    caller.speak(bytes(3200))
    await caller.until(lambda: caller.types[-1] == "error")
    assert caller.types[-4:-1] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]


async def test_a_commit_without_an_offset_takes_what_is_there() -> None:
    caller, _ = await without_turns()
    caller.speak(bytes(6400))
    say(caller, type="input_audio_buffer.commit")
    await caller.until(lambda: "input_audio_buffer.committed" in caller.types)


async def test_events_that_wait_for_audio_that_never_comes_are_bounded() -> None:
    caller, _ = await without_turns()
    say(caller, type="input_audio_buffer.commit", legato_audio_offset=1 << 40)
    for _ in range(native_call.MOST_HELD):
        say(caller, type="input_audio_buffer.clear")
    await caller.until(lambda: caller.ended is not None)
    assert caller.ended is not None
    assert caller.ended.code == SessionCode.LIMIT_EXCEEDED


async def test_large_events_that_wait_for_audio_are_bounded_by_what_they_weigh() -> None:
    caller, _ = await without_turns()
    say(caller, type="input_audio_buffer.commit", legato_audio_offset=1 << 40)
    for _ in range(10):
        say(caller, type="conversation.item.create", item="x" * 900_000)
    await caller.until(lambda: caller.ended is not None)
    assert caller.ended is not None
    assert caller.ended.code == SessionCode.LIMIT_EXCEEDED


async def test_audio_in_an_event_is_refused_with_a_sentence_and_the_call_goes_on() -> None:
    caller, agent = await without_turns()
    say(caller, type="input_audio_buffer.append", audio="AAAA", event_id="mine")
    await caller.until(lambda: caller.types[-1] == "error")
    error = caller.dialect[-1]["error"]
    assert isinstance(error, dict)
    assert error["event_id"] == "mine"
    call = await agent.call
    call.say(speech("Still here."))
    await caller.until(lambda: caller.whole == 1)


async def test_cancelling_what_is_made_but_not_heard_is_no_mistake() -> None:
    agent = Held()
    caller, _ = await dial(agent)
    utterance = (await agent.call).say(speech("One.", "Two."))
    await caller.until(lambda: caller.whole == 1 and "response.done" in caller.types)
    caller.play(500)
    say(caller, type="response.cancel")
    await utterance.finished
    assert utterance.heard_ms == 500
    assert "error" not in caller.types
