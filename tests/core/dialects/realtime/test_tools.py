from typing import Any

import pytest

from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.fields import Fields
from legato.core.dialects.realtime.tools import (
    FunctionChoice,
    FunctionTool,
    check_choice,
    read_tool_choice,
    read_tools,
    tool_choice_json,
)

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def tools(*declared: Any) -> tuple[FunctionTool, ...] | None:
    return read_tools(Fields({"tools": list(declared)}, "session"))


def test_a_function_is_kept_as_declared() -> None:
    declared = {"type": "function", "name": "weather_in", "description": "Tells.", "parameters": SCHEMA}
    assert tools(declared) == (FunctionTool("weather_in", "Tells.", SCHEMA),)
    assert FunctionTool("weather_in", "Tells.", SCHEMA).as_json() == declared
    assert FunctionTool("f").as_json() == {"type": "function", "name": "f"}


def test_type_description_and_parameters_may_be_left_out() -> None:
    assert tools({"name": "f"}, {"name": "g", "description": None}) == (FunctionTool("f"), FunctionTool("g"))


def test_no_tools_and_an_empty_list_differ() -> None:
    assert tools() == ()
    assert read_tools(Fields({})) is None


@pytest.mark.parametrize(
    ("declared", "code", "param"),
    [
        ("f", "invalid_type", "session.tools[1]"),
        ({"type": "mcp", "server_label": "x"}, "unsupported_value", "session.tools[1].type"),
        ({"type": "web_search"}, "invalid_value", "session.tools[1].type"),
        ({"type": "function"}, "missing_required_parameter", "session.tools[1].name"),
        ({"name": "two words"}, "invalid_value", "session.tools[1].name"),
        ({"name": "f" * 65}, "string_above_max_length", "session.tools[1].name"),
        ({"name": "first"}, "invalid_value", "session.tools[1].name"),
        ({"name": "f", "parameters": "{}"}, "invalid_type", "session.tools[1].parameters"),
        ({"name": "f", "meta": {}}, "unknown_parameter", "session.tools[1].meta"),
    ],
)
def test_what_cannot_be_declared(declared: Any, code: str, param: str) -> None:
    with pytest.raises(EventRefused) as refused:
        tools({"name": "first"}, declared)
    assert (refused.value.code, refused.value.param) == (code, param)


@pytest.mark.parametrize("value", ["none", "auto", "required", {"type": "function", "name": "f"}])
def test_choices(value: Any) -> None:
    choice = read_tool_choice(Fields({"tool_choice": value}))
    assert choice is not None
    assert tool_choice_json(choice) == value


def test_no_choice() -> None:
    assert read_tool_choice(Fields({})) is None


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        ("any", "invalid_value", "s.tool_choice"),
        (5, "invalid_type", "s.tool_choice"),
        ({}, "missing_required_parameter", "s.tool_choice.type"),
        ({"type": "mcp", "server_label": "x"}, "unsupported_value", "s.tool_choice.type"),
        ({"type": "custom"}, "invalid_value", "s.tool_choice.type"),
        ({"type": "function"}, "missing_required_parameter", "s.tool_choice.name"),
        ({"type": "function", "name": "f", "x": 1}, "unknown_parameter", "s.tool_choice.x"),
    ],
)
def test_choices_that_are_none(value: Any, code: str, param: str) -> None:
    with pytest.raises(EventRefused) as refused:
        read_tool_choice(Fields({"tool_choice": value}, "s"))
    assert (refused.value.code, refused.value.param) == (code, param)


def test_a_chosen_function_has_to_be_declared() -> None:
    check_choice("required", (), "s.tool_choice")
    check_choice(FunctionChoice("f"), (FunctionTool("g"), FunctionTool("f")), "s.tool_choice")
    with pytest.raises(EventRefused, match="'f' is not among 'tools'") as refused:
        check_choice(FunctionChoice("f"), (FunctionTool("g"),), "s.tool_choice")
    assert refused.value.param == "s.tool_choice"
