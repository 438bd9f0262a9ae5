from hypothesis import given
from hypothesis import strategies as st

from legato.lb.weights import STEPS, Load, shares


def load(calls: int, capacity: int = 100) -> Load:
    return Load(calls=calls, capacity=capacity)


def test_without_reports_lists_decide() -> None:
    assert shares([(1, None), (2, None), (0, None)]) == [STEPS // 2, STEPS, 0]


def test_free_places_decide() -> None:
    assert shares([(1, load(0)), (1, load(50)), (1, load(75))]) == [STEPS, STEPS // 2, STEPS // 4]


def test_a_full_server_gets_nothing_and_a_nearly_full_one_something() -> None:
    assert shares([(1, load(0, 1000)), (1, load(100)), (1, load(99)), (1, load(200))]) == [STEPS, 0, 1, 0]


def test_lists_and_free_places_multiply() -> None:
    assert shares([(3, load(50)), (1, load(50))]) == [STEPS, round(STEPS / 3)]


def test_who_does_not_report_counts_like_the_others() -> None:
    assert shares([(1, load(0)), (1, None), (1, load(0))]) == [STEPS] * 3


def test_if_all_are_full_lists_decide() -> None:
    assert shares([(1, load(100)), (2, load(100))]) == [STEPS // 2, STEPS]


def test_nobody_gets_nothing() -> None:
    assert shares([]) == []
    assert shares([(0, None)]) == [0]


loads = st.one_of(
    st.none(),
    st.builds(Load, calls=st.integers(0, 2000), capacity=st.integers(0, 1000), draining=st.booleans()),
)


@given(st.lists(st.tuples(st.integers(0, 1000), loads), max_size=20))
def test_shares_are_steps_and_somebody_always_gets_some(servers: list[tuple[int, Load | None]]) -> None:
    counted = shares(servers)
    assert len(counted) == len(servers)
    assert all(0 <= share <= STEPS for share in counted)
    assert all(share == 0 for share, (weight, _) in zip(counted, servers, strict=True) if weight == 0)
    if any(weight for weight, _ in servers):
        assert max(counted) == STEPS
