"""Changes the sample rate of a stream; must not know where the audio comes from or goes to.

A windowed-sinc polyphase filter of our own, because a voice call needs what block-wise resamplers do not
give: output that trails the input by a few milliseconds at most (24 samples of the slower rate), whatever
the size of the pieces that come in.
"""

from functools import lru_cache
from math import ceil, gcd

import numpy as np
import numpy.typing as npt

__all__ = ["Resampler"]

_HALF_WIDTH = 24
"""Samples of the slower rate on each side of the filter's middle."""
_CUTOFF = 0.92
"""Middle of the transition band as a part of the slower rate's Nyquist frequency."""
_KAISER_BETA = 7.0
"""Shape of the window: about 70 dB down in the stop band."""
_FEW_PHASES = 8
_BLOCK = 4096
"""Output samples made at once, which bounds the memory of the intermediate windows."""

_Floats = npt.NDArray[np.float32]


@lru_cache(maxsize=32)
def _filter(up: int, down: int) -> _Floats:
    """Weights by phase: row p weighs the inputs around a position p / up behind an input sample."""
    stretch = max(1.0, down / up)
    half = ceil(_HALF_WIDTH * stretch)
    distance = np.arange(1 - half, half + 1)[None, :] - np.arange(up)[:, None] / up
    window = np.i0(_KAISER_BETA * np.sqrt(np.maximum(0.0, 1.0 - (distance / half) ** 2)))
    weights = np.sinc(distance * _CUTOFF / stretch) * window
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


class Resampler:
    """Mono s16le at `source` samples per second in, at `target` out, in pieces of any size.

    Sample k of the output sounds at the time k / target of the input: nothing is shifted. In total it holds
    the input's duration, rounded up to a whole sample.
    """

    def __init__(self, source: int, target: int) -> None:
        if source < 1 or target < 1:
            raise ValueError(f"sample rates are positive, not {source} and {target}")
        self.source = source
        self.target = target
        common = gcd(source, target)
        self._up, self._down = target // common, source // common
        self._weights = _filter(self._up, self._down) if source != target else None
        self._odd = b""
        self._heard = 0  # input samples
        self._made = 0  # output samples
        self._first = 0  # which input sample stands first in _waiting
        self._waiting = np.zeros(0, np.float32)
        self._restart()

    def process(self, pcm: bytes) -> bytes:
        """Add audio; returns what is ready. A sample may be split between two calls."""
        if self._odd:
            pcm = self._odd + pcm
        whole = len(pcm) & ~1
        self._odd = pcm[whole:]
        if self._weights is None:
            return pcm[:whole]
        samples = np.frombuffer(pcm, dtype="<i2", count=whole // 2).astype(np.float32)
        self._heard += len(samples)
        self._waiting = np.concatenate((self._waiting, samples))
        return self._ready(self._weights)

    def flush(self) -> bytes:
        """The rest; afterwards the resampler stands at the beginning of a new stream."""
        rest = b""
        if self._weights is not None and self._heard:
            total = -(-self._heard * self._up // self._down)
            half = self._weights.shape[1] // 2
            self._waiting = np.concatenate((self._waiting, np.zeros(half + 1, np.float32)))
            rest = self._ready(self._weights, total)
        self._restart()
        return rest

    def _restart(self) -> None:
        before = 0 if self._weights is None else self._weights.shape[1] // 2 - 1
        self._odd, self._heard, self._made = b"", 0, 0
        self._first = -before  # silence lies before the stream
        self._waiting = np.zeros(before, np.float32)

    def _ready(self, weights: _Floats, total: int | None = None) -> bytes:
        """Every output sample whose inputs have all arrived, up to `total` since the start of the stream."""
        half = weights.shape[1] // 2
        last_middle = self._first + len(self._waiting) - 1 - half
        end = ((last_middle + 1) * self._up - 1) // self._down + 1 if last_middle >= 0 else 0
        end = end if total is None else min(end, total)
        if end <= self._made:
            return b""
        made = self._by_phase(weights, end) if self._up <= _FEW_PHASES else self._by_position(weights, end)
        self._made = end
        unneeded = max(0, end * self._down // self._up + 1 - half - self._first)
        self._first += unneeded
        self._waiting = self._waiting[unneeded:]
        samples: npt.NDArray[np.int16] = np.clip(np.rint(made), -32768, 32767).astype("<i2")
        return samples.tobytes()

    def _by_phase(self, weights: _Floats, end: int) -> _Floats:
        """Samples up to `end` by one correlation for each phase: the quick way if there are few."""
        width = weights.shape[1]
        made = np.empty(end - self._made, np.float32)
        for first in range(self._made, min(self._made + self._up, end)):
            position = first * self._down
            count = (end - first - 1) // self._up
            start = position // self._up + 1 - width // 2 - self._first
            heard = self._waiting[start : start + count * self._down + width]
            found = np.correlate(heard, weights[position % self._up], "valid")
            made[first - self._made :: self._up] = found[:: self._down]
        return made

    def _by_position(self, weights: _Floats, end: int) -> _Floats:
        """Samples up to `end` by one weighted sum for each: any ratio."""
        width = weights.shape[1]
        windows = np.lib.stride_tricks.sliding_window_view(self._waiting, width)
        blocks = []
        for start in range(self._made, end, _BLOCK):
            position = np.arange(start, min(start + _BLOCK, end), dtype=np.int64) * self._down
            rows = windows[position // self._up + 1 - width // 2 - self._first]
            blocks.append(np.einsum("ij,ij->i", rows, weights[position % self._up]))
        return np.concatenate(blocks)
