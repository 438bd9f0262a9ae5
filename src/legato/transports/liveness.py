"""Whether the peer of a TCP connection is still there: judged by what is heard and what the network takes.

Owns the judgement; must not know sockets or clocks. Its owner looks at even intervals and acts on
the verdict.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["Liveness", "Verdict"]

Verdict = Literal["alive", "ping", "stalled", "gone"]
"""`ping`: silent, ask whether it is there. `stalled`: twice it took nothing of what waits. `gone`: no
answer."""


class Liveness:
    """One connection's account of the last interval."""

    __slots__ = ("_pinged", "_stuck", "_taken", "heard")

    def __init__(self) -> None:
        """Begin with a peer that was just heard."""
        self.heard = True
        """Set whenever bytes of the peer arrive."""
        self._taken = 0
        self._pinged = False
        self._stuck = False

    def look(self, taken: int, congested: bool, deaf: bool = False) -> Verdict:
        """Judge the interval that ends now: `taken` bytes left by now, and if `congested` more wait.

        What waits leaves only when the peer acknowledges, so that progress is as good as hearing it. Who is
        `deaf`, because nobody reads, cannot hear an answer: they ask all the same, since the kernel notices
        when nothing that is sent is acknowledged.
        """
        before, self._taken = self._taken, taken
        heard, self.heard = self.heard, False
        was_stuck, self._stuck = self._stuck, congested and taken <= before
        if was_stuck and self._stuck:
            return "stalled"
        if deaf:
            self._pinged = False
            return "ping"
        if heard or congested:
            self._pinged = False
            return "alive"
        if self._pinged:
            return "gone"
        self._pinged = True
        return "ping"
