"""Runs the cells, all ways of one network at a time side by side, and gathers their figures.

Owns the order of the run and what is said of its progress; must not know how a figure is computed or shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legato.bench.networks import recognition
from legato.bench.networks.cases import ARMS, ON_TIME, Arm, Case
from legato.bench.networks.cell import cell_command
from legato.bench.networks.measures import measure
from legato.bench.networks.track import Track, as_coded, compose, speak_sentences
from legato.bench.places import LinkUnavailableError
from legato.bench.processes import BenchError, child

__all__ = ["Observed", "observe", "references"]

APART = 3
"""How many sentences the callers of one cell are apart."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A run: the figures of each cell, why cells are missing, and how the places were joined."""

    cells: list[dict[str, Any]]
    missing: dict[str, str]
    wire: str
    rootless: bool


def observe(cases: Sequence[Case], seed: int, on_time: bool, say: Callable[[str, float], None]) -> Observed:
    """Run every cell, with `on_time` also those of calls in profile `duplex`; `say` hears what is being done
    and the share that is done.

    Raises `LinkUnavailableError` where places cannot be joined, `BenchError` when nothing could be measured.
    """
    say("speaking the sentences", 0)
    spoken = asyncio.run(speak_sentences())
    cells: list[dict[str, Any]] = []
    hearings: list[list[recognition.Hearing]] = []
    missing: dict[str, str] = {}
    wire, rootless = "", False
    rounds = [(case, ARMS) for case in cases] + [
        (case, ON_TIME) for case in cases if case.on_time and on_time
    ]
    total = sum(case.seconds + OVERHEAD_S for case, _ in rounds) / 0.85
    spent = 0.0
    with tempfile.TemporaryDirectory(prefix="legato-bench-") as name:
        for case, arms in sorted(rounds, key=lambda one: cases.index(one[0])):
            say(case.network, spent / total)
            folder = Path(name, case.network)
            tracks = _tracks(folder, spoken, case)
            for seen in _side_by_side(case, arms, seed, folder):
                if "failed" in seen:
                    missing[f"{case.network}, {seen['arm']}"] = seen["failed"]
                    continue
                wire, rootless = seen["wire"], seen["rootless"]
                cells.append(measure(case, seen, references(tracks)))
                hearings.append(
                    [
                        hearing
                        for call in seen["calls"]
                        for hearing in recognition.heard_of(
                            case, seen, call, tracks[call["name"]], folder / seen["arm"]
                        )
                    ]
                )
            spent += case.seconds + OVERHEAD_S
        if not cells:
            raise BenchError(f"nothing could be measured: {next(iter(missing.values()), 'no network')}")
        done = spent / total
        words = asyncio.run(
            recognition.recognise(
                hearings, lambda share: say("recognising what arrived", done + (1 - done) * share)
            )
        )
    for cell, counted in zip(cells, words, strict=True):
        cell |= {
            "words": counted.words,
            "word_errors_said_percent": counted.said_percent,
            "word_errors_percent": counted.whole_percent,
            "word_errors_on_time_percent": counted.on_time_percent,
        }
    return Observed(cells, missing, wire, rootless)


OVERHEAD_S = 7
"""What a cell takes beyond its calls: starting, the last reply, ending."""


def _tracks(folder: Path, spoken: list[tuple[str, bytes]], case: Case) -> dict[str, Track]:
    folder.mkdir(exist_ok=True)
    made: dict[str, Track] = {}
    for number in range(case.calls):
        track = made[f"call-{number}"] = compose(spoken, number * APART, case.seconds)
        track.save(folder, f"call-{number}")
    return made


def references(tracks: dict[str, Track]) -> dict[str, str]:
    """The digest of each track's payloads, as a client codes them."""
    return {name: as_coded(track.pcm).sha256 for name, track in tracks.items()}


def _side_by_side(case: Case, arms: Sequence[Arm], seed: int, folder: Path) -> list[dict[str, Any]]:
    """Run a network's cells at once: whatever else the machine does meets all of them."""
    seen: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        running = {
            arm: stack.enter_context(
                child(f"the cell {case.network}, {arm}", cell_command(case, arm, seed, folder, folder / arm))
            )
            for arm in arms
        }
        for arm, process in running.items():
            found: dict[str, Any] = json.loads(process.readline())
            if found.get("kind") == LinkUnavailableError.__name__:
                raise LinkUnavailableError(found["failed"])
            seen.append({**found, "arm": arm})
    return seen
