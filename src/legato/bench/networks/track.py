"""What the callers say: sentences one after the other, as one recording with the place of each.

Owns the words and the pauses. The same seconds are said by every caller, each beginning with another
sentence, so that an event of the network finds each of them in the middle of something else.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from legato.agents.settings import AssistantSettings
from legato.agents.stages import tts_flite
from legato.agents.stages.base import HEARING_RATE, Delivery
from legato.audio.convert import IncomingAudio
from legato.audio.resample import Resampler
from legato.audio.wav import read_wav, write_wav
from legato.bench.processes import BenchError
from legato.client.capture import CapturedAudio
from legato.core.audio import AudioFormat, AudioFrame

__all__ = ["RATE", "Sentence", "Track", "as_coded", "compose", "speak_sentences", "without_end"]

RATE = HEARING_RATE
PAUSE_MS = 300
SLOWNESS = 1.12
BLOCK = RATE // 50

SENTENCES = (
    "please tell me what the weather will be like tomorrow",
    "i would like to book a table for two people",
    "can you call my mother when you have time",
    "what is the fastest way to the central station",
    "the meeting has been moved to friday afternoon",
    "we have been waiting for the train for an hour",
    "she is going to read the book before the end of the week",
    "how much money do we need for the new house",
    "the government will make a decision next month",
    "i think that we should leave early in the morning",
    "they want to know if the answer is right",
    "turn off the lights in the kitchen please",
    "the last train leaves at eleven thirty",
)
"""What the offline recogniser understands on a clean line, nearly to the word: errors are the network's."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words, and their sound's first and last sample in a track."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Track:
    """Seconds of speech: s16le samples at `RATE`, and what is said in them."""

    pcm: bytes
    sentences: tuple[Sentence, ...]

    def save(self, folder: Path, name: str) -> None:
        """Write it as a WAV file and a list."""
        write_wav(folder / f"{name}.wav", self.pcm, RATE)
        (folder / f"{name}.json").write_text(json.dumps([asdict(sentence) for sentence in self.sentences]))

    @staticmethod
    def load(folder: Path, name: str) -> Track:
        """Read what `save` wrote."""
        listed = json.loads((folder / f"{name}.json").read_text())
        return Track(read_wav(folder / f"{name}.wav").pcm, tuple(Sentence(**one) for one in listed))


def compose(spoken: list[tuple[str, bytes]], first: int, seconds: float) -> Track:
    """Whole sentences, beginning with number `first`, and silence up to `seconds`."""
    pcm = bytearray()
    sentences: list[Sentence] = []
    pause = bytes(2 * RATE * PAUSE_MS // 1000)
    limit = 2 * round(seconds * RATE) // (2 * BLOCK) * 2 * BLOCK
    number = first
    while len(pcm) + len(pause) + len(spoken[number % len(spoken)][1]) < limit:
        text, sound = spoken[number % len(spoken)]
        pcm += pause
        sentences.append(Sentence(text, len(pcm) // 2, (len(pcm) + len(sound)) // 2))
        pcm += sound
        number += 1
    return Track(bytes(pcm).ljust(limit, b"\0"), tuple(sentences))


async def speak_sentences() -> list[tuple[str, bytes]]:
    """Each sentence with its sound at `RATE`, without silence around it. Raises `BenchError` without
    flite."""
    voice = tts_flite.build(AssistantSettings.model_validate({}))
    spoken: list[tuple[str, bytes]] = []
    for text in SENTENCES:
        pieces = [piece async for piece in voice.speak(text, Delivery(speed=1 / SLOWNESS))]
        if not pieces:
            raise BenchError(f"flite said nothing for {text!r}")
        resampler = Resampler(pieces[0].rate, RATE)
        pcm = resampler.process(b"".join(piece.pcm for piece in pieces)) + resampler.flush()
        spoken.append((text, without_end(pcm)))
    await voice.close()
    return spoken


@dataclass(frozen=True, slots=True)
class Coded:
    """What a client makes of a recording: the digest of all payloads, and what they sound like."""

    sha256: str
    pcm: bytes


@functools.lru_cache(maxsize=64)
def as_coded(pcm: bytes) -> Coded:
    """Code and decode s16le at `RATE` as the two ends of a call do, with nothing between them."""
    audio_format = AudioFormat("opus", RATE)
    incoming = IncomingAudio(audio_format, RATE)
    digest, heard, offset = hashlib.sha256(), bytearray(), 0
    for payload, captured_us in CapturedAudio(audio_format).add(pcm, 0):
        digest.update(payload)
        frame = AudioFrame.of(offset, captured_us, payload, audio_format)
        heard += incoming.take(frame)
        offset = frame.end
    return Coded(digest.hexdigest(), bytes(heard))


def without_end(pcm: bytes) -> bytes:
    """Without the silence at the end. Whole samples: half a one would make noise of all that follows it."""
    sounding = len(pcm.rstrip(b"\0"))
    return pcm[: sounding + sounding % 2]
