import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.dialects.realtime.strategies import damaged, json_objects, outcome

from legato.core.dialects.realtime.client_events import (
    AUDIO_BYTES_MAX,
    ClientEvent,
    ConversationItemCreate,
    ConversationItemDelete,
    ConversationItemRetrieve,
    ConversationItemTruncate,
    InputAudioBufferAppend,
    InputAudioBufferClear,
    InputAudioBufferCommit,
    OutputAudioBufferClear,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
    read_append,
    read_client_event,
    read_message,
)
from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.given_items import GivenFunctionOutput
from legato.core.dialects.realtime.vocabulary import CLIENT_EVENTS

OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "4"}
GIVEN = GivenFunctionOutput(call_id="c", output="4")
ITEM = "conversation.item."

EVENTS: list[tuple[dict[str, Any], ClientEvent]] = [
    (
        {"type": "session.update", "session": {"type": "realtime"}},
        SessionUpdate(session={"type": "realtime"}),
    ),
    ({"type": "input_audio_buffer.append", "audio": "AAE="}, InputAudioBufferAppend(audio=b"\0\1")),
    ({"type": "input_audio_buffer.commit"}, InputAudioBufferCommit()),
    (
        {"type": "input_audio_buffer.commit", "legato_audio_offset": 480},
        InputAudioBufferCommit(audio_offset=480),
    ),
    ({"type": "input_audio_buffer.clear"}, InputAudioBufferClear()),
    ({"type": "output_audio_buffer.clear"}, OutputAudioBufferClear()),
    ({"type": ITEM + "create", "item": OUTPUT}, ConversationItemCreate(item=GIVEN)),
    ({"type": ITEM + "create", "item": OUTPUT, "previous_item_id": ""}, ConversationItemCreate(item=GIVEN)),
    (
        {"type": ITEM + "create", "item": OUTPUT, "previous_item_id": "root"},
        ConversationItemCreate(item=GIVEN, previous_item_id="root"),
    ),
    ({"type": ITEM + "retrieve", "item_id": "i"}, ConversationItemRetrieve(item_id="i")),
    (
        {"type": ITEM + "truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 980},
        ConversationItemTruncate(item_id="i", content_index=0, audio_end_ms=980),
    ),
    ({"type": ITEM + "delete", "item_id": "i"}, ConversationItemDelete(item_id="i")),
    ({"type": "response.create"}, ResponseCreate(response={})),
    ({"type": "response.create", "response": {"input": []}}, ResponseCreate(response={"input": []})),
    ({"type": "response.cancel"}, ResponseCancel()),
    ({"type": "response.cancel", "response_id": ""}, ResponseCancel()),
    ({"type": "response.cancel", "response_id": "r"}, ResponseCancel(response_id="r")),
]


def refused(event: Any) -> EventRefused:
    with pytest.raises(EventRefused) as refusal:
        read_client_event(event)
    return refusal.value


@pytest.mark.parametrize(("event", "expected"), EVENTS)
def test_every_event(event: dict[str, Any], expected: ClientEvent) -> None:
    assert read_client_event(event) == expected
    named = read_client_event({**event, "event_id": "e1"})
    assert named.event_id == "e1"
    assert type(named) is type(expected)


def test_every_event_of_the_vocabulary_is_tried_here() -> None:
    assert {event["type"] for event, _ in EVENTS} == set(CLIENT_EVENTS)


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ([], "invalid_type", "event"),
        ({}, "missing_required_parameter", "type"),
        ({"type": 5}, "invalid_type", "type"),
        ({"type": "session.updated"}, "invalid_value", "type"),
        ({"type": "response.cancel", "event_id": 5}, "invalid_type", "event_id"),
        ({"type": "response.cancel", "event_id": "e" * 513}, "string_above_max_length", "event_id"),
        ({"type": "response.cancel", "x": 1}, "unknown_parameter", "x"),
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        ({"type": "session.update", "session": []}, "invalid_type", "session"),
        ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "?"}, "invalid_value", "audio"),
        (
            {"type": "input_audio_buffer.commit", "legato_audio_offset": -1},
            "integer_below_min_value",
            "legato_audio_offset",
        ),
        ({"type": ITEM + "create"}, "missing_required_parameter", "item"),
        (
            {"type": ITEM + "create", "item": {"type": "message", "role": "user", "content": [{}]}},
            "missing_required_parameter",
            "item.content[0].type",
        ),
        ({"type": ITEM + "retrieve"}, "missing_required_parameter", "item_id"),
        ({"type": ITEM + "delete", "item_id": ""}, "invalid_value", "item_id"),
        (
            {"type": ITEM + "truncate", "item_id": "i", "content_index": 0},
            "missing_required_parameter",
            "audio_end_ms",
        ),
        (
            {"type": ITEM + "truncate", "item_id": "i", "audio_end_ms": 0},
            "missing_required_parameter",
            "content_index",
        ),
        (
            {"type": ITEM + "truncate", "item_id": "i", "content_index": 0, "audio_end_ms": -1},
            "integer_below_min_value",
            "audio_end_ms",
        ),
        ({"type": "response.create", "response": "now"}, "invalid_type", "response"),
    ],
)
def test_what_is_refused(event: Any, code: str, param: str) -> None:
    refusal = refused(event)
    assert (refusal.code, refusal.param) == (code, param)


