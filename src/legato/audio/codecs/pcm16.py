"""pcm16: samples as they are, mono s16le."""

from legato.audio.chunker import Chunker
from legato.core.audio import AudioFormat

from .base import FRAME_MS, Codec

__all__ = ["build"]


class _Decoder:
    def decode(self, payload: bytes) -> bytes:
        if len(payload) & 1:
            raise ValueError(f"a pcm16 payload holds whole samples, this one has {len(payload)} bytes")
        return payload

    def lose(self, samples: int) -> bytes:
        return bytes(2 * samples)

    def flush(self) -> bytes:
        return b""


class _Encoder:
    def __init__(self, rate: int) -> None:
        self._chunker = Chunker(2 * rate * FRAME_MS // 1000)

    def encode(self, pcm: bytes) -> list[bytes]:
        return self._chunker.feed(pcm)

    def flush(self) -> list[bytes]:
        rest = self._chunker.flush()
        rest = rest[: len(rest) & ~1]
        return [rest] if rest else []


def build(audio_format: AudioFormat) -> Codec:
    """The codec of `audio_format`."""
    return Codec(audio_format, encoder=lambda: _Encoder(audio_format.rate), decoder=_Decoder)
