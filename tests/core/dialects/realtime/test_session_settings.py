from typing import Any

import pytest
from hypothesis import given
from tests.core.dialects.realtime.strategies import damaged, json_objects, outcome

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.audio_settings import Transcription
from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.given_items import GivenMessage, GivenPart, ItemReference
from legato.core.dialects.realtime.session_settings import (
    Locked,
    ResponseSettings,
    SessionDefaults,
    SessionSettings,
)
from legato.core.dialects.realtime.tools import FunctionTool

SETTINGS = SessionSettings.of()
NAMED = SessionSettings.of(model="mine")
TRANSCRIPTION = SessionSettings.of("transcription")
FUNCTION = {"type": "function", "name": "f", "description": "Does.", "parameters": {"type": "object"}}

FULL = {
    "type": "realtime",
    "model": "legato",
    "instructions": "Be brief.",
    "output_modalities": ["text"],
    "tools": [FUNCTION],
    "tool_choice": {"type": "function", "name": "f"},
    "parallel_tool_calls": False,
    "max_output_tokens": 100,
    "reasoning": {"effort": "low"},
    "truncation": {
        "type": "retention_ratio",
        "retention_ratio": 0.8,
        "token_limits": {"post_instructions": 9},
    },
    "tracing": {"workflow_name": "calls"},
    "prompt": None,
    "include": ["item.input_audio_transcription.logprobs"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "whisper-1", "language": "de", "prompt": "names"},
            "noise_reduction": {"type": "near_field", "strength": 0.5},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.6,
                "prefix_padding_ms": 100,
                "silence_duration_ms": 200,
                "create_response": False,
                "interrupt_response": False,
                "idle_timeout_ms": 5_000,
            },
        },
        "output": {"format": {"type": "audio/pcma"}, "voice": "marin", "speed": 1.25},
    },
}

OVERRIDES = {
    "instructions": "Sing.",
    "output_modalities": ["audio"],
    "tools": [{"type": "function", "name": "g"}],
    "tool_choice": "required",
    "parallel_tool_calls": True,
    "max_output_tokens": "inf",
    "reasoning": {"effort": "high"},
    "audio": {"output": {"voice": "cedar", "format": {"type": "audio/pcm", "rate": 24_000}}},
    "conversation": "none",
    "metadata": {"purpose": "summary"},
    "input": [
        {"type": "item_reference", "id": "item_1"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    ],
}


def refused(partial: Any, settings: SessionSettings = SETTINGS) -> EventRefused:
    with pytest.raises(EventRefused) as refusal:
        settings.updated(partial)
    return refusal.value


def test_a_session_begins_with_the_defaults_of_its_server() -> None:
    assert SETTINGS.as_json("sess_1", 1_700_000_000) == {
        "id": "sess_1",
        "object": "realtime.session",
        "type": "realtime",
        "expires_at": 1_700_000_000,
        "model": "legato",
        "instructions": "",
        "output_modalities": ["audio"],
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": "inf",
        "reasoning": None,
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "legato", "language": None, "prompt": None},
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "create_response": True,
                    "interrupt_response": True,
                    "idle_timeout_ms": None,
                },
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "default", "speed": 1.0},
        },
    }


def test_defaults_are_the_servers_to_choose() -> None:
    opus = AudioFormat("opus", 16_000)
    defaults = SessionDefaults(
        model="m",
        instructions="Help.",
        voice="ada",
        transcription=Transcription(model="t"),
        turn_detection=None,
        input_format=opus,
        output_format=opus,
    )
    settings = SessionSettings.of("realtime", None, defaults)
    assert (settings.model, settings.instructions, settings.voice) == ("m", "Help.", "ada")
    assert settings.turn_detection is None
    assert settings.as_json("s")["audio"]["input"]["turn_detection"] is None
    assert settings.as_json("s")["audio"]["output"]["format"] == {"type": "audio/opus", "rate": 16_000}
    assert SessionSettings.of("realtime", "other", defaults).model == "other"


