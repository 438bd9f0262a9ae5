"""How much is let out: it follows what arrives, shrinks when answers are late, and never shuts for good."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from legato.transports.flight_window import (
    FIRST_BYTES,
    LEAST_BYTES,
    MARK_BYTES,
    MARKS,
    MOST_BYTES,
    PATIENCE_US,
    FlightWindow,
)


class Line:
    """A path with a rate and a queue without end, on a clock of its own."""

    def __init__(self, bytes_per_s: int, delay_us: int) -> None:
        self.flight = FlightWindow()
        self.rate, self.delay_us = bytes_per_s, delay_us
        self.now_us = 0
        self.free_us = 0
        self.under_way: deque[tuple[int, int]] = deque()
        self.worst_queue_us = 0
        self.arrived = 0

    def run(self, seconds: float, piece: int = MARK_BYTES) -> None:
        """Send as much as is let out, for so long."""
        end = self.now_us + round(seconds * 1_000_000)
        while self.now_us < end:
            while self.flight.open:
                self.free_us = max(self.free_us, self.now_us) + piece * 1_000_000 // self.rate
                if self.flight.sent(piece):
                    self.under_way.append((self.flight.mark(self.now_us), self.free_us + self.delay_us))
            number, at_us = self.under_way.popleft()
            self.now_us = at_us
            self.worst_queue_us = max(0, self.free_us - self.now_us)
            self.arrived += piece
            self.flight.answered(number, self.now_us)


def test_a_slow_path_has_a_short_queue() -> None:
    line = Line(bytes_per_s=32_000, delay_us=100_000)
    line.run(20)
    assert line.worst_queue_us <= LEAST_BYTES * 1_000_000 // 32_000 + PATIENCE_US
    assert line.arrived > 18 * 32_000, "the path is kept busy"


def test_a_fast_path_is_not_held_up() -> None:
    line = Line(bytes_per_s=2_000_000, delay_us=100_000)
    line.run(5)
    before = line.arrived
    line.run(5)
    assert line.arrived - before > 4 * 2_000_000


def test_it_opens_with_some_and_shuts_without_answers() -> None:
    flight = FlightWindow()
    sent = 0
    while flight.open:
        flight.sent(1000)
        sent += 1000
    assert FIRST_BYTES <= sent < FIRST_BYTES + 1000


def test_giving_up_lasts_until_an_answer() -> None:
    flight = FlightWindow()
    first = flight.mark(0)
    flight.sent(2 * FIRST_BYTES)
    second = flight.mark(0)
    assert not flight.open
    flight.give_up()
    assert flight.open
    flight.answered(first, 1000)
    assert not flight.open
    flight.answered(second, 2000)
    assert flight.open
    assert flight.rtt_us == 2000


def test_an_answer_stands_for_the_marks_before_it() -> None:
    flight = FlightWindow()
    flight.sent(FIRST_BYTES)
    marks = [flight.mark(0), flight.mark(10)]
    flight.answered(marks[1], 50)
    assert flight.open
    assert flight.rtt_us == 40
    flight.answered(marks[0], 1_000_000)
    assert flight.rtt_us == 40


def test_what_was_never_asked_is_no_answer() -> None:
    flight = FlightWindow()
    flight.sent(FIRST_BYTES)
    number = flight.mark(0)
    for other in (0, number + 1, 1 << 63):
        flight.answered(other, 5)
    assert not flight.open


def test_a_peer_that_never_answers_leaves_little_behind() -> None:
    flight = FlightWindow()
    for at in range(MARKS + 5):
        flight.mark(at)
    assert len(flight._marks) == MARKS


@given(st.lists(st.tuples(st.integers(0, 50_000), st.integers(0, 2_000_000), st.booleans()), max_size=60))
def test_the_bounds_hold(steps: list[tuple[int, int, bool]]) -> None:
    flight = FlightWindow()
    now = 0
    marks: list[int] = []
    for size, wait_us, answer in steps:
        if flight.sent(size):
            marks.append(flight.mark(now))
        now += wait_us
        if answer and marks:
            flight.answered(marks.pop(), now)
        assert LEAST_BYTES <= flight._window <= MOST_BYTES
