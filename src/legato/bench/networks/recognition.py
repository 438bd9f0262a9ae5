"""How many words the offline recogniser gets wrong of what reached the agent.

Owns the comparison and the recogniser's work, which is done once for the same sound. Each sentence is heard
three times: as it was said, coded but with no network between; whole, as the agent gets it in the end; and as
much of it as was there shortly after its last sound, for a server that answers at once. The first says what
errors are the recogniser's own: calls of different length say different sentences.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from legato.agents.settings import AssistantSettings
from legato.agents.stages import stt_pocketsphinx
from legato.agents.stages.base import SpeechToText
from legato.audio.wav import read_wav
from legato.bench.networks.cases import Case
from legato.bench.networks.measures import GRACE_MS, Call, Cell, arrived_by
from legato.bench.networks.track import RATE, Sentence, Track, as_coded
from legato.core.errors import AgentError

__all__ = ["Hearing", "Words", "heard_of", "recognise", "word_errors"]

AROUND = RATE // 5
"""Samples of silence that are heard before and after a sentence."""
AT_ONCE = 2
TRIES = 3


@dataclass(frozen=True, slots=True)
class Hearing:
    """What one cell's recogniser would hear of one sentence."""

    text: str
    said: bytes
    whole: bytes
    on_time: bytes


@dataclass(frozen=True, slots=True)
class Words:
    """Word errors of a cell, as shares of the words said."""

    words: int
    said_percent: float | None
    whole_percent: float | None
    on_time_percent: float | None
    """None if the recogniser failed, as on a machine on which it gets no time."""


def word_errors(said: str, understood: str) -> int:
    """How many words must be replaced, added or left out to make one the other."""
    theirs = understood.split()
    row = list(range(len(theirs) + 1))
    for count, word in enumerate(said.split(), 1):
        above, row[0] = row[0], count
        for at, other in enumerate(theirs, 1):
            best = min(above + (word != other), row[at] + 1, row[at - 1] + 1)
            above, row[at] = row[at], best
    return row[-1]


def heard_of(case: Case, cell: Cell, call: Call, track: Track, folder: Path) -> list[Hearing]:
    """What reached the agent of each sentence of a call's track; nothing of a call that has no account."""
    path = folder / f"{call['name']}.wav"
    pcm = read_wav(path).pcm if path.exists() else b""
    said = as_coded(track.pcm).pcm
    return [_heard(case, cell, call, sentence, (said, pcm)) for sentence in track.sentences]


def _heard(
    case: Case, cell: Cell, call: Call, sentence: Sentence, said_and_heard: tuple[bytes, bytes]
) -> Hearing:
    said, pcm = said_and_heard
    ended_us = call["started_us"] + sentence.end * 1_000_000 // RATE
    delay_ms = case.delay_ms((ended_us - cell["begun_us"]) / 1000)
    there = arrived_by(call, ended_us + (delay_ms + GRACE_MS) * 1000)
    start, stop = max(0, sentence.start - AROUND), sentence.end + AROUND
    # A recogniser adds the silence after the end by itself.
    on_time = pcm[2 * start : 2 * min(sentence.end, there)]
    if there >= sentence.end:
        on_time = pcm[2 * start : 2 * stop]
    return Hearing(sentence.text, said[2 * start : 2 * stop], pcm[2 * start : 2 * stop], on_time)


async def recognise(hearings: Sequence[Sequence[Hearing]], progress: Callable[[float], None]) -> list[Words]:
    """The word errors of each cell; `progress` hears what share of the work is done."""
    sounds = {
        sound
        for cell in hearings
        for hearing in cell
        for sound in (hearing.said, hearing.whole, hearing.on_time)
    }
    settings = AssistantSettings.model_validate({"stt_recognisers": AT_ONCE})
    stage = stt_pocketsphinx.build(settings)
    understood: dict[bytes, str | None] = {}

    async def understand(sound: bytes) -> None:
        understood[_key(sound)] = await _understood(stage, sound) if sound else ""
        progress(len(understood) / len(sounds))

    try:
        async with asyncio.TaskGroup() as tasks:
            for sound in sounds:
                tasks.create_task(understand(sound))
    finally:
        await stage.close()
    return [_count(cell, understood) for cell in hearings]


async def _understood(stage: SpeechToText, sound: bytes) -> str | None:
    for _ in range(TRIES):
        recogniser = stage.open()
        with contextlib.suppress(AgentError):
            try:
                await recogniser.feed(sound)
                return await recogniser.finish()
            finally:
                await recogniser.close()
    return None


def _key(sound: bytes) -> bytes:
    return hashlib.sha256(sound).digest()


def _count(cell: Sequence[Hearing], understood: Mapping[bytes, str | None]) -> Words:
    words = sum(len(hearing.text.split()) for hearing in cell)
    said = [(hearing.text, understood[_key(hearing.said)]) for hearing in cell]
    whole = [(hearing.text, understood[_key(hearing.whole)]) for hearing in cell]
    on_time = [(hearing.text, understood[_key(hearing.on_time)]) for hearing in cell]
    return Words(words, _share(said, words), _share(whole, words), _share(on_time, words))


def _share(pairs: Sequence[tuple[str, str | None]], words: int) -> float | None:
    errors = 0
    for said, heard in pairs:
        if heard is None:
            return None
        errors += word_errors(said, heard)
    return round(100 * errors / max(1, words), 2)
