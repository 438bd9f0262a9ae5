"""`legato bench balance`: what balancing costs, beside nginx's stream proxy for UDP in the same run.

Owns the question and its arithmetic. CPU and delay are taken by a program of crates/forwarder, whose load
is cheap enough to saturate a forwarder; memory is that of a real `legato balance` before and after a million
clients.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legato.bench.balance_clients import send_from
from legato.bench.balance_delay import DelayServer, measure_delay
from legato.bench.balance_kernel import measure_kernel
from legato.bench.figures import Figure, Report, percentiles
from legato.bench.processes import BenchError, Child, child, module
from legato.fleet_keys import FleetKeys

__all__ = ["balance"]

ROOT = Path(__file__).parents[3]
BUILD = [
    "cargo", "build", "--release", "--locked", "--quiet", "--message-format=json",
    "--package", "legato-forwarder", "--example",
]  # fmt: skip

LIMIT_OF_NGINX = 0.6
LIMIT_DELAY_US = 200.0
LIMIT_GROWTH_KB = 1024.0
"""A million clients of one octet each would be as much."""

SERVERS = 3
STEPS = (1, 1_000, 1_000_000)

PROGRAMS = f"{os.environ.get('PATH', '')}:/usr/sbin"
"""Where programs are, nginx included, which is not on the path of everybody."""

START_S = 30.0

DELAYS = 2_000
"""Packets each way for the figures of delay."""

Rounds = dict[str, list[dict[str, float]]]


@dataclass(frozen=True)
class _Memory:
    clients: int
    resident_kb: float
    forwarded: int


def balance(clients: int = STEPS[-1]) -> Report:
    """Measure CPU for each packet, added delay, and memory with up to so many clients.

    Raises `BenchError` if the load cannot be built or a balancer does not start.
    """
    if shutil.which("nginx", path=PROGRAMS) is None:
        raise BenchError("nginx is not installed, and the figures are ratios to it: apt-get install nginx")
    load = _example("forward_bench")
    measured: dict[str, Rounds] = json.loads(_output([load, "--json", "plane", "nginx"]))
    kernel = measure_kernel(_example, _output)
    memory = _memory([step for step in STEPS if step < clients] + [clients])
    ratios = {load: _ratio(measured[load]) for load in ("saturated", "paced")}
    delays = _delays(DELAYS)
    added = {key: delays["balanced"][key] - delays["direct"][key] for key in ("p50", "p99")}
    return Report(
        title="Balancing 120-byte packets over 3 servers",
        figures=[
            *_cost(measured, ratios),
            *kernel.figures(_middle(measured["saturated"]["nginx"], "nanoseconds")),
            *_side_effects(delays, added, memory),
        ],
        baseline_name="nginx",
        detail={
            "payload_bytes": 120,
            "ratio_to_nginx": ratios,
            "added_delay_us": added,
            "delay_us": delays,
            "quiet_enough_for_p99": _quiet(delays),
            "memory": [vars(step) for step in memory],
            "rounds": measured,
            "xdp": {"not_measured": kernel.obstacle, "rounds": kernel.rounds},
        },
        notes=[
            "One thread each; clients, servers and forwarder share this machine, so delays are its"
            " scheduler's, too: compare the columns.",
            "Loads alternate between the contenders; CPU is the median of five rounds. Delays stand beside"
            " those without any balancer, not beside nginx's; where those are above a millisecond at p99, the"
            " machine is too busy to judge what is added.",
            kernel.note,
        ],
    )


def _cost(measured: dict[str, Rounds], ratios: dict[str, float]) -> list[Figure]:
    """CPU for each packet, beside nginx's."""
    return [
        Figure(
            name="CPU per packet, saturated, both directions",
            value=_middle(measured["saturated"]["plane"], "nanoseconds"),
            unit="ns",
            baseline=_middle(measured["saturated"]["nginx"], "nanoseconds"),
        ),
        Figure(
            name="the same as a share of nginx's", value=ratios["saturated"], unit="×", limit=LIMIT_OF_NGINX
        ),
        Figure(
            name="CPU per packet at 15,000 packets/s",
            value=_middle(measured["paced"]["plane"], "nanoseconds"),
            unit="ns",
            baseline=_middle(measured["paced"]["nginx"], "nanoseconds"),
        ),
    ]


def _side_effects(
    delays: dict[str, dict[str, float]], added: dict[str, float], memory: list[_Memory]
) -> list[Figure]:
    """Delay and memory."""
    growth_kb = memory[-1].resident_kb - memory[0].resident_kb
    return [
        Figure(
            name="added delay, one way, median",
            value=added["p50"],
            unit="µs",
            baseline=delays["direct"]["p50"],
        ),
        Figure(
            name="added delay, one way, p99",
            value=added["p99"],
            unit="µs",
            limit=LIMIT_DELAY_US if _quiet(delays) else None,
            baseline=delays["direct"]["p99"],
        ),
        Figure(
            name=f"memory, from 1 to {memory[-1].clients:,} clients",
            value=growth_kb,
            unit="kB more",
            limit=LIMIT_GROWTH_KB,
        ),
    ]


