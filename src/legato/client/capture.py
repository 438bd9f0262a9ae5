"""From captured samples to payloads with capture times; must not know where samples come from or go."""

from __future__ import annotations

from legato.audio.codecs import codec_for
from legato.core.audio import AudioFormat

__all__ = ["CapturedAudio"]


class CapturedAudio:
    """Codes mono s16le at the format's rate; each payload knows when its first sample was captured."""

    def __init__(self, form: AudioFormat) -> None:
        """Start a stream of `form`; raises `SettingsError` when its codec is not installed."""
        self.format = form
        self._encoder = codec_for(form).encoder()
        self._inside = 0

    def add(self, pcm: bytes, captured_us: int) -> list[tuple[bytes, int]]:
        """Add samples whose first was captured at `captured_us`; returns complete (payload, capture time)."""
        at_us = captured_us - self.format.duration_us(self._inside)
        self._inside += len(pcm) // 2
        return self._timed(self._encoder.encode(pcm), at_us)

    def flush(self, now_us: int) -> list[tuple[bytes, int]]:
        """Code what is left, at the end of the stream."""
        return self._timed(self._encoder.flush(), now_us - self.format.duration_us(self._inside))

    def _timed(self, payloads: list[bytes], at_us: int) -> list[tuple[bytes, int]]:
        timed: list[tuple[bytes, int]] = []
        for payload in payloads:
            timed.append((payload, max(0, at_us)))
            samples = self.format.samples(payload)
            at_us += self.format.duration_us(samples)
            self._inside = max(0, self._inside - samples)
        return timed