def test_an_unknown_event_is_told_the_known_ones() -> None:
    refusal = refused({"type": "response.stop", "event_id": "e1"})
    assert refusal.message.startswith(
        "Invalid value: 'response.stop'. Supported values are: 'session.update', "
    )
    assert "'response.cancel'" in refusal.message


def test_a_refusal_names_the_event() -> None:
    assert refused({"type": "session.update", "event_id": "e1"}).event_id == "e1"
    assert refused({"type": "session.update", "event_id": 5}).event_id is None


@given(event=json_objects | st.one_of([damaged(event) for event, _ in EVENTS]))
def test_anything_is_read_or_refused(event: dict[str, Any]) -> None:
    assert isinstance(outcome(lambda: read_client_event(event)), ClientEvent | EventRefused)


# Straight from the bytes of a message


def append(**members: Any) -> str:
    return json.dumps({"type": "input_audio_buffer.append", **members})


@given(audio=st.binary(max_size=100))
def test_audio_is_read_straight_from_the_message(audio: bytes) -> None:
    message = append(audio=base64.b64encode(audio).decode(), event_id="e1")
    assert read_append(message) == read_append(message.encode()) == audio
    assert read_client_event(read_message(message)) == InputAudioBufferAppend(audio=audio, event_id="e1")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        b"\xff",
        append(),
        append(audio="AA"),
        append(audio=5),
        append(audio="AAE=", x=1),
        json.dumps({"type": "response.cancel"}),
        "[" * 100_000,
    ],
)
def test_other_messages_are_left_to_the_other_readers(message: str | bytes) -> None:
    assert read_append(message) is None


def test_one_append_carries_fifteen_mebibytes_of_base64() -> None:
    most = append(audio="A" * (15 * 1024 * 1024))
    assert len(read_append(most) or b"") == AUDIO_BYTES_MAX
    more = append(audio="A" * (15 * 1024 * 1024 + 4))
    assert read_append(more) is None
    assert refused(read_message(more)).code == "string_above_max_length"


@pytest.mark.parametrize("message", ["", "{", "[]", "5", b"\xff\xfe", "[" * 100_000, '{"a":' * 100_000])
def test_messages_that_hold_no_event(message: str | bytes) -> None:
    with pytest.raises(EventRefused, match="one JSON object") as refusal:
        read_message(message)
    assert refusal.value.code == "invalid_json"


@given(message=st.binary(max_size=60) | st.text(max_size=60))
def test_any_message_is_read_or_refused(message: str | bytes) -> None:
    assert isinstance(outcome(lambda: read_message(message)), dict | EventRefused)
    assert read_append(message) is None
