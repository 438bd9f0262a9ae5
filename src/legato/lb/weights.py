"""How new calls are shared out: by the free places that servers report, in the proportion that lists give.

Owns the arithmetic. Must not know states or where numbers come from. Calls are long and heavy, so that even
hashing alone would leave servers unevenly full for hours.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["STEPS", "Load", "shares"]

STEPS = 32
"""Weights are whole numbers up to this. Coarse on purpose: a call more or less changes no table."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a server says of itself."""

    calls: int
    capacity: int
    """How many calls it takes at most."""
    draining: bool = False

    @property
    def free(self) -> int:
        """How many more calls it takes."""
        return max(0, self.capacity - self.calls)


def shares(servers: Sequence[tuple[int, Load | None]]) -> list[int]:
    """The weight of each server in the table of new calls, from its listed weight and its last report.

    Who has not reported counts like the median of those who have. If all are full, lists alone decide: a
    server can say no, a table without servers cannot.
    """
    known = [load.free for _, load in servers if load is not None]
    usual = max(1.0, statistics.median(known)) if known else 1.0
    wanted = [weight * (usual if load is None else load.free) for weight, load in servers]
    greatest = max(wanted, default=0)
    if greatest == 0:
        wanted = [float(weight) for weight, _ in servers]
        greatest = max(wanted, default=0)
    if greatest == 0:
        return [0] * len(servers)
    return [max(1, round(STEPS * share / greatest)) if share else 0 for share in wanted]
