"""Whatever happens in whatever order, a fleet keeps its promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.lb.fleets import SECOND, TERMS, at, named, one

from legato.lb.fleet import Fleet
from legato.lb.servers import Listed, Snapshot
from legato.lb.states import MOVES, State
from legato.lb.weights import Load

numbers = st.integers(1, 4)
entries = st.builds(
    one,
    numbers,
    weight=st.integers(-1, 3),
    draining=st.booleans(),
    server_ids=st.sampled_from([(), (b"a",), (b"b",), (b"a", b"b"), (b"",)]),
)
loads = st.builds(Load, calls=st.integers(0, 12), capacity=st.integers(0, 10), draining=st.booleans())


class AnyLife(RuleBasedStateMachine):
    """Lists, answers, silence, reports and operators, at random."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(TERMS, named)
        self.now_us = 0
        self.seen: dict[tuple[str, int], State | None] = {}
        self.last: tuple[int, list[object]] = (0, [])

    @rule(servers=st.lists(entries, max_size=6))
    def lists(self, servers: list[Listed]) -> None:
        before = set(self.fleet.members)
        self.fleet.listed(Snapshot(servers=tuple(servers)), self.now_us)
        names = {name for server in servers for name in server.server_ids}
        for address in before - set(self.fleet.members):
            assert names, f"{address} was forgotten though nobody took its name"

    @rule(number=numbers)
    def answers(self, number: int) -> None:
        self.fleet.answered(at(number), 1, self.now_us)

    @rule(number=numbers)
    def is_silent(self, number: int) -> None:
        self.fleet.missed(at(number), self.now_us)

    @rule(number=numbers, load=loads)
    def reports(self, number: int, load: Load) -> None:
        self.fleet.reported(at(number), load, self.now_us)

    @rule(number=numbers, wanted=st.booleans())
    def is_drained(self, number: int, wanted: bool) -> None:
        self.fleet.drain(at(number), wanted, self.now_us)

    @rule(seconds=st.sampled_from([0, 1, 2, 3, 11, TERMS.drain_us // SECOND]))
    def time_passes(self, seconds: int) -> None:
        self.now_us += seconds * SECOND
        self.fleet.on_time(self.now_us)
        deadline = self.fleet.next_deadline()
        assert deadline is None or deadline > self.now_us, "what is due was not done"

    @invariant()
    def changes_follow_the_table(self) -> None:
        for change in self.fleet.changes():
            assert self.seen.get(change.address) is change.before
            if change.before is None:
                assert change.after is State.JOINING
            elif change.after is not State.GONE:
                assert change.after in {MOVES.get((change.before, signal)) for _, signal in MOVES}
            self.seen[change.address] = None if change.after is State.GONE else change.after
        known = {address: member.state for address, member in self.fleet.members.items()}
        assert known == {address: state for address, state in self.seen.items() if state is not None}

    @invariant()
    def names_and_addresses_are_nobodys_twice(self) -> None:
        backends = self.fleet.backends()
        names = [name for backend in backends for name in backend.server_ids]
        assert len(set(names)) == len(names)
        assert all(backend.server_ids for backend in backends)

    @invariant()
    def only_wanted_servers_that_answer_get_calls(self) -> None:
        for backend in self.fleet.backends():
            member = self.fleet.members[backend.address]
            if backend.weight:
                assert backend.state is State.READY
            if backend.state is State.READY:
                assert member.unwanted_because is None
                assert member.missed < TERMS.fall

    @invariant()
    def a_new_view_has_a_new_version(self) -> None:
        version, backends = self.last
        now: list[object] = list(self.fleet.backends())
        if now != backends:
            assert self.fleet.version > version
        self.last = self.fleet.version, now


AnyLife.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestAnyLife = AnyLife.TestCase
