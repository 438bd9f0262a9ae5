"""The commands, at their smallest, as processes: they measure, they print, they leave nothing behind.

Figures depend on the machine, so only what must hold anywhere is looked at.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LEGATO = str(Path(sys.executable).with_name("legato"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


def bench(*words: str) -> dict[str, Any]:
    """Run a benchmark and return what it says; 1 means no more than a figure outside its limit."""
    done = subprocess.run(
        [LEGATO, "bench", *words, "--json"], capture_output=True, text=True, timeout=80, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.count("\n") == 1, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["within_limits"] is (done.returncode == 0)
    return report


def test_load_loses_no_frame() -> None:
    report = bench("load", "--sessions", "3", "--seconds", "1", "--runs", "1")
    for run in (report, report["baseline"]):
        assert run["frames_sent"] == run["frames_echoed"] == 375
        assert run["frames_lost"] == run["frames_out_of_order"] == 0
        assert run["server_cpu_us_per_frame"] > 0
        assert 0 < run["echo_delay_ms"]["p50"] <= run["echo_delay_ms"]["p99"]
        assert run["core_kept_awake"] is (len(os.sched_getaffinity(0)) > 1)
    assert report["within_limits"]


def test_connect_takes_no_less_than_light() -> None:
    report = bench("connect", "--rtt-ms", "40", "--repeats", "2")
    assert report["first_audio_rtts"] >= 1.5
    assert report["baseline"]["first_audio_rtts"] >= 3.5


def test_stream_delivers_every_byte() -> None:
    report = bench("stream", "--repeats", "1", "--no-baseline")
    assert report["reply_bytes"] == 20_000_000
    assert report["mb_per_server_cpu_second"] > 0
    assert report["baseline"] is None


def test_realtime_loses_no_frame_and_hears_turns_end() -> None:
    report = bench("realtime", "--sessions", "3", "--seconds", "3")
    assert report["frames_sent"] == report["frames_echoed"] == 3 * 3 * 125
    assert report["frames_lost"] == 0
    assert report["server_cpu_us_per_frame"] > 0
    assert report["baseline"]["server_cpu_us_per_frame"] > 0
    assert report["cpu_ratio_to_baseline"] > 0
    turns = report["speech_stopped"]
    assert turns["turns"] == 12
    assert turns["silence_ms"] == 500
    assert 0 < turns["delay_ms"]["p50"] <= turns["delay_ms"]["p99"] < 20_000


def test_a_wrong_flag_is_a_usage_error() -> None:
    done = subprocess.run([LEGATO, "bench", "load", "--sessions", "0"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
