"""`legato bench connect`: round trips from the wish to connect until the server's agent has the first audio.

Owns the question. Server and client are on this machine and share CLOCK_MONOTONIC, so the agent's own clock
says when the audio came; a relay between them delays every packet. The WebSocket baseline goes through a
relay of the same delay, and is timed to its first binary message in the same way.
"""

from __future__ import annotations

import contextlib
import ssl
import statistics
import time
from collections.abc import Callable, Iterator

from legato.bench.agents import FIRST_AUDIO
from legato.bench.figures import Figure, Report
from legato.bench.native_caller import NativeCalls
from legato.bench.processes import Identity, child, free_port, module, temporary_identity, wait_for_port
from legato.bench.pulse import FRAME_BYTES
from legato.bench.serving import serve_command
from legato.bench.websocket_caller import WebSocketCaller

__all__ = ["LIMIT_RTT", "connect"]

LIMIT_RTT = 1.6
_FRAME = b"\x48" + bytes(FRAME_BYTES - 1)
"""An Opus packet of 20 ms as far as anybody looks at it here."""


def connect(rtt_ms: float, repeats: int, baseline: bool = True) -> Report:
    """Measure `repeats` cold connections of each kind; raises `BenchError` when a process fails."""
    with temporary_identity() as identity:
        ours = _native(identity, rtt_ms, repeats)
        theirs = _websocket(identity, rtt_ms, repeats) if baseline else []
    return _report(ours, theirs, rtt_ms)


def _native(identity: Identity, rtt_ms: float, repeats: int) -> list[float]:
    server_port = free_port()
    command = serve_command(server_port, identity, "legato.bench.agents:first_audio")
    with child("the server", command) as server:
        wait_for_port(server, server_port)
        _first_native(server_port, identity)
        with _link("udp", server_port, rtt_ms) as port:
            return _repeat(repeats, lambda: _first_native(port, identity))


def _websocket(identity: Identity, rtt_ms: float, repeats: int) -> list[float]:
    server_port = free_port()
    files = (str(identity.certificate), str(identity.key))
    command = module("legato.bench.websocket_server", str(server_port), *files)
    with child("the WebSocket server", command) as server:
        wait_for_port(server, server_port)
        _first_websocket(server_port, identity)
        with _link("tcp", server_port, rtt_ms) as port:
            return _repeat(repeats, lambda: _first_websocket(port, identity))


def _first_native(port: int, identity: Identity) -> float:
    """Connect, send hello and audio at once; returns milliseconds until the agent had the audio."""
    start = time.monotonic_ns()
    calls = NativeCalls(port, identity.sha256, 1)
    call = calls.calls[0]
    call.send(0, _FRAME)
    try:
        calls.wait_until(lambda: any(event["type"] == FIRST_AUDIO for event in call.events), "first audio")
    finally:
        calls.close()
    at_ns: int = next(event["at_ns"] for event in call.events if event["type"] == FIRST_AUDIO)
    return (at_ns - start) / 1e6


def _first_websocket(port: int, identity: Identity) -> float:
    context = ssl.create_default_context(cafile=str(identity.certificate))
    start = time.monotonic_ns()
    caller = WebSocketCaller(port, context)
    try:
        caller.send_text("first")
        caller.send(_FRAME)
        return (int(caller.wait()) - start) / 1e6
    finally:
        caller.close()


def _repeat(times: int, measure: Callable[[], float]) -> list[float]:
    return [measure() for _ in range(times)]


@contextlib.contextmanager
def _link(kind: str, server_port: int, rtt_ms: float) -> Iterator[int]:
    port = free_port()
    command = module("legato.bench.delay_relay", kind, str(port), str(server_port), str(rtt_ms / 2))
    with child("the delay relay", command) as relay:
        relay.readline()
        yield port


def _report(ours: list[float], theirs: list[float], rtt_ms: float) -> Report:
    rtts = statistics.median(ours) / rtt_ms
    baseline = statistics.median(theirs) / rtt_ms if theirs else None
    figures = [
        Figure(
            name="connect to first audio at the agent",
            value=round(rtts, 3),
            unit="RTT",
            limit=LIMIT_RTT,
            baseline=baseline,
        ),
        Figure(
            name="the same, in time",
            value=round(statistics.median(ours), 1),
            unit="ms",
            baseline=statistics.median(theirs) if theirs else None,
        ),
    ]
    detail: dict[str, object] = {
        "bench": "connect",
        "rtt_ms": rtt_ms,
        "first_audio_rtts": round(rtts, 3),
        "first_audio_ms": [round(value, 2) for value in ours],
        "baseline": {
            "first_audio_rtts": round(baseline, 3),
            "first_audio_ms": [round(value, 2) for value in theirs],
        }
        if baseline is not None
        else None,
    }
    notes = [
        f"median of {len(ours)} cold connections each; the relay adds up to 0.2 ms each way",
        "baseline: websockets over TLS 1.3; its TCP handshake is given one round trip by the relay",
    ]
    return Report(
        title=f"connect: RTT {rtt_ms:g} ms",
        figures=figures,
        detail=detail,
        notes=notes,
        baseline_name="websockets",
    )
