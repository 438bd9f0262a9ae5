"""`legato bench load`: what an echoed 20 ms frame costs the server, and whether every one arrives.

Owns the question and its arithmetic. The server is `legato serve --agent echo` with its usual settings; the
calls come from a second process with one UDP socket each; the baseline server is measured in the same way.
Both are measured by turns and the best run of each counts, because what else a machine does only ever adds.
Server and callers have cores of their own, so that a figure is about one core and repeats; the server's is
kept from halting.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from legato.bench.awake import kept_awake
from legato.bench.figures import Figure, Report
from legato.bench.processes import (
    BenchError,
    Child,
    Identity,
    child,
    divided_cores,
    free_port,
    module,
    temporary_identity,
    wait_for_port,
)
from legato.bench.serving import serve_command

__all__ = ["Run", "cpu_limit_us", "generate", "load"]

CPU_LIMIT_US = 60
"""What a frame may cost where the baseline takes `BASELINE_US`; on a slower machine, in proportion
(docs/decisions/0024-a-limit-for-every-machine.md)."""

BASELINE_US = 65

MEMORY_LIMIT_KB = 100

RUNS = 5
"""How often each server is measured."""


@dataclass(frozen=True, slots=True)
class Run:
    """One server under load: CPU and memory from outside, everything else from the generator."""

    cpu_us: int
    threads_us: dict[str, int]
    memory_before: int
    memory_during: int
    seconds: float
    sessions: int
    seen: dict[str, Any]
    core_kept_awake: bool = False

    @property
    def cpu_us_per_frame(self) -> float:
        """CPU time of the server's process per frame echoed in the window, in microseconds."""
        frames: int = self.seen["frames_in_window"]
        return round(self.cpu_us / frames, 2) if frames else float("inf")

    @property
    def by_thread(self) -> dict[str, float]:
        """The same by thread, of those that did anything."""
        frames: int = self.seen["frames_in_window"]
        shares = {name: round(us / max(1, frames), 2) for name, us in self.threads_us.items()}
        return {name: share for name, share in shares.items() if share >= 0.1}

    @property
    def memory_kb_per_call(self) -> float:
        """Resident memory added by the calls, per call, in kB."""
        return round((self.memory_during - self.memory_before) / self.sessions / 1000, 1)

    def detail(self) -> dict[str, object]:
        """Return the run for `--json`."""
        return {
            "server_cpu_us_per_frame": self.cpu_us_per_frame,
            "server_cpu_us_per_frame_by_thread": self.by_thread,
            "server_cores": round(self.cpu_us / self.seconds / 1e6, 3),
            "core_kept_awake": self.core_kept_awake,
            "memory_kb_per_call": self.memory_kb_per_call,
            **self.seen,
        }


def load(sessions: int, seconds: float, baseline: bool = True, runs: int = RUNS) -> Report:
    """Measure; raises `BenchError` when a process fails."""
    ours: list[Run] = []
    theirs: list[Run] = []
    with temporary_identity() as identity:
        for _ in range(runs):
            ours.append(_measure("native", identity, sessions, seconds))
            if baseline:
                theirs.append(_measure("websocket", identity, sessions, seconds))
    return _report(ours, theirs, sessions, seconds)


def cpu_limit_us(baseline_us: float | None) -> float:
    """Return what a frame may cost on a machine where the baseline takes so much; None: not known."""
    return round(CPU_LIMIT_US * max(1.0, (baseline_us or 0) / BASELINE_US), 1)


def _measure(kind: str, identity: Identity, sessions: int, seconds: float) -> Run:
    port = free_port()
    if kind == "native":
        command = serve_command(port, identity, "echo")
    else:
        files = (str(identity.certificate), str(identity.key))
        command = module("legato.bench.websocket_server", str(port), *files)
    cores = divided_cores()[0]
    with child(f"the {kind} server", command, cores=cores) as server, kept_awake(cores) as awake:
        wait_for_port(server, port)
        # One call before the count, so that what is loaded on first use is not charged to the calls.
        generate(kind, server, port, identity, 1, 0.2)
        memory_before = server.memory_bytes()
        cpu, threads, memory, seen = generate(kind, server, port, identity, sessions, seconds)
    return Run(cpu, threads, memory_before, memory, seconds, sessions, seen, awake)


