"""The ring, the window, the groups, and what is given up when memory is full."""

from typing import Any

import pytest
from tests.core.link import OPUS, PACKET, PCM, pcm

from legato.core import AudioFormat, Limits
from legato.core.errors import LocalProtocolError, RemoteProtocolError
from legato.core.uplink_sender import UplinkSender, UplinkSettings
from legato.core.wire.records import AudioReader


class Network:
    """Records what the sender asks for: ("open", key), (key, start, stop), ("fin", key), ("lost", ...)."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.audio = b""
        self.opened = 0

    def open_group(self) -> int:
        self.opened += 1
        self.log.append(("open", self.opened))
        return self.opened

    def send_record(self, key: int, data: bytes, fin: bool) -> None:
        def record(offset: int, _captured_us: int, payload: bytes, _now: int) -> None:
            self.audio += payload
            self.log.append((key, offset, offset + len(payload) // 2))

        AudioReader(1 << 20, True, record).feed(data, 0)
        if fin:
            self.log.append(("fin", key))

    def reset_group(self, key: int) -> None:
        self.log.append(("reset", key))

    def declare_lost(self, start: int, stop: int) -> None:
        self.log.append(("lost", start, stop))

    def take(self) -> list[tuple[Any, ...]]:
        taken, self.log = self.log, []
        return taken


def a_sender(form: AudioFormat = PCM, start: int = 0, **settings: Any) -> tuple[UplinkSender, Network]:
    network = Network()
    return UplinkSender(form, UplinkSettings(**settings), start, network), network


def feed(sender: UplinkSender, *lengths: int) -> None:
    for samples in lengths:
        sender.push(pcm(sender.captured, samples), sender.captured)


def test_audio_shares_streams_by_duration() -> None:
    sender, network = a_sender(group_us=1_000)
    feed(sender, 10, 6, 16, 5)
    assert network.take() == [
        ("open", 1),
        (1, 0, 10),
        (1, 10, 16),
        ("fin", 1),
        ("open", 2),
        (2, 16, 32),
        ("fin", 2),
        ("open", 3),
        (3, 32, 37),
    ]
    sender.end_group()
    sender.end_group()
    assert network.take() == [("fin", 3)]


def test_long_audio_is_cut_into_records() -> None:
    sender, network = a_sender(assumed=Limits(audio_record_bytes=16 + 9))
    assert sender.push(pcm(0, 10), 0) == 10
    assert network.take() == [("open", 1), (1, 0, 4), (1, 4, 8), (1, 8, 10)]
    assert network.audio == pcm(0, 10)


@pytest.mark.parametrize(
    ("form", "payload", "reason"),
    [
        (PCM, b"abc", "whole pcm16 audio"),
        (PCM, b"", "leave it out"),
        (OPUS, PACKET + bytes(70_000), "too large"),
    ],
)
def test_what_cannot_be_sent(form: AudioFormat, payload: bytes, reason: str) -> None:
    sender, _ = a_sender(form)
    with pytest.raises(LocalProtocolError, match=reason):
        sender.push(payload, 0)


def test_the_window_holds_audio_back_until_it_is_acknowledged() -> None:
    sender, network = a_sender(assumed=Limits(window_ms=1))
    feed(sender, 10, 6, 1, 20)
    assert network.take() == [("open", 1), (1, 0, 10), (1, 10, 16)]
    sender.acknowledge(10)
    assert network.take() == [(1, 16, 17)]
    sender.end_group()
    assert network.take() == []
    sender.acknowledge(17)
    assert network.take() == [(1, 17, 37), ("fin", 1)]
    assert (sender.acked, sender.sent, sender.captured, sender.oldest) == (17, 37, 37, 17)


def test_the_window_has_a_weight_too() -> None:
    sender, network = a_sender(assumed=Limits(window_bytes=2 * 66))
    feed(sender, 1, 1, 1)
    assert network.take() == [("open", 1), (1, 0, 1), (1, 1, 2)]
    sender.acknowledge(1)
    assert network.take() == [(1, 2, 3)]


def test_streams_are_held_back_while_too_many_are_unacknowledged() -> None:
    sender, network = a_sender(group_us=1, assumed=Limits(uplink_streams=5))
    feed(sender, 1, 1, 1)
    assert [entry for entry in network.take() if entry[0] == "open"] == [("open", 1), ("open", 2)]
    sender.acknowledge(1)
    assert network.take() == [("open", 3), (3, 2, 3), ("fin", 3)]


def test_a_full_ring_forgets_what_was_sent_first() -> None:
    sender, network = a_sender(ring_us=1_000, ring_max_us=1_000)
    feed(sender, 10, 10)
    assert (sender.oldest, sender.ring_bytes) == (10, 64 + 20)
    sender.acknowledge(20)
    assert (sender.oldest, sender.ring_bytes) == (20, 0)
    assert ("lost", 0, 10) not in network.log


def test_a_full_ring_declares_what_was_never_sent() -> None:
    sender, network = a_sender(ring_us=2_000, ring_max_us=2_000, assumed=Limits(window_ms=1))
    feed(sender, 16, 10, 10, 10, 10)
    sender.end_group()
    feed(sender, 10)
    assert network.take() == [("open", 1), (1, 0, 16)]
    assert sender.oldest == 36
    sender.acknowledge(16)
    assert network.take() == [("lost", 16, 36)]
    sender.acknowledge(36)
    assert network.take() == [(1, 36, 46)]
    sender.acknowledge(46)
    assert network.take() == [(1, 46, 56), ("fin", 1)]
    sender.acknowledge(56)
    assert network.take() == [("open", 2), (2, 56, 66)]


def test_the_end_of_a_lost_group_is_forgotten() -> None:
    sender, network = a_sender(ring_us=1_000, ring_max_us=1_000, assumed=Limits(window_ms=1))
    feed(sender, 16, 10)
    sender.end_group()
    feed(sender, 10)
    sender.acknowledge(16)
    assert network.take()[2:] == [("lost", 16, 26)]
    sender.acknowledge(26)
    assert network.take() == [(1, 26, 36)]


def test_the_ring_is_bounded_in_memory_but_keeps_the_newest_piece() -> None:
    sender, _ = a_sender(ring_bytes=200, assumed=Limits(window_bytes=1))
    feed(sender, 1)
    sender.push(pcm(1, 500), 0)
    assert sender.ring_bytes == 64 + 1_000
    assert sender.oldest == 1


def test_what_was_forgotten_still_weighs_on_the_window() -> None:
    sender, network = a_sender(ring_bytes=66, assumed=Limits(window_bytes=2 * 66))
    feed(sender, 1, 1, 1)
    assert network.take() == [("open", 1), (1, 0, 1), (1, 1, 2)]


@pytest.mark.parametrize(("ttl_ms", "kept"), [(0, 16), (2, 32), (9_999, 48)])
def test_the_ring_is_as_long_as_a_resume_needs(ttl_ms: int, kept: int) -> None:
    sender, _ = a_sender(ring_us=1_000, ring_max_us=3_000)
    sender.keep_for(ttl_ms)
    feed(sender, *[1] * 100)
    assert sender.captured - sender.oldest == kept


def test_after_a_change_of_path_it_is_said_again_on_another_stream() -> None:
    sender, network = a_sender()
    sender.say_again()
    assert network.take() == []
    feed(sender, 10, 10, 10)
    sender.acknowledge(10)
    network.take()
    sender.say_again()
    assert network.take() == [("fin", 1), ("open", 2), (2, 10, 20), (2, 20, 30)]
    feed(sender, 10)
    assert network.take() == [(2, 30, 40)]
    sender.acknowledge(40)
    sender.say_again()
    assert network.take() == []


def test_what_is_much_is_left_to_the_network() -> None:
    sender, network = a_sender()
    feed(sender, 6_000)
    network.take()
    sender.say_again()
    assert network.take() == []


def test_it_is_said_again_on_as_many_streams_as_there_may_be() -> None:
    sender, network = a_sender(group_us=1_000, assumed=Limits(uplink_streams=6))
    feed(sender, 16, 16)
    network.take()
    sender.say_again()
    assert network.take() == [("open", 3), (3, 0, 16), ("fin", 3)]
    sender.detach()
    sender.say_again()
    assert network.take() == []


def test_a_lying_acknowledgement() -> None:
    sender, _ = a_sender()
    feed(sender, 10)
    with pytest.raises(RemoteProtocolError, match="acknowledged 11 samples of 10"):
        sender.acknowledge(11)
    sender.acknowledge(10)
    sender.acknowledge(5)
    assert sender.acked == 10


def test_a_resumed_call_goes_on_where_the_server_wants() -> None:
    sender, network = a_sender(start=100, assumed=Limits(window_ms=1))
    feed(sender, 16, 10, 10, 10)
    network.take()
    sender.start_from(120)
    assert network.take() == [(1, 116, 126), (1, 126, 136)]
    assert (sender.acked, sender.sent) == (120, 136)
    sender.start_from(146)
    assert (sender.acked, sender.sent, sender.oldest, sender.ring_bytes) == (146, 146, 146, 0)
    feed(sender, 1)
    assert network.take() == [(1, 146, 147)]


@pytest.mark.parametrize("offset", [99, 117])
def test_a_server_that_wants_what_is_not_there(offset: int) -> None:
    sender, _ = a_sender(start=100)
    feed(sender, 16)
    with pytest.raises(RemoteProtocolError, match="not to be had"):
        sender.start_from(offset)
