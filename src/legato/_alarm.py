"""A moment at which something sans-IO wants to be woken, kept by the running event loop.

Owns one timer. Must not know who is woken, nor what for. Times are microseconds of the owner's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Alarm"]


class Alarm:
    """Calls `ring` once when the moment set last has come."""

    __slots__ = ("_clock", "_loop", "_ring", "_timer", "at")

    def __init__(self, clock: Callable[[], int], ring: Callable[[], None]) -> None:
        """Make an alarm that is not set, on the running event loop."""
        self.at: int | None = None
        """When it will ring; None while it is not set."""
        self._clock = clock
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: int | None) -> None:
        """Ring at that moment and at no other; None: not at all."""
        self.at = at
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            delay = max(0, at - self._clock()) / 1_000_000
            self._timer = self._loop.call_later(delay, self._reached)

    def _reached(self) -> None:
        self._timer = None
        self.at = None
        self._ring()
