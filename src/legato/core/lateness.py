"""How late audio comes, against the quickest of the last seconds, and when it is too late.

Owns the comparison of a sender's clock with ours, of which only differences are known. Must not know audio,
nor what is done with what is late.

Theory of operation. Capture time and arrival are read from two clocks; their difference is the transit plus
a constant. The smallest difference of the last one to two seconds in which audio arrived stands for a transit
without waiting, and lateness is what exceeds it. Only time in which audio arrives counts, so that what was
held up by an outage is compared with the transit before it; a path that is slower for good is the measure two
seconds later.
"""

_SPAN_US = 1_000_000
_STEP_US = 100_000


class Lateness:
    """Judges audio by its capture time; `late_us` is how late it may be."""

    def __init__(self, late_us: int) -> None:
        self._late_us = late_us
        self._least: int | None = None
        self._before: int | None = None
        self._age = 0
        self._at = 0

    def is_late(self, captured_us: int, now: int) -> bool:
        """Take audio that has arrived; returns whether it came too late."""
        transit = now - captured_us
        if self._least is None or transit < self._least:
            self._least = transit
        self._age += min(max(now - self._at, 0), _STEP_US)
        self._at = now
        if self._age >= _SPAN_US:
            self._before, self._least, self._age = self._least, transit, 0
        return transit - self._usual(self._least) > self._late_us

    def due(self, captured_us: int) -> int | None:
        """When audio captured then will be too late; None if no audio has come yet."""
        return None if self._least is None else self._usual(self._least) + captured_us + self._late_us

    def _usual(self, least: int) -> int:
        return least if self._before is None else min(least, self._before)
