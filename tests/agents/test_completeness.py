"""Which words sound complete, and how long the others are waited for."""

import pytest

from legato.agents.completeness import SETTLED_MS, Completeness, completeness, waiting_ms


@pytest.mark.parametrize(
    "text",
    [
        "what is twelve times seven",
        "what time is it",
        "Tell me a long story.",
        "tell me a long story",
        "set a timer for ten seconds",
        "yes",
        "no thank you",
        "yes i do",
        "it is",
        "what is this for",
        "who are you talking to",
        "I would like a table for two, please",
        "Really?",
        "turn it on",
        "what is that",
        "who are they",
        "what is one hundred and five minus twenty three",
        "hello",
    ],
)
def test_complete(text: str) -> None:
    assert completeness(text) is Completeness.COMPLETE


@pytest.mark.parametrize(
    "text",
    [
        "what is",
        "what is twelve times",
        "what is twelve times seven plus",
        "i want to",
        "i would like",
        "can you",
        "could you tell me",
        "the weather in the",
        "i was thinking about",
        "remind me to call my",
        "it works but",
        "because",
        "um",
        "i need um",
        "set a timer for ten",
        "wake me in twenty five",
        "my number is five five five",
        "three point",
        "well i",
        "tomorrow, I think,",
        "I was going to say...",
        "so what if",
        "the thing is",
    ],
)
def test_unfinished(text: str) -> None:
    assert completeness(text) is Completeness.UNFINISHED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "?!",
        "the red house",
        "I want to.",
        "well",
        "twenty one",
        "coffee with milk",
        "and then",
        "my number is five five five one two three four",
    ],
)
def test_open(text: str) -> None:
    assert completeness(text) is Completeness.OPEN


@pytest.mark.parametrize("max_wait_ms", [8_000, 4_000, 2_000])
def test_the_unfinished_are_waited_for_as_long_as_is_allowed(max_wait_ms: int) -> None:
    assert waiting_ms("i want to", max_wait_ms) == max_wait_ms
    assert waiting_ms("the red house", max_wait_ms) == max_wait_ms // 4
    assert waiting_ms("what time is it", max_wait_ms) == SETTLED_MS


def test_no_wait_is_shorter_than_that_for_the_complete() -> None:
    assert waiting_ms("the red house", 400) == SETTLED_MS
    assert waiting_ms("the", 100) == SETTLED_MS
