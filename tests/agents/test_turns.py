"""Whose turn it is."""

import asyncio

import pytest
from tests.agents.scenes import TRANSCRIPTION, Scene

from legato.agents.base import ToolCall
from legato.agents.listener import PartlyRecognised, Recognised, SpeechStopped
from legato.agents.turns import NO_ANSWER, NOT_HEARD
from legato.core.errors import AgentError


@pytest.fixture
async def scene():
    made = Scene()
    await made.settled()
    yield made
    await made.end()


async def test_an_answer_and_what_was_heard_of_it(scene: Scene) -> None:
    scene.model.script += [["One two. ", "Three", " four. Five"], ["Next."]]
    await scene.say("first question")
    answer = await scene.answer(1)
    assert answer.text == "One two. Three four. Five"
    scene.call.play(10_000)
    await scene.say("second question")
    await scene.answer(2)
    assert scene.model.asked[1] == [
        ("user", "first question"),
        ("assistant", "One two. Three four. Five"),
        ("user", "second question"),
    ]


async def test_barge_in_stops_the_answer_and_keeps_what_was_heard(scene: Scene) -> None:
    scene.model.script += [["Apples bounce. Cats dance. Eggs fall. Geese hop."], ["All right."]]
    await scene.say("tell me a long story")
    answer = await scene.answer(1)
    scene.call.play(1_500)
    stretch = scene.begins()
    assert answer.interrupted
    await answer.finished
    scene.tell(PartlyRecognised(stretch, "stop"))
    scene.ends(stretch, "stop")
    await scene.answer(2)
    assert scene.model.asked[1] == [
        ("user", "tell me a long story"),
        ("assistant", "Apples bounce. Cats"),
        ("user", "stop"),
    ]


async def test_barge_in_while_the_model_is_thinking_stops_it(scene: Scene) -> None:
    never = asyncio.Event()
    scene.model.script += [["Hm. ", never], ["Both answered."]]
    await scene.say("what is")
    await scene.call.utterance(1)
    await scene.settled()
    await scene.say("twelve times seven")
    await scene.answer(2)
    assert scene.model.stopped == 1
    assert scene.model.asked[1] == [("user", "what is"), ("user", "twelve times seven")]


async def test_nothing_is_answered_while_somebody_speaks_or_is_being_understood(scene: Scene) -> None:
    scene.model.script += [["Yes."]]
    first = scene.begins()
    scene.tell(SpeechStopped(first, scene.now))
    second = scene.begins()
    scene.tell(Recognised(first, "one moment", 1.0))
    await scene.settled()
    assert scene.model.asked == []
    scene.ends(second, "now")
    await scene.answer(1)
    assert scene.model.asked == [[("user", "one moment"), ("user", "now")]]


async def test_a_false_start_lets_the_answer_go_on_where_it_was_cut(scene: Scene) -> None:
    scene.model.script += [["Apples bounce. Cats dance. Eggs fall."], ["Bye."]]
    await scene.say("question")
    await scene.answer(1)
    scene.call.play(1_500)
    await scene.say("")
    rest = await scene.answer(2)
    assert rest.text == "Cats dance. Eggs fall."
    assert len(scene.model.asked) == 1
    scene.call.play(10_000)
    await scene.say("goodbye")
    await scene.answer(3)
    assert scene.model.asked[1][1:3] == [
        ("assistant", "Apples bounce. Cats"),
        ("assistant", "Cats dance. Eggs fall."),
    ]


async def test_two_false_starts_in_a_row_take_the_answer_up_once(scene: Scene) -> None:
    scene.model.script += [["Apples bounce. Cats dance. Eggs fall."]]
    await scene.say("question")
    await scene.answer(1)
    scene.call.play(1_500)
    scene.ends(scene.begins(), "")
    again = scene.begins()
    await scene.settled()
    assert len(scene.call.utterances) == 1
    scene.ends(again, "")
    assert (await scene.answer(2)).text == "Cats dance. Eggs fall."
    await scene.settled()
    assert len(scene.call.utterances) == 2


async def test_a_false_start_while_the_model_is_thinking_asks_it_again(scene: Scene) -> None:
    scene.model.script += [[asyncio.Event()], ["Here it is."]]
    await scene.say("question")
    await scene.call.utterance(1)
    await scene.settled()
    await scene.say("")
    answer = await scene.answer(2)
    assert answer.text == "Here it is."
    assert scene.model.asked == [[("user", "question")]] * 2


async def test_noise_in_silence_says_nothing(scene: Scene) -> None:
    await scene.say("")
    await scene.say("")
    await scene.settled()
    assert scene.call.utterances == []
    told = [event["type"] for event in scene.call.sent if event["type"].startswith(("input_", TRANSCRIPTION))]
    assert (
        told
        == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            f"{TRANSCRIPTION}.completed",
        ]
        * 2
    )


async def test_noise_after_an_answer_was_heard_does_not_repeat_it(scene: Scene) -> None:
    scene.model.script += [["Done."]]
    await scene.say("question")
    await scene.answer(1)
    scene.call.play(5_000)
    await scene.settled()
    await scene.say("")
    await scene.settled()
    assert len(scene.call.utterances) == 1


