"""Speech for callers: sentences spoken by flite, at the API's 24 kHz."""

import io
import subprocess
from functools import lru_cache

import numpy as np

from legato.audio.resample import Resampler
from legato.audio.wav import read_wav

RATE = 24_000
BYTES_PER_MS = 2 * RATE // 1000


def silence(ms: int) -> bytes:
    """So much silence."""
    return bytes(ms * BYTES_PER_MS)


def milliseconds(pcm: bytes) -> float:
    """How long it is."""
    return len(pcm) / BYTES_PER_MS


def resampled(pcm: bytes, rate: int) -> bytes:
    """The same at another rate."""
    resampler = Resampler(RATE, rate)
    return resampler.process(pcm) + resampler.flush()


@lru_cache
def spoken(text: str, after_ms: int = 900) -> bytes:
    """The sentence, mono s16le at 24 kHz, and silence in which its end is noticed."""
    command = ["flite", "-voice", "rms", "-t", text, "-o", "/dev/stdout"]
    made = subprocess.run(command, capture_output=True, check=True, timeout=20)
    recorded = read_wav(io.BytesIO(made.stdout))
    resampler = Resampler(recorded.rate, RATE)
    return resampler.process(recorded.pcm) + resampler.flush() + silence(after_ms)


def alike(part: bytes, whole: bytes) -> float:
    """How much `part` sounds like its place in `whole`, wherever that is: 1 for the same, 0 for other."""
    short, long = (np.frombuffer(pcm, np.int16).astype(float) for pcm in (part, whole))
    size = len(short) + len(long)
    products = np.fft.irfft(np.fft.rfft(long, size) * np.fft.rfft(short, size).conj(), size)
    return float(products.max() / (np.linalg.norm(short) * np.linalg.norm(long)))
