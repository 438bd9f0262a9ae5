"""`legato bench load`: what an echoed 20 ms frame costs the server, and whether every one arrives.

Owns the question and its arithmetic. The server is `legato serve --agent echo` with its usual settings; the
calls come from a second process with one UDP socket each; the baseline server is measured right after, in
the same way. Server and callers have cores of their own, so that a figure is about one core and repeats; the
server's is kept from halting.
"""

from __future__ import annotations

import json
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

__all__ = ["CPU_LIMIT_US", "MEMORY_LIMIT_KB", "generate", "load"]

CPU_LIMIT_US = 60
MEMORY_LIMIT_KB = 100


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


def load(sessions: int, seconds: float, baseline: bool = True) -> Report:
    """Measure; raises `BenchError` when a process fails."""
    with temporary_identity() as identity:
        ours = _measure("native", identity, sessions, seconds)
        theirs = _measure("websocket", identity, sessions, seconds) if baseline else None
    return _report(ours, theirs, sessions, seconds)


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


def _report(ours: Run, theirs: Run | None, sessions: int, seconds: float) -> Report:
    delay = ours.seen["echo_delay_ms"]
    other = theirs.detail() if theirs else None
    other_delay: dict[str, float] = theirs.seen["echo_delay_ms"] if theirs else {}
    figures = [
        Figure(
            name="server CPU per echoed frame",
            value=ours.cpu_us_per_frame,
            unit="µs",
            limit=CPU_LIMIT_US if sessions >= 100 else None,
            baseline=theirs.cpu_us_per_frame if theirs else None,
        ),
        Figure(
            name="frames lost",
            value=ours.seen["frames_lost"],
            unit="",
            limit=0,
            baseline=theirs.seen["frames_lost"] if theirs else None,
        ),
        *(
            Figure(name=f"echo delay {key}", value=delay[key], unit="ms", baseline=other_delay.get(key))
            for key in delay
        ),
        Figure(
            name="memory per call",
            value=ours.memory_kb_per_call,
            unit="kB",
            limit=MEMORY_LIMIT_KB if sessions >= 100 else None,
            baseline=theirs.memory_kb_per_call if theirs else None,
        ),
    ]
    detail: dict[str, object] = {
        "bench": "load",
        "sessions": sessions,
        "seconds": seconds,
        **ours.detail(),
        "baseline": other,
        "cpu_ratio_to_baseline": round(ours.cpu_us_per_frame / theirs.cpu_us_per_frame, 3)
        if theirs
        else None,
    }
    late = ours.seen["generator_late_ms"].get("p99", 0)
    notes = [
        f"{ours.seen['frames_sent']} frames; the server has one core, its callers the others",
        *(["the server's core was kept from halting, for the baseline too"] if ours.core_kept_awake else []),
        "baseline: websockets, uvloop and TLS, no compression",
        f"the generator was {late:.1f} ms late at p99; this is within the echo delay",
    ]
    title = f"load: {sessions} calls, {seconds:g} s"
    return Report(title=title, figures=figures, detail=detail, notes=notes, baseline_name="websockets")
