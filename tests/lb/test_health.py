from tests.lb.fleets import SECOND, at

from legato.lb.health import Answer, Probes, ProbeTerms
from legato.lb.version_probe import VersionProbe

TERMS = ProbeTerms(interval_us=SECOND, timeout_us=SECOND // 2)


class Counter:
    """Octets that count up, so that every probe is another one."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, octets: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(octets, "little") if octets > 2 else bytes(octets)


def answer_to(packet: bytes) -> bytes:
    """What a server says."""
    theirs, ours = packet[6:14], packet[15:23]
    return b"\x80" + bytes(4) + b"\x08" + ours + b"\x08" + theirs + bytes.fromhex("00000001")


def probing(*numbers: int) -> Probes:
    probes = Probes(TERMS, Counter())
    probes.keep([at(number) for number in numbers], 0)
    return probes


def test_new_servers_are_asked_at_once_and_then_at_intervals() -> None:
    probes = probing(1, 2)
    first = probes.due(0)
    assert [address for address, _ in first] == [at(1), at(2)]
    assert probes.due(0) == []
    for _, packet in first:
        assert probes.received(answer_to(packet), 300) is not None
    assert probes.due(SECOND - 1) == []
    assert len(probes.due(SECOND)) == 2


def test_an_answer_names_the_server_and_how_long_it_took() -> None:
    probes = probing(1, 2)
    packets = dict(probes.due(100))
    assert probes.received(answer_to(packets[at(2)]), 350) == Answer(address=at(2), rtt_us=250)
    assert probes.received(answer_to(packets[at(2)]), 360) is None, "it was answered already"


def test_silence_is_told_once_and_a_late_answer_counts_for_nothing() -> None:
    probes = probing(1)
    ((_, packet),) = probes.due(0)
    assert probes.unanswered(SECOND // 2 - 1) == []
    assert probes.next_deadline() == SECOND // 2
    assert probes.unanswered(SECOND // 2) == [at(1)]
    assert probes.unanswered(SECOND // 2) == []
    assert probes.received(answer_to(packet), SECOND // 2) is None
    assert probes.next_deadline() == SECOND


def test_noise_and_answers_to_others_are_nobodys() -> None:
    probes = probing(1)
    ((_, packet),) = probes.due(0)
    strange = VersionProbe(bytes(16)).packet()
    for noise in (b"", packet, answer_to(strange), answer_to(packet)[:-1]):
        assert probes.received(noise, 1) is None
    assert probes.received(answer_to(packet), 1) is not None


def test_who_left_is_not_asked_and_not_missed() -> None:
    probes = probing(1, 2)
    packets = dict(probes.due(0))
    probes.keep([at(2), at(3)], 10)
    assert probes.received(answer_to(packets[at(1)]), 20) is None
    assert [address for address, _ in probes.due(20)] == [at(3)]
    assert probes.unanswered(SECOND) == [at(2), at(3)]


def test_nobody_to_ask_is_no_deadline() -> None:
    assert probing().next_deadline() is None


def test_intervals_differ_by_a_tenth_at_most() -> None:
    latest = Probes(TERMS, lambda octets: b"\xff" * octets)
    latest.keep([at(1)], 0)
    ((_, packet),) = latest.due(0)
    latest.received(answer_to(packet), 1)
    deadline = latest.next_deadline()
    assert deadline is not None
    assert 0.9 * SECOND <= deadline < 0.91 * SECOND
