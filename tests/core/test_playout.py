"""The ledger believes the player, but only what is possible."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core import Playback
from legato.core.playout import PlayoutLedger, ReplyProgress
from legato.core.state import ReplyCause, ReplyState


def a_ledger(reports: bool = True, *sent: int) -> tuple[PlayoutLedger, list[ReplyProgress]]:
    ledger = PlayoutLedger(reports)
    lines = []
    for generation, samples in enumerate(sent, 1):
        line = ledger.begin(generation, f"item_{generation}", 0, 16_000)
        ledger.first_sent(line, 0)
        line.sent = samples
        lines.append(line)
    return ledger, lines


def a_report(generation: int = 1, **fields: Any) -> Playback:
    return Playback(
        **{
            "item_id": f"item_{generation}",
            "generation": generation,
            "played": 0,
            "state": "playing",
            **fields,
        }
    )


def test_a_report_is_believed() -> None:
    ledger, (line,) = a_ledger(True, 100)
    assert ledger.report(a_report(played=40, buffered=60, underruns=2)) is line
    assert (line.played, line.buffered, line.underruns, line.playback) == (40, 60, 2, "playing")
    assert ledger.heard(1, 0) == 40
    assert ledger.lead_us(0) == 60 * 1_000_000 // 16_000
    assert ledger.violations == 0


@pytest.mark.parametrize(
    ("fields", "played", "buffered"),
    [
        ({"played": 101}, 100, 0),
        ({"played": 19}, 20, 0),
        ({"played": 50, "buffered": 51}, 50, 50),
    ],
)
def test_impossible_figures_are_clamped(fields: dict[str, Any], played: int, buffered: int) -> None:
    ledger, (line,) = a_ledger(True, 100)
    ledger.report(a_report(played=20))
    ledger.report(a_report(**fields))
    assert (line.played, line.buffered) == (played, buffered)
    assert ledger.violations == 1
    assert "is not between" in ledger.last_violation


@pytest.mark.parametrize("fields", [{"generation": 9}, {"item_id": "other"}, {"content_index": 1}])
def test_reports_about_nothing(fields: dict[str, Any]) -> None:
    ledger, _ = a_ledger(True, 100)
    assert ledger.report(a_report(**fields)) is None
    assert ledger.violations == 1
    assert ledger.heard(9, 0) == 0


def test_underruns_never_decrease() -> None:
    ledger, (line,) = a_ledger(True, 100)
    ledger.report(a_report(underruns=3))
    ledger.report(a_report(underruns=1))
    assert line.underruns == 3


def test_a_reply_played_to_its_end_is_settled() -> None:
    ledger, (line,) = a_ledger(True, 100)
    line.move(ReplyCause.FINISH)
    ledger.report(a_report(played=100, state="done"))
    assert (line.state, ledger.violations) == (ReplyState.SETTLED, 0)
    assert ledger.report(a_report(played=100)) is None
    assert (ledger.violations, ledger.lead_us(0)) == (1, 0)


def test_done_before_the_end_is_a_lie() -> None:
    ledger, (line,) = a_ledger(True, 100)
    ledger.report(a_report(played=100, state="done"))
    assert (line.state, ledger.violations) == (ReplyState.OPEN, 1)
    line.move(ReplyCause.FINISH)
    line.sent = 200
    ledger.report(a_report(played=150, state="done"))
    assert (line.state, ledger.violations) == (ReplyState.SETTLED, 2)


def test_a_player_may_stop_while_audio_is_still_sent() -> None:
    ledger, (line,) = a_ledger(True, 100)
    ledger.report(a_report(played=10, state="stopped"))
    assert (line.state, line.playback, ledger.violations) == (ReplyState.OPEN, "stopped", 0)


def test_after_a_flush_only_the_last_report_counts() -> None:
    ledger, lines = a_ledger(True, 100, 100, 100)
    ledger.flush(1, 2, 0)
    assert [line.state for line in lines] == [ReplyState.FLUSHED, ReplyState.FLUSHED, ReplyState.OPEN]
    assert ledger.lead_us(0) == 100 * 1_000_000 // 16_000
    ledger.report(a_report(played=30, state="stopped"))
    assert (lines[0].state, ledger.heard(1, 0)) == (ReplyState.SETTLED, 30)


def test_without_reports_playing_keeps_real_time() -> None:
    ledger, lines = a_ledger(False, 160, 320)
    assert [line.started_us for line in lines] == [0, 10_000]
    assert [ledger.heard(1, now) for now in (-5, 0, 5_000, 10_000, 99_000)] == [0, 0, 80, 160, 160]
    assert [ledger.heard(2, now) for now in (10_000, 20_000, 99_000)] == [0, 160, 320]
    assert ledger.lead_us(5_000) == 5_000 + 20_000


def test_without_reports_a_flush_ends_the_estimate() -> None:
    ledger, _ = a_ledger(False, 160, 320)
    ledger.flush(1, 2, 5_000)
    assert [ledger.heard(one, 99_000) for one in (1, 2)] == [80, 0]
    line = ledger.begin(3, "item_3", 0, 16_000)
    assert ledger.heard(3, 0) == 0
    ledger.first_sent(line, 6_000)
    assert line.started_us == 6_000


def test_the_ledger_forgets_the_oldest_that_takes_no_audio() -> None:
    ledger, lines = a_ledger(True, *[1] * 64)
    lines[1].move(ReplyCause.FINISH)
    ledger.begin(65, "item_65", 0, 16_000)
    assert ledger.get(1) is lines[0]
    assert ledger.get(2) is None
    ledger.begin(66, "item_66", 0, 16_000)
    assert ledger.get(3) is lines[2]


@given(
    reports=st.lists(
        st.tuples(
            st.integers(0, 300),
            st.integers(0, 300),
            st.integers(0, 3),
            st.sampled_from(["playing", "paused", "stopped", "done"]),
        )
    ),
    sent=st.integers(0, 200),
    finished=st.booleans(),
)
def test_no_report_makes_the_ledger_believe_the_impossible(
    reports: list[tuple[int, int, int, Any]], sent: int, finished: bool
) -> None:
    ledger, (line,) = a_ledger(True, sent)
    if finished:
        line.move(ReplyCause.FINISH)
    heard = 0
    for played, buffered, underruns, state in reports:
        ledger.report(a_report(played=played, buffered=buffered, underruns=underruns, state=state))
        assert heard <= line.played <= line.played + line.buffered <= sent
        heard = line.played
