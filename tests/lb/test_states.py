import itertools

from legato.lb.states import MOVES, Signal, State, moved


def test_what_is_not_in_the_table_leads_nowhere() -> None:
    for state, signal in itertools.product(State, Signal):
        assert moved(state, signal) is MOVES.get((state, signal), state)


def test_nobody_returns_from_gone() -> None:
    assert all(moved(State.GONE, signal) is State.GONE for signal in Signal)


def test_only_silence_kills() -> None:
    assert {signal for (_, signal), after in MOVES.items() if after is State.DEAD} == {Signal.SILENT}


def test_only_who_answers_gets_new_calls() -> None:
    assert {key for key, after in MOVES.items() if after is State.READY} == {(State.JOINING, Signal.ANSWERS)}


def test_every_state_can_be_reached_and_left() -> None:
    assert set(MOVES.values()) == set(State)
    assert {state for state, _ in MOVES} == set(State) - {State.GONE}
