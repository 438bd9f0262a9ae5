"""Changes the sample rate of a stream; must not know where the audio comes from or goes to."""

import numpy as np
import soxr

__all__ = ["Resampler"]


class Resampler:
    """Mono s16le at `source` samples per second in, at `target` out, in pieces of any size.

    Output is aligned with the input (no shift by the filter's delay) and trails it by a few milliseconds
    until `flush`. In total it holds the input's duration, rounded to a sample of the target rate.
    """

    def __init__(self, source: int, target: int) -> None:
        if source < 1 or target < 1:
            raise ValueError(f"sample rates are positive, not {source} and {target}")
        self.source = source
        self.target = target
        self._odd = b""
        self._stream = self._open()

    def process(self, pcm: bytes) -> bytes:
        """Add audio; returns what is ready. A sample may be split between two calls."""
        return self._convert(pcm, last=False)

    def flush(self) -> bytes:
        """The rest; afterwards the resampler stands at the beginning of a new stream."""
        rest = self._convert(b"", last=True)
        self._odd = b""
        self._stream = self._open()
        return rest

    def _open(self) -> "soxr.ResampleStream | None":
        if self.source == self.target:
            return None
        return soxr.ResampleStream(self.source, self.target, 1, dtype="int16", quality="HQ")

    def _convert(self, pcm: bytes, last: bool) -> bytes:
        if self._odd:
            pcm = self._odd + pcm
        whole = len(pcm) & ~1
        self._odd = pcm[whole:]
        if self._stream is None:
            return pcm[:whole]
        samples = np.frombuffer(pcm, dtype="<i2", count=whole // 2)
        converted: np.ndarray = self._stream.resample_chunk(samples, last=last)
        return converted.astype("<i2", copy=False).tobytes()
