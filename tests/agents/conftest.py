"""Speech for the tests: sentences spoken by flite, and recordings of people from Debian's alsa-utils."""

import io
import subprocess
import wave
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

from legato.audio.resample import Resampler
from legato.audio.wav import read_wav

RECORDINGS = Path("/usr/share/sounds/alsa")


@lru_cache(maxsize=200)
def flite(text: str, voice: str) -> bytes:
    made = subprocess.run(
        ["flite", "-voice", voice, "-t", text, "-o", "/dev/stdout"], capture_output=True, check=True
    )
    with wave.open(io.BytesIO(made.stdout)) as file:
        assert file.getframerate() == 16_000
        return file.readframes(file.getnframes())


@pytest.fixture(scope="session")
def speak() -> Callable[..., bytes]:
    """`speak(text, voice="rms")`: mono s16le at 16 kHz."""
    return lambda text, voice="rms": flite(text, voice)


@pytest.fixture(scope="session")
def recordings() -> dict[str, bytes]:
    """What people said, by their words: mono s16le at 16 kHz."""
    found = {}
    for path in sorted(RECORDINGS.glob("*_*.wav")):
        wav, resampler = read_wav(path), Resampler(48_000, 16_000)
        assert wav.rate == 48_000
        found[path.stem.replace("_", " ").lower()] = resampler.process(wav.pcm) + resampler.flush()
    return found
