"""How much may be under way on a connection whose own buffers nobody can see into.

Owns the count and the judgement: marks are sent along with the data, and their answers tell how much has
arrived and how long it took. What takes longer than the path itself stood in a queue, where it can no longer
be held back for something more urgent, so that less is let out. Must not know how marks travel.
"""

from __future__ import annotations

from collections import deque

__all__ = ["FlightWindow"]

MARK_BYTES = 8 * 1024
"""How much is sent between two marks."""

MARKS = 1024
"""Marks without an answer that are remembered."""

FIRST_BYTES = 64 * 1024
LEAST_BYTES = 16 * 1024
MOST_BYTES = 1024 * 1024

PATIENCE_US = 120_000
"""How much longer than the fastest answer one may take before less is let out."""


class FlightWindow:
    """One direction of one connection. Times in microseconds."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self.rtt_us = 0
        """How long the last answer took; 0 before there is one."""
        self._window = FIRST_BYTES
        self._fastest_us = 0
        self._sent = 0
        self._arrived = 0
        self._changed_at = 0  # what was sent when the window was last made smaller
        # A mark's number, what was sent before it, and when; a peer that never answers leaves no more behind.
        self._marks: deque[tuple[int, int, int]] = deque(maxlen=MARKS)
        self._next = 0
        self._was_shut = False
        self._given_up = False

    @property
    def open(self) -> bool:
        """Whether more may be sent."""
        shut = self._sent - self._arrived >= self._window and not self._given_up
        self._was_shut |= shut
        return not shut

    def sent(self, size: int) -> bool:
        """Count what was sent; returns whether a mark is due."""
        self._sent += size
        return self._sent - (self._marks[-1][1] if self._marks else self._arrived) >= MARK_BYTES

    def mark(self, now_us: int) -> int:
        """Return the number of a mark that is sent now."""
        self._next += 1
        self._marks.append((self._next, self._sent, now_us))
        return self._next

    def answered(self, number: int, now_us: int) -> None:
        """Take the answer to a mark, which stands for those before it; others are ignored."""
        if not self._marks or not self._marks[0][0] <= number <= self._next:
            return
        while self._marks and self._marks[0][0] <= number:
            _, self._arrived, at = self._marks.popleft()
        self.rtt_us = now_us - at
        self._given_up = False
        self._fastest_us = min(self._fastest_us or self.rtt_us, self.rtt_us)
        queued_us = self.rtt_us - self._fastest_us
        if queued_us > PATIENCE_US:
            if self._arrived >= self._changed_at:
                self._window = max(LEAST_BYTES, self._window * 3 // 4)
                self._changed_at = self._sent
        elif self._was_shut and queued_us < PATIENCE_US // 2:
            self._window = min(MOST_BYTES, self._window + MARK_BYTES)
        self._was_shut = False

    def give_up(self) -> None:
        """Let everything out until an answer comes: nobody answers, or nobody can hear it."""
        self._given_up = True