def generate(
    kind: str, server: Child, port: int, identity: Identity, sessions: int, seconds: float
) -> tuple[int, dict[str, int], int, dict[str, Any]]:
    """Run the generator once; returns the server's CPU time in the window, by thread too, its memory at the
    end of it, and what the generator saw."""
    command = module(
        "legato.bench.generator",
        kind,
        str(port),
        str(identity.certificate),
        identity.sha256.hex(),
        str(sessions),
        str(seconds),
    )
    cpu = memory = 0
    threads: dict[str, int] = {}
    with child("the load generator", command, cores=divided_cores()[1]) as generator:
        while True:
            line = json.loads(generator.readline())
            if line["step"] == "window":
                cpu, threads = server.cpu_us(), server.cpu_us_by_thread()
            elif line["step"] == "closed":
                cpu = server.cpu_us() - cpu
                threads = {
                    name: spent - threads.get(name, 0) for name, spent in server.cpu_us_by_thread().items()
                }
                memory = server.memory_bytes()
            elif line["step"] == "result":
                del line["step"]
                return cpu, threads, memory, line
            elif line["step"] == "failed":
                raise BenchError(line["why"])


def _best(runs: Sequence[Run]) -> Run | None:
    return min(runs, key=lambda run: run.cpu_us_per_frame, default=None)


def _report(ours: Sequence[Run], theirs: Sequence[Run], sessions: int, seconds: float) -> Report:
    best, other = min(ours, key=lambda run: run.cpu_us_per_frame), _best(theirs)
    delay = best.seen["echo_delay_ms"]
    other_delay: dict[str, float] = other.seen["echo_delay_ms"] if other else {}
    cpu_limit = cpu_limit_us(other.cpu_us_per_frame if other else None)
    lost = sum(run.seen["frames_lost"] for run in ours)
    figures = [
        Figure(
            name="server CPU per echoed frame",
            value=best.cpu_us_per_frame,
            unit="µs",
            limit=cpu_limit if sessions >= 100 else None,
            baseline=other.cpu_us_per_frame if other else None,
        ),
        Figure(
            name="frames lost",
            value=lost,
            unit="",
            limit=0,
            baseline=sum(run.seen["frames_lost"] for run in theirs) if theirs else None,
        ),
        *(
            Figure(name=f"echo delay {key}", value=delay[key], unit="ms", baseline=other_delay.get(key))
            for key in delay
        ),
        Figure(
            name="memory per call",
            value=best.memory_kb_per_call,
            unit="kB",
            limit=MEMORY_LIMIT_KB if sessions >= 100 else None,
            baseline=other.memory_kb_per_call if other else None,
        ),
    ]
    detail: dict[str, object] = {
        "bench": "load",
        "sessions": sessions,
        "seconds": seconds,
        **best.detail(),
        "frames_lost": lost,
        "cpu_limit_us": cpu_limit,
        "cpu_us_per_frame_by_run": [run.cpu_us_per_frame for run in ours],
        "baseline": other.detail() if other else None,
        "baseline_cpu_us_per_frame_by_run": [run.cpu_us_per_frame for run in theirs],
        "cpu_ratio_to_baseline": round(best.cpu_us_per_frame / other.cpu_us_per_frame, 3) if other else None,
    }
    title = f"load: {sessions} calls, {seconds:g} s, best of {len(ours)}"
    return Report(
        title=title, figures=figures, detail=detail, notes=_notes(best, other), baseline_name="websockets"
    )


def _notes(best: Run, other: Run | None) -> list[str]:
    notes = [f"{best.seen['frames_sent']} frames a run; the server has one core, its callers the others"]
    if best.core_kept_awake:
        notes.append("the server's core was kept from halting, for the baseline too")
    if other:
        notes.append("baseline: websockets, uvloop and TLS, no compression")
        notes.append(
            f"limit: {CPU_LIMIT_US} µs where the baseline takes {BASELINE_US}, and in proportion elsewhere"
        )
    late = best.seen["generator_late_ms"].get("p99", 0)
    return [*notes, f"the generator was {late:.1f} ms late at p99; this is within the echo delay"]
