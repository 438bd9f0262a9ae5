"""From what both ends of a cell saw to figures: pure arithmetic, no clock, no process.

Owns what each figure means. Times within are microseconds of the one clock that both places share; figures
are milliseconds. *Added* delay is beyond what a perfect transport would have needed on that network: the end
of the frame's capture, plus the one-way delay without jitter.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from legato.bench.figures import percentiles
from legato.bench.networks.cases import Case

__all__ = ["GRACE_MS", "Call", "Cell", "added_delays", "arrived_by", "measure"]

Call: TypeAlias = Mapping[str, Any]
Cell: TypeAlias = Mapping[str, Any]

FRAME_MS = 20
ON_TIME_MS = 60
"""Added delay up to which a frame counts as on time, when the end of a disturbance is looked for."""

GRACE_MS = 300
"""How long after the end of speech a recogniser waits that wants to answer at once."""

BIN_MS = 100
QUANTILES = 50


def added_delays(case: Case, begun_us: int, call: Call) -> list[tuple[float, float]]:
    """For each frame heard: the moment in the story when it was whole, and how late it came, in ms."""
    found: list[tuple[float, float]] = []
    # The first frame is said before there is a connection.
    for _, captured, arrived in call["ear"]["frames"][1:] if call["ear"] else ():
        story = (captured - begun_us) / 1000 + FRAME_MS
        found.append((story, (arrived - begun_us) / 1000 - story - case.delay_ms(story)))
    return found


def downlink_delays(case: Case, begun_us: int, call: Call) -> list[tuple[float, float]]:
    """The same for the ticks that the client received."""
    found: list[tuple[float, float]] = []
    for sent, arrived in call["ticks"]:
        story = (sent - begun_us) / 1000
        found.append((story, (arrived - sent) / 1000 - case.delay_ms(story)))
    return found


def recovery_ms(case: Case, delays: Sequence[tuple[float, float]], end_ms: float) -> float | None:
    """How long after `end_ms` of the story something came on time again; None if it never did.

    What arrives is in order: something on time means that everything before it is there.
    """
    moments = [
        story + case.delay_ms(story) + late
        for story, late in delays
        if late <= ON_TIME_MS and story + case.delay_ms(story) + late >= end_ms
    ]
    return round(min(moments) - end_ms, 1) if moments else None


def arrived_by(call: Call, moment_us: int) -> int:
    """How many samples, without a hole, had reached the agent by a moment."""
    if call["ear"] is None:
        return 0
    frames = call["ear"]["frames"]
    found: int = next(
        (offset for offset, _, arrived in frames if arrived > moment_us), call["ear"]["received"]
    )
    return found


def measure(case: Case, cell: Cell, references: Mapping[str, str]) -> dict[str, Any]:
    """The figures of one cell, without word errors; `references` are digests of what each call captured."""
    calls, begun = cell["calls"], cell["begun_us"]
    up = [added_delays(case, begun, call) for call in calls]
    down = [downlink_delays(case, begun, call) for call in calls]
    late = sorted(delay for call in up for _, delay in call)
    return {
        "network": cell["network"],
        "arm": cell["arm"],
        "calls": len(calls),
        "failed": [call["failed"] for call in calls if call["failed"]],
        "late_ms": percentiles(sorted(late for call in calls for late in call["late_us"]), 0.001),
        "samples_lost": sum(_lost(call) for call in calls),
        "lost_percent": _lost_percent(calls),
        "damaged_calls": sum(_damaged(call, references) for call in calls),
        "end_delay_ms": percentiles(late),
        "down_delay_ms": percentiles(sorted(delay for call in down for _, delay in call)),
        "first_audio_ms": _median([_first_audio(call) for call in calls]),
        "reply_first_ms": percentiles(sorted(_replied(calls))),
        "reply_silence_ms": _worst([_silence(call) for call in calls]),
        "reply_skipped_ms": max(
            (reply["skipped_ms"] for call in calls for reply in call["replies"]), default=0.0
        ),
        "recovery_ms": [
            {
                "what": disturbance.what,
                "until_ms": disturbance.until_ms,
                "up": _worst([recovery_ms(case, one, disturbance.until_ms) for one in up]),
                "down": _worst([recovery_ms(case, one, disturbance.until_ms) for one in down]),
            }
            for disturbance in case.disturbances
        ],
        "resumed": sum(len(call["resumed"]) for call in calls),
        "barge_in_ms": _worst([_barge_in(call) for call in calls]),
        "stale_blocks": sum(reply["stale_blocks"] for call in calls for reply in call["replies"]),
        "heard_error_ms": _worst([_heard_error(call) for call in calls]),
        "curve": _curve(late),
        "timeline": {"up": _timeline(up), "down": _timeline(down)},
        "packets": cell["packets"],
    }


def _lost(call: Call) -> int:
    ear = call["ear"]
    if ear is None:
        return int(call["captured"])
    gaps = sum(samples for _, samples in ear["gaps"])
    return int(call["captured"] - ear["received"] + gaps)


def _lost_percent(calls: Sequence[Call]) -> float:
    said = sum(int(call["captured"]) for call in calls)
    return round(100 * sum(_lost(call) for call in calls) / max(1, said), 2)


def _damaged(call: Call, references: Mapping[str, str]) -> bool:
    """Whether the agent read anything but exactly what was captured."""
    return call["ear"] is None or call["ear"]["sha256"] != references[call["name"]]


def _first_audio(call: Call) -> float | None:
    """From the wish to call to the first audio at the agent."""
    if call["ear"] is None or not call["ear"]["frames"]:
        return None
    return float(call["ear"]["frames"][0][2] - call["dialled_us"]) / 1000


def _replied(calls: Sequence[Call]) -> list[float]:
    return [
        (reply["first_us"] - reply["asked_us"]) / 1000
        for call in calls
        for reply in call["replies"]
        if reply["first_us"] is not None
    ]


def _silence(call: Call) -> float | None:
    """Silence within the first reply; None if it was not heard to its end."""
    replies = call["replies"]
    return round(replies[0]["silent_ms"], 1) if replies and not call["failed"] else None


def _barge_in(call: Call) -> float | None:
    """From the interruption to silence: a block with sound handed over by then may sound to its end."""
    if len(call["replies"]) < 2 or call["replies"][1]["interrupted_us"] is None:
        return None
    reply = call["replies"][1]
    after_ms: float = (reply["last_us"] - reply["interrupted_us"]) / 1000
    return max(0.0, round(after_ms + FRAME_MS, 1))


def _heard_error(call: Call) -> float | None:
    """How far the server's idea of what was heard is from what the client's loudspeaker played."""
    ear = call["ear"]
    if len(call["replies"]) < 2 or call["replies"][1]["played_ms"] is None or not ear:
        return None
    difference: float = ear["replies"][-1]["heard_ms"] - call["replies"][1]["played_ms"]
    return round(abs(difference), 1)


def _worst(values: Sequence[float | None]) -> float | None:
    """The largest, or None as soon as one is missing."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 1) if known else None


def _curve(ordered: Sequence[float]) -> list[float]:
    """The added delays at even shares from 0 to 100 %."""
    if not ordered:
        return []
    last = len(ordered) - 1
    return [round(ordered[last * at // QUANTILES], 1) for at in range(QUANTILES + 1)]


def _timeline(calls: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The median added delay of what all calls sent in each `BIN_MS` of the story: (seconds, ms)."""
    bins: dict[int, list[float]] = {}
    for call in calls:
        for story, late in call:
            bins.setdefault(int(story // BIN_MS), []).append(late)
    return [
        (round(at * BIN_MS / 1000, 1), round(statistics.median(bins[at]), 1))
        for at in sorted(bins)
        if at >= 0
    ]
