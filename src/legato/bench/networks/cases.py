"""The networks that are measured, and what a perfect transport would do on each. Knows no process.

The delays and moments repeat what the files of `bench/networks` say, in the terms of a measurement; a test
holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from legato.core.errors import SettingsError

__all__ = ["ALL", "ARMS", "ON_TIME", "QUICK", "Arm", "Case", "chosen", "late_ms"]

Carriage: TypeAlias = Literal["quic", "websocket-cubic", "websocket-bbr"]
"""How calls are carried, and by which congestion control (QUIC: CUBIC)."""

OnTime: TypeAlias = Literal["on-time-800", "on-time-400", "on-time-200", "on-time-100"]
"""Over QUIC in profile `duplex`: what is more than so many milliseconds late is left out."""

Arm: TypeAlias = Carriage | OnTime

ARMS: tuple[Carriage, ...] = get_args(Carriage)
ON_TIME: tuple[OnTime, ...] = get_args(OnTime)


def late_ms(arm: Arm) -> int | None:
    """How late audio may be; None if all of it must arrive."""
    return int(arm.removeprefix("on-time-")) if arm.startswith("on-time-") else None


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that happens once: from `at_ms` to `until_ms` of the story nothing passes, or at that moment
    the client has another address."""

    at_ms: int
    until_ms: int
    what: Literal["outage", "address"]


@dataclass(frozen=True, slots=True)
class Case:
    """One network: its one-way delay without jitter as steps of (from ms, delay ms), how long calls last."""

    network: str
    delays: tuple[tuple[int, int], ...]
    seconds: int = 13
    disturbances: tuple[Disturbance, ...] = ()
    calls: int = 3
    jitter_ms: int = 0
    """Mean of what each direction adds to that."""
    on_time: bool = False
    """Whether calls in profile `duplex` are measured as well."""

    def delay_ms(self, story_ms: float) -> int:
        """Return how long a perfect transport takes in one direction for what leaves at `story_ms`."""
        return next(delay for start, delay in reversed(self.delays) if start <= max(story_ms, 0))

    @property
    def rtt_ms(self) -> int:
        """The round trip at the end of the story, in the mean."""
        return 2 * (self.delays[-1][1] + self.jitter_ms)


ALL = (
    Case("clean", ((0, 25),)),
    Case("wifi", ((0, 12),), seconds=24, jitter_ms=4),
    Case("cellular", ((0, 35),), seconds=24, jitter_ms=7),
    Case(
        "train",
        ((0, 40), (6_000, 80), (11_000, 40)),
        24,
        (Disturbance(15_000, 17_000, "outage"),),
        jitter_ms=20,
    ),
    Case("cafe", ((0, 20),), jitter_ms=30),
    Case("lossy", ((0, 50),)),
    Case("lossy_burst", ((0, 50),), seconds=24),
    Case("fades", ((0, 50),), seconds=24, on_time=True),
    Case("blip", ((0, 50),), disturbances=(Disturbance(4_000, 5_000, "outage"),)),
    Case("outage", ((0, 50),), 15, (Disturbance(4_000, 9_000, "outage"),)),
    Case(
        "rebind",
        ((0, 50),),
        disturbances=(Disturbance(4_000, 4_000, "address"), Disturbance(8_000, 8_000, "address")),
    ),
    Case(
        "handover", ((0, 15), (4_200, 40)), disturbances=(Disturbance(4_000, 4_200, "address"),), jitter_ms=5
    ),
    Case("slow", ((0, 50),), calls=1),
    Case("satellite", ((0, 300),), seconds=16, jitter_ms=5),
)

QUICK = ("clean", "lossy_burst", "fades", "blip", "outage", "rebind", "handover")
"""Those that answer for a figure that is promised, and the clean one that they are compared with."""


def chosen(names: tuple[str, ...], quick: bool) -> list[Case]:
    """The cases by name; without names all, or the quick ones. The clean one is always first."""
    known = [case.network for case in ALL]
    for name in names:
        if name not in known:
            raise SettingsError(f'there is no network "{name}" here; there are {", ".join(known)}')
    wanted = {"clean", *(names or (QUICK if quick else known))}
    return [case for case in ALL if case.network in wanted]
