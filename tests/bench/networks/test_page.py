"""Verdicts, plots and the page, from figures made up here."""

import json
import math
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console
from tests.bench.networks.test_measures import CLEAN, OUTAGE, call, figures

from legato.bench.figures import Figure, Report
from legato.bench.networks.cases import ALL, Case
from legato.bench.networks.page import Facts, compose
from legato.bench.networks.plots import Band, Chart, Series, draw
from legato.bench.networks.report import NetworksReport
from legato.bench.networks.rows import COLUMNS, written
from legato.bench.networks.verdicts import promised

BURST = next(case for case in ALL if case.network == "lossy_burst")


def measured(case: Case, **changes: Any) -> dict[str, Any]:
    words = {
        "words": 100,
        "word_errors_said_percent": 3.0,
        "word_errors_percent": 3.0,
        "word_errors_on_time_percent": 4.0,
    }
    return {**figures(case, call(case)), **words, **changes}


def verdict(cells: list[dict[str, Any]], part: str) -> Figure:
    (found,) = [figure for figure in promised(cells) if part in figure.name]
    return found


def test_word_errors_are_held_against_those_of_the_same_speech() -> None:
    cells = [measured(CLEAN, word_errors_percent=0.0), measured(BURST, word_errors_percent=4.5)]
    beyond = verdict(cells, "beyond clean")
    assert (beyond.value, beyond.within) == (1.5, False)
    cells[1]["word_errors_percent"] = 4.0
    assert verdict(cells, "beyond clean").within


def test_word_errors_that_are_not_known_keep_no_promise() -> None:
    unknown = measured(BURST, word_errors_percent=None, word_errors_on_time_percent=None)
    assert not verdict([unknown], "beyond clean").within
    assert written(unknown)[4:6] == ["?", "?"]


def test_the_end_of_an_utterance_has_one_and_a_half_round_trips() -> None:
    late = verdict([measured(BURST, end_delay_ms={"p95": 151.0})], "p95")
    assert (late.limit, late.within) == (150, False)


def test_what_never_came_back_keeps_no_promise() -> None:
    cells = [measured(OUTAGE)]
    assert cells[0]["recovery_ms"][0]["up"] is None
    caught_up = verdict(cells, "caught up")
    assert math.isinf(caught_up.value)
    assert not caught_up.within


def test_a_websocket_stands_beside_and_is_not_judged() -> None:
    lossy = measured(CLEAN, arm="websocket-cubic", samples_lost=1)
    assert all(figure.within for figure in promised([lossy]))
    cells = [measured(BURST), measured(BURST, arm="websocket-cubic", end_delay_ms={"p95": 900.0})]
    beside = verdict(cells, "p95")
    assert (beside.within, beside.baseline) == (True, 900.0)


def test_a_row_has_a_text_for_every_column() -> None:
    row = dict(zip((name for name, _ in COLUMNS), written(measured(OUTAGE)), strict=True))
    assert row["samples lost"] == "0"
    assert row["word errors"] == "3.0"
    assert row["recovered"] == "never"
    assert row["silenced"] == "30"


@pytest.mark.parametrize("decades", [False, True])
def test_a_chart_is_drawn_within_its_frame(decades: bool) -> None:
    chart = Chart(
        title="t", x_label="x", y_label="y", decades=decades, bands=[Band(1, 2), Band(3, 3)], mark=70
    )
    svg = ET.fromstring(
        draw(chart, [Series("one", [(0, -5), (2, 100), (4, 7_000)]), Series("two", [(0, 0)])])
    )
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    lines = [part.attrib["points"] for part in svg if part.tag == "polyline"]
    assert len(lines) == 2
    for x, y in (place.split(",") for line in lines for place in line.split()):
        assert 0 <= float(x) <= width
        assert 0 <= float(y) <= height


def test_a_chart_of_nothing_is_nothing() -> None:
    assert draw(Chart(title="t", x_label="x", y_label="y"), []) == ""


class Reader(HTMLParser):
    """Checks that what is opened is closed, and keeps the words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "path", "rect", "polyline", "circle", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "rect", "polyline", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_says_everything_and_needs_nothing_else() -> None:
    cells = [measured(CLEAN), measured(OUTAGE), measured(OUTAGE, arm="websocket-bbr")]
    facts = Facts(lines=["a run & its <facts>"], about={"outage": "dead for 5 s"})
    reader = Reader()
    page = compose(facts, promised(cells), cells)
    reader.feed(page.replace("/>", ">"))
    text = " ".join(reader.words)
    assert "a run & its <facts>" in text
    assert "dead for 5 s." in text
    assert "missed" in text
    assert all(source.startswith("#") for source in reader.sources), "nothing is loaded"
    assert "prefers-color-scheme: dark" in page


def test_the_page_shows_what_being_on_time_costs() -> None:
    fades = next(case for case in ALL if case.on_time)
    lossy = {"lost_percent": 7.25, "end_delay_ms": {"p50": 1.0, "p95": 80.0, "p99": 97.0}}
    cells = [measured(fades), measured(fades, arm="on-time-100", word_errors_percent=12.0, **lossy)]
    page = compose(Facts(lines=[], about={}), [], cells)
    for said in ("what is at most 100 ms late", "all of it", "7.2 %", "12.0 %", "97 ms", ">100 ms<", ">all<"):
        assert said in page
    assert "Every word, or in time" not in compose(Facts(lines=[], about={}), [], cells[:1])


def test_it_prints_a_table_or_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [measured(CLEAN), measured(OUTAGE)]
    report = Report(title="t", figures=promised(cells), detail={"bench": "networks"}, notes=["a note"])
    both = NetworksReport(report, cells)
    assert not both.within
    both.print(as_json=True)
    assert json.loads(capsys.readouterr().out) == {"bench": "networks", "within_limits": False}
    both.print(as_json=False)
    printed = capsys.readouterr().out
    assert "never" in printed
    assert Console().width > 0
