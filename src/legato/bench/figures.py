"""Figures: a measured number, its limit, its baseline; as a table for people or as JSON for machines.

Owns presentation and the arithmetic of percentiles; must not know how a number was measured.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "Report", "percentiles"]


def percentiles(values: Sequence[float], scale: float = 1.0) -> dict[str, float]:
    """Return p50, p95 and p99 by nearest rank, times `scale`; an empty dictionary for no values."""
    if not values:
        return {}
    ordered = sorted(values)
    return {
        f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)] * scale, 3)
        for share in (50, 95, 99)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number with its unit; `limit` is what it may be at most or, if `at_least`, what it must be.

    What was waited for and never came is infinite.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    at_least: bool = False
    baseline: float | None = None

    @property
    def within(self) -> bool:
        """Whether the number is inside its limit; true without one."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @staticmethod
    def text(value: float) -> str:
        """Write a number for people."""
        return _number(value)

    @property
    def limit_text(self) -> str:
        """Return the limit for people."""
        return "" if self.limit is None else f"{'≥' if self.at_least else '≤'} {_number(self.limit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of one benchmark: its figures, what they were measured on, and everything for `--json`."""

    title: str
    figures: Sequence[Figure]
    detail: dict[str, object]
    notes: Sequence[str] = ()
    baseline_name: str = "baseline"

    @property
    def within(self) -> bool:
        """Whether every figure is inside its limit."""
        return all(figure.within for figure in self.figures)

    def print(self, as_json: bool) -> None:
        """Print one JSON object, or a table."""
        if as_json:
            print(json.dumps({**self.detail, "within_limits": self.within}), file=sys.stdout, flush=True)
            return
        table = Table(title=self.title, title_justify="left", title_style="bold")
        table.add_column("figure")
        for column in ("measured", "limit", self.baseline_name):
            table.add_column(column, justify="right")
        table.add_column("")
        for figure in self.figures:
            verdict = "" if figure.limit is None else "[green]ok[/]" if figure.within else "[red]OVER[/]"
            if figure.at_least and not figure.within:
                verdict = "[red]UNDER[/]"
            baseline = "" if figure.baseline is None else _number(figure.baseline)
            table.add_row(
                figure.name, f"{_number(figure.value)} {figure.unit}", figure.limit_text, baseline, verdict
            )
        console = Console()
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}", style="dim", highlight=False)


def _number(value: float) -> str:
    if math.isinf(value):
        return "never"
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
