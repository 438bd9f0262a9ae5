"""The values of the agent contract, and that what implements its protocols does."""

import pytest

from legato.agents.base import Call, Speech, Tool, ToolCall, ToolSet, Utterance
from legato.core.errors import AgentError
from legato.testing.call import MemoryCall


async def add(arguments) -> str:
    return str(arguments["a"] + arguments["b"])


async def fail(arguments) -> str:
    raise AgentError("not today", retryable=True)


TOOLS = ToolSet(
    [Tool("add", "Adds.", {"type": "object"}, add), Tool("fail", "Fails.", {"type": "object"}, fail)]
)


async def test_a_tool_runs() -> None:
    assert await TOOLS.run(ToolCall("1", "add", '{"a": 2, "b": 3}')) == "5"


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (ToolCall("1", "subtract"), "no tool is called 'subtract'"),
        (ToolCall("1", "add", "{"), "are not JSON"),
        (ToolCall("1", "add", "[1]"), "not a JSON object"),
        (ToolCall("1", "add", ""), "tool 'add' failed: 'a'"),
        (ToolCall("1", "fail"), "not today"),
    ],
)
async def test_what_a_tool_cannot_do(call: ToolCall, complaint: str) -> None:
    with pytest.raises(AgentError, match=complaint):
        await TOOLS.run(call)


def test_sets_of_tools() -> None:
    more = TOOLS.joined_with([Tool("add", "Adds better.", {}, add)])
    assert [tool.name for tool in more] == ["add", "fail"]
    assert next(iter(more)).description == "Adds better."
    assert next(iter(TOOLS)).description == "Adds."
    assert len(ToolSet()) == 0
    assert "fail" in more


def test_speech_is_measured_in_samples() -> None:
    assert Speech(bytes(320), 16_000, "a").samples == 160


async def test_a_call_in_memory_is_a_call() -> None:
    call = MemoryCall()
    assert isinstance(call, Call)

    async def silence():
        yield Speech(bytes(3_200), 16_000, "one two three four five six seven eight nine ten")

    utterance = call.say(silence())
    assert isinstance(utterance, Utterance)
    await utterance.finished
    assert not utterance.interrupted
    assert utterance.heard_ms == 100


async def test_a_call_in_memory_cuts_what_was_heard_at_a_word() -> None:
    call = MemoryCall(plays=False)

    async def speech():
        yield Speech(bytes(3_200), 16_000, "one two three four")
        yield Speech(bytes(3_200), 16_000)
        yield Speech(bytes(6_400), 16_000, "five six")

    first, second = call.say(speech()), call.say(speech())
    await call.until(lambda: second.complete)
    call.play(120)
    assert (first.heard_ms, first.heard_text) == (120, "one two")
    call.play(200)
    assert (first.heard_ms, first.heard_text) == (320, "one two three four five")
    call.play(100)
    assert first.settled
    assert second.heard_ms == 20
    call.interrupt()
    await second.finished
    assert second.interrupted
    assert (first.heard_text, second.heard_text) == ("one two three four five six", "")
