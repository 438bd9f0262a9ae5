"""`legato bench realtime`: what a call of the OpenAI Realtime API costs, and how soon a turn is seen to end.

Owns the question and its arithmetic. The server is `legato serve` with its usual settings. For the cost it
echoes what callers append every 20 ms; the baseline echoes the same JSON unread. Both servers run on the same
core and are measured in turns, so that whatever else the machine does meets both alike. For the delay the
assistant listens with its real detector of speech.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from legato.bench.figures import Figure, Report, percentiles
from legato.bench.load import Run, generate
from legato.bench.processes import (
    Child,
    Identity,
    child,
    divided_cores,
    free_port,
    module,
    temporary_identity,
    wait_for_port,
)
from legato.bench.realtime_turns import SILENCE_MS, Turns, measure_turns
from legato.bench.serving import serve_command

__all__ = ["DELAY_LIMIT_MS", "RATIO_LIMIT", "realtime"]

RATIO_LIMIT = 1.3
"""Server CPU of a call, in multiples of the baseline's."""

DELAY_LIMIT_MS = 20
"""From the audio that completes the silence to `speech_stopped`."""

ROUNDS = 3
FULL_LOAD = 100
"""Calls from which on the limits count: with fewer, waking up costs more than the work."""

CALLS, TURNS = 4, 3
"""Calls at once, and turns in each, that the delay is measured with."""


def realtime(sessions: int, seconds: float, turns: bool = True) -> Report:
    """Measure; raises `BenchError` when a process fails."""
    with temporary_identity() as identity:
        ours, theirs = _cost(identity, sessions, seconds)
        spoken = _delay(identity) if turns else None
    return _report(ours, theirs, spoken, sessions, seconds)


@contextlib.contextmanager
def _server(name: str, identity: Identity, command: list[str], port: int) -> Iterator[Child]:
    with child(name, command, cores=divided_cores()[0]) as server:
        wait_for_port(server, port)
        yield server


def _cost(identity: Identity, sessions: int, seconds: float) -> tuple[list[Run], list[Run]]:
    """Measure both servers in turns."""
    files = (str(identity.certificate), str(identity.key))
    port, other = free_port(), free_port()
    rival = module("legato.bench.realtime_baseline", str(other), *files)
    ours: list[Run] = []
    theirs: list[Run] = []
    with (
        _server("the server", identity, serve_command(port, identity, "echo"), port) as server,
        _server("the baseline server", identity, rival, other) as baseline,
    ):
        kinds = (("realtime", server, port, ours), ("realtime-baseline", baseline, other, theirs))
        for kind, under_test, at, _ in kinds:
            # Once before the count, so that what is loaded on first use is not charged to the calls.
            generate(kind, under_test, at, identity, 1, 0.2)
        for _ in range(ROUNDS):
            for kind, under_test, at, runs in kinds:
                runs.append(_run(kind, under_test, at, identity, sessions, seconds / ROUNDS))
    return ours, theirs


def _run(kind: str, server: Child, port: int, identity: Identity, sessions: int, seconds: float) -> Run:
    before = server.memory_bytes()
    cpu, threads, memory, seen = generate(kind, server, port, identity, sessions, seconds)
    return Run(cpu, threads, before, memory, seconds, sessions, seen)


def _delay(identity: Identity) -> Turns:
    port = free_port()
    with _server("the assistant", identity, serve_command(port, identity, "assistant"), port):
        # One turn before the count: models are loaded with the first.
        asyncio.run(measure_turns(port, str(identity.certificate), 1, 1))
        return asyncio.run(measure_turns(port, str(identity.certificate), CALLS, TURNS))


def _sum(runs: list[Run], key: str) -> int:
    return sum(run.seen[key] for run in runs)


def _cpu_us(runs: list[Run]) -> float:
    """CPU time per 20 ms of a call, over all rounds, in microseconds."""
    return round(sum(run.cpu_us for run in runs) / max(1, _sum(runs, "frames_in_window")), 2)


def _report(
    ours: list[Run], theirs: list[Run], spoken: Turns | None, sessions: int, seconds: float
) -> Report:
    full = sessions >= FULL_LOAD
    cost, rival = _cpu_us(ours), _cpu_us(theirs)
    ratio = round(cost / rival, 3)
    late = _sum(ours, "frames_late")
    delays = [max(run.seen["echo_delay_ms"]["p99"] for run in runs) for runs in (ours, theirs)]
    figures = [
        Figure(name="server CPU per 20 ms of a call", value=cost, unit="µs", baseline=rival),
        Figure(name="… times the baseline", value=ratio, unit="", limit=RATIO_LIMIT if full else None),
        Figure(name="frames lost", value=_sum(ours, "frames_lost"), unit="", limit=0),
        Figure(
            name="frames late (over 60 ms)",
            value=late,
            unit="",
            limit=0 if full else None,
            baseline=_sum(theirs, "frames_late"),
        ),
        Figure(name="echo delay p99, worst round", value=delays[0], unit="ms", baseline=delays[1]),
    ]
    detail: dict[str, Any] = {
        "bench": "realtime",
        "sessions": sessions,
        "seconds": seconds,
        "server_cpu_us_per_frame": cost,
        "cpu_ratio_to_baseline": ratio,
        "frames_sent": _sum(ours, "frames_sent"),
        "frames_echoed": _sum(ours, "frames_echoed"),
        "frames_lost": _sum(ours, "frames_lost"),
        "frames_late": late,
        "rounds": [run.detail() for run in ours],
        "baseline": {"server_cpu_us_per_frame": rival, "rounds": [run.detail() for run in theirs]},
        "speech_stopped": None,
    }
    notes = [
        f"{detail['frames_sent']} frames as JSON over TLS; the server has one core, its callers the others",
        "baseline: the same JSON echoed unread by websockets and uvloop, measured in turns with the server",
    ]
    if spoken is not None:
        figures.append(_delay_figure(spoken))
        detail["speech_stopped"] = {
            "turns": len(spoken.delays_ms),
            "silence_ms": SILENCE_MS,
            "delay_ms": percentiles(spoken.delays_ms),
            "caller_late_ms": percentiles(spoken.late_ms),
        }
        notes.append(f"{len(spoken.delays_ms)} turns in {CALLS} calls at once; detector and voice as shipped")
    title = f"realtime: {sessions} calls, {seconds:g} s"
    return Report(title=title, figures=figures, detail=detail, notes=notes, baseline_name="websockets")


def _delay_figure(spoken: Turns) -> Figure:
    return Figure(
        name="speech_stopped after the silence, p50",
        value=percentiles(spoken.delays_ms)["p50"],
        unit="ms",
        limit=DELAY_LIMIT_MS,
    )
