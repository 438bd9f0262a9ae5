from typing import Any

import pytest

from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.model_settings import RetentionRatio
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.dialects.realtime.tools import FunctionChoice, FunctionTool

SETTINGS = SessionSettings.of()


def updated(settings: SessionSettings = SETTINGS, **members: Any) -> SessionSettings:
    return settings.updated({"type": "realtime", **members})


def refused(settings: SessionSettings = SETTINGS, **members: Any) -> tuple[str, str | None]:
    with pytest.raises(EventRefused) as refusal:
        updated(settings, **members)
    return refusal.value.code, refusal.value.param


def test_null_stands_for_not_given() -> None:
    names = (
        "instructions output_modalities tools tool_choice parallel_tool_calls max_output_tokens reasoning "
        "prompt truncation tracing audio model include"
    )
    assert updated(**dict.fromkeys(names.split(), None)) == SETTINGS


def test_empty_values_clear() -> None:
    full = updated(instructions="Be brief.", tools=[{"name": "f"}])
    assert (full.instructions, full.tools) == ("Be brief.", (FunctionTool("f"),))
    assert updated(full, instructions="", tools=[]) == SETTINGS


def test_one_modality_at_a_time() -> None:
    assert updated(output_modalities=["text"]).output_modalities == ("text",)
    for wrong in ([], ["audio", "text"]):
        assert refused(output_modalities=wrong) == ("invalid_value", "session.output_modalities")
    assert refused(output_modalities=["video"]) == ("invalid_value", "session.output_modalities[0]")


@pytest.mark.parametrize(("value", "tokens"), [(1, 1), (4_096, 4_096), ("inf", None)])
def test_output_tokens(value: Any, tokens: int | None) -> None:
    assert updated(updated(max_output_tokens=7), max_output_tokens=value).max_output_tokens == tokens


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, "integer_below_min_value"),
        (4_097, "integer_above_max_value"),
        ("many", "invalid_type"),
        (True, "invalid_type"),
        (1.5, "invalid_type"),
    ],
)
def test_output_tokens_out_of_range(value: Any, code: str) -> None:
    assert refused(max_output_tokens=value) == (code, "session.max_output_tokens")


def test_a_choice_is_checked_against_the_tools_in_force() -> None:
    forced = updated(tools=[{"name": "f"}], tool_choice={"type": "function", "name": "f"})
    assert forced.tool_choice == FunctionChoice("f")
    assert refused(forced, tools=[]) == ("invalid_value", "session.tool_choice")
    assert updated(forced, tools=[], tool_choice="auto") == SETTINGS


def test_parallel_tool_calls() -> None:
    assert updated(parallel_tool_calls=False).parallel_tool_calls is False
    assert refused(parallel_tool_calls=1) == ("invalid_type", "session.parallel_tool_calls")


def test_reasoning() -> None:
    low = updated(reasoning={"effort": "low"})
    assert low.reasoning_effort == "low"
    assert updated(low, reasoning={}) == low
    assert updated(low, reasoning=None) == SETTINGS
    assert refused(reasoning={"effort": "max"}) == ("invalid_value", "session.reasoning.effort")
    assert refused(reasoning={"summary": "auto"}) == ("unknown_parameter", "session.reasoning.summary")


def test_prompt_templates_are_refused_by_name() -> None:
    assert refused(prompt={"id": "pmpt_1"}) == ("unsupported_parameter", "session.prompt")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("disabled", "disabled"),
        ({"type": "retention_ratio", "retention_ratio": 0.8}, RetentionRatio(retention_ratio=0.8)),
        (
            {"type": "retention_ratio", "retention_ratio": 1, "token_limits": {"post_instructions": 5_000}},
            RetentionRatio(retention_ratio=1.0, post_instructions=5_000),
        ),
        (
            {"type": "retention_ratio", "retention_ratio": 0, "token_limits": {}},
            RetentionRatio(retention_ratio=0.0),
        ),
    ],
)
def test_truncation(value: Any, found: Any) -> None:
    changed = updated(truncation=value)
    assert changed.truncation == found
    assert updated(changed, truncation="auto") == SETTINGS


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        ("never", "invalid_value", ""),
        (5, "invalid_type", ""),
        ({}, "missing_required_parameter", ".type"),
        ({"type": "x"}, "invalid_value", ".type"),
        ({"type": "retention_ratio"}, "missing_required_parameter", ".retention_ratio"),
        ({"type": "retention_ratio", "retention_ratio": 2}, "integer_above_max_value", ".retention_ratio"),
        ({"type": "retention_ratio", "retention_ratio": 1, "x": 1}, "unknown_parameter", ".x"),
        (
            {"type": "retention_ratio", "retention_ratio": 1, "token_limits": {"x": 1}},
            "unknown_parameter",
            ".token_limits.x",
        ),
    ],
)
def test_truncation_refused(value: Any, code: str, param: str) -> None:
    assert refused(truncation=value) == (code, "session.truncation" + param)


def test_tracing_cannot_be_modified_once_it_is_on() -> None:
    named = {"workflow_name": "calls", "group_id": None, "metadata": {"a": 1}}
    on = updated(tracing=named)
    assert on.tracing == {"workflow_name": "calls", "metadata": {"a": 1}}
    assert updated(on, tracing=named) == updated(on) == on
    assert updated(tracing="auto").tracing == "auto"
    for other in ("auto", None, {}):
        assert refused(on, tracing=other) == ("cannot_update_tracing", "session.tracing")
    assert refused(tracing="on") == ("invalid_value", "session.tracing")
    assert refused(tracing={"x": 1}) == ("unknown_parameter", "session.tracing.x")
