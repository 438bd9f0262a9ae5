"""The process that makes the load: opens the calls, sends frames, and prints what it saw.

Owns the conversation with the process that measures: one JSON object per line. "up" when all calls are open,
"window" when counting starts, "closed" when it ends, then "result". Knows how calls are opened, not what
they cost.

Runs as a process: `python -m legato.bench.generator KIND PORT CERTIFICATE SHA256 SESSIONS SECONDS`, where
KIND is native, websocket, realtime or realtime-baseline.
"""

from __future__ import annotations

import json
import sys
import time

from legato.bench.figures import percentiles
from legato.bench.native_caller import NativeCalls
from legato.bench.processes import BenchError
from legato.bench.pulse import LATE_NS, Calls, PulseResult, PulseTimes, pulse
from legato.bench.realtime_caller import RealtimeCalls
from legato.bench.websocket_caller import WebSocketCalls


def _say(step: str, **more: object) -> None:
    print(json.dumps({"step": step, **more}), flush=True)


def open_calls(kind: str, port: int, certificate: str, sha256: str, sessions: int) -> Calls:
    """Open calls of a kind."""
    if kind == "websocket":
        return WebSocketCalls(port, certificate, sessions)
    if kind.startswith("realtime"):
        return RealtimeCalls(port, certificate, sessions, baseline=kind != "realtime")
    calls = NativeCalls(port, bytes.fromhex(sha256), sessions)
    calls.wait_for_welcomes()
    return calls


def report(result: PulseResult, cpu_seconds: float) -> dict[str, object]:
    """Return a result as plain numbers: counts, and milliseconds."""
    return {
        "frames_sent": result.frames_sent,
        "frames_echoed": result.frames_echoed,
        "frames_lost": result.frames_sent - result.frames_echoed,
        "frames_out_of_order": result.frames_out_of_order,
        "frames_late": sum(delay > LATE_NS for delay in result.delays_ns or ()),
        "frames_in_window": result.frames_in_window,
        "echo_delay_ms": percentiles(result.delays_ns or [], 1e-6),
        "generator_late_ms": percentiles(result.late_ns or [], 1e-6),
        "generator_cpu_seconds": round(cpu_seconds, 3),
    }


def main(kind: str, port: int, certificate: str, sha256: str, sessions: int, seconds: float) -> None:
    """Make the load once."""
    try:
        calls = open_calls(kind, port, certificate, sha256, sessions)
    except (BenchError, OSError) as error:
        _say("failed", why=str(error))
        return
    _say("up")
    started = time.process_time()
    times = PulseTimes(window=seconds)
    result = pulse(calls, times, lambda within: _say("window" if within else "closed"))
    _say("result", **report(result, time.process_time() - started))
    calls.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]), float(sys.argv[6]))
