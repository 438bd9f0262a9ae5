"""`legato bench connect`: round trips from the wish to connect until the server's agent has the first audio.

Owns the question. Server and client are on this machine and share CLOCK_MONOTONIC, so the agent's own clock
says when the audio came; a relay between them delays every packet. The WebSocket baseline goes through a
relay of the same delay, and is timed to its first binary message in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import statistics
import time
from collections.abc import Callable, Iterator

from legato.bench.agents import FIRST_AUDIO
from legato.bench.figures import Figure, Report
from legato.bench.processes import (
    BenchError,
    Identity,
    child,
    free_port,
    module,
    temporary_identity,
    wait_for_port,
)
from legato.bench.serving import serve_command
from legato.bench.websocket_caller import WebSocketCaller
from legato.client.events import ServerEvent
from legato.client.session import connect as call
from legato.client.settings import ClientSettings
from legato.core.audio import AudioFormat

__all__ = ["LIMIT_RTT", "connect"]

LIMIT_RTT = 1.6
PATIENCE_S = 20.0
PCM = AudioFormat("pcm16", 16_000)
_FRAME = bytes(640)
"""20 ms of samples."""


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
    """Call, speak at once; returns milliseconds until the agent had the audio."""
    return asyncio.run(_call(port, identity))


async def _call(port: int, identity: Identity) -> float:
    settings = ClientSettings(input=PCM, certificate_hashes=(identity.sha256,))
    start = time.monotonic_ns()
    session = call(f"https://127.0.0.1:{port}", settings)
    session.send_audio(_FRAME)
    async with asyncio.timeout(PATIENCE_S), session:
        async for event in session.events:
            if isinstance(event, ServerEvent) and event.type == FIRST_AUDIO:
                at_ns: int = event.event["at_ns"]
                return (at_ns - start) / 1e6
    raise BenchError("the call ended before its first audio was answered")


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
