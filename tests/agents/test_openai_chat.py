"""Tool calls that arrive in pieces, in the orders in which endpoints write them."""

import json

import pytest

from legato.agents.base import Outcome, ToolCall
from legato.agents.stages.openai_chat import ChatStream
from legato.core.errors import AgentError


def pieces(*parts: tuple[int, dict[str, str]], finish: str = "tool_calls") -> list:
    """What a stream gives for tool-call pieces `(index, function)`; an "id" among them is the call's."""
    stream, found = ChatStream(), []
    for index, part in parts:
        function = {key: value for key, value in part.items() if key != "id"}
        piece = {"index": index, "function": function} | ({"id": part["id"]} if "id" in part else {})
        found += stream.read(json.dumps({"choices": [{"delta": {"tool_calls": [piece]}}]}))
    stream.read(json.dumps({"choices": [{"delta": {}, "finish_reason": finish}]}))
    return found + stream.end()


def test_calls_in_a_row_are_handed_on_at_once() -> None:
    assert pieces(
        (0, {"id": "a", "name": "f", "arguments": ""}),
        (0, {"arguments": '{"x":'}),
        (0, {"arguments": "1}"}),
        (1, {"id": "b", "name": "g", "arguments": "{}"}),
    ) == [
        ToolCall("a", "f", '{"x":'),
        ToolCall("a", "f", "1}"),
        ToolCall("b", "g", "{}"),
        Outcome(),
    ]


def test_calls_that_are_mixed_are_sorted_out() -> None:
    assert pieces(
        (0, {"id": "a", "name": "f", "arguments": '{"x":'}),
        (1, {"id": "b", "name": "g", "arguments": '{"y":'}),
        (0, {"arguments": "1}"}),
        (1, {"arguments": "2}"}),
    ) == [
        ToolCall("a", "f", '{"x":'),
        ToolCall("a", "f", "1}"),
        ToolCall("b", "g", '{"y":'),
        ToolCall("b", "g", "2}"),
        Outcome(),
    ]


def test_calls_without_arguments_or_identity() -> None:
    first, second, _ = pieces((0, {"name": "f"}), (1, {"name": "g"}))
    assert (first.name, first.arguments, second.name, second.arguments) == ("f", "{}", "g", "{}")
    assert first.id != second.id
    assert first.id.startswith("call_")


def test_a_whole_call_in_one_piece_without_an_index() -> None:
    stream = ChatStream()
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    other = {"id": "b", "function": {"name": "f", "arguments": "{}"}}
    found = stream.read(json.dumps({"choices": [{"delta": {"tool_calls": [call, other]}}]}))
    stream.read("[DONE]")
    assert [*found, *stream.end()] == [ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"), Outcome()]


def test_a_call_that_goes_on_behind_its_end() -> None:
    with pytest.raises(AgentError, match="cannot be understood"):
        pieces(
            (0, {"id": "a", "name": "f", "arguments": "{}"}),
            (1, {"id": "b", "name": "g", "arguments": "{}"}),
            (0, {"arguments": "}"}),
        )


def test_a_call_that_was_cut_is_handed_on_as_it_is() -> None:
    assert pieces((0, {"id": "a", "name": "f", "arguments": '{"x'}), finish="length") == [
        ToolCall("a", "f", '{"x'),
        Outcome("incomplete", "max_output_tokens"),
    ]


def test_halves_of_a_character_are_joined_or_replaced() -> None:
    """Some endpoints cut texts into units of UTF-16, and write each as JSON."""

    def delta(**members: object) -> str:
        return json.dumps({"choices": [{"delta": members}]})

    def arguments(text: str) -> list:
        return [{"index": 0, "id": "c", "function": {"name": "f", "arguments": text}}]

    stream, found = ChatStream(), []
    for said in ("one \ud83d", "\ude00 two \ud83d", "three"):
        found += stream.read(delta(content=said))
    assert found == ["one ", "\U0001f600 two ", "\ufffdthree"]
    asked = [stream.read(delta(tool_calls=arguments(text))) for text in ('{"a": "\ud83d', '\ude00"}')]
    assert [call.arguments for (call,) in asked] == ['{"a": "', '\U0001f600"}']
    with pytest.raises(AgentError, match="failed: \ufffd"):
        stream.read(json.dumps({"error": {"message": "\ud83d"}}))
