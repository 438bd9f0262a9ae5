"""pcma: the A-law of ITU-T G.711, 8 bits per sample."""

from functools import lru_cache

from legato.audio.companding import companding_codec
from legato.core.audio import AudioFormat

from .base import Codec

__all__ = ["build"]

_EVEN_BITS = 0x55


def _sample(code: int) -> int:
    """The sample a byte stands for: even bits inverted, sign (1 is positive), three bits of segment, four of
    mantissa; each step is met in its middle."""
    code ^= _EVEN_BITS
    segment, mantissa = (code >> 4) & 0x07, code & 0x0F
    magnitude = (mantissa << 4) + 8
    if segment:
        magnitude = (magnitude + 256) << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


def _code(sample: int) -> int:
    """The byte that stands for a sample."""
    sign, magnitude = (0x80, sample) if sample >= 0 else (0, -sample - 1)
    segment = max(magnitude.bit_length() - 8, 0)
    mantissa = (magnitude >> (segment + 3 if segment else 4)) & 0x0F
    return (sign | segment << 4 | mantissa) ^ _EVEN_BITS


_LAW = tuple(_sample(code) for code in range(256))


@lru_cache(maxsize=1)
def _table() -> bytes:
    return bytes(_code(sample) for sample in (*range(32_768), *range(-32_768, 0)))


def build(audio_format: AudioFormat) -> Codec:
    """The codec of `audio_format`."""
    return companding_codec(audio_format, _LAW, _table)
