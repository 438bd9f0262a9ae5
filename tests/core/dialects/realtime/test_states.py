"""The tables of responses and input say all that may happen, and the drawing shows all of it."""

from legato.core.dialects.realtime import states
from legato.core.dialects.realtime.states import (
    INPUT_MOVES,
    RESPONSE_MOVES,
    InputCause,
    InputState,
    ResponseCause,
    ResponseState,
    input_after,
    response_after,
)


def test_every_state_can_be_reached_and_is_drawn() -> None:
    assert states.__doc__
    assert set(RESPONSE_MOVES.values()) == set(ResponseState)
    assert set(INPUT_MOVES.values()) == set(InputState)
    assert all(one.name in states.__doc__ for one in (*ResponseState, *InputState))


def test_nothing_follows_the_end_of_a_response() -> None:
    assert all(response_after(ResponseState.OVER, cause) is None for cause in ResponseCause)


def test_content_stays_within_its_item() -> None:
    content = {ResponseCause.TRANSCRIPT, ResponseCause.TEXT, ResponseCause.ARGUMENTS}
    moves = {(state, cause): after for (state, cause), after in RESPONSE_MOVES.items() if cause in content}
    assert len(moves) == 3
    assert all(state is after for (state, _), after in moves.items())


def test_every_open_item_can_be_closed() -> None:
    for state in (ResponseState.SPEAKING, ResponseState.WRITING, ResponseState.CALLING):
        assert response_after(state, ResponseCause.CLOSE_ITEM) is ResponseState.BETWEEN


def test_a_client_may_commit_and_clear_whoever_speaks() -> None:
    for state in InputState:
        for cause in (InputCause.COMMIT, InputCause.CLEAR):
            assert input_after(state, cause) is InputState.QUIET


def test_speech_starts_once_and_stops_once() -> None:
    assert input_after(InputState.SPEAKING, InputCause.SPEECH_STARTS) is None
    assert input_after(InputState.QUIET, InputCause.SPEECH_STOPS) is None
