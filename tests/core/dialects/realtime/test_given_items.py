from typing import Any

import pytest
from hypothesis import given
from tests.core.dialects.realtime.strategies import damaged, json_objects, outcome

from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.fields import Fields
from legato.core.dialects.realtime.given_items import (
    GivenFunctionCall,
    GivenFunctionOutput,
    GivenItem,
    GivenMessage,
    GivenPart,
    ItemReference,
    read_input_item,
    read_item,
)

PNG = "data:image/png;base64,iVBORw0KGgo="
CALL = {"type": "function_call", "name": "f", "arguments": "{}"}


def item(value: dict[str, Any]) -> GivenItem:
    return read_item(Fields(value, "item"))


def message(role: str, *content: Any, **members: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(content), **members}


def refused(value: dict[str, Any]) -> tuple[str, str | None]:
    with pytest.raises(EventRefused) as refusal:
        item(value)
    return refusal.value.code, refusal.value.param


@pytest.mark.parametrize(
    ("role", "part", "found"),
    [
        (
            "system",
            {"type": "input_text", "text": "Be brief."},
            GivenPart(type="input_text", text="Be brief."),
        ),
        ("user", {"type": "input_text", "text": ""}, GivenPart(type="input_text")),
        ("assistant", {"type": "output_text", "text": "Yes."}, GivenPart(type="output_text", text="Yes.")),
        ("user", {"type": "input_audio", "audio": "AAE="}, GivenPart(type="input_audio", audio=b"\0\1")),
        (
            "user",
            {"type": "input_audio", "audio": "", "transcript": "Hi"},
            GivenPart(type="input_audio", transcript="Hi"),
        ),
        ("user", {"type": "input_image", "image_url": PNG}, GivenPart(type="input_image", image_url=PNG)),
        (
            "user",
            {"type": "input_image", "image_url": PNG, "detail": "low"},
            GivenPart(type="input_image", image_url=PNG, detail="low"),
        ),
    ],
)
def test_messages(role: Any, part: dict[str, Any], found: GivenPart) -> None:
    assert item(message(role, part)) == GivenMessage(role=role, content=(found,))


def test_an_item_can_be_given_back_as_it_came() -> None:
    part = {"type": "input_text", "text": "Hi", "audio": None, "transcript": None}
    shown = message("user", part, id="item_1", object="realtime.item", status="completed")
    assert item(shown) == GivenMessage(
        role="user", content=(GivenPart(type="input_text", text="Hi"),), id="item_1"
    )


def test_function_calls_and_their_outputs() -> None:
    assert item(CALL) == GivenFunctionCall(name="f", arguments="{}")
    assert item({**CALL, "call_id": "c", "id": "i"}) == GivenFunctionCall(
        name="f", arguments="{}", call_id="c", id="i"
    )
    assert item({"type": "function_call_output", "call_id": "c", "output": ""}) == GivenFunctionOutput(
        call_id="c", output=""
    )


def test_empty_identifiers_count_as_left_out() -> None:
    assert item({**CALL, "id": "", "call_id": ""}) == GivenFunctionCall(name="f", arguments="{}")


def test_references_stand_in_the_input_of_a_response_only() -> None:
    reference = {"type": "item_reference", "id": "item_1"}
    assert read_input_item(Fields(reference)) == ItemReference(id="item_1")
    assert read_input_item(Fields(CALL)) == item(CALL)
    assert refused(reference) == ("invalid_value", "item.type")
    with pytest.raises(EventRefused, match=r"Unknown parameter: 'input\[0\]\.x'"):
        read_input_item(Fields({**reference, "x": 1}, "input[0]"))


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        ({}, "missing_required_parameter", "item.type"),
        ({"type": "note"}, "invalid_value", "item.type"),
        ({"type": "mcp_approval_response"}, "unsupported_value", "item.type"),
        ({**CALL, "id": "root"}, "invalid_value", "item.id"),
        ({**CALL, "id": "i" * 65}, "string_above_max_length", "item.id"),
        ({**CALL, "status": "new"}, "invalid_value", "item.status"),
        ({**CALL, "object": "item"}, "invalid_value", "item.object"),
        ({**CALL, "x": 1}, "unknown_parameter", "item.x"),
        ({"type": "function_call", "name": "f"}, "missing_required_parameter", "item.arguments"),
        ({"type": "function_call_output", "output": ""}, "missing_required_parameter", "item.call_id"),
        ({"type": "function_call_output", "call_id": "c"}, "missing_required_parameter", "item.output"),
        ({"type": "message"}, "missing_required_parameter", "item.role"),
        ({"type": "message", "role": "tool"}, "invalid_value", "item.role"),
        ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
        (message("user", "Hi"), "invalid_type", "item.content[0]"),
        (message("user", {}), "missing_required_parameter", "item.content[0].type"),
        (message("user", {"type": "output_text"}), "invalid_value", "item.content[0].type"),
        (message("system", {"type": "input_audio"}), "invalid_value", "item.content[0].type"),
        (message("assistant", {"type": "output_audio"}), "invalid_value", "item.content[0].type"),
        (message("user", {"type": "input_text"}), "missing_required_parameter", "item.content[0].text"),
        (message("user", {"type": "input_audio"}), "missing_required_parameter", "item.content[0].audio"),
        (message("user", {"type": "input_audio", "audio": "?"}), "invalid_value", "item.content[0].audio"),
        *(
            (
                message("user", {"type": "input_image", "image_url": url}),
                "invalid_value",
                "item.content[0].image_url",
            )
            for url in ("https://x", "data:image/png;base64,", "data:image/png;base64,%%%", PNG + "\n")
        ),
        (
            message("user", {"type": "input_text", "text": "", "language": "en"}),
            "unknown_parameter",
            "item.content[0].language",
        ),
        (message("user", *[{}] * 65), "array_above_max_length", "item.content"),
    ],
)
def test_what_is_refused(value: dict[str, Any], code: str, param: str) -> None:
    assert refused(value) == (code, param)


USER = message("user", {"type": "input_text", "text": "Hi"}, {"type": "input_audio", "audio": "AAE="}, id="i")


@given(value=json_objects | damaged(USER) | damaged({**CALL, "call_id": "c"}))
def test_anything_is_read_or_refused(value: dict[str, Any]) -> None:
    for read in (read_item, read_input_item):
        found = outcome(lambda read=read: read(Fields(value, "item")))  # type: ignore[misc]
        if isinstance(found, EventRefused):
            assert (found.param or "").startswith("item")
        else:
            assert isinstance(found, GivenItem | ItemReference)
