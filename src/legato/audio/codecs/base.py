"""The contract of a codec; must not know any codec.

Coders are synchronous, hold the state of one stream and are not shared between streams. Encoder and decoder
are aligned: sample k that comes out of the decoder is sample k that went into the encoder (of lossy codecs:
as well as the codec can), whatever delay the codec has inside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from legato.core.audio import AudioFormat

__all__ = ["FRAME_MS", "Codec", "Decoder", "Encoder"]

FRAME_MS = 20
"""Length of a payload made by an encoder, in milliseconds."""


class Decoder(Protocol):
    """Payloads in, mono s16le at the format's rate out."""

    def decode(self, payload: bytes) -> bytes:
        """The audio that is ready with this payload; it may trail behind by the codec's delay. Raises
        ValueError if the payload is not audio of the format; the decoder stays usable."""

    def lose(self, samples: int) -> bytes:
        """`samples` of the stream are missing: silence takes their place, so that everything later keeps its
        position."""

    def flush(self) -> bytes:
        """What still trails behind. Afterwards the decoder stands at the beginning of a new stream."""


class Encoder(Protocol):
    """Mono s16le at the format's rate in, payloads of 20 ms out."""

    def encode(self, pcm: bytes) -> list[bytes]:
        """The payloads that are complete now; the rest waits. A sample may be split between two calls."""

    def flush(self) -> list[bytes]:
        """Payloads that hold everything still inside; they may last longer than that (silence at the end), or
        be shorter than 20 ms. Afterwards the encoder stands at the beginning of a new stream."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one format is coded: makes encoders and decoders, each for one stream."""

    format: AudioFormat
    encoder: Callable[[], Encoder]
    decoder: Callable[[], Decoder]
