"""`legato bench stream`: how much speech a server's CPU second moves to one caller who listens as fast as
he can.

Owns the question: one reply of 20 MB of PCM, agent to session to engine to client, several times over one
call; the median counts. The baseline sends as much in messages of 64 KiB. A kernel that sends TCP does part
of the work outside the process, so the baseline is charged less than it costs.
"""

from __future__ import annotations

import ssl
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from legato.bench.agents import BULK_BYTES, BULK_FORMAT
from legato.bench.figures import Figure, Report
from legato.bench.native_caller import NativeCall, NativeCalls
from legato.bench.processes import (
    Child,
    Identity,
    child,
    free_port,
    module,
    temporary_identity,
    wait_for_port,
)
from legato.bench.serving import serve_command
from legato.bench.websocket_caller import WebSocketCaller
from legato.core.wire.messages import Capabilities, Hello

__all__ = ["LIMIT_MB_PER_CPU_SECOND", "stream"]

LIMIT_MB_PER_CPU_SECOND = 300
LEAD_MS = 600_000
"""Further ahead than the reply is long, so that playback does not slow it down."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One reply: the server's CPU time and the time until the client had all of it, in seconds."""

    cpu_s: float
    elapsed_s: float

    @property
    def mb_per_cpu_second(self) -> float:
        """Return megabytes (10^6 bytes) per second of server CPU."""
        return BULK_BYTES / 1e6 / self.cpu_s


def stream(repeats: int, baseline: bool = True) -> Report:
    """Measure `repeats` replies of each kind; raises `BenchError` when a process fails."""
    with temporary_identity() as identity:
        ours = _native(identity, repeats)
        theirs = _websocket(identity, repeats) if baseline else []
    return _report(ours, theirs)


def _native(identity: Identity, repeats: int) -> list[Delivery]:
    port = free_port()
    command = serve_command(port, identity, "legato.bench.agents:bulk")
    with child("the server", command, LEGATO_LEAD_MS=str(LEAD_MS)) as server:
        wait_for_port(server, port)
        hello = Hello(
            input=BULK_FORMAT,
            output=(BULK_FORMAT,),
            lead_ms=LEAD_MS,
            capabilities=Capabilities(playback_reports=True),
            client="legato bench",
        )
        calls = NativeCalls(port, identity.sha256, 1, hello)
        try:
            calls.wait_for_welcomes()
            _deliver(calls)
            return [_timed(server, lambda: _deliver(calls)) for _ in range(repeats)]
        finally:
            calls.close()


def _deliver(calls: NativeCalls) -> None:
    """Ask for one reply, wait for its last byte, and say that it was played."""
    call = calls.calls[0]
    received = 0

    def complete() -> bool:
        nonlocal received
        received += _taken(call)
        return received >= BULK_BYTES

    call.say({"type": "bench.more"})
    calls.wait_until(complete, "the end of the reply", 60)
    call.report("done")


def _taken(call: NativeCall) -> int:
    size = call.received_bytes
    call.received_bytes = 0
    return size


def _websocket(identity: Identity, repeats: int) -> list[Delivery]:
    port = free_port()
    files = (str(identity.certificate), str(identity.key))
    with child("the WebSocket server", module("legato.bench.websocket_server", str(port), *files)) as server:
        wait_for_port(server, port)
        caller = WebSocketCaller(port, ssl.create_default_context(cafile=str(identity.certificate)))

        def deliver() -> None:
            caller.send_text(f"stream {BULK_BYTES}")
            while caller.wait() != b"end":
                pass

        try:
            deliver()
            return [_timed(server, deliver) for _ in range(repeats)]
        finally:
            caller.close()


def _timed(server: Child, deliver: Callable[[], None]) -> Delivery:
    cpu, started = server.cpu_us(), time.monotonic()
    deliver()
    elapsed = time.monotonic() - started
    return Delivery((server.cpu_us() - cpu) / 1e6, elapsed)


def _report(ours: list[Delivery], theirs: list[Delivery]) -> Report:
    rate = statistics.median(one.mb_per_cpu_second for one in ours)
    other = statistics.median(one.mb_per_cpu_second for one in theirs) if theirs else None
    speed = statistics.median(BULK_BYTES / 1e6 / one.elapsed_s for one in ours)
    other_speed = statistics.median(BULK_BYTES / 1e6 / one.elapsed_s for one in theirs) if theirs else None
    figures = [
        Figure(
            name="reply per server CPU second",
            value=round(rate, 1),
            unit="MB",
            limit=LIMIT_MB_PER_CPU_SECOND,
            at_least=True,
            baseline=other,
        ),
        Figure(name="reply per second", value=round(speed, 1), unit="MB", baseline=other_speed),
    ]
    detail: dict[str, object] = {
        "bench": "stream",
        "reply_bytes": BULK_BYTES,
        "mb_per_server_cpu_second": round(rate, 1),
        "mb_per_second": round(speed, 1),
        "server_cpu_seconds": [round(one.cpu_s, 4) for one in ours],
        "baseline": {
            "mb_per_server_cpu_second": round(other, 1),
            "mb_per_second": round(other_speed, 1),
            "server_cpu_seconds": [round(one.cpu_s, 4) for one in theirs],
        }
        if other is not None and other_speed is not None
        else None,
    }
    notes = [
        f"median of {len(ours)} replies of {BULK_BYTES // 10**6} MB of PCM, a second to a record",
        "baseline: websockets and TLS; TCP work that the kernel does elsewhere is not charged to it",
    ]
    return Report(
        title="stream: one caller, as fast as it goes",
        figures=figures,
        detail=detail,
        notes=notes,
        baseline_name="websockets",
    )
