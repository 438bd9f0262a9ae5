"""The functions a model may call, and how it is to choose among them.

Owns how a client declares both; must not call anything. Only functions that the client runs itself can be
declared: tools of a remote MCP server would make this server reach out on behalf of a caller.
"""

from typing import Literal

import msgspec

from legato.core.dialects.realtime.errors import EventRefused, invalid, not_among, unsupported
from legato.core.dialects.realtime.fields import Fields
from legato.core.wire.messages import JsonObject

TOOLS_MAX = 128
NAME_MAX = 64
CHOICES: tuple[Literal["none", "auto", "required"], ...] = ("none", "auto", "required")

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_TOOL_TYPES = ("function",)
_MCP_HINT = (
    "This server calls no MCP servers; declare the tool as a function, run it in the client and answer with "
    "a function_call_output item."
)


class FunctionTool(msgspec.Struct, frozen=True):
    """A function of the client; `parameters` is the JSON Schema of its arguments."""

    name: str
    description: str | None = None
    parameters: JsonObject | None = None

    def as_json(self) -> JsonObject:
        """How the API writes it; what was not given is left out."""
        given = {key: value for key, value in msgspec.structs.asdict(self).items() if value is not None}
        return {"type": "function", **given}


class FunctionChoice(msgspec.Struct, frozen=True):
    """The model has to call this function."""

    name: str


ToolChoice = Literal["none", "auto", "required"] | FunctionChoice


def tool_choice_json(choice: ToolChoice) -> JsonObject | str:
    """How the API writes a choice."""
    return {"type": "function", "name": choice.name} if isinstance(choice, FunctionChoice) else choice


def read_tools(fields: Fields, name: str = "tools") -> tuple[FunctionTool, ...] | None:
    """The functions declared by member `name`; None if it is not given."""
    declared = fields.each_within(name, TOOLS_MAX)
    if declared is None:
        return None
    tools: dict[str, FunctionTool] = {}
    for one in declared:
        tool = _read_tool(one)
        if tool.name in tools:
            raise invalid(one.param("name"), f"'{tool.name}' is declared twice; names must differ.")
        tools[tool.name] = tool
    return tuple(tools.values())


def _read_tool(fields: Fields) -> FunctionTool:
    if fields.text("type") == "mcp":
        raise unsupported(fields.param("type"), _MCP_HINT, "unsupported_value")
    fields.choice("type", _TOOL_TYPES)
    tool = FunctionTool(
        read_function_name(fields), fields.text("description"), fields.json_object("parameters")
    )
    fields.end()
    return tool


def read_function_name(fields: Fields) -> str:
    """The `name` of a function: letters, digits, `_` and `-`."""
    name = fields.required_text("name", NAME_MAX)
    if not _NAME_CHARACTERS.issuperset(name):
        raise invalid(fields.param("name"), "a name has letters a-z, digits, '_' and '-' only.")
    return name


def read_tool_choice(fields: Fields, name: str = "tool_choice") -> ToolChoice | None:
    """The choice that member `name` makes; None if it is not given."""
    value = fields.value(name)
    if not isinstance(value, dict):
        return fields.choice(name, CHOICES)
    choice = Fields(value, fields.param(name))
    kind = choice.needed("type", choice.text("type"), "Send 'function'.")
    if kind == "mcp":
        raise unsupported(choice.param("type"), _MCP_HINT, "unsupported_value")
    if kind != "function":
        raise not_among(choice.param("type"), kind, _TOOL_TYPES)
    chosen = FunctionChoice(read_function_name(choice))
    choice.end()
    return chosen


def check_choice(choice: ToolChoice, tools: tuple[FunctionTool, ...], param: str) -> None:
    """Refuse a choice of a function that is not declared."""
    if isinstance(choice, FunctionChoice) and all(tool.name != choice.name for tool in tools):
        raise EventRefused(
            "invalid_value",
            f"Tool choice '{choice.name}' is not among 'tools'; declare it, or choose one that is declared.",
            param,
        )
