"""The responder that follows rules, and the numbers it understands."""

import json
from datetime import datetime
from fractions import Fraction

import pytest

from legato.agents.base import Outcome, Tool, ToolCall, ToolSet
from legato.agents.composing import SILENT
from legato.agents.spoken_numbers import duration_seconds, in_words, number, result
from legato.agents.stages.base import Message, ReplyOptions
from legato.agents.stages.llm_rules import STORY, RulesLanguageModel
from legato.core.dialects.realtime.usage import Usage

NOW = datetime(2031, 3, 5, 15, 7)


async def nothing(arguments) -> str:
    return ""


TIMERS = ToolSet([Tool("set_timer", "", {}, nothing), Tool("cancel_timers", "", {}, nothing)])

FREELY = ReplyOptions()


async def answer(
    *said: str, tools: ToolSet = TIMERS, roles: str = "", options: ReplyOptions = FREELY
) -> list[str | ToolCall]:
    names = {"u": "user", "a": "assistant", "t": "tool", "s": "system"}
    messages = [Message(names[role], text) for role, text in zip(roles or "u" * len(said), said, strict=True)]
    return [
        thought
        async for thought in RulesLanguageModel(lambda: NOW).reply(messages, tools, options)
        if not isinstance(thought, Outcome)
    ]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("what time is it", "It is 3:07 p m."),
        ("what is the date today", "Today is Wednesday, March 5, 2031."),
        ("what is the day to day", "Today is Wednesday, March 5, 2031."),
        ("what is twelve times seven", "That is 84."),
        ("What is 12 * 7?", "That is 84."),
        ("what is one divided by zero", "Nothing can be divided by zero."),
        ("hello", "Hello. What can I do for you?"),
        ("good morning", "Hello. What can I do for you?"),
        ("thank you very much", "You are welcome."),
        ("stop", "All right."),
        ("goodbye", "Goodbye. It was nice to talk to you."),
        ("who are you", "I am the built in assistant of legato."),
        ("the rain in spain", "I understood: the rain in spain."),
        ("", "I did not understand that."),
        ("set a timer", "For how long? Say, for example: set a timer for ten seconds."),
        ("what did you say", "I have not said anything yet."),
    ],
)
async def test_answers(said: str, expected: str) -> None:
    assert await answer(said) == [expected]


async def test_a_long_story_is_long() -> None:
    story = await answer("tell me a long story")
    assert len(story) == len(STORY)
    assert len("".join(story).split()) > 120  # more than 40 seconds at any speaking rate


async def test_timers_are_tools() -> None:
    (call,) = await answer("set a timer for two minutes and ten seconds")
    assert isinstance(call, ToolCall)
    assert (call.name, json.loads(call.arguments)) == ("set_timer", {"seconds": 130})
    (call,) = await answer("cancel the timer")
    assert isinstance(call, ToolCall)
    assert call.name == "cancel_timers"
    assert await answer("set a timer", "", "The timer is set.", roles="uat") == ["The timer is set."]
    assert "For how long" in str((await answer("remind me in ten seconds", tools=ToolSet()))[0])


async def test_it_repeats_what_was_heard() -> None:
    said = await answer("hello", "Once upon", "what did you say", roles="uau")
    assert "".join(map(str, said)) == "You heard me say: Once upon"


async def test_help_names_what_it_can_do() -> None:
    for question in ("help", "what can you do"):
        (text,) = await answer(question)
        assert "timer" in str(text)


async def test_results_of_several_tools_are_told() -> None:
    assert await answer("ask both", "", "One.", "Two.", roles="uatt") == ["One. Two."]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ReplyOptions("none"), "For how long"),
        (ReplyOptions("required"), "cancel_timers"),
        (ReplyOptions(tool_name="cancel_timers"), "cancel_timers"),
        (ReplyOptions(tool_name="unknown"), "set_timer"),
    ],
)
async def test_the_choice_of_tools(options: ReplyOptions, expected: str) -> None:
    said = "hello" if options.tool_choice == "required" else "set a timer for ten seconds"
    (thought,) = await answer(said, options=options)
    assert expected in (thought.name if isinstance(thought, ToolCall) else thought)


async def test_a_token_is_a_word_and_their_number_is_kept() -> None:
    messages = [Message("system", "Be brief."), Message("user", "tell me a long story")]
    thoughts = [
        thought
        async for thought in RulesLanguageModel(lambda: NOW).reply(messages, [], ReplyOptions(max_tokens=20))
    ]
    told = "".join(thought for thought in thoughts if isinstance(thought, str))
    assert told.split() == "".join(STORY[:2]).replace(".Every", ". Every").split()[:20]
    assert thoughts[-1] == Outcome(
        "incomplete", "max_output_tokens", Usage(input_text_tokens=7, output_text_tokens=20)
    )
    thoughts = [
        thought async for thought in RulesLanguageModel(lambda: NOW).reply(messages, [], ReplyOptions())
    ]
    assert isinstance(thoughts[-1], Outcome)
    assert thoughts[-1].status == "completed"
    assert thoughts[-1].usage is not None
    assert thoughts[-1].usage.output_text_tokens == sum(len(sentence.split()) for sentence in STORY)


async def test_no_message_at_all() -> None:
    assert await answer() == ["Hello. What can I do for you?"]
    assert await answer("Be brief.", roles="s") == ["Hello. What can I do for you?"]


async def test_silence_is_noticed() -> None:
    assert await answer("hello", "Hello.", SILENT, roles="uas") == ["Are you still there?"]
    assert await answer("hello", "They smile.", roles="us") == ["Hello. What can I do for you?"]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("zero", 0),
        ("twenty one", 21),
        ("one hundred and five", 105),
        ("hundred", 100),
        ("two thousand three hundred forty", 2_340),
        ("one million two", 1_000_002),
        ("three point one four", Fraction(314, 100)),
        ("12.5", Fraction(25, 2)),
        ("", None),
        ("and five", None),
        ("three point fifteen", None),
        ("elephant", None),
    ],
)
def test_numbers(words: str, value: int | None) -> None:
    assert number(words.split()) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("what is one hundred and five plus two times three", 111),
        ("ten minus four minus three", 3),
        ("one hundred divided by eight", Fraction(25, 2)),
        ("how much is two plus to please", 4),
        ("what is 2+2", 4),
        ("twenty over four times two", 10),
        ("plus", None),
        ("cats plus dogs", None),
        ("two and two", None),
    ],
)
def test_sums(text: str, value: int | None) -> None:
    assert result(text) == value


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("a timer for ten seconds", 10),
        ("half an hour", 1_800),
        ("an hour and a minute", 3_660),
        ("five minutes", 300),
        ("90 seconds", 90),
        ("for seconds", 4),
        ("elephant minutes", None),
        ("soon", None),
    ],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(84), "84"),
        (Fraction(-3), "minus 3"),
        (Fraction(10, 3), "3.33"),
        (Fraction(5, 2), "2.5"),
        (Fraction(0), "0"),
    ],
)
def test_results_are_spoken_with_two_decimals_at_most(value: Fraction, text: str) -> None:
    assert in_words(value) == text


@pytest.mark.parametrize("words", ["word ", "nine hundred ", "ten "])
def test_nobody_looks_for_a_sum_in_a_whole_book(words: str) -> None:
    """It once took minutes, with everybody else's call waiting."""
    book = words * 60_000
    assert result(book + "plus one") is None
    assert duration_seconds(book + "seconds") is None
