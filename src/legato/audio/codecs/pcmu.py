"""pcmu: the mu-law of ITU-T G.711, 8 bits per sample."""

from functools import lru_cache

from legato.audio.companding import companding_codec
from legato.core.audio import AudioFormat

from .base import Codec

__all__ = ["build"]

_BIAS = 132
_CLIP = 32_635


def _sample(code: int) -> int:
    """The sample a byte stands for: inverted bits, sign, three bits of exponent, four of mantissa."""
    code ^= 0xFF
    magnitude = ((((code & 0x0F) << 3) + _BIAS) << ((code >> 4) & 0x07)) - _BIAS
    return -magnitude if code & 0x80 else magnitude


def _code(sample: int) -> int:
    """The byte that stands for a sample."""
    sign = 0x80 if sample < 0 else 0
    biased = min(abs(sample), _CLIP) + _BIAS
    exponent = biased.bit_length() - 8
    return (sign | exponent << 4 | (biased >> (exponent + 3)) & 0x0F) ^ 0xFF


_LAW = tuple(_sample(code) for code in range(256))


@lru_cache(maxsize=1)
def _table() -> bytes:
    return bytes(_code(sample) for sample in (*range(32_768), *range(-32_768, 0)))


def build(audio_format: AudioFormat) -> Codec:
    """The codec of `audio_format`."""
    return companding_codec(audio_format, _LAW, _table)
