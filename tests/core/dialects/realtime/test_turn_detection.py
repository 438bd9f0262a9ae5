from typing import Any

import pytest

from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.fields import Fields
from legato.core.dialects.realtime.turn_detection import (
    SemanticVad,
    ServerVad,
    TurnDetection,
    read_turn_detection,
)


def read(value: dict[str, Any], current: TurnDetection | None = None) -> TurnDetection:
    return read_turn_detection(Fields(value, "t"), current)


def test_defaults_are_those_of_the_api() -> None:
    assert read({"type": "server_vad"}).as_json() == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
        "idle_timeout_ms": None,
    }
    assert read({"type": "semantic_vad"}).as_json() == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }


@pytest.mark.parametrize(
    ("eagerness", "most"), [("low", 8_000), ("medium", 4_000), ("high", 2_000), ("auto", 4_000)]
)
def test_eagerness_is_a_longest_wait(eagerness: str, most: int) -> None:
    found = read({"type": "semantic_vad", "eagerness": eagerness})
    assert isinstance(found, SemanticVad)
    assert found.max_wait_ms == most


def test_changes_are_sparse() -> None:
    now = ServerVad(threshold=0.7, prefix_padding_ms=1, silence_duration_ms=2, idle_timeout_ms=5_000)
    assert read({"type": "server_vad"}, now) == now
    assert read({"type": "server_vad", "threshold": None, "create_response": None}, now) == now
    changed = {
        "type": "server_vad",
        "threshold": 0,
        "prefix_padding_ms": 0,
        "silence_duration_ms": 0,
        "create_response": False,
        "interrupt_response": False,
        "idle_timeout_ms": 6_000,
    }
    assert read(changed, now).as_json() == changed
    semantic = SemanticVad(eagerness="low", interrupt_response=False)
    assert read({"type": "semantic_vad", "create_response": False}, semantic) == SemanticVad(
        eagerness="low", create_response=False, interrupt_response=False
    )
    assert read({"type": "semantic_vad", "interrupt_response": True}, semantic) == SemanticVad(
        eagerness="low"
    )


def test_the_type_may_be_left_out_while_a_detector_is_on() -> None:
    assert read({"threshold": 0.6}, ServerVad()) == ServerVad(threshold=0.6)
    assert read({"eagerness": "high"}, SemanticVad()) == SemanticVad(eagerness="high")
    with pytest.raises(EventRefused, match="Turn detection is off") as refused:
        read({"threshold": 0.6})
    assert refused.value.param == "t.type"


def test_another_type_starts_from_its_own_defaults() -> None:
    assert read({"type": "semantic_vad"}, ServerVad(create_response=False)) == SemanticVad()
    assert read({"type": "server_vad"}, SemanticVad(eagerness="low")) == ServerVad()


def test_null_turns_the_idle_timeout_off() -> None:
    now = ServerVad(idle_timeout_ms=5_000)
    assert read({"type": "server_vad", "idle_timeout_ms": None}, now) == ServerVad()


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        ({"type": "vad"}, "invalid_value", "t.type"),
        ({"type": "server_vad", "threshold": 1.1}, "decimal_above_max_value", "t.threshold"),
        ({"type": "server_vad", "prefix_padding_ms": -1}, "integer_below_min_value", "t.prefix_padding_ms"),
        ({"type": "server_vad", "silence_duration_ms": 0.5}, "invalid_type", "t.silence_duration_ms"),
        ({"type": "server_vad", "idle_timeout_ms": 10}, "integer_below_min_value", "t.idle_timeout_ms"),
        ({"type": "server_vad", "eagerness": "low"}, "unknown_parameter", "t.eagerness"),
        ({"type": "semantic_vad", "threshold": 0.5}, "unknown_parameter", "t.threshold"),
        ({"type": "semantic_vad", "eagerness": "eager"}, "invalid_value", "t.eagerness"),
    ],
)
def test_what_is_refused(value: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(EventRefused) as refused:
        read(value)
    assert (refused.value.code, refused.value.param) == (code, param)
