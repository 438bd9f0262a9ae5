"""Reassembly: order, duplicates, gaps and the three bounds."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.link import OPUS, PACKET, PCM, pcm

from legato.core import AudioFormat, AudioFrame, AudioGap, Limits
from legato.core.errors import RemoteProtocolError
from legato.core.events import AudioReceived, Event, GapReported
from legato.core.uplink_receiver import UplinkReceiver


class Recorder:
    """A receiver with what it reported."""

    def __init__(self, form: AudioFormat = PCM, start: int = 0, **limits: Any) -> None:
        self.events: list[Event] = []
        self.pressure: list[bool] = []
        self.uplink = UplinkReceiver(form, Limits(**limits), start, self.events.append, self.pressure.append)

    def pcm(self, start: int, samples: int, now: int = 0) -> None:
        self.uplink.record(start, start * 10, pcm(start, samples), now)

    def said(self) -> list[tuple[Any, ...]]:
        """What was reported: (start, stop) of frames, ("gap", start, stop) of gaps."""
        found: list[tuple[Any, ...]] = []
        for event in self.events:
            if isinstance(event, AudioReceived):
                assert event.frame.payload == pcm(event.frame.offset, event.frame.samples)
                found.append((event.frame.offset, event.frame.end))
            elif isinstance(event, GapReported):
                found.append(("gap", event.gap.start, event.gap.stop))
        return found


def refused(code: int) -> Any:
    return pytest.raises(RemoteProtocolError, check=lambda error: error.code == code)


def test_audio_in_order_is_handed_over_at_once() -> None:
    uplink = Recorder()
    uplink.pcm(0, 10)
    uplink.pcm(10, 5)
    assert uplink.events[0] == AudioReceived(AudioFrame.of(0, 0, pcm(0, 10), PCM))
    assert uplink.said() == [(0, 10), (10, 15)]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_any_order_gives_the_same_audio(order: tuple[int, ...]) -> None:
    uplink = Recorder()
    for index in order:
        uplink.pcm(index * 10, 10)
    assert uplink.said() == [(0, 10), (10, 20), (20, 30), (30, 40)]
    assert uplink.uplink.waiting_bytes == 0


@given(pieces=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=30))
def test_overlapping_pieces_give_every_sample_once(pieces: list[tuple[int, int]]) -> None:
    uplink = Recorder()
    have: set[int] = set()
    for start, samples in pieces:
        uplink.pcm(start, samples)
        have |= set(range(start, start + samples))
        missing = next(at for at in range(1_000) if at not in have)
        said = uplink.said()
        assert [start for start, _ in said] == [0, *(stop for _, stop in said)][: len(said)]
        assert all(start < stop for start, stop in said)
        assert uplink.uplink.expected == missing == (said[-1][1] if said else 0)


def test_duplicates_are_dropped_and_overlaps_cut() -> None:
    uplink = Recorder()
    uplink.pcm(0, 10)
    uplink.pcm(0, 10)
    uplink.pcm(2, 3)
    uplink.pcm(4, 20)
    assert uplink.said() == [(0, 10), (10, 24)]
    cut = uplink.events[-1]
    assert isinstance(cut, AudioReceived)
    assert cut.frame.captured_us == 40 + 6 * 1_000_000 // 16_000


def test_of_two_waiting_pieces_with_one_start_the_longer_stays() -> None:
    uplink = Recorder()
    uplink.pcm(10, 5)
    uplink.pcm(10, 3)
    uplink.pcm(10, 8)
    uplink.pcm(12, 2)
    uplink.pcm(0, 10)
    assert uplink.said() == [(0, 10), (10, 18)]


def test_a_waiting_piece_that_something_longer_covers_is_dropped() -> None:
    uplink = Recorder()
    uplink.pcm(10, 5)
    uplink.pcm(0, 15)
    assert uplink.said() == [(0, 15)]
    assert uplink.uplink.waiting_bytes == 0


def test_packets_of_opus_cannot_be_cut() -> None:
    uplink = Recorder(OPUS)
    uplink.uplink.record(0, 0, PACKET, 0)
    uplink.uplink.record(0, 0, PACKET, 0)
    with refused(2):
        uplink.uplink.record(160, 0, PACKET, 0)


def test_a_gap_is_reported_when_its_turn_comes() -> None:
    uplink = Recorder()
    uplink.uplink.gap(10, 20, 0)
    assert uplink.said() == []
    uplink.pcm(0, 10)
    uplink.pcm(20, 1)
    assert uplink.said() == [(0, 10), ("gap", 10, 20), (20, 21)]


def test_what_arrived_first_shortens_a_gap() -> None:
    uplink = Recorder()
    uplink.pcm(0, 15)
    uplink.uplink.gap(10, 20, 0)
    uplink.uplink.gap(0, 20, 0)
    assert uplink.said() == [(0, 15), ("gap", 15, 20)]
    assert AudioGap(15, 20).samples == 5


@pytest.mark.parametrize(("start", "stop", "code"), [(5, 5, 2), (5, 4, 2), (0, 16_000 * 121, 6)])
def test_absurd_gaps(start: int, stop: int, code: int) -> None:
    with refused(code):
        Recorder().uplink.gap(start, stop, 0)


def test_time_makes_room_for_longer_gaps() -> None:
    uplink = Recorder()
    uplink.pcm(0, 1)
    uplink.uplink.gap(1, 16_000 * 121, 1_000_000)
    assert uplink.said()[-1] == ("gap", 1, 16_000 * 121)


@pytest.mark.parametrize(("form", "payload"), [(PCM, b"abc"), (PCM, b""), (OPUS, b""), (OPUS, b"\x03\x00")])
def test_what_is_not_audio(form: AudioFormat, payload: bytes) -> None:
    with refused(2):
        Recorder(form).uplink.record(0, 0, payload, 0)


def test_audio_out_of_order_is_bounded_in_time() -> None:
    uplink = Recorder(window_ms=1)
    uplink.pcm(6, 10)
    with refused(6):
        uplink.pcm(7, 10)


def test_audio_out_of_order_is_bounded_in_memory() -> None:
    uplink = Recorder(window_bytes=3 * 66)
    for start in (3, 5, 7, 7):
        uplink.pcm(start, 1)
    assert uplink.uplink.waiting_bytes == 3 * 66
    with refused(6):
        uplink.uplink.gap(9, 10, 0)


def test_the_rate_is_bounded_after_a_burst() -> None:
    uplink = Recorder(audio_rate=2, audio_burst_ms=1)
    uplink.pcm(0, 16)
    uplink.pcm(16, 2, now=63)
    with refused(6):
        uplink.pcm(18, 1, now=63)


def test_a_clock_that_jumps_back_is_harmless() -> None:
    uplink = Recorder()
    uplink.pcm(0, 1, now=1_000_000)
    uplink.pcm(1, 1, now=0)
    uplink.uplink.gap(2, 3, now=0)
    assert uplink.uplink.expected == 3


def test_an_acknowledgement_is_due_once_in_an_interval() -> None:
    uplink = Recorder()
    assert uplink.uplink.ack_due is None
    uplink.pcm(0, 1, now=50)
    uplink.pcm(1, 1, now=60)
    assert uplink.uplink.ack_due == 200_050
    assert uplink.uplink.take_ack() == 2
    assert uplink.uplink.ack_due is None
    assert uplink.uplink.take_ack() is None
    uplink.pcm(5, 1, now=70)
    assert uplink.uplink.ack_due is None
    uplink.uplink.gap(2, 5, now=80)
    assert uplink.uplink.ack_due == 200_080
    uplink.pcm(6, 1, now=90)
    uplink.uplink.gap(7, 8, now=91)
    uplink.pcm(10, 1, now=92)
    assert uplink.uplink.ack_due == 200_080
    assert uplink.uplink.take_ack() == 8


def test_an_overlap_that_brings_news_makes_an_acknowledgement_due() -> None:
    uplink = Recorder()
    uplink.pcm(0, 5, now=1)
    uplink.uplink.take_ack()
    uplink.pcm(3, 5, now=2)
    assert uplink.uplink.ack_due == 200_002


def test_an_owner_that_falls_behind_is_spared() -> None:
    uplink = Recorder(unread_ms=1)
    uplink.pcm(0, 16)
    assert (uplink.pressure, uplink.uplink.under_pressure) == ([], False)
    uplink.pcm(16, 1)
    uplink.pcm(17, 1)
    assert (uplink.pressure, uplink.uplink.under_pressure) == ([True], True)
    uplink.uplink.consumed(9, 18)
    assert uplink.pressure == [True]
    uplink.uplink.consumed(1, 2)
    assert (uplink.pressure, uplink.uplink.under_pressure) == ([True, False], False)


def test_audio_that_waited_for_what_was_missing_counts_as_unread() -> None:
    uplink = Recorder(unread_ms=1)
    uplink.pcm(16, 1)
    uplink.pcm(0, 16)
    assert uplink.pressure == [True]


def test_unread_audio_is_bounded_in_memory_too() -> None:
    uplink = Recorder(unread_bytes=164)
    uplink.pcm(0, 50)
    assert uplink.pressure == []
    uplink.pcm(50, 10)
    assert uplink.pressure == [True]
    uplink.uplink.consumed(50, 99)
    assert uplink.pressure == [True]
    uplink.uplink.consumed(1, 3, 0)
    assert uplink.pressure == [True, False]


def test_small_records_weigh_what_they_cost() -> None:
    uplink = Recorder(unread_bytes=1_000)
    for at in range(15):
        uplink.pcm(at, 1)
    assert uplink.pressure == []
    uplink.pcm(15, 1)
    assert uplink.pressure == [True]
    uplink.uplink.consumed(8, 16, 8)
    assert uplink.pressure == [True]
    uplink.uplink.consumed(1, 2)
    assert uplink.pressure == [True, False]


def test_a_call_may_begin_later() -> None:
    uplink = Recorder(start=1_000)
    uplink.pcm(990, 20)
    assert uplink.said() == [(1_000, 1_010)]
