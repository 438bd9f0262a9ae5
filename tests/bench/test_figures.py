"""Figures: percentiles, limits and how a report is printed."""

import json

import pytest

from legato.bench.figures import Figure, Report, percentiles


def test_percentiles_are_by_nearest_rank() -> None:
    assert percentiles(list(range(1, 101))) == {"p50": 51, "p95": 96, "p99": 100}
    assert percentiles([7], 0.5) == {"p50": 3.5, "p95": 3.5, "p99": 3.5}
    assert percentiles([]) == {}


@pytest.mark.parametrize(
    ("value", "at_least", "within"),
    [(60.0, False, True), (60.1, False, False), (60.0, True, True), (59.9, True, False)],
)
def test_a_limit_is_inclusive(value: float, at_least: bool, within: bool) -> None:
    assert Figure(name="x", value=value, unit="", limit=60, at_least=at_least).within is within


def test_a_figure_without_limit_is_always_within() -> None:
    assert Figure(name="x", value=1e9, unit="s").within


def _report() -> Report:
    figures = [
        Figure(name="cpu", value=12.345, unit="µs", limit=60, baseline=65.4),
        Figure(name="rate", value=10, unit="MB", limit=300, at_least=True),
    ]
    return Report(title="a title", figures=figures, detail={"bench": "x", "cpu": 12.345}, notes=["a note"])


def test_json_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    _report().print(as_json=True)
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert json.loads(text) == {"bench": "x", "cpu": 12.345, "within_limits": False}


def test_the_table_shows_limits_baselines_and_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    _report().print(as_json=False)
    text = capsys.readouterr().out
    for part in ("a title", "12.3 µs", "≤ 60", "65.4", "≥ 300", "ok", "UNDER", "a note"):
        assert part in text
