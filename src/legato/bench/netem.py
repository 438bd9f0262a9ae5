"""`legato bench netem`: how well the emulated link between two places keeps to what was asked of it.

Owns the question and its arithmetic. Every figure is taken with ordinary sockets in the places, so it
includes what a program sees of the kernel and of the other work of the machine; the baseline is the same
probe within one place, where no link is. Each impairment is measured by itself.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from legato.bench import usage
from legato.bench.figures import Figure, Report, percentiles
from legato.bench.places import Link, Place, Wire, join
from legato.bench.processes import BenchError, child, module

__all__ = ["netem"]

DELAY_US = 25_000
JITTER_US = 20_000
LOSS_PERCENT = 5
RATE_KBPS = 10_000
QUEUE_MS = 200

PACKET_BYTES = 200
FLOOD_BYTES = 1_172
"""With its headers, a packet of 1200 bytes."""
HEADER_BYTES = 28
SEGMENT_SHARE = 1448 / 1500
"""Payload of a full TCP segment with timestamps, of the bytes of its packet."""
CAPACITY_BYTES = 60_000_000
PORT = 4000
TIMEOUT_S = 60

LIMIT_P50_MS = 0.5
LIMIT_P99_MS = 10.0
LIMIT_JITTER_PERCENT = 5.0
LIMIT_LOSS_POINTS = 1.5
LIMIT_RATE_PERCENT = 2.0

_NETWORKS = {
    "delay": f"delay_ms = {DELAY_US / 1000}",
    "jitter": f"delay_ms = {DELAY_US / 1000}\njitter_ms = {JITTER_US / 1000}\novertaking = true",
    "loss": f"loss_percent = {LOSS_PERCENT}",
    "rate": f"delay_ms = 5\nrate_kbps = {RATE_KBPS}\nqueue_ms = {QUEUE_MS}",
    "capacity": "",
}


def netem(packets: int, wire: Wire | None) -> Report:
    """Measure delay, jitter, loss, rate and capacity of the link; `packets` of UDP for each of the first.

    Raises `BenchError` if the places cannot be made or a probe fails.
    """
    with _network("delay", wire) as link:
        used = link.wire
        delays = _paced(link.client, link.server, link.server.ipv4, packets)
        baseline = _paced(link.server, link.server, "127.0.0.1", packets)
    late_us = link.statistics["up"]["late_us"]
    with _network("jitter", wire) as link:
        jittered = _paced(link.client, link.server, link.server.ipv4, packets)
    with _network("loss", wire) as link:
        arrived = len(_paced(link.client, link.server, link.server.ipv4, packets))
    seen = link.statistics["up"]
    with _network("rate", wire) as link:
        count = RATE_KBPS * 2 * 1_000 // 8 // 1_200 * 2
        flood = _exchange(
            link.client,
            link.server,
            ["receive"],
            ["pace", link.server.ipv4, count, 1_200 * 8_000 // 14_000, FLOOD_BYTES],
        )
        steady = _bulk(link, RATE_KBPS * 1000 // 8 * 3)
    with _network("capacity", wire) as link:
        cpu_before = usage.cpu_us(link.pid)
        fastest = _bulk(link, CAPACITY_BYTES)
        cpu_us = usage.cpu_us(link.pid) - cpu_before
    carried = link.statistics["up"]["packets"] + link.statistics["down"]["packets"]
    udp_rate = flood["bytes_per_second"] * (FLOOD_BYTES + HEADER_BYTES) / FLOOD_BYTES * 8 / 1000
    measured: dict[str, Any] = {
        "wire": used,
        "packets": packets,
        "delay_error_ms": percentiles([delay - DELAY_US for delay in delays], 0.001),
        "handed_over_late_us": late_us,
        "baseline_delay_ms": percentiles(baseline, 0.001),
        "jitter_ms": _jitter(jittered, statistics.median(delays)),
        "loss_percent": round(100 * (1 - arrived / packets), 3),
        "lost_by_the_link": seen["lost"],
        "lost_elsewhere": packets - arrived - seen["lost"],
        "udp_rate_kbps": round(udp_rate, 1),
        "tcp_rate_kbps": round(steady / SEGMENT_SHARE / 1000, 1),
        "tcp_capacity_mbps": round(fastest / 1e6, 1),
        "cpu_us_per_packet": round(cpu_us / carried, 2),
    }
    return _report(measured)


def _loss_deviation(packets: int) -> float:
    return float((LOSS_PERCENT * (100 - LOSS_PERCENT) / packets) ** 0.5)


def _jitter(delays: Sequence[float], without: float) -> dict[str, float]:
    """The deciles 10, 50 and 90 of the extra delay in ms: a few packets that came late move none."""
    deciles = statistics.quantiles(delays, n=10)
    return {f"p{10 * (at + 1)}": round((deciles[at] - without) / 1000, 3) for at in (0, 4, 8)}


@contextlib.contextmanager
def _network(name: str, wire: Wire | None) -> Iterator[Link]:
    """Places joined by one of the networks above."""
    with tempfile.TemporaryDirectory(prefix="legato-bench-") as folder:
        file = Path(folder, f"{name}.toml")
        file.write_text(f'about = "{name} alone"\n[both]\n{_NETWORKS[name]}\n')
        with join(str(file), wire=wire) as link:
            yield link


def _exchange(source: Place, sink: Place, receive: Sequence[str], send: Sequence[object]) -> dict[str, Any]:
    """Run a receiver and a sender; return what the receiver saw."""
    receiver = sink.command(module("legato.bench.netem_probe", *receive, str(PORT)))
    role, address, *rest = map(str, send)
    sender = source.command(module("legato.bench.netem_probe", role, address, str(PORT), *rest))
    with child("the receiver", receiver) as process:
        process.readline()
        done = subprocess.run(sender, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise BenchError(f"the sender failed: {done.stderr.strip().splitlines()[-1:]}")
        seen: dict[str, Any] = json.loads(process.readline())
    return seen


def _paced(source: Place, sink: Place, address: str, packets: int) -> list[float]:
    """The one-way delays, in microseconds, of 400 datagrams a second."""
    seen = _exchange(source, sink, ["receive"], ["pace", address, packets, 2_500, PACKET_BYTES])
    delays: list[float] = seen["delays_us"]
    if not delays:
        raise BenchError("no datagram arrived at all")
    return delays


def _bulk(link: Link, size: int) -> float:
    """The bits per second at which TCP delivers `size` bytes."""
    seen = _exchange(link.client, link.server, ["sink"], ["bulk", link.server.ipv4, size])
    rate: float = seen["bytes"] * 8 / seen["seconds"]
    return rate


def _report(measured: dict[str, Any]) -> Report:
    error, baseline = measured["delay_error_ms"], measured["baseline_delay_ms"]
    # Evenly spread over the whole range.
    asked = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
    jitter_error = max(
        abs(measured["jitter_ms"][at] * 1000 / JITTER_US - share) for at, share in asked.items()
    )
    rate_error = [abs(measured[name] / RATE_KBPS - 1) for name in ("udp_rate_kbps", "tcp_rate_kbps")]
    figures = [
        Figure(
            name=f"delay above the {DELAY_US // 1000} ms asked, p50",
            value=error["p50"],
            unit="ms",
            limit=LIMIT_P50_MS,
            baseline=baseline["p50"],
        ),
        Figure(
            name="the same, p99", value=error["p99"], unit="ms", limit=LIMIT_P99_MS, baseline=baseline["p99"]
        ),
        Figure(
            name=f"jitter, error in {JITTER_US // 1000} ms",
            value=round(100 * jitter_error, 2),
            unit="%",
            limit=LIMIT_JITTER_PERCENT,
        ),
        Figure(
            name=f"loss, difference from {LOSS_PERCENT} %",
            value=round(abs(measured["loss_percent"] - LOSS_PERCENT), 3),
            unit="points",
            limit=LIMIT_LOSS_POINTS,
        ),
        Figure(name="packets lost by anything else", value=measured["lost_elsewhere"], unit="", limit=0),
        Figure(
            name=f"rate, UDP flood into {RATE_KBPS // 1000} Mbit/s, error",
            value=round(100 * rate_error[0], 2),
            unit="%",
            limit=LIMIT_RATE_PERCENT,
        ),
        Figure(
            name="rate, TCP, error", value=round(100 * rate_error[1], 2), unit="%", limit=LIMIT_RATE_PERCENT
        ),
        Figure(name="TCP without a rate", value=measured["tcp_capacity_mbps"], unit="Mbit/s"),
        Figure(name="CPU of the link per packet", value=measured["cpu_us_per_packet"], unit="µs"),
    ]
    notes = [
        f"{measured['packets']} datagrams each, 400 a second; places joined by {measured['wire']}",
        f"chance moves the loss by {_loss_deviation(measured['packets']):.2f} points, one standard deviation",
        "baseline: the same probe inside one place, so what is not the link's doing",
    ]
    return Report(
        title="netem: the emulated link between two places",
        figures=figures,
        detail={"bench": "netem", **measured},
        notes=notes,
        baseline_name="no link",
    )
