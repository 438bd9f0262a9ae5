"""Whose turn it is, with stages that do what the test says and a caller who plays what the test plays."""

import asyncio
from collections import deque

import pytest

from legato.agents.base import Speech, ToolCall
from legato.agents.listener import Heard, PartlyRecognised, Recognised, SpeechStarted, SpeechStopped
from legato.agents.settings import AssistantSettings
from legato.agents.turns import NO_ANSWER, NOT_HEARD, Turns
from legato.core.errors import AgentError
from legato.testing.call import MemoryCall, MemoryUtterance

PREFIX = "conversation.item.input_audio_transcription"


class Model:
    """Answers from a script: pieces of text, tool calls, events to wait for, errors."""

    def __init__(self) -> None:
        self.script: deque[list] = deque()
        self.asked: list[list[tuple[str, str]]] = []
        self.stopped = 0

    async def reply(self, messages, tools):
        self.asked.append(
            [(message.role, message.content) for message in messages if message.role != "system"]
        )
        try:
            for step in self.script.popleft():
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise

    async def close(self) -> None:
        pass


class Voice:
    """One second of sound for each sentence; texts in `broken` fail."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    async def speak(self, text: str):
        if text in self.broken:
            raise AgentError("no voice", retryable=True)
        yield Speech(bytes(16_000), 8_000, text)

    async def close(self) -> None:
        pass


class Scene:
    """A conversation whose hearing is replaced by the test's `say` and `noise`."""

    def __init__(self, plays: bool = False, **settings) -> None:
        self.call = MemoryCall(plays=plays)
        self.model, self.voice = Model(), Voice()
        self.call.voice = self.voice
        self.turns = Turns(self.call, self.model, self.voice, AssistantSettings(**settings))
        self.items = 0

    def tell(self, *heard: Heard) -> None:
        for one in heard:
            self.turns._on_heard(one)

    def begins(self) -> str:
        self.items += 1
        self.tell(SpeechStarted(str(self.items), 1_000))
        return str(self.items)

    def say(self, text: str, error: AgentError | None = None) -> None:
        item = self.begins()
        self.tell(SpeechStopped(item, 2_000), Recognised(item, text, error))

    async def answer(self, count: int) -> MemoryUtterance:
        utterance = await self.call.utterance(count)
        await self.call.until(lambda: utterance.complete or utterance.settled or utterance.error is not None)
        return utterance

    async def settled(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)


@pytest.fixture
async def scene():
    made = Scene()
    yield made
    made.call.end()
    await made.turns.close()
    assert not made.turns._tasks


async def test_an_answer_and_what_was_heard_of_it(scene: Scene) -> None:
    scene.model.script += [["One two. ", "Three", " four. Five"], ["Next."]]
    scene.say("first question")
    answer = await scene.answer(1)
    assert answer.text == "One two. Three four. Five"
    scene.call.play(10_000)
    scene.say("second question")
    await scene.answer(2)
    assert scene.model.asked[1] == [
        ("user", "first question"),
        ("assistant", "One two. Three four. Five"),
        ("user", "second question"),
    ]


async def test_barge_in_stops_the_answer_and_keeps_what_was_heard(scene: Scene) -> None:
    scene.model.script += [["Apples bounce. Cats dance. Eggs fall. Geese hop."], ["All right."]]
    scene.say("tell me a long story")
    answer = await scene.answer(1)
    scene.call.play(1_500)
    item = scene.begins()
    assert answer.interrupted
    await answer.finished
    scene.tell(PartlyRecognised(item, "stop"), SpeechStopped(item, 5_000), Recognised(item, "stop"))
    await scene.answer(2)
    assert scene.model.asked[1] == [
        ("user", "tell me a long story"),
        ("assistant", "Apples bounce. Cats"),
        ("user", "stop"),
    ]


async def test_barge_in_while_the_model_is_thinking_stops_it(scene: Scene) -> None:
    never = asyncio.Event()
    scene.model.script += [["Hm. ", never], ["Both answered."]]
    scene.say("what is")
    await scene.call.utterance(1)
    await scene.settled()
    scene.say("twelve times seven")
    await scene.answer(2)
    assert scene.model.stopped == 1
    assert scene.model.asked[1] == [("user", "what is"), ("user", "twelve times seven")]


async def test_nothing_is_answered_while_somebody_speaks_or_is_being_understood(scene: Scene) -> None:
    scene.model.script += [["Yes."]]
    first = scene.begins()
    scene.tell(SpeechStopped(first, 1_000))
    second = scene.begins()
    scene.tell(Recognised(first, "one moment"))
    await scene.settled()
    assert scene.model.asked == []
    scene.tell(SpeechStopped(second, 3_000), Recognised(second, "now"))
    await scene.answer(1)
    assert scene.model.asked == [[("user", "one moment"), ("user", "now")]]


async def test_a_false_start_lets_the_answer_go_on_where_it_was_cut(scene: Scene) -> None:
    scene.model.script += [["Apples bounce. Cats dance. Eggs fall."], ["Bye."]]
    scene.say("question")
    await scene.answer(1)
    scene.call.play(1_500)
    scene.say("")
    rest = await scene.answer(2)
    assert rest.text == "Cats dance. Eggs fall."
    assert len(scene.model.asked) == 1
    scene.call.play(10_000)
    scene.say("goodbye")
    await scene.answer(3)
    assert scene.model.asked[1][1:3] == [
        ("assistant", "Apples bounce. Cats"),
        ("assistant", "Cats dance. Eggs fall."),
    ]


