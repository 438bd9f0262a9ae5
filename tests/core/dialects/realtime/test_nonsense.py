"""Whatever a client sends, it is answered in the API's own words and the session lives on."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.core.dialects.realtime.strategies import damaged, json_objects
from tests.core.dialects.realtime.talk import RATE, Talk, kinds, text_message

CLIENT_EVENTS: list[dict[str, Any]] = [
    {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "instructions": "Be brief.",
            "audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 10}}},
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        },
    },
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "output_audio_buffer.clear"},
    {"type": "conversation.item.create", "previous_item_id": "given", "item": text_message("Hello.", id="a")},
    {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAA="}]},
    },
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
    },
    {"type": "conversation.item.retrieve", "item_id": "given"},
    {"type": "conversation.item.delete", "item_id": "given"},
    {"type": "conversation.item.truncate", "item_id": "given", "content_index": 0, "audio_end_ms": 10},
    {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "metadata": {"a": "b"},
            "input": [{"type": "item_reference", "id": "given"}, text_message("Hello.")],
        },
    },
    {"type": "response.cancel", "response_id": "resp_1"},
]


@given(st.lists(st.one_of(json_objects, *map(damaged, CLIENT_EVENTS)), min_size=1, max_size=6))
def test_nonsense_is_answered(events: list[dict[str, Any]]) -> None:
    talk = Talk()
    talk.hear(RATE)
    talk.send("conversation.item.create", item=text_message("Hello.", id="given"))
    for event in events:
        talk.dialogue.receive(event, talk.now)
        talk.drain()
    assert kinds(talk.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert msgspec.json.encode(talk.said)
    talk.judge(ended=False)
