"""All servers that a balancer knows: lists, answers and reports in, backends with states and weights out.

Owns who is in which state and why. Sans-IO: time is passed in (microseconds of the monotonic clock), nothing
is sent, and a bad list or a strange report is a problem to be shown, never an exception.

After any input, `version` tells whether the forwarder needs a new view, `backends` what is in it, `changes`
what happened, and `next_deadline` when `on_time` is due.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from legato.lb.servers import (
    MAX_SERVERS,
    Address,
    Listed,
    Names,
    Network,
    Places,
    Snapshot,
    judge,
    order,
    shown,
)
from legato.lb.states import Signal, State, moved
from legato.lb.weights import Load, shares

__all__ = ["Backend", "Change", "Fleet", "FleetTerms", "Member"]

SECOND = 1_000_000


@dataclass(frozen=True, kw_only=True)
class FleetTerms:
    """The rules of a fleet; times in microseconds."""

    rise: int = 1
    """Probes answered in a row until a server counts as there."""
    fall: int = 3
    """Probes unanswered in a row until it counts as dead."""
    grace_us: int = 3 * SECOND
    """How long packets for a dead server are dropped, because it may be restarting."""
    drain_us: int = 6 * 3600 * SECOND
    """How long a server that is not listed any more keeps its calls while it answers."""
    report_us: int = 10 * SECOND
    """How long a report of load counts."""
    rebalance_us: int = 2 * SECOND
    """Weights change no more often than this."""
    allowed: tuple[Network, ...] = ()
    """Where servers may be; anywhere if it is empty."""
    balancers: frozenset[Address] = frozenset()
    """Where none may be: packets would go round in a circle."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A server as the forwarder sees it. Not GONE."""

    address: Address
    server_ids: tuple[bytes, ...]
    state: State
    weight: int
    dead_since_us: int = 0


@dataclass(frozen=True, kw_only=True)
class Change:
    """A server went from one state to another."""

    address: Address
    before: State | None
    """None for a server that was not known."""
    after: State
    reason: str


@dataclass(kw_only=True)
class Member:
    """What is known about one server."""

    listed: Listed
    state: State
    since_us: int
    """Since when it is in this state."""
    is_listed: bool = True
    told_to_drain: bool = False
    """Whether an operator took it out."""
    answered: int = 0
    missed: int = 0
    rtt_us: int | None = None
    load: Load | None = None
    load_at_us: int = 0
    unlisted_us: int = 0

    @property
    def unwanted_because(self) -> str | None:
        """Why it is to get no new calls; None if it is to get some."""
        if not self.is_listed:
            return "it is not listed any more"
        if self.listed.draining:
            return "the list says so"
        if self.told_to_drain:
            return "an operator said so"
        if self.load is not None and self.load.draining:
            return "it says so itself"
        return None


