"""Barge-in in two phases, the server's half: a caller's player fell silent, and the server has the last word.

Owns how long it waits with that. It must not know who finds speech, nor how a reply is flushed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["DECISION_S", "Ducking"]

DECISION_S = 1.0
"""How long after a sound it may turn out to be speech: the network, a detector's patience, and some."""


class Ducking:
    """Answers each `legato.duck` of one call, unless a flush does."""

    def __init__(self, deny: Callable[[int], None], sounding: Callable[[int], bool]) -> None:
        """`deny` lets a reply go on at the caller's; `sounding` tells whether it still may."""
        self._deny = deny
        self._sounding = sounding
        self._generation = 0
        self._timer: asyncio.TimerHandle | None = None

    def duck(self, generation: object, may_interrupt: bool) -> None:
        """The caller holds this reply. What cannot be interrupted, or is no reply, goes on at once."""
        known = type(generation) is int and self._sounding(generation)
        self._generation = generation if type(generation) is int else 0
        self.stop()
        if known and may_interrupt:
            self._timer = asyncio.get_running_loop().call_later(DECISION_S, self._decide)
        else:
            self._deny(self._generation)

    def stop(self) -> None:
        """Answer nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _decide(self) -> None:
        # A flush has told the caller already.
        if self._sounding(self._generation):
            self._deny(self._generation)
