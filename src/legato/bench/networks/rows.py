"""The figures of the cells as words, for whoever lays them out: a terminal or a page.

Owns which figures stand beside each other and how they are written; must not know where they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from legato.bench.networks.cases import Arm

__all__ = ["ARM_NAMES", "COLUMNS", "written"]

ARM_NAMES: dict[Arm, str] = {
    "quic": "QUIC",
    "websocket-cubic": "WebSocket, CUBIC",
    "websocket-bbr": "WebSocket, BBR",
    "on-time-800": "QUIC, 800 ms",
    "on-time-400": "QUIC, 400 ms",
    "on-time-200": "QUIC, 200 ms",
    "on-time-100": "QUIC, 100 ms",
}

COLUMNS = (
    ("samples lost", "of what the callers said"),
    ("late p50", "ms: added delay until the agent has a frame that may be the last of an utterance"),
    ("late p95", "ms"),
    ("as said", "% word errors of the same sentences with no network between"),
    ("word errors", "%, with everything that arrived"),
    ("on time", "%, with what was there 300 ms after the end of each sentence"),
    ("silence", "ms within a reply of 8 s, worst call"),
    ("recovered", "ms after each outage or change of address, slower direction, slowest call"),
    ("resumed", "connections that had to be replaced"),
    ("first audio", "ms from the wish to call until the agent has audio"),
    ("reply", "ms from asking to the first sound, p50"),
    ("silenced", "ms from interruption to silence, worst call"),
)
"""What is shown of each cell: name and meaning."""


def written(cell: Mapping[str, Any]) -> list[str]:
    """The cell's figures in the order of `COLUMNS`."""
    late = cell["end_delay_ms"]
    recoveries = [_slower(one["up"], one["down"]) for one in cell["recovery_ms"]]
    return [
        str(cell["samples_lost"]),
        _ms(late.get("p50")),
        _ms(late.get("p95")),
        _percent(cell["word_errors_said_percent"]),
        _percent(cell["word_errors_percent"]),
        _percent(cell["word_errors_on_time_percent"]),
        _ms(cell["reply_silence_ms"]),
        ", ".join(_ms(value) for value in recoveries) if recoveries else "",
        str(cell["resumed"]) if cell["resumed"] else "",
        _ms(cell["first_audio_ms"]),
        _ms(cell["reply_first_ms"].get("p50")),
        _ms(cell["barge_in_ms"]),
    ]


def _slower(up: float | None, down: float | None) -> float | None:
    return None if up is None or down is None else max(up, down)


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{max(value, 0):.0f}"


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"
