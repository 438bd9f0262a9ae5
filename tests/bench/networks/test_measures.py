"""What each figure means, on calls made up to the microsecond."""

from typing import Any

import pytest

from legato.bench.networks.cases import ALL, Case
from legato.bench.networks.measures import arrived_by, measure, recovery_ms

CLEAN = next(case for case in ALL if case.network == "clean")
OUTAGE = next(case for case in ALL if case.network == "outage")
BEGUN = 5_000_000
FRAME = 320


def frames(case: Case, count: int, late_ms: Any = lambda number: 0) -> list[list[int]]:
    """Frames of 20 ms captured from the beginning of the story on, each late by `late_ms`."""
    made = []
    for number in range(count):
        captured = BEGUN + number * 20_000
        story_ms = (captured - BEGUN) / 1000 + 20
        arrived = captured + 20_000 + round(1000 * (case.delay_ms(story_ms) + late_ms(number)))
        made.append([number * FRAME, captured, arrived])
    return made


def call(case: Case, count: int = 100, **changes: Any) -> dict[str, Any]:
    reply = {
        "asked_us": BEGUN,
        "first_us": BEGUN + 60_000,
        "last_us": BEGUN + 8_000_000,
        "silent_ms": 0.0,
        "interrupted_us": None,
        "stale_blocks": 0,
        "played_ms": None,
        "skipped_ms": 0.0,
    }
    interrupted = {**reply, "interrupted_us": BEGUN + 7_990_000, "played_ms": 1500.0}
    return {
        "name": "call-0",
        "failed": "",
        "dialled_us": BEGUN - 100_000,
        "started_us": BEGUN,
        "captured": count * FRAME,
        "replies": [reply, interrupted],
        "ticks": [[BEGUN + at, BEGUN + at + 1000 * case.delay_ms(0)] for at in range(0, 2_000_000, 40_000)],
        "resumed": [],
        "late_us": [0] * count,
        "ear": {
            "frames": frames(case, count),
            "gaps": [],
            "received": count * FRAME,
            "sha256": "whole",
            "replies": [{"heard_ms": 8000}, {"heard_ms": 1500}],
        },
        **changes,
    }


def cell(case: Case, *calls: dict[str, Any]) -> dict[str, Any]:
    return {
        "network": case.network,
        "arm": "quic",
        "begun_us": BEGUN,
        "calls": list(calls),
        "packets": {},
    }


def figures(case: Case, *calls: dict[str, Any]) -> dict[str, Any]:
    return measure(case, cell(case, *calls), {"call-0": "whole"})


def test_a_perfect_call_adds_nothing() -> None:
    seen = figures(CLEAN, call(CLEAN))
    assert seen["end_delay_ms"] == {"p50": 0, "p95": 0, "p99": 0}
    assert (seen["samples_lost"], seen["damaged_calls"], seen["reply_silence_ms"]) == (0, 0, 0)
    assert seen["first_audio_ms"] == 100 + 20 + 25
    assert seen["barge_in_ms"] == 10 + 20, "what was handed over sounds to its end"
    assert seen["heard_error_ms"] == 0
    assert seen["timeline"]["up"][0] == (0.0, 0.0)
    assert len(seen["curve"]) == 51


def test_what_did_not_come_is_lost() -> None:
    short = call(CLEAN)
    short["ear"] |= {"received": 90 * FRAME, "gaps": [[0, 2 * FRAME]], "sha256": "another"}
    seen = figures(CLEAN, call(CLEAN), short)
    assert seen["samples_lost"] == 12 * FRAME
    assert seen["damaged_calls"] == 1


def test_a_call_without_an_account_lost_everything() -> None:
    gone = call(CLEAN, ear=None, failed="the server is gone")
    seen = figures(CLEAN, gone)
    assert seen["samples_lost"] == 100 * FRAME
    assert seen["failed"] == ["the server is gone"]
    assert seen["reply_silence_ms"] is None
    assert seen["heard_error_ms"] is None
    assert seen["end_delay_ms"] == {}


def test_the_delay_of_half_of_the_frames_is_the_median() -> None:
    late = call(CLEAN)
    late["ear"]["frames"] = frames(CLEAN, 100, lambda number: 80 if number >= 40 else 0)
    assert figures(CLEAN, late)["end_delay_ms"] == {"p50": 80, "p95": 80, "p99": 80}


def test_recovery_ends_with_the_first_that_is_on_time_again() -> None:
    # Everything of the outage comes 300 ms after its end.
    late = [(story, max(0.0, 9_300.0 - story - 50)) for story in range(3_900, 9_600, 20)]
    assert recovery_ms(OUTAGE, late, 9_000) == pytest.approx(300, abs=20)
    assert recovery_ms(OUTAGE, [(8_000, 5_000)], 9_000) is None
    disturbed = figures(OUTAGE, call(OUTAGE))["recovery_ms"]
    assert disturbed == [{"what": "outage", "until_ms": 9_000, "up": None, "down": None}]


def test_what_has_arrived_ends_before_the_first_that_has_not() -> None:
    whole = call(CLEAN)
    assert arrived_by(whole, BEGUN + 10_000_000) == 100 * FRAME
    assert arrived_by(whole, BEGUN + 20_000 + 25_000) == FRAME
    assert arrived_by(call(CLEAN, ear=None), BEGUN) == 0