def _quiet(delays: dict[str, dict[str, float]]) -> bool:
    """Whether the machine's own delays are so short that a limit can be judged beside them."""
    return delays["direct"]["p99"] <= 5 * LIMIT_DELAY_US


def _ratio(rounds: Rounds) -> float:
    """CPU of the plane in relation to nginx's, both in the same round; the median of rounds."""
    return statistics.median(
        ours["nanoseconds"] / theirs["nanoseconds"]
        for ours, theirs in zip(rounds["plane"], rounds["nginx"], strict=True)
    )


def _middle(rounds: list[dict[str, float]], key: str) -> float:
    return statistics.median(one[key] for one in rounds)


def _example(name: str) -> str:
    """A program of crates/forwarder, built if it is not."""
    if not (ROOT / "Cargo.toml").exists() or shutil.which("cargo") is None:
        raise BenchError("the load is built from the repository with cargo: run this in a clone of legato")
    for line in _output([*BUILD, name], ROOT).splitlines():
        if executable := json.loads(line).get("executable"):
            return str(executable)
    raise BenchError(f"cargo built no {name}")


def _output(command: list[str], folder: Path | None = None) -> str:
    own = os.environ | {"PATH": PROGRAMS}
    done = subprocess.run(
        command, cwd=folder, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise BenchError(f"{Path(command[0]).name} failed: {last[0]}")
    return done.stdout


def _memory(steps: list[int]) -> list[_Memory]:
    """Resident memory of a balancer after packets of so many clients, each with an address of its own."""
    with _keys() as (_, file), _servers(file) as tunnels, _balancer(file, tunnels) as running:
        process, address, forwarded = running
        send_from(address, 20_000)
        return [
            _Memory(send_from(address, clients), process.memory_bytes() / 1024, forwarded())
            for clients in steps
        ]


def _delays(packets: int) -> dict[str, dict[str, float]]:
    """Delays with and without a balancer, in microseconds."""
    with _keys() as (keys, file):
        server = DelayServer(keys.encapsulation)
        try:
            with _balancer(file, [server.tunnel]) as (_, address, _):
                measure_delay(server, address, packets)
        finally:
            server.close()
    arrived = {"direct": server.direct_us, "balanced": server.balanced_us}
    if min(len(times) for times in arrived.values()) < packets // 2:
        raise BenchError(
            "half of the packets were lost on loopback: the machine is too busy to measure delays"
        )
    return {name: percentiles(times) for name, times in arrived.items()}


@contextmanager
def _keys() -> Iterator[tuple[FleetKeys, Path]]:
    """Keys of a fleet, and the file that has them."""
    with tempfile.TemporaryDirectory(prefix="legato-bench-") as folder:
        file = Path(folder, "fleet.keys")
        file.touch(mode=0o600)
        keys = FleetKeys.new()
        file.write_bytes(keys.dump())
        yield keys, file


@contextmanager
def _servers(keys: Path) -> Iterator[list[str]]:
    """Servers that answer probes: their tunnels."""
    with child("servers", module("legato.bench.balance_servers", str(keys), str(SERVERS))) as servers:
        yield servers.readline().split()


@contextmanager
def _balancer(keys: Path, tunnels: list[str]) -> Iterator[tuple[Child, tuple[str, int], Callable[[], int]]]:
    """A balancer before servers that answer: its process, its address, and what it has forwarded."""
    listed = [word for tunnel in tunnels for word in ("--server", tunnel)]
    words = ["--listen", "127.0.0.1:0", "--threads", "1", "--admin-port", "0", "--log-format", "json"]
    with child(
        "legato balance", module("legato", "balance", "--keys", str(keys), *words, *listed)
    ) as process:
        forwarding = _logged(process, "forwarding")["addresses"][0]
        operators = _logged(process, "operators")["address"]
        _wait_ready(process, len(tunnels))
        host, _, port = forwarding.rpartition(":")
        yield process, (host, int(port)), lambda: _forwarded(operators)


def _forwarded(operators: str) -> int:
    status: dict[str, Any]
    with urllib.request.urlopen(f"http://{operators}/status", timeout=20) as answer:
        status = json.load(answer)
    return int(sum(status["packets"]["routes"].values()))


def _logged(process: Child, event: str) -> dict[str, Any]:
    """The line about an event in a program's log."""
    return _wait_for(process, lambda line: line.get("event") == event)


def _wait_ready(process: Child, count: int) -> None:
    """Wait until every server has answered a probe."""
    deadline = time.monotonic() + START_S
    while sum(line.get("state") == "ready" for line in _lines(process)) < count:
        _pause(process, deadline)


def _wait_for(process: Child, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + START_S
    while (found := next(filter(wanted, _lines(process)), None)) is None:
        _pause(process, deadline)
    return found


def _pause(process: Child, deadline: float) -> None:
    if process.process.poll() is not None or time.monotonic() > deadline:
        raise BenchError(f"{process.name} does not start: {process.last_words()}")
    time.sleep(0.05)


def _lines(process: Child) -> list[dict[str, Any]]:
    whole, _, _ = process.log.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
