"""Conversation items as a client gives them, for the conversation or as input of one response.

Owns which items a client may make and their members; must not know a conversation. Members that only a
server decides (`object`, `status`) are taken and ignored, so that an item can be given back as it came.
"""

from binascii import a2b_base64
from typing import Literal

import msgspec

from legato.core.dialects.realtime.errors import invalid, not_among, unsupported
from legato.core.dialects.realtime.fields import Fields
from legato.core.dialects.realtime.tools import read_function_name

ITEM_ID_MAX = 64
CALL_ID_MAX = 256
PARTS_MAX = 64
BASE64_MAX = 15 * 1024 * 1024
"""How many characters of base64 one event may carry (the API's 15 MiB)."""

Role = Literal["system", "user", "assistant"]
PartType = Literal["input_text", "input_audio", "input_image", "output_text"]
Detail = Literal["auto", "low", "high"]

_ROLES: tuple[Role, ...] = ("system", "user", "assistant")
_STATUSES = ("completed", "incomplete", "in_progress")
_OBJECTS = ("realtime.item",)
_DETAILS: tuple[Detail, ...] = ("auto", "low", "high")
_IMAGES = ("data:image/png;base64,", "data:image/jpeg;base64,")
_TYPES = ("message", "function_call", "function_call_output")
_TYPES_HINT = "Send 'message', 'function_call' or 'function_call_output'."
_MCP_TYPES = ("mcp_approval_response", "mcp_approval_request", "mcp_list_tools", "mcp_call")
_PARTS: dict[Role, tuple[PartType, ...]] = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text",),
}


class GivenPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a message.

    `text` of input_text and output_text; `audio` (in the session's input format) and perhaps its
    `transcript` of input_audio; `image_url` (a data URI) and `detail` of input_image.
    """

    type: PartType
    text: str = ""
    audio: bytes = b""
    transcript: str | None = None
    image_url: str = ""
    detail: Detail = "auto"


class GivenMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Something said or written; `id` is None where the client leaves it to us, here and below."""

    role: Role
    content: tuple[GivenPart, ...]
    id: str | None = None


class GivenFunctionCall(msgspec.Struct, frozen=True, kw_only=True):
    """A function call of the model, as history; `arguments` is the text of a JSON object."""

    name: str
    arguments: str
    call_id: str | None = None
    id: str | None = None


class GivenFunctionOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What a function of the client answered."""

    call_id: str
    output: str
    id: str | None = None


class ItemReference(msgspec.Struct, frozen=True, kw_only=True):
    """An item of this session, as input of a response."""

    id: str


GivenItem = GivenMessage | GivenFunctionCall | GivenFunctionOutput


def read_item(fields: Fields) -> GivenItem:
    """An item for the conversation."""
    kind = _item_type(fields)
    identifier = fields.text("id", ITEM_ID_MAX) or None
    if identifier == "root":
        raise invalid(fields.param("id"), "'root' names the front of a conversation; choose another.")
    fields.choice("object", _OBJECTS)
    fields.choice("status", _STATUSES)
    item: GivenItem
    if kind == "message":
        item = _message(fields, identifier)
    elif kind == "function_call":
        item = GivenFunctionCall(
            name=read_function_name(fields),
            arguments=fields.needed("arguments", fields.text("arguments")),
            call_id=fields.text("call_id", CALL_ID_MAX) or None,
            id=identifier,
        )
    else:
        item = GivenFunctionOutput(
            call_id=fields.required_text("call_id", CALL_ID_MAX),
            output=fields.needed("output", fields.text("output")),
            id=identifier,
        )
    fields.end()
    return item


def read_input_item(fields: Fields) -> GivenItem | ItemReference:
    """An item for the input of a response: given here, or a reference to one of the session."""
    if fields.text("type") != "item_reference":
        return read_item(fields)
    reference = ItemReference(id=fields.required_text("id", ITEM_ID_MAX))
    fields.end()
    return reference


def _item_type(fields: Fields) -> str:
    kind = fields.needed("type", fields.text("type"), _TYPES_HINT)
    if kind in _MCP_TYPES:
        raise unsupported(fields.param("type"), "This server calls no MCP servers.", "unsupported_value")
    if kind == "item_reference":
        raise invalid(fields.param("type"), "a reference can only stand in the input of response.create.")
    if kind not in _TYPES:
        raise not_among(fields.param("type"), kind, _TYPES)
    return kind


def _message(fields: Fields, identifier: str | None) -> GivenMessage:
    role: Role = fields.needed("role", fields.choice("role", _ROLES))
    parts = fields.needed("content", fields.each_within("content", PARTS_MAX))
    return GivenMessage(role=role, content=tuple(_part(part, role) for part in parts), id=identifier)


def _part(fields: Fields, role: Role) -> GivenPart:
    kind = _part_type(fields, role)
    if kind == "input_audio":
        audio = fields.needed("audio", fields.base64("audio", BASE64_MAX))
        part = GivenPart(type=kind, audio=audio, transcript=fields.text("transcript"))
    elif kind == "input_image":
        url = fields.required_text("image_url", BASE64_MAX)
        if not _is_picture(url):
            raise invalid(fields.param("image_url"), "send a PNG or JPEG as 'data:image/png;base64,...'.")
        part = GivenPart(type=kind, image_url=url, detail=fields.choice("detail", _DETAILS) or "auto")
    else:
        part = GivenPart(type=kind, text=fields.needed("text", fields.text("text")))
    _end_part(fields)
    return part


def _is_picture(url: str) -> bool:
    prefix = next((prefix for prefix in _IMAGES if url.startswith(prefix)), None)
    try:
        return prefix is not None and bool(a2b_base64(url[len(prefix) :], strict_mode=True))
    except ValueError:
        return False


def _part_type(fields: Fields, role: Role) -> PartType:
    kind = fields.needed("type", fields.text("type"))
    for option in _PARTS[role]:
        if option == kind:
            return option
    if role == "assistant" and kind == "output_audio":
        raise invalid(
            fields.param("type"),
            "audio of the assistant cannot be given; send its transcript as 'output_text'.",
        )
    raise not_among(fields.param("type"), kind, _PARTS[role])


def _end_part(fields: Fields) -> None:
    # Clients write members of other kinds of part as null; those are no mistake.
    for name in ("text", "audio", "transcript", "image_url", "detail"):
        fields.cleared(name)
    fields.end()
