"""Line charts as SVG that stands in a page by itself. Owns scales, ticks and marks; knows no network.

Colours are classes of the page (`s0`, `s1`, ...), so that a chart follows its light or dark theme, and each
line has a dash of its own as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Band", "Chart", "Series", "draw"]

WIDTH, HEIGHT = 380, 200
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 36


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name and its points, and what is written beside each if they are single ones. `colour` is
    the class of the page, without one that of its place."""

    name: str
    points: Sequence[tuple[float, float]]
    labels: Sequence[str] = ()
    colour: int | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the x axis that is marked; of no length: a line."""

    start: float
    stop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What the axes say. With `decades` the y axis is logarithmic, and ends at 1; else it begins at 0 and
    reaches at least `top`."""

    title: str
    x_label: str
    y_label: str
    decades: bool = False
    top: float = 50
    bands: Sequence[Band] = ()
    mark: float | None = None
    """A value that is to be told from others: a limit."""


def draw(chart: Chart, series: Sequence[Series]) -> str:
    """Return the chart as an <svg> element."""
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points] + ([chart.mark] if chart.mark else [])
    if not xs:
        return ""
    across = _Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT, False)
    if chart.decades:
        up = _Scale(1, 10 ** math.ceil(math.log10(max(10.0, *ys))), HEIGHT - BOTTOM, TOP, True)
    else:
        up = _Scale(0, max(_nice(max(ys)), chart.top), HEIGHT - BOTTOM, TOP, False)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{chart.title}: {chart.y_label}">',
        f"<title>{chart.title}</title>",
        *(_band(band, across) for band in chart.bands),
        *_axes(chart, across, up),
    ]
    if chart.mark is not None:
        at = up.place(chart.mark)
        parts.append(f'<path class="mark" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
    for place, line in enumerate(series):
        number = place if line.colour is None else line.colour
        parts.append(_line(number, line, across, up))
        parts += _points(number, line, across, up)
    parts.append("</svg>")
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places on the sheet; what lies outside is put at the edge."""

    low: float
    high: float
    first: float
    last: float
    decades: bool

    def place(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        if self.decades:
            share = math.log10(value / self.low) / math.log10(self.high / self.low)
        else:
            share = (value - self.low) / ((self.high - self.low) or 1)
        return self.first + share * (self.last - self.first)

    def ticks(self) -> list[float]:
        if self.decades:
            return [10.0**power for power in range(round(math.log10(self.high)) + 1)]
        step = _nice((self.high - self.low) / 5)
        first = math.ceil(self.low / step)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _nice(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, ..."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))


def _axes(chart: Chart, across: _Scale, up: _Scale) -> list[str]:
    parts = []
    for value in up.ticks():
        at = up.place(value)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in across.ticks():
        at = across.place(value)
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{chart.x_label}</text>'
    )
    height = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="label" transform="translate(12 {height}) rotate(-90)" text-anchor="middle">'
        f"{chart.y_label}</text>"
    )
    return parts


def _band(band: Band, across: _Scale) -> str:
    start, stop = across.place(band.start), across.place(band.stop)
    if band.start == band.stop:
        return f'<path class="moment" d="M{start:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
    return (
        f'<rect class="band" x="{start:.1f}" y="{TOP}" width="{stop - start:.1f}" '
        f'height="{HEIGHT - BOTTOM - TOP}"/>'
    )


def _points(number: int, line: Series, across: _Scale, up: _Scale) -> list[str]:
    """A dot for each labelled point, and its label where there is room: not on the way to the next one."""
    parts = []
    heights = [y for _, y in line.points]
    for at, ((x, y), label) in enumerate(zip(line.points, line.labels, strict=False)):
        left, top = across.place(x), up.place(y)
        beyond = left > WIDTH * 0.8
        rises = at + 1 < len(heights) and heights[at + 1] > y
        parts.append(f'<circle class="point s{number}" cx="{left:.1f}" cy="{top:.1f}" r="3.5"/>')
        parts.append(
            f'<text x="{left - 7 if beyond else left + 7:.1f}" y="{top + 15 if rises else top - 7:.1f}"'
            f' text-anchor="{"end" if beyond else "start"}">{label}</text>'
        )
    return parts


def _line(number: int, line: Series, across: _Scale, up: _Scale) -> str:
    places = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in line.points)
    return f'<polyline class="line s{number}" points="{places}"><title>{line.name}</title></polyline>'