async def test_tools_are_run_and_their_results_answered(scene: Scene) -> None:
    scene.model.script += [
        [ToolCall("1", "set_timer", '{"seconds": 60}'), ToolCall("2", "nonsense")],
        ["Your timer runs."],
    ]
    await scene.say("set a timer")
    answer = await scene.answer(1)
    assert answer.text == "Your timer runs."
    assert scene.model.asked[1] == [
        ("user", "set a timer"),
        ("assistant", ""),
        ("tool", "The timer is set for 1 minute."),
        ("tool", "That did not work: no tool is called 'nonsense'."),
    ]


async def test_a_timer_rings_in_the_call(scene: Scene, monkeypatch) -> None:
    up = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        await up.wait()

    monkeypatch.setattr(scene.turns._timers, "_sleep", sleep)
    scene.model.script += [[ToolCall("1", "set_timer", '{"seconds": 60}')], ["It runs."]]
    await scene.say("set a timer")
    await scene.answer(1)
    scene.call.play(5_000)
    stretch = scene.begins()
    up.set()
    await scene.settled()
    assert len(scene.call.utterances) == 1, "a timer does not interrupt a person"
    scene.ends(stretch, "")
    ring = await scene.answer(2)
    assert ring.text == "Your timer for 1 minute is up."


async def test_a_model_that_never_stops_asking_for_tools(scene: Scene) -> None:
    scene.model.script += [[ToolCall("1", "cancel_timers")] for _ in range(5)]
    await scene.say("loop")
    assert (await scene.answer(2)).text == NO_ANSWER


async def test_a_model_that_fails_in_mid_answer(scene: Scene) -> None:
    scene.model.script += [["So far. ", "And then", AgentError("gone", retryable=True)], ["Again."]]
    await scene.say("question")
    answer = await scene.answer(1)
    await scene.call.until(lambda: answer.error is not None)
    assert answer.text == "So far."
    scene.call.play(1_000)
    apology = await scene.answer(2)
    assert apology.text == NO_ANSWER
    assert scene.failures() == ["gone"]
    scene.call.play(9_000)
    await scene.say("again")
    assert (await scene.answer(3)).text == "Again."
    assert ("assistant", "So far.") in scene.model.asked[1]


async def test_a_voice_that_fails_leaves_an_event_at_least(scene: Scene) -> None:
    scene.model.script += [["Broken. "], ["Fine."]]
    scene.voice.broken = {"Broken.", "Sorry, something went wrong with my answer.", "Please ask again."}
    await scene.say("question")
    await scene.call.until(lambda: scene.failures() == ["no voice"])
    await scene.answer(2)
    await scene.say("again")
    assert (await scene.answer(3)).text == "Fine."


async def test_recognition_that_fails(scene: Scene) -> None:
    await scene.say("", AgentError("deaf", retryable=True))
    assert (await scene.answer(1)).text == NOT_HEARD
    failed = await scene.call.event(f"{TRANSCRIPTION}.failed")
    assert failed["error"]["message"] == "deaf"
    assert scene.model.asked == []


async def test_several_turns_that_were_not_heard_are_owned_up_to_once(scene: Scene) -> None:
    """An endpoint that hangs fails for everything that was said meanwhile, one after the other."""
    failed = AgentError("the recogniser does not answer in time", retryable=True)
    stretches = []
    for _ in range(3):
        stretches.append(scene.begins())
        scene.tell(SpeechStopped(stretches[-1], scene.now))
    await scene.settled()
    scene.tell(*(Recognised(stretch, "", 1.0, failed) for stretch in stretches))
    assert (await scene.answer(1)).text == NOT_HEARD
    await scene.settled()
    assert len(scene.call.utterances) == 1
    scene.call.play(10_000)
    await scene.settled()
    await scene.say("", failed)
    assert (await scene.answer(2)).text == NOT_HEARD


async def test_an_unexpected_failure_does_not_end_the_call(scene: Scene, caplog) -> None:
    scene.model.script += [[ValueError("a bug")], ["Fine."]]
    await scene.say("question")
    assert (await scene.answer(2)).text == NO_ANSWER
    await scene.say("again")
    assert (await scene.answer(3)).text == "Fine."


async def test_transcripts_only_grow(scene: Scene) -> None:
    stretch = scene.begins()
    for text in ("what", "what is", "what is tall", "what is twelve", "what is twelve times"):
        scene.tell(PartlyRecognised(stretch, text))
    scene.tell(PartlyRecognised(stretch, "what is twelve times seven"))
    scene.model.script += [["84."]]
    scene.ends(stretch, "what is twelve times seven")
    deltas = [event["delta"] for event in scene.call.sent_of(f"{TRANSCRIPTION}.delta")]
    assert "".join(deltas) == "what is twelve times seven"
    assert deltas[0] == "what"
    assert len(deltas) > 2
    assert scene.call.sent_of(f"{TRANSCRIPTION}.completed")[0]["transcript"] == "what is twelve times seven"


async def test_a_final_text_that_differs_stands_alone(scene: Scene) -> None:
    stretch = scene.begins()
    for _ in range(3):
        scene.tell(PartlyRecognised(stretch, "should the timer"))
    scene.model.script += [["For how long?"]]
    scene.ends(stretch, "set the timer")
    assert [event["delta"] for event in scene.call.sent_of(f"{TRANSCRIPTION}.delta")] == ["should the"]
    assert scene.call.sent_of(f"{TRANSCRIPTION}.completed")[0]["transcript"] == "set the timer"
