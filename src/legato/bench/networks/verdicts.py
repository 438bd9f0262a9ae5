"""What is promised of calls on bad networks, held against what was measured.

Owns the limits. They are for calls over QUIC; what WebSockets do is measured beside them, for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from legato.bench.figures import Figure
from legato.bench.networks.cases import ALL

__all__ = ["promised"]

WORD_POINTS = 1.0
END_RTTS = 1.5
RECOVERY_RTTS = 2
CAUGHT_UP_MS = 1_000
SILENCE_AFTER_MS = 20
HEARD_MS = 0.0

Cells = Sequence[Mapping[str, Any]]


def promised(cells: Cells) -> list[Figure]:
    """The figures with a limit, of those networks that were measured."""
    by_arm = {(cell["network"], cell["arm"]): cell for cell in cells}
    ours = [cell for cell in cells if cell["arm"] == "quic"]
    figures = [*_everywhere(ours)]
    if (burst := by_arm.get(("lossy_burst", "quic"))) is not None:
        figures += _bursts(burst, by_arm.get(("lossy_burst", "websocket-cubic")))
    for network in ("rebind", "handover"):
        if (cell := by_arm.get((network, "quic"))) is not None:
            figures += _address(cell, by_arm.get((network, "websocket-cubic")))
    if (cell := by_arm.get(("outage", "quic"))) is not None:
        rival = by_arm.get(("outage", "websocket-cubic"))
        figures.append(_recovered("outage of 5 s: caught up", cell, rival, CAUGHT_UP_MS))
    if (cell := by_arm.get(("blip", "quic"))) is not None:
        rival = by_arm.get(("blip", "websocket-cubic"))
        figures.append(_silence("outage of 1 s in a reply of 8 s: silence heard", cell, rival))
    return figures


def _everywhere(ours: Cells) -> list[Figure]:
    if not ours:
        return []
    heard = [_known(cell["heard_error_ms"]) for cell in ours]
    return [
        Figure(
            name="samples lost, all networks",
            value=sum(cell["samples_lost"] for cell in ours),
            unit="",
            limit=0,
        ),
        Figure(
            name="calls whose audio is not bit for bit what was captured",
            value=sum(cell["damaged_calls"] for cell in ours),
            unit="",
            limit=0,
        ),
        Figure(
            name="interruption to silence, worst",
            value=max(_known(cell["barge_in_ms"]) for cell in ours),
            unit="ms",
            limit=SILENCE_AFTER_MS,
        ),
        Figure(
            name="sound of an interrupted reply after that",
            value=sum(cell["stale_blocks"] for cell in ours),
            unit="blocks",
            limit=0,
        ),
        Figure(
            name="what was heard of it: server's idea against the player, worst",
            value=max(heard),
            unit="ms",
            limit=HEARD_MS,
        ),
    ]


def _bursts(cell: Mapping[str, Any], rival: Mapping[str, Any] | None) -> list[Figure]:
    return [
        Figure(
            name="5 % lost in bursts: added delay at the end of an utterance, p95",
            value=cell["end_delay_ms"].get("p95", float("inf")),
            unit="ms",
            limit=END_RTTS * _rtt(cell),
            baseline=rival["end_delay_ms"].get("p95") if rival else None,
        ),
        Figure(
            name="the same: word errors beyond clean",
            value=_known(_beyond(cell)),
            unit="points",
            limit=WORD_POINTS,
            baseline=_known(_beyond(rival)) if rival else None,
        ),
    ]


def _beyond(cell: Mapping[str, Any]) -> float | None:
    """Clean is the same speech, coded and decoded: other sentences have other errors of the recogniser's."""
    own, least = cell["word_errors_percent"], cell["word_errors_said_percent"]
    return None if own is None or least is None else round(own - least, 2)


def _address(cell: Mapping[str, Any], rival: Mapping[str, Any] | None) -> list[Figure]:
    what = {"rebind": "new port, new address behind a NAT", "handover": "new address of one's own"}
    name = what[cell["network"]]
    return [
        _recovered(f"{name}: heard again", cell, rival, RECOVERY_RTTS * _rtt(cell), ("up",)),
        _silence(f"{name}: silence in the reply", cell, rival),
    ]


def _recovered(
    name: str,
    cell: Mapping[str, Any],
    rival: Mapping[str, Any] | None,
    limit: float,
    ways: tuple[str, ...] = ("up", "down"),
) -> Figure:
    return Figure(
        name=name,
        value=_slowest(cell, ways),
        unit="ms",
        limit=limit,
        baseline=_slowest(rival, ways) if rival else None,
    )


def _silence(name: str, cell: Mapping[str, Any], rival: Mapping[str, Any] | None) -> Figure:
    return Figure(
        name=name,
        value=_known(cell["reply_silence_ms"]),
        unit="ms",
        limit=0,
        baseline=_known(rival["reply_silence_ms"]) if rival else None,
    )


def _slowest(cell: Mapping[str, Any], ways: tuple[str, ...]) -> float:
    """The slowest call after the worst disturbance, in the slower of these directions."""
    return max(_known(one[way]) for one in cell["recovery_ms"] for way in ways)


def _rtt(cell: Mapping[str, Any]) -> int:
    return next(case.rtt_ms for case in ALL if case.network == cell["network"])


def _known(value: float | None) -> float:
    """A figure that could not be taken is beyond every limit."""
    return float("inf") if value is None else value