@dataclass
class Fleet:
    """The servers of one balancer."""

    terms: FleetTerms
    names: Names
    version: int = 0
    """Counts up whenever `backends` has changed."""
    problems: tuple[str, ...] = ()
    """What is wrong with the last list, in sentences."""
    _believed: Snapshot | None = None
    """The last list that was not empty."""
    _members: dict[Address, Member] = field(default_factory=dict)
    _changes: list[Change] = field(default_factory=list)
    _weights: dict[Address, int] = field(default_factory=dict)
    _weighed_us: int | None = None
    _stale: bool = False

    @property
    def members(self) -> Mapping[Address, Member]:
        """Every server, by its address."""
        return self._members

    def backends(self) -> list[Backend]:
        """What the forwarder has to know, in the order of addresses."""
        return [
            Backend(
                address=address,
                server_ids=member.listed.server_ids,
                state=member.state,
                weight=self._weights.get(address, 0),
                dead_since_us=member.since_us if member.state is State.DEAD else 0,
            )
            for address, member in sorted(self._members.items(), key=lambda item: order(item[0]))
        ]

    def changes(self) -> list[Change]:
        """What has happened since this was last asked."""
        taken, self._changes = self._changes, []
        return taken

    def listed(self, snapshot: Snapshot, now_us: int) -> None:
        """A source lists the servers anew.

        A list that has nobody in it is not believed while somebody is known: it is far more often a mistake
        than the end, and servers that really end fall silent.
        """
        known = {name: at for at, member in self._members.items() for name in member.listed.server_ids}
        judged = judge(snapshot, known, Places(self.terms.allowed, self.terms.balancers), self.names)
        if not judged.servers:
            empty = "the list has no usable server"
            kept = ": the servers known so far are kept" if self._members else ": there is nobody to send to"
            self.problems = (*judged.problems, empty + kept)
            return
        self.problems, self._believed = judged.problems, snapshot
        for address, listed in judged.servers.items():
            self._list(address, listed, now_us)
        for address, member in list(self._members.items()):
            if address not in judged.servers and member.is_listed:
                member.is_listed = False
                member.unlisted_us = now_us
                self._judge_wish(address, now_us)
        self._drop_taken_names(judged.servers, now_us)
        self._make_room(now_us)
        self._weigh(now_us)

    def answered(self, address: Address, rtt_us: int, now_us: int) -> None:
        """A server answered a probe."""
        member = self._members.get(address)
        if member is None:
            return
        member.missed = 0
        member.answered += 1
        member.rtt_us = rtt_us
        if member.answered >= self.terms.rise:
            self._signal(address, Signal.ANSWERS, "it answers", now_us)
            self._judge_wish(address, now_us)
            self._signal(address, Signal.ANSWERS, "it answers", now_us)
        self._weigh(now_us)

    def missed(self, address: Address, now_us: int) -> None:
        """A server did not answer a probe in time."""
        member = self._members.get(address)
        if member is None:
            return
        member.answered = 0
        member.missed += 1
        if member.missed >= self.terms.fall:
            member.load = None
            self._signal(address, Signal.SILENT, f"{member.missed} probes had no answer", now_us)
        self._weigh(now_us)

    def reported(self, address: Address, load: Load, now_us: int) -> None:
        """A server told its load."""
        member = self._members.get(address)
        if member is None or member.state is State.DEAD:
            return
        member.load, member.load_at_us = load, now_us
        self._judge_wish(address, now_us)
        self._weigh(now_us)

    def drain(self, address: Address, wanted: bool, now_us: int) -> bool:
        """An operator takes a server out, or (`wanted`) back in. False if there is no such server."""
        member = self._members.get(address)
        if member is None:
            return False
        member.told_to_drain = not wanted
        self._judge_wish(address, now_us)
        self._weigh(now_us)
        return True

    def rename(self, names: Names, now_us: int) -> None:
        """Servers without listed names are called differently from now on."""
        self.names = names
        if self._believed is not None:
            self.listed(self._believed, now_us)

    def on_time(self, now_us: int) -> None:
        """Time has passed."""
        for address, member in list(self._members.items()):
            if (expiry := self._expiry(member)) is not None and now_us >= expiry:
                member.load = None
                self._stale = True
            over = self._over_at(member)
            if over is not None and now_us >= over:
                self._signal(address, Signal.OVER, "its time is over", now_us)
        self._weigh(now_us)

    def next_deadline(self) -> int | None:
        """When `on_time` has something to do, at the latest."""
        times = [over for member in self._members.values() if (over := self._over_at(member)) is not None]
        times += [at for member in self._members.values() if (at := self._expiry(member)) is not None]
        if self._stale and self._weighed_us is not None:
            times.append(self._weighed_us + self.terms.rebalance_us)
        return min(times, default=None)

    def _list(self, address: Address, listed: Listed, now_us: int) -> None:
        member = self._members.get(address)
        if member is None:
            self._members[address] = Member(listed=listed, state=State.JOINING, since_us=now_us)
            self._note(address, None, State.JOINING, "it is listed")
            self._judge_wish(address, now_us)
            return
        if member.listed.server_ids != listed.server_ids:
            self._changed()
        if member.listed.weight != listed.weight:
            self._stale = True
            self._weighed_us = None
        member.listed, member.is_listed = listed, True
        self._judge_wish(address, now_us)

    def _drop_taken_names(self, listed: Mapping[Address, Listed], now_us: int) -> None:
        """Forget those who left the list and whose name another server has now."""
        taken = {name for one in listed.values() for name in one.server_ids}
        for address, member in list(self._members.items()):
            if not member.is_listed and taken.intersection(member.listed.server_ids):
                self._forget(address, f"another server has its name ({shown(address)} is not listed)", now_us)

    def _make_room(self, now_us: int) -> None:
        """Forget those who left first, while there are more than a balancer takes."""
        left = [address for address, member in self._members.items() if not member.is_listed]
        left.sort(key=lambda address: (self._members[address].unlisted_us, order(address)))
        for address in left[: max(0, len(self._members) - MAX_SERVERS)]:
            self._forget(address, "it is not listed any more, and there is no room for it", now_us)

    def _forget(self, address: Address, reason: str, now_us: int) -> None:
        member = self._members.pop(address)
        self._note(address, member.state, State.GONE, reason)

    def _expiry(self, member: Member) -> int | None:
        """When the report of a server is too old.

        One that said it drains is believed until it says otherwise: the last thing a stopping server does is
        to stop reporting.
        """
        if member.load is None or member.load.draining:
            return None
        return member.load_at_us + self.terms.report_us

    def _over_at(self, member: Member) -> int | None:
        """When the time of a server that is not listed is over."""
        if member.is_listed:
            return None
        if member.state is State.DEAD:
            return max(member.since_us, member.unlisted_us) + self.terms.grace_us
        if member.state is State.DRAINING:
            return member.unlisted_us + self.terms.drain_us
        return None

    def _judge_wish(self, address: Address, now_us: int) -> None:
        reason = self._members[address].unwanted_because
        if reason is not None:
            self._signal(address, Signal.UNWANTED, reason, now_us)
        elif self._members[address].state is State.DRAINING:
            self._signal(address, Signal.WANTED, "it is wanted again", now_us)

    def _signal(self, address: Address, signal: Signal, reason: str, now_us: int) -> None:
        member = self._members.get(address)
        if member is None:
            return
        after = moved(member.state, signal)
        if after is member.state:
            return
        if after is State.GONE:
            self._forget(address, reason, now_us)
            return
        self._note(address, member.state, after, reason)
        member.state, member.since_us = after, now_us
        if signal is Signal.WANTED and member.answered >= self.terms.rise:
            # It was answering all the time and need not prove it again.
            self._signal(address, Signal.ANSWERS, reason, now_us)

    def _note(self, address: Address, before: State | None, after: State, reason: str) -> None:
        self._changes.append(Change(address=address, before=before, after=after, reason=reason))
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._stale = True
        # States count at once, only loads are smoothed.
        self._weighed_us = None

    def _weigh(self, now_us: int) -> None:
        """Share out new calls, unless that was done a moment ago and nobody came or went."""
        if self._weighed_us is not None and now_us - self._weighed_us < self.terms.rebalance_us:
            self._stale = True
            return
        ready = {at: member for at, member in self._members.items() if member.state is State.READY}
        counted = shares([(member.listed.weight, member.load) for member in ready.values()])
        weights = dict(zip(ready, counted, strict=True))
        if weights != self._weights:
            self._weights = weights
            self.version += 1
        self._weighed_us, self._stale = now_us, False