def test_what_a_client_sets_is_what_it_is_shown() -> None:
    shown = SETTINGS.updated(FULL).as_json("s")
    assert {name: shown[name] for name in FULL} == FULL
    assert SETTINGS.updated(FULL).updated({"type": "realtime"}) == SETTINGS.updated(FULL)


def test_a_transcription_session_shows_its_input_only() -> None:
    changed = TRANSCRIPTION.updated(
        {
            "type": "transcription",
            "include": ["item.input_audio_transcription.logprobs"],
            "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}},
        }
    )
    assert changed.as_json("s", 5) == {
        "id": "s",
        "object": "realtime.transcription_session",
        "type": "transcription",
        "expires_at": 5,
        "include": ["item.input_audio_transcription.logprobs"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "legato", "language": None, "prompt": None},
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.7,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                },
            }
        },
    }


def test_null_clears_what_is_to_be_included() -> None:
    assert SETTINGS.updated(FULL).updated({"type": "realtime", "include": None}).include is None


@pytest.mark.parametrize(
    ("settings", "partial", "code", "param"),
    [
        (SETTINGS, [], "invalid_type", "session"),
        (SETTINGS, {}, "missing_required_parameter", "session.type"),
        (SETTINGS, {"type": "live"}, "invalid_value", "session.type"),
        (SETTINGS, {"type": "transcription"}, "invalid_value", "session.type"),
        (TRANSCRIPTION, {"type": "realtime"}, "invalid_value", "session.type"),
        (NAMED, {"type": "realtime", "model": "other"}, "cannot_update_model", "session.model"),
        (SETTINGS, {"type": "realtime", "voice": "x"}, "unknown_parameter", "session.voice"),
        (SETTINGS, {"type": "realtime", "include": ["x"]}, "invalid_value", "session.include[0]"),
        (TRANSCRIPTION, {"type": "transcription", "model": "m"}, "unknown_parameter", "session.model"),
        (
            TRANSCRIPTION,
            {"type": "transcription", "audio": {"output": {}}},
            "unknown_parameter",
            "session.audio.output",
        ),
    ],
)
def test_what_is_refused(settings: SessionSettings, partial: Any, code: str, param: str) -> None:
    refusal = refused(partial, settings)
    assert (refusal.code, refusal.param) == (code, param)


def test_a_model_is_named_once() -> None:
    """Stock agents name theirs in each update, whatever the address says."""
    assert NAMED.updated({"type": "realtime", "model": "mine"}).model == "mine"
    named = SETTINGS.updated({"type": "realtime", "model": "theirs"})
    assert named.as_json("s")["model"] == "theirs"
    assert named.updated({"type": "realtime", "model": "theirs"}) == named
    assert refused({"type": "realtime", "model": "other"}, named).code == "cannot_update_model"
    assert refused({"type": "realtime", "model": ""}).code == "cannot_update_model"
    later = SETTINGS.updated({"type": "realtime"}).updated({"type": "realtime", "model": "late"})
    assert later.model == "late"


def test_sessions_can_be_described_before_they_exist() -> None:
    asked = SessionSettings.requested({**FULL, "model": "other"})
    assert asked.model == "other"
    assert asked.as_json("s")["audio"] == FULL["audio"]
    described = SessionSettings.requested({"type": "transcription"}, SessionDefaults(model="m"))
    assert (described.type, described.model) == ("transcription", "m")
    for wrong in ({}, {"type": "live"}, {"type": "transcription", "model": "m"}):
        with pytest.raises(EventRefused):
            SessionSettings.requested(wrong)


def test_a_response_takes_the_settings_of_its_session() -> None:
    settings = SETTINGS.updated({**FULL, "output_modalities": ["audio"]})
    response = settings.for_response()
    for name in ResponseSettings.__struct_fields__:
        if hasattr(settings, name):
            assert getattr(response, name) == getattr(settings, name)
    assert (response.conversation, response.metadata, response.input) == ("auto", None, None)
    assert response.as_json() == {
        "output_modalities": ["audio"],
        "max_output_tokens": 100,
        "audio": {"output": {"format": {"type": "audio/pcma"}, "voice": "marin"}},
        "metadata": None,
    }


