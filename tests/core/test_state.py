import pytest

from legato.core import state
from legato.core.state import (
    CONNECTED,
    LIVE,
    REPLY_MOVES,
    SESSION_MOVES,
    ReplyCause,
    ReplyState,
    SessionCause,
    SessionState,
    reply_after,
    session_after,
)


def test_every_session_state_but_the_last_can_be_ended() -> None:
    for one in SessionState:
        assert ((one, SessionCause.END) in SESSION_MOVES) == (one is not SessionState.CLOSED)


def test_every_state_can_be_reached_and_drawn() -> None:
    assert state.__doc__
    assert set(SESSION_MOVES.values()) | {SessionState.CONNECTING} == set(SessionState)
    assert set(REPLY_MOVES.values()) | {ReplyState.OPEN} == set(ReplyState)
    assert all(one.name in state.__doc__ for one in (*SessionState, *ReplyState))


def test_illegal_moves() -> None:
    with pytest.raises(KeyError):
        session_after(SessionState.CLOSED, SessionCause.END)
    assert reply_after(ReplyState.OPEN, ReplyCause.PLAY_OUT) is None
    assert reply_after(ReplyState.SETTLED, ReplyCause.FLUSH) is None


def test_calls_take_place_between_accept_and_end() -> None:
    assert {SESSION_MOVES[one, SessionCause.GOING_AWAY] for one in CONNECTED} == {SessionState.DRAINING}
    assert {SESSION_MOVES[one, SessionCause.LOSE] for one in CONNECTED} == {SessionState.PARKED}
    assert {SessionState.PARKED} == LIVE - CONNECTED
