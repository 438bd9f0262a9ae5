from hypothesis import given
from hypothesis import strategies as st

from legato.lb.version_probe import PROBE_OCTETS, VersionProbe

PROBE = VersionProbe(bytes(range(16)))
OURS, THEIRS = bytes(range(8)), bytes(range(8, 16))
ANSWER = b"\x8f" + bytes(4) + b"\x08" + OURS + b"\x08" + THEIRS + bytes.fromhex("00000001")


def test_the_question_is_a_long_header_of_a_reserved_version() -> None:
    packet = PROBE.packet()
    assert len(packet) == PROBE_OCTETS
    assert packet[:5] == bytes.fromhex("c01a2a3a4a")
    assert packet[5:23] == b"\x08" + THEIRS + b"\x08" + OURS


def test_version_negotiation_with_crossed_ids_is_the_answer() -> None:
    assert PROBE.answers(ANSWER)
    assert PROBE.answers(ANSWER + bytes.fromhex("6b3343cf"))
    assert VersionProbe.answered(ANSWER) == PROBE.key


def test_nothing_else_is_an_answer() -> None:
    swapped = b"\x8f" + bytes(4) + b"\x08" + THEIRS + b"\x08" + OURS + bytes(4)
    short = b"\x0f" + ANSWER[1:]
    for wrong in (
        b"",
        PROBE.packet(),
        swapped,
        short,
        ANSWER[:-4],
        ANSWER[:-1],
        b"\x8f\x00\x00\x00\x01" + ANSWER[5:],
    ):
        assert not PROBE.answers(wrong)
    assert VersionProbe.answered(PROBE.packet()) is None
    assert VersionProbe.answered(short) is None


@given(st.binary(max_size=64), st.binary(min_size=16, max_size=16))
def test_noise_is_no_answer(noise: bytes, random: bytes) -> None:
    assert not VersionProbe(random).answers(noise) or random[:8] in noise
    VersionProbe.answered(noise)
