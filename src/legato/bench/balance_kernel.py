"""What forwarding in the kernel costs, where it can be measured: as root, with the program built.

Owns the figures. They are taken by a program of crates/forwarder in networks of its own.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from legato.bench.figures import Figure
from legato.bench.processes import BenchError
from legato.lb.plane import PROGRAM

__all__ = ["Kernel", "measure_kernel"]

LIMIT_OF_PLAINTEXT = 1.5
LIMIT_OF_NGINX = 1 / 9

Rounds = dict[str, list[dict[str, float]]]


@dataclass(frozen=True)
class Kernel:
    """What was measured: CPU by kind of packet and round; or why nothing was."""

    rounds: Rounds
    obstacle: str | None = None

    def figures(self, nginx_ns: float) -> list[Figure]:
        """The figures beside nginx's CPU per packet; none if nothing was measured."""
        if self.obstacle is not None:
            return []
        named = {
            "plaintext": "names in clear",
            "encrypted": "encrypted names, one block",
            "four_pass": "encrypted names, four passes",
            "hashed": "first packets",
            "reply": "replies",
        }
        costs = [
            Figure(
                name=f"XDP, CPU per packet, {text}",
                value=self.middle(kind, "nanoseconds"),
                unit="ns",
                baseline=nginx_ns,
            )
            for kind, text in named.items()
        ]
        program = Figure(
            name="of that in the program itself, one block",
            value=self.middle("encrypted", "program_nanoseconds"),
            unit="ns",
        )
        return [*costs, program, *self._ratios(nginx_ns)]

    def _ratios(self, nginx_ns: float) -> list[Figure]:
        pairs = zip(self.rounds["encrypted"], self.rounds["plaintext"], strict=True)
        dearer = statistics.median(one["nanoseconds"] / other["nanoseconds"] for one, other in pairs)
        return [
            Figure(
                name="XDP, encrypted as a multiple of plaintext",
                value=dearer,
                unit="×",
                limit=LIMIT_OF_PLAINTEXT,
            ),
            Figure(
                name="XDP, encrypted as a share of nginx's",
                value=self.middle("encrypted", "nanoseconds") / nginx_ns,
                unit="×",
                limit=LIMIT_OF_NGINX,
            ),
        ]

    def middle(self, kind: str, key: str) -> float:
        """The median over rounds."""
        return statistics.median(one[key] for one in self.rounds[kind])

    @property
    def note(self) -> str:
        """What the figures are."""
        if self.obstacle is not None:
            return f"XDP was not measured: {self.obstacle}"
        return (
            "XDP: CPU time of the kernel's thread that takes a packet from a cable (veth), runs the program"
            " and sends it back encapsulated, one way, always busy; packets that the other end cannot take"
            " are dropped there. The program's own time is counted by the kernel, its clock included. Nginx's"
            " packets go over loopback, where the sender also pays for delivery."
        )


def measure_kernel(build: Callable[[str], str], run: Callable[[list[str]], str]) -> Kernel:
    """Measure, or tell what is in the way.

    `build` gives the path of an example, `run` what a program prints; both may raise `BenchError`.
    """
    if not PROGRAM.exists():
        return Kernel({}, "the program for the kernel is not built, as there is no clang")
    try:
        return Kernel(json.loads(run([build("xdp_bench"), str(Path(PROGRAM)), "--json"])))
    except BenchError as error:
        return Kernel({}, str(error))