def test_a_response_overrides_them() -> None:
    response = SETTINGS.updated({"type": "realtime", "max_output_tokens": 5}).for_response(OVERRIDES)
    assert response == ResponseSettings(
        instructions="Sing.",
        output_modalities=("audio",),
        tools=(FunctionTool("g"),),
        tool_choice="required",
        parallel_tool_calls=True,
        max_output_tokens=None,
        reasoning_effort="high",
        output_format=AudioFormat("pcm16", 24_000),
        voice="cedar",
        speed=1.0,
        conversation="none",
        metadata={"purpose": "summary"},
        input=(
            ItemReference(id="item_1"),
            GivenMessage(role="user", content=(GivenPart(type="input_text", text="Hi"),)),
        ),
    )
    assert response.as_json()["max_output_tokens"] == "inf"
    assert SETTINGS.for_response({"input": []}).input == ()
    assert SETTINGS.for_response({"audio": {"output": {}}}) == SETTINGS.for_response({"audio": {}})


@pytest.mark.parametrize(
    ("partial", "code", "param"),
    [
        ({"x": 1}, "unknown_parameter", "response.x"),
        ({"tracing": "auto"}, "unknown_parameter", "response.tracing"),
        ({"prompt": {"id": "p"}}, "unsupported_parameter", "response.prompt"),
        ({"audio": {"input": {}}}, "unknown_parameter", "response.audio.input"),
        ({"audio": {"output": {"speed": 1}}}, "unknown_parameter", "response.audio.output.speed"),
        ({"audio": {"output": {"voice": "cedar"}}}, "cannot_update_voice", "response.audio.output.voice"),
        (
            {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
            "unsupported_value",
            "response.audio.output.format",
        ),
        ({"conversation": "conv_1"}, "invalid_value", "response.conversation"),
        ({"input": [{"type": "x"}]}, "invalid_value", "response.input[0].type"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "invalid_value", "response.tool_choice"),
        ({"metadata": {"a": 1}}, "invalid_type", "response.metadata.a"),
        ({"metadata": {"a" * 65: 1}}, "invalid_type", "response.metadata." + "a" * 64 + "…"),
        ({"metadata": {"a" * 65: ""}}, "string_above_max_length", "response.metadata"),
        ({"metadata": {"a": "b" * 513}}, "string_above_max_length", "response.metadata.a"),
        ({"metadata": {str(n): "" for n in range(17)}}, "object_above_max_length", "response.metadata"),
    ],
)
def test_overrides_that_are_refused(partial: Any, code: str, param: str) -> None:
    with pytest.raises(EventRefused) as refusal:
        SETTINGS.for_response(partial, Locked(voice=True))
    assert (refusal.value.code, refusal.value.param) == (code, param)


@given(partial=json_objects | damaged(FULL))
def test_any_update_is_taken_or_refused(partial: dict[str, Any]) -> None:
    for settings in (SETTINGS, TRANSCRIPTION, SETTINGS.updated(FULL)):
        changed = outcome(lambda settings=settings: settings.updated(partial))  # type: ignore[misc]
        if isinstance(changed, EventRefused):
            assert (changed.param or "").startswith("session")
            continue
        shown = changed.as_json("s")
        again = {name: value for name, value in shown.items() if name not in ("id", "object", "expires_at")}
        assert changed.updated(again) == changed


@given(partial=json_objects | damaged(OVERRIDES))
def test_any_override_is_taken_or_refused(partial: dict[str, Any]) -> None:
    found = outcome(lambda: SETTINGS.for_response(partial))
    assert isinstance(found, ResponseSettings) or (found.param or "").startswith("response")


@given(session=json_objects | damaged(FULL))
def test_any_description_is_taken_or_refused(session: dict[str, Any]) -> None:
    assert isinstance(outcome(lambda: SessionSettings.requested(session)), SessionSettings | EventRefused)
