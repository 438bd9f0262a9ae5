"""`legato bench networks` from the wish to the answer: run, judge, print, write the page.

Owns what is said of a run as a whole. The ways of one network run side by side and the networks one after
the other, so that all three meet the same machine.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from legato.bench import places
from legato.bench.figures import Figure, Report
from legato.bench.networks.cases import chosen
from legato.bench.networks.page import Facts, compose
from legato.bench.networks.rows import ARM_NAMES, COLUMNS, written
from legato.bench.networks.run import Observed, observe
from legato.bench.networks.verdicts import promised

__all__ = ["NetworksReport", "networks"]

SHOWN = ("samples lost", "late p50", "late p95", "word errors", "on time", "silence", "recovered", "silenced")
LATE_MS = 20
"""Lateness of the callers themselves, at p99, above which figures tell of the machine."""


@dataclass(frozen=True, slots=True)
class NetworksReport:
    """The outcome: figures with limits, and every cell."""

    report: Report
    cells: Sequence[dict[str, Any]]

    @property
    def within(self) -> bool:
        """Whether every promise was kept."""
        return self.report.within

    def print(self, as_json: bool) -> None:
        """Print one JSON object, or two tables."""
        if not as_json:
            Console().print(_comparison(self.cells))
        self.report.print(as_json)


def networks(
    names: tuple[str, ...], quick: bool, seed: int, page: Path | None, say: Callable[[str, float], None]
) -> NetworksReport:
    """Measure; with `page` the report is written there as HTML.

    Raises `LinkUnavailableError` where no places can be made, `SettingsError` for an unknown network,
    `BenchError` when nothing could be measured.
    """
    cases = chosen(names, quick)
    about = {known["name"]: known["about"] for known in places.networks()}
    seen = observe(cases, seed, on_time=not quick, say=say)
    figures = promised(seen.cells)
    notes = _notes(seen, seed)
    if page is not None:
        page.write_text(compose(Facts(lines=notes, about=about), figures, seen.cells), encoding="utf-8")
    detail: dict[str, object] = {
        "bench": "networks",
        "seed": seed,
        "wire": seen.wire,
        "rootless": seen.rootless,
        "figures": [_plain(figure) for figure in figures],
        "cells": seen.cells,
        "missing": seen.missing,
    }
    report = Report(
        title="networks: what is promised of calls over QUIC",
        figures=figures,
        detail=detail,
        notes=notes,
        baseline_name="WebSocket, CUBIC",
    )
    return NetworksReport(report, seen.cells)


def _plain(figure: Figure) -> dict[str, object]:
    value = None if math.isinf(figure.value) else figure.value
    return {
        "name": figure.name,
        "value": value,
        "unit": figure.unit,
        "limit": figure.limit,
        "ok": figure.within,
    }


def _notes(seen: Observed, seed: int) -> list[str]:
    late = max((cell["late_ms"].get("p99", 0.0) for cell in seen.cells), default=0.0)
    who = "an ordinary user" if seen.rootless else "root"
    notes = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.system()} {platform.release()}, seed {seed};"
        f" namespaces of {who}, joined by {seen.wire}.",
        "QUIC is what the native client speaks: WebTransport over HTTP/3, the framing of browsers, with"
        " CUBIC. The WebSockets carry the same calls, with the same resume.",
        f"The callers themselves were up to {late:.0f} ms late (p99 of the worst cell).",
    ]
    if late > LATE_MS:
        notes.append("The machine was busy: delays below say as much of it as of the networks. Run it again.")
    notes += [f"Not measured: {what}: {why}." for what, why in seen.missing.items()]
    return notes


def _comparison(cells: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="calls on bad networks", title_justify="left", title_style="bold")
    table.add_column("network")
    table.add_column("carried by", no_wrap=True)
    places_of = [at for at, (name, _) in enumerate(COLUMNS) if name in SHOWN]
    for at in places_of:
        table.add_column(COLUMNS[at][0], justify="right")
    before = ""
    for cell in cells:
        figures = written(cell)
        if before and cell["network"] != before:
            table.add_section()
        name = "" if cell["network"] == before else cell["network"]
        before = cell["network"]
        table.add_row(name, ARM_NAMES[cell["arm"]], *(figures[at] for at in places_of))
    table.caption = "late, silence, recovered, silenced: ms; word errors: %, of all and on time"
    table.caption_justify = "left"
    return table
