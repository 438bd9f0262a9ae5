"""The life of a server as a balancer sees it: states, and the table of legal moves.

Must not know clocks, addresses, or where a signal comes from.

# Theory of operation

| State | calls in progress | new calls | it is |
|---|---|---|---|
| JOINING | reach it | none | listed, and has not answered a probe yet |
| READY | reach it | its share | listed, wanted, and answers |
| DRAINING | reach it | none | unlisted, or told to take no calls; it may still have some |
| DEAD | are dropped for a grace time, then go to others, which reset them | none | silent |
| GONE | go to others | none | forgotten |

Packets of calls in progress carry their server's name and ignore health until a server is DEAD, which takes
several probes without an answer: one that misses a probe loses nothing. A server that leaves the list drains
first, because a list may be wrong, and its calls are real. Only silence kills.
"""

from enum import StrEnum

__all__ = ["MOVES", "Signal", "State", "moved"]


class State(StrEnum):
    """How a server is."""

    JOINING = "joining"
    READY = "ready"
    DRAINING = "draining"
    DEAD = "dead"
    GONE = "gone"


class Signal(StrEnum):
    """What can happen to it."""

    ANSWERS = "answers"
    """It has answered as many probes in a row as are asked for."""
    SILENT = "silent"
    """It has left as many probes in a row unanswered as are allowed."""
    WANTED = "wanted"
    """It is listed, and nobody says that it should drain."""
    UNWANTED = "unwanted"
    """It is not listed any more, or somebody says that it should drain: list, server or operator."""
    OVER = "over"
    """It is not listed, and its time is over: the grace time of the dead, the drain time of others."""


MOVES: dict[tuple[State, Signal], State] = {
    (State.JOINING, Signal.ANSWERS): State.READY,
    (State.JOINING, Signal.SILENT): State.DEAD,
    (State.JOINING, Signal.UNWANTED): State.DRAINING,
    (State.READY, Signal.SILENT): State.DEAD,
    (State.READY, Signal.UNWANTED): State.DRAINING,
    (State.DRAINING, Signal.WANTED): State.JOINING,
    (State.DRAINING, Signal.SILENT): State.DEAD,
    (State.DRAINING, Signal.OVER): State.GONE,
    (State.DEAD, Signal.ANSWERS): State.JOINING,
    (State.DEAD, Signal.OVER): State.GONE,
}
"""Where a signal leads; what is not here leads nowhere. JOINING stands between, so that one row says what an
answering server becomes: READY if it is wanted, DRAINING if not."""


def moved(state: State, signal: Signal) -> State:
    """The state after a signal."""
    return MOVES.get((state, signal), state)
