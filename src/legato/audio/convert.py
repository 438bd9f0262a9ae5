"""Between a stream's coded audio and PCM at any rate: decode then resample, resample then encode.

Owns the order of the two steps and their positions; must not know who speaks or listens.
"""

from legato.audio.codecs import codec_for
from legato.audio.resample import Resampler
from legato.core.audio import AudioFormat, AudioFrame, AudioGap

__all__ = ["IncomingAudio", "OutgoingAudio"]


class IncomingAudio:
    """Coded frames of `audio_format` in, mono s16le at `rate` out; gaps become silence of their length.

    The k-th sample returned is `rate`'s sample k of the stream, counted from `start`: the offset of the first
    frame or gap.
    """

    def __init__(self, audio_format: AudioFormat, rate: int) -> None:
        self._decoder = codec_for(audio_format).decoder()
        self._resampler = Resampler(audio_format.rate, rate)
        self.start = 0
        self._begun = False

    def take(self, item: AudioFrame | AudioGap) -> bytes:
        """The audio that is ready with `item`. Raises ValueError if a payload is not of the format."""
        if isinstance(item, AudioGap):
            self._begin(item.start)
            return self._resampler.process(self._decoder.lose(item.samples))
        self._begin(item.offset)
        return self._resampler.process(self._decoder.decode(item.payload))

    def flush(self) -> bytes:
        """The rest, at the end of the stream."""
        return self._resampler.process(self._decoder.flush()) + self._resampler.flush()

    def _begin(self, offset: int) -> None:
        if not self._begun:
            self._begun, self.start = True, offset


class OutgoingAudio:
    """Mono s16le at any rate in, payloads of `audio_format` out, each with its length in samples.

    The lengths of all payloads of a stream add up to at least the audio that went in; the codec may end with
    up to a frame and its delay of silence.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self._encoder = codec_for(audio_format).encoder()
        self._resampler: Resampler | None = None

    def convert(self, pcm: bytes, rate: int) -> list[tuple[bytes, int]]:
        """Add audio; returns the (payload, samples) that are complete now. The rate may change between
        calls."""
        ready = b""
        if self._resampler is None or self._resampler.source != rate:
            if self._resampler is not None:
                ready = self._resampler.flush()
            self._resampler = Resampler(rate, self._format.rate)
        return self._measured(self._encoder.encode(ready + self._resampler.process(pcm)))

    def flush(self) -> list[tuple[bytes, int]]:
        """The rest; afterwards a new stream may begin."""
        rest = self._resampler.flush() if self._resampler is not None else b""
        return self._measured(self._encoder.encode(rest) + self._encoder.flush())

    def _measured(self, payloads: list[bytes]) -> list[tuple[bytes, int]]:
        samples = self._format.samples
        return [(payload, samples(payload)) for payload in payloads]
