"""Which states a session and a reply go through, and by what; must not know which role asks or why.

Theory of operation. All legal moves are the two tables below and nothing else moves a state. A *cause* is
something that happened (an input) or that the owner asked for (an operation); a pair that is missing from
its table is illegal, which the caller of `session_after` or `reply_after` has ruled out beforehand, with a
better sentence than this file could give.

Session. A server starts CONNECTING until a hello arrives, is DECIDING until its owner accepts or refuses,
and is then ACTIVE. A client has said hello already; CONNECTING means that the welcome is due. DRAINING is
ACTIVE with an announced end. PARKED has lost its connection and remembers what its owner does for the
session that continues the call. Every state can be ended, and CLOSED swallows everything: a closed session
takes any input without effect, because bytes keep arriving for a while after the decision.

    CONNECTING ──hello──► DECIDING ──accept──► ACTIVE ──going away──► DRAINING
         └────────────────welcome───────────────►├──lose──► PARKED ◄──lose──┘
         (any) ───────────────────────end───────────────────────────► CLOSED

Reply, on the server. OPEN takes audio; SENT is complete but not played to the end; FLUSHED and CANCELLED
(by the client) take and play nothing more, but the final report of the player is still welcome; SETTLED is
history. An OPEN reply cannot be SETTLED by the player: it cannot know the end before it was sent.

    OPEN ──finish──► SENT ──play out──► SETTLED
      ├──flush──► FLUSHED ◄──flush── SENT │
      │               └────play out──────►┤
      └──cancel─► CANCELLED ──play out───►┘
"""

from enum import Enum, auto


class SessionState(Enum):
    """Where a session stands."""

    CONNECTING = auto()
    DECIDING = auto()
    ACTIVE = auto()
    DRAINING = auto()
    PARKED = auto()
    CLOSED = auto()


class SessionCause(Enum):
    """What moves a session."""

    HELLO = auto()
    WELCOME = auto()
    ACCEPT = auto()
    GOING_AWAY = auto()
    LOSE = auto()
    END = auto()


class ReplyState(Enum):
    """Where a reply stands."""

    OPEN = auto()
    SENT = auto()
    FLUSHED = auto()
    CANCELLED = auto()
    SETTLED = auto()


class ReplyCause(Enum):
    """What moves a reply."""

    FINISH = auto()
    FLUSH = auto()
    CANCEL = auto()
    PLAY_OUT = auto()


SESSION_MOVES: dict[tuple[SessionState, SessionCause], SessionState] = {
    (SessionState.CONNECTING, SessionCause.HELLO): SessionState.DECIDING,
    (SessionState.CONNECTING, SessionCause.WELCOME): SessionState.ACTIVE,
    (SessionState.CONNECTING, SessionCause.END): SessionState.CLOSED,
    (SessionState.DECIDING, SessionCause.ACCEPT): SessionState.ACTIVE,
    (SessionState.DECIDING, SessionCause.END): SessionState.CLOSED,
    (SessionState.ACTIVE, SessionCause.GOING_AWAY): SessionState.DRAINING,
    (SessionState.ACTIVE, SessionCause.END): SessionState.CLOSED,
    (SessionState.DRAINING, SessionCause.GOING_AWAY): SessionState.DRAINING,
    (SessionState.DRAINING, SessionCause.END): SessionState.CLOSED,
    (SessionState.ACTIVE, SessionCause.LOSE): SessionState.PARKED,
    (SessionState.DRAINING, SessionCause.LOSE): SessionState.PARKED,
    (SessionState.PARKED, SessionCause.END): SessionState.CLOSED,
}

REPLY_MOVES: dict[tuple[ReplyState, ReplyCause], ReplyState] = {
    (ReplyState.OPEN, ReplyCause.FINISH): ReplyState.SENT,
    (ReplyState.OPEN, ReplyCause.FLUSH): ReplyState.FLUSHED,
    (ReplyState.OPEN, ReplyCause.CANCEL): ReplyState.CANCELLED,
    (ReplyState.SENT, ReplyCause.FLUSH): ReplyState.FLUSHED,
    (ReplyState.SENT, ReplyCause.PLAY_OUT): ReplyState.SETTLED,
    (ReplyState.FLUSHED, ReplyCause.PLAY_OUT): ReplyState.SETTLED,
    (ReplyState.CANCELLED, ReplyCause.PLAY_OUT): ReplyState.SETTLED,
    (ReplyState.CANCELLED, ReplyCause.FLUSH): ReplyState.FLUSHED,
}

LIVE = frozenset({SessionState.ACTIVE, SessionState.DRAINING, SessionState.PARKED})
"""The states in which a call takes place."""

CONNECTED = LIVE - {SessionState.PARKED}


def session_after(state: SessionState, cause: SessionCause) -> SessionState:
    """The state that follows; raises KeyError for an illegal move, which is a bug in this package."""
    return SESSION_MOVES[state, cause]


def reply_after(state: ReplyState, cause: ReplyCause) -> ReplyState | None:
    """The state that follows, or None where the cause comes too late to matter."""
    return REPLY_MOVES.get((state, cause))