async def test_a_false_start_while_the_model_is_thinking_asks_it_again(scene: Scene) -> None:
    scene.model.script += [[asyncio.Event()], ["Here it is."]]
    scene.say("question")
    await scene.call.utterance(1)
    await scene.settled()
    scene.say("")
    answer = await scene.answer(2)
    assert answer.text == "Here it is."
    assert scene.model.asked == [[("user", "question")]] * 2


async def test_noise_in_silence_says_nothing(scene: Scene) -> None:
    scene.say("")
    scene.say("")
    await scene.settled()
    assert scene.call.utterances == []
    assert [event["type"] for event in scene.call.sent][:3] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        f"{PREFIX}.completed",
    ]


async def test_noise_after_an_answer_was_heard_does_not_repeat_it(scene: Scene) -> None:
    scene.model.script += [["Done."]]
    scene.say("question")
    await scene.answer(1)
    scene.call.play(5_000)
    await scene.settled()
    scene.say("")
    await scene.settled()
    assert len(scene.call.utterances) == 1


async def test_tools_are_run_and_their_results_answered(scene: Scene) -> None:
    scene.model.script += [
        [ToolCall("1", "set_timer", '{"seconds": 60}'), ToolCall("2", "nonsense")],
        ["Your timer runs."],
    ]
    scene.say("set a timer")
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
    scene.say("set a timer")
    await scene.answer(1)
    scene.call.play(5_000)
    item = scene.begins()
    up.set()
    await scene.settled()
    assert len(scene.call.utterances) == 1, "a timer does not interrupt a person"
    scene.tell(SpeechStopped(item, 9_000), Recognised(item, ""))
    ring = await scene.answer(2)
    assert ring.text == "Your timer for 1 minute is up."


async def test_a_model_that_never_stops_asking_for_tools(scene: Scene) -> None:
    scene.model.script += [[ToolCall("1", "cancel_timers")] for _ in range(5)]
    scene.say("loop")
    assert (await scene.answer(2)).text == NO_ANSWER


async def test_a_model_that_fails_in_mid_answer(scene: Scene) -> None:
    scene.model.script += [["So far. ", "And then", AgentError("gone", retryable=True)], ["Again."]]
    scene.say("question")
    answer = await scene.answer(1)
    await scene.call.until(lambda: answer.error is not None)
    assert answer.text == "So far."
    scene.call.play(1_000)
    apology = await scene.answer(2)
    assert apology.text == NO_ANSWER
    assert scene.call.sent_of("error")[0]["error"]["message"] == "gone"
    scene.call.play(9_000)
    scene.say("again")
    assert (await scene.answer(3)).text == "Again."
    assert ("assistant", "So far.") in scene.model.asked[1]


async def test_a_voice_that_fails_leaves_an_event_at_least(scene: Scene) -> None:
    scene.model.script += [["Broken. "], ["Fine."]]
    scene.voice.broken = {"Broken.", "Sorry, something went wrong with my answer.", "Please ask again."}
    scene.say("question")
    await scene.call.event("error")
    await scene.answer(2)
    scene.say("again")
    assert (await scene.answer(3)).text == "Fine."


async def test_recognition_that_fails(scene: Scene) -> None:
    scene.say("", AgentError("deaf", retryable=True))
    assert (await scene.answer(1)).text == NOT_HEARD
    failed = await scene.call.event(f"{PREFIX}.failed")
    assert failed["error"]["message"] == "deaf"
    assert scene.model.asked == []


async def test_an_unexpected_failure_does_not_end_the_call(scene: Scene, caplog) -> None:
    scene.model.script += [[ValueError("a bug")], ["Fine."]]
    scene.say("question")
    assert (await scene.answer(2)).text == NO_ANSWER
    scene.say("again")
    assert (await scene.answer(3)).text == "Fine."


async def test_transcripts_only_grow(scene: Scene) -> None:
    item = scene.begins()
    for text in ("what", "what is", "what is tall", "what is twelve", "what is twelve times"):
        scene.tell(PartlyRecognised(item, text))
    scene.tell(PartlyRecognised(item, "what is twelve times seven"))
    scene.tell(SpeechStopped(item, 2_000), Recognised(item, "what is twelve times seven"))
    deltas = [event["delta"] for event in scene.call.sent_of(f"{PREFIX}.delta")]
    assert "".join(deltas) == "what is twelve times seven"
    assert deltas[0] == "what"
    assert len(deltas) > 2
    assert scene.call.sent_of(f"{PREFIX}.completed")[0]["transcript"] == "what is twelve times seven"


async def test_a_final_text_that_differs_stands_alone(scene: Scene) -> None:
    item = scene.begins()
    for _ in range(3):
        scene.tell(PartlyRecognised(item, "should the timer"))
    scene.tell(SpeechStopped(item, 2_000), Recognised(item, "set the timer"))
    assert [event["delta"] for event in scene.call.sent_of(f"{PREFIX}.delta")] == ["should the"]
    assert scene.call.sent_of(f"{PREFIX}.completed")[0]["transcript"] == "set the timer"
