"""The arithmetic shared by the two laws of ITU-T G.711: coding by tables, one byte per sample.

Owns table coding; must not know either law.
"""

import sys
from array import array
from collections.abc import Callable, Sequence

from legato.audio.chunker import Chunker
from legato.audio.codecs.base import FRAME_MS, Codec
from legato.core.audio import AudioFormat

__all__ = ["companding_codec"]


class _Decoder:
    def __init__(self, law: Sequence[int]) -> None:
        words = [value & 0xFFFF for value in law]
        self._low = bytes(word & 0xFF for word in words)
        self._high = bytes(word >> 8 for word in words)

    def decode(self, payload: bytes) -> bytes:
        pcm = bytearray(2 * len(payload))
        pcm[0::2] = payload.translate(self._low)
        pcm[1::2] = payload.translate(self._high)
        return bytes(pcm)

    def lose(self, samples: int) -> bytes:
        return bytes(2 * samples)

    def flush(self) -> bytes:
        return b""


class _Encoder:
    def __init__(self, table: bytes, rate: int) -> None:
        self._table = table
        self._chunker = Chunker(2 * rate * FRAME_MS // 1000)

    def encode(self, pcm: bytes) -> list[bytes]:
        return [self._coded(block) for block in self._chunker.feed(pcm)]

    def flush(self) -> list[bytes]:
        rest = self._chunker.flush()
        rest = rest[: len(rest) & ~1]
        return [self._coded(rest)] if rest else []

    def _coded(self, pcm: bytes) -> bytes:
        samples = array("H", pcm)
        if sys.byteorder == "big":
            samples.byteswap()
        table = self._table
        return bytes([table[sample] for sample in samples])


def companding_codec(audio_format: AudioFormat, law: Sequence[int], table: Callable[[], bytes]) -> Codec:
    """A codec from a law: `law[byte]` is the sample a byte stands for, `table()[sample & 0xFFFF]` its
    byte."""
    return Codec(
        audio_format, encoder=lambda: _Encoder(table(), audio_format.rate), decoder=lambda: _Decoder(law)
    )
