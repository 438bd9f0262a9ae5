"""Barge-in in two phases, at the server: a flush confirms, `legato.unduck` denies, and one of them comes."""

import pytest
from tests.server.calls import Caller, Held, dial, speech
from tests.server.native_house import turns

from legato.agents.base import Call
from legato.core.events import Flushed
from legato.server import ducking
from legato.server.ducking import Ducking


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[Ducking]:
    """Whoever waits for speech does so until the test decides; each `duck` adds who it was."""
    monkeypatch.setattr(ducking, "DECISION_S", 3_600)
    asked: list[Ducking] = []
    duck = Ducking.duck

    def noted(self: Ducking, generation: object, may_interrupt: bool) -> None:
        asked.append(self)
        duck(self, generation, may_interrupt)

    monkeypatch.setattr(Ducking, "duck", noted)
    return asked


async def speaking(held: Held) -> tuple[Caller, Call]:
    """A call in which a reply of two seconds sounds; half a second of it was heard."""
    caller, _ = await dial(held)
    call = await held.call
    call.say(speech("One two three four.", seconds=2))
    await caller.until(lambda: caller.whole == 1)
    caller.play(500)
    return caller, call


def duck(caller: Caller, generation: object = None) -> None:
    held = caller.playback.hold()
    caller.report()
    event = {"type": "legato.duck", "generation": held if generation is None else generation}
    caller.session.send_event(event, caller.driver.clock())
    caller.driver.settle()


async def test_no_speech_lets_the_reply_go_on(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ducking, "DECISION_S", 0.01)
    caller, _ = await speaking(held)
    duck(caller)
    await caller.until(lambda: "legato.unduck" in caller.types)
    assert caller.dialect[-1]["generation"] == 1
    before = caller.items[1].played
    caller.playback.go_on()
    rest = caller.play(1_500)
    assert (len(rest) // 2, caller.items[1].played) == (36_000, before + 36_000)
    assert not any(isinstance(event, Flushed) for event in caller.events)


async def test_speech_ends_it_with_what_was_heard(held: Held, waiting: list[Ducking]) -> None:
    caller, call = await speaking(held)
    duck(caller)
    await turns()
    call.dialogue.speech_started(0)
    call.interrupt()
    await caller.until(lambda: any(isinstance(event, Flushed) for event in caller.events))
    caller.driver.settle()
    waiting[0]._decide()
    await turns()
    assert "legato.unduck" not in caller.types
    request = call.dialogue.begin_response("agent")
    assert request is not None
    assert [item.text for item in call.dialogue.context(request.request)] == ["One"]


async def test_a_session_without_interruptions_says_no_at_once(held: Held, waiting: list[Ducking]) -> None:
    caller, _ = await speaking(held)
    vad = {"type": "server_vad", "interrupt_response": False}
    session = {"type": "realtime", "audio": {"input": {"turn_detection": vad}}}
    caller.session.send_event({"type": "session.update", "session": session}, caller.driver.clock())
    duck(caller)
    await caller.until(lambda: "legato.unduck" in caller.types)
    assert [one._timer for one in waiting] == [None]


@pytest.mark.parametrize("generation", [0, 7, -1, 1 << 60, "1", True, [], {}])
async def test_what_is_no_reply_is_denied_at_once(
    held: Held, generation: object, waiting: list[Ducking]
) -> None:
    caller, _ = await speaking(held)
    duck(caller, generation)
    await caller.until(lambda: "legato.unduck" in caller.types)
    assert [one._timer for one in waiting] == [None]
    assert caller.ended is None


async def test_the_end_of_the_call_ends_the_wait(held: Held, waiting: list[Ducking]) -> None:
    caller, _ = await speaking(held)
    duck(caller)
    duck(caller, 1)
    caller.session.bye(caller.driver.clock())
    caller.driver.settle()
    await caller.until(lambda: caller.ended is not None)
    assert "legato.unduck" not in caller.types
    await turns()
    assert [one._timer for one in waiting] == [None, None]
