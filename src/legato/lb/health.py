"""When each server is asked whether it is there, and what has become of the questions.

Owns the schedule of probes. Sans-IO: time and randomness are passed in, packets come out. Must not know what
follows from an answer (`fleet`), nor how packets travel.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from legato.lb.servers import Address
from legato.lb.version_probe import VersionProbe

__all__ = ["Answer", "ProbeTerms", "Probes"]


@dataclass(frozen=True, kw_only=True)
class ProbeTerms:
    """How often is asked, and how long an answer may take, in microseconds."""

    interval_us: int = 1_000_000
    timeout_us: int = 800_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A server answered."""

    address: Address
    rtt_us: int


@dataclass
class _Asked:
    next_us: int
    probe: VersionProbe | None = None
    sent_us: int = 0


@dataclass
class Probes:
    """The questions to all servers of a fleet. One at a time is under way to each."""

    terms: ProbeTerms
    random: Callable[[int], bytes]
    """Octets that nobody can guess."""
    _asked: dict[Address, _Asked] = field(default_factory=dict)
    _under_way: dict[bytes, Address] = field(default_factory=dict)

    def keep(self, addresses: Iterable[Address], now_us: int) -> None:
        """Ask these servers from now on, new ones at once, and no others."""
        wanted = set(addresses)
        for address in self._asked.keys() - wanted:
            self._settle(self._asked.pop(address))
        for address in sorted(wanted - self._asked.keys()):
            self._asked[address] = _Asked(next_us=now_us)

    def due(self, now_us: int) -> list[tuple[Address, bytes]]:
        """The packets to send now, and to whom."""
        packets = []
        for address, asked in self._asked.items():
            if asked.probe is None and now_us >= asked.next_us:
                asked.probe, asked.sent_us = VersionProbe(self.random(16)), now_us
                # Intervals differ by up to a tenth, so that balancers do not ask in step.
                spread = int.from_bytes(self.random(2), "big") * self.terms.interval_us // (10 << 16)
                asked.next_us = now_us + self.terms.interval_us - spread
                self._under_way[asked.probe.key] = address
                packets.append((address, asked.probe.packet()))
        return packets

    def received(self, datagram: bytes, now_us: int) -> Answer | None:
        """What a datagram means; None if it answers nothing that is under way.

        Where it came from says nothing: only the server that was asked knows what an answer has to repeat.
        """
        key = VersionProbe.answered(datagram)
        address = None if key is None else self._under_way.get(key)
        if address is None:
            return None
        asked = self._asked[address]
        if asked.probe is None or not asked.probe.answers(datagram):
            return None
        self._settle(asked)
        return Answer(address=address, rtt_us=max(0, now_us - asked.sent_us))

    def unanswered(self, now_us: int) -> list[Address]:
        """Servers whose time to answer is over."""
        late = [
            address
            for address, asked in self._asked.items()
            if asked.probe is not None and now_us - asked.sent_us >= self.terms.timeout_us
        ]
        for address in late:
            self._settle(self._asked[address])
        return late

    def next_deadline(self) -> int | None:
        """When `due` or `unanswered` has something to say."""
        times = [
            asked.next_us if asked.probe is None else asked.sent_us + self.terms.timeout_us
            for asked in self._asked.values()
        ]
        return min(times, default=None)

    def _settle(self, asked: _Asked) -> None:
        if asked.probe is not None:
            self._under_way.pop(asked.probe.key, None)
            asked.probe = None
