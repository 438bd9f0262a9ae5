"""The report as one page that needs nothing else: figures, tables and plots, light or dark.

Owns what the page says and how it looks; must not compute a figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

from legato.bench.figures import Figure
from legato.bench.networks.cases import ALL, ARMS, ON_TIME, Case, late_ms
from legato.bench.networks.plots import Band, Chart, Series, draw
from legato.bench.networks.rows import ARM_NAMES, COLUMNS, written

__all__ = ["Facts", "compose"]

Cell = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is said of the run itself: a line each, and the networks' own descriptions by name."""

    lines: Sequence[str]
    about: Mapping[str, str]


def compose(facts: Facts, figures: Sequence[Figure], cells: Sequence[Cell]) -> str:
    """Return the page."""
    style = resources.files("legato.bench.networks").joinpath("page.css").read_text(encoding="utf-8")
    networks = [case for case in ALL if any(cell["network"] == case.network for cell in cells)]
    body = [
        "<header><h1>Calls on bad networks</h1>",
        *(f"<p>{escape(line)}</p>" for line in facts.lines),
        _legend(),
        "</header><main>",
        _promises(figures),
        _overview(networks, cells),
        *(_trade_off(case, cells) for case in networks if case.on_time),
        *(_network(case, facts.about.get(case.network, ""), cells) for case in networks),
        _meanings(),
        "</main>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Calls on bad networks</title><style>{style}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _legend() -> str:
    keys = (
        f'<span><svg viewBox="0 0 34 8" aria-hidden="true"><path class="line s{number}" d="M1 4H33"/></svg>'
        f"{escape(ARM_NAMES[arm])}</span>"
        for number, arm in enumerate(ARMS)
    )
    return f'<p class="legend">{"".join(keys)}</p>'


def _promises(figures: Sequence[Figure]) -> str:
    rows = []
    for figure in figures:
        verdict = ("kept", "ok") if figure.within else ("missed", "over")
        limit = escape(figure.limit_text)
        baseline = "" if figure.baseline is None else escape(figure.text(figure.baseline))
        rows.append(
            f"<tr><th>{escape(figure.name)}</th><td>{escape(figure.text(figure.value))} {escape(figure.unit)}"
            f'</td><td>{limit}</td><td class="{verdict[1]}">{verdict[0]}</td><td>{baseline}</td></tr>'
        )
    return (
        "<section><h2>What is promised of calls over QUIC</h2><div class=scroll><table><thead><tr><th></th>"
        "<th>measured</th><th>limit</th><th></th><th>WebSocket, CUBIC</th></tr></thead><tbody>"
        f"{''.join(rows)}</tbody></table></div></section>"
    )


def _overview(networks: Sequence[Case], cells: Sequence[Cell]) -> str:
    """Bars of the figure that people feel: how late the end of an utterance comes, p95."""
    known = {(cell["network"], cell["arm"]): cell["end_delay_ms"].get("p95") for cell in cells}
    most = max((value for value in known.values() if value), default=1)
    rows = []
    for case in networks:
        bars = "".join(_bar(number, known.get((case.network, arm)), most) for number, arm in enumerate(ARMS))
        rows.append(f"<tr><th><a href='#{case.network}'>{case.network}</a></th><td>{bars}</td></tr>")
    return (
        "<section><h2>How late the end of an utterance reaches the agent, p95</h2><p>Beyond the time that a "
        "perfect transport would take on the same network; ten times as late is one step longer.</p>"
        f'<table class="bars"><tbody>{"".join(rows)}</tbody></table></section>'
    )


def _bar(number: int, value: float | None, most: float) -> str:
    if value is None:
        return '<div class="bar"><i>not measured</i></div>'
    late = max(value, 0)
    share = math.log10(max(late, 1)) / math.log10(max(most, 10))
    bar = f'<b class="s{number}" style="width:{share * 80:.1f}%"></b>'
    return f'<div class="bar">{bar}<i>{late:.0f} ms</i></div>'


def _trade_off(case: Case, cells: Sequence[Cell]) -> str:
    """What calls lose that must be on time, and how late those are that may lose nothing."""
    own = {cell["arm"]: cell for cell in cells if cell["network"] == case.network}
    if not any(arm in own for arm in ON_TIME):
        return ""
    chosen = [own[arm] for arm in (*reversed(ON_TIME), "quic") if arm in own]
    labels = [f"{late} ms" for cell in chosen if (late := late_ms(cell["arm"])) is not None]
    clean = max((cell["word_errors_said_percent"] or 0 for cell in chosen), default=0)
    charts = []
    for name, key, mark in (
        ("Audio left out", "lost_percent", None), ("Word errors", "word_errors_percent", clean)
    ):  # fmt: skip
        points = [(cell["end_delay_ms"]["p99"], cell[key] or 0.0) for cell in chosen]
        chart = Chart(
            title=f"{name} against delay", x_label="added delay of what is heard, p99, ms",
            y_label=f"{name.lower()}, %", top=10, mark=mark,
        )  # fmt: skip
        lines = [
            Series("in time", points[: len(labels)], labels, 0),
            Series("everything", points[len(labels) :], ["all"], 0),
        ]
        charts.append(f"<figure><figcaption>{name}, against delay</figcaption>{draw(chart, lines)}</figure>")
    return (
        f"<section><h2>Every word, or in time: {case.network}</h2><p>The same calls over QUIC, with all audio"
        " (profile turn) and with what is too late left out (profile duplex). The dashed line is what the "
        "recogniser gets wrong by itself.</p>"
        f'<div class="charts">{"".join(charts)}</div>{_choices(chosen)}</section>'
    )


def _choices(chosen: Sequence[Cell]) -> str:
    rows = []
    for cell in chosen:
        late, delay = late_ms(cell["arm"]), cell["end_delay_ms"]
        name = "all of it" if late is None else f"what is at most {late} ms late"
        texts = (
            f"{cell['lost_percent']:.1f} %",
            "?" if cell["word_errors_percent"] is None else f"{cell['word_errors_percent']:.1f} %",
            *(f"{max(delay[share], 0):.0f} ms" for share in ("p50", "p95", "p99")),
            f"{cell['reply_silence_ms'] or 0:.0f} ms",
            f"{cell['reply_skipped_ms']:.0f} ms",
        )
        figures = "".join(f"<td>{text}</td>" for text in texts)
        rows.append(f"<tr><th>{name}</th>{figures}</tr>")
    heads = ("left out", "word errors", "late p50", "late p95", "late p99", "silence", "skipped")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return (
        f"<div class=scroll><table><thead><tr><th>the agent gets</th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _network(case: Case, about: str, cells: Sequence[Cell]) -> str:
    own = {cell["arm"]: cell for cell in cells if cell["network"] == case.network}
    present = [(arm, own[arm]) for arm in ARMS if arm in own]
    bands = [Band(one.at_ms / 1000, one.until_ms / 1000) for one in case.disturbances]
    charts = []
    for way, what in (("up", "What the caller says"), ("down", "What the server sends")):
        lines = [Series(ARM_NAMES[arm], cell["timeline"][way]) for arm, cell in present]
        chart = Chart(
            title=f"{what}: delay along the call", x_label="seconds", y_label="added delay, ms", bands=bands
        )
        charts.append(f"<figure><figcaption>{what}, along the call</figcaption>{draw(chart, lines)}</figure>")
    curves = [Series(ARM_NAMES[arm], _shares(cell["curve"])) for arm, cell in present]
    chart = Chart(
        title="added delay by share of frames", x_label="% of frames come within",
        y_label="added delay, ms", decades=True,
    )  # fmt: skip
    charts.append(
        f"<figure><figcaption>Delay that a share of the audio stays within</figcaption>{draw(chart, curves)}"
        "</figure>"
    )
    return (
        f'<section id="{case.network}"><h2>{case.network}</h2><p>{escape(about)}.</p>'
        f'<div class="charts">{"".join(charts)}</div>{_table(present)}</section>'
    )


def _shares(curve: Sequence[float]) -> list[tuple[float, float]]:
    """The upper half: what comes early is of no interest."""
    last = max(len(curve) - 1, 1)
    return [(100 * at / last, late) for at, late in enumerate(curve) if at >= last / 2]


def _table(present: Sequence[tuple[Any, Cell]]) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name, _ in COLUMNS)
    rows = []
    for arm, cell in present:
        figures = "".join(f"<td>{escape(text)}</td>" for text in written(cell))
        rows.append(f"<tr><th>{escape(ARM_NAMES[arm])}</th>{figures}</tr>")
    head = f"<thead><tr><th></th>{heads}</tr></thead>"
    return f"<div class=scroll><table>{head}<tbody>{''.join(rows)}</tbody></table></div>"


def _meanings() -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(meaning)}</dd>" for name, meaning in COLUMNS)
    return f"<section><h2>What the columns mean</h2><dl>{rows}</dl></section>"
