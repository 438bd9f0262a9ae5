"""Replies: what a server may ask for, and what a client keeps track of."""

from typing import Any

import msgspec
import pytest
from tests.core.link import OPUS, PACKET, PCM, pcm

from legato.core import AudioFormat, Limits, Playback, ReplyHeader
from legato.core.downlink_receiver import DownlinkReceiver, ReplyRegister
from legato.core.downlink_sender import DownlinkSender
from legato.core.errors import LocalProtocolError, RemoteProtocolError
from legato.core.events import ReplyAudio
from legato.core.outputs import OpenStream, Output, Reset, Send
from legato.core.playout import PlayoutLedger
from legato.core.state import ReplyState
from legato.core.wire.messages import Flush, ReceivedReply
from legato.core.wire.records import AudioReader, downlink_record


class Replies(DownlinkSender):
    """A sender with what it asked for."""

    def __init__(self, record_limit: int = 1 << 16) -> None:
        self.outputs: list[Output] = []
        self.said: list[Flush] = []
        keys = iter(range(-1, -1_000, -1))
        super().__init__(
            PlayoutLedger(True), record_limit, self.outputs.append, lambda: next(keys), self.said.append
        )

    def start(self, form: AudioFormat = PCM) -> int:
        generation = self.begin("resp", "item", form, 0)
        self.outputs.clear()
        return generation

    def sent(self) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        reader = AudioReader(1 << 17, False, lambda offset, _, payload, __: found.append((offset, payload)))
        for output in self.outputs:
            assert isinstance(output, Send)
            reader.feed(output.data, 0)
        return found


def test_a_reply_opens_a_stream_with_its_header() -> None:
    replies = Replies()
    assert [replies.begin("resp", "item", PCM, 0) for _ in range(2)] == [1, 2]
    assert replies.outputs[0] == OpenStream(-1, False, 1)
    header = replies.outputs[1]
    assert isinstance(header, Send)
    receiver = DownlinkReceiver(Limits(), lambda event: None)
    assert receiver.read_header(header.data[1:]) == b""
    assert receiver.header == ReplyHeader(
        response_id="resp", item_id="item", content_index=0, generation=1, format=PCM
    )


def test_long_audio_is_cut_into_records() -> None:
    replies = Replies(record_limit=8 + 5)
    one = replies.start()
    assert replies.send(one, pcm(0, 5), 5, 0)
    assert replies.send(one, pcm(5, 1), 1, 0)
    assert replies.sent() == [(0, pcm(0, 2)), (2, pcm(2, 2)), (4, pcm(4, 1)), (5, pcm(5, 1))]


@pytest.mark.parametrize(
    ("form", "payload", "samples", "reason"),
    [
        (PCM, pcm(0, 5), 4, "10 bytes are not 4 samples"),
        (PCM, b"", 0, "0 bytes are not 0 samples"),
        (OPUS, PACKET, -1, "3 bytes are not -1 samples"),
        (OPUS, bytes(70_000), 320, "too large"),
    ],
)
def test_audio_that_cannot_be_sent(form: AudioFormat, payload: bytes, samples: int, reason: str) -> None:
    replies = Replies()
    with pytest.raises(LocalProtocolError, match=reason):
        replies.send(replies.start(form), payload, samples, 0)


def test_a_reply_that_was_ended_takes_no_audio() -> None:
    replies = Replies()
    one = replies.start()
    replies.end(one)
    assert replies.outputs == [Send(-1, b"", True)]
    with pytest.raises(LocalProtocolError, match="has been ended"):
        replies.send(one, pcm(0, 1), 1, 0)
    with pytest.raises(LocalProtocolError, match="has been ended"):
        replies.end(one)


@pytest.mark.parametrize("generation", [0, 2, -1])
def test_a_reply_that_was_never_begun(generation: int) -> None:
    replies = Replies()
    replies.start()
    for operation in (
        lambda: replies.send(generation, pcm(0, 1), 1, 0),
        lambda: replies.end(generation),
        lambda: replies.flush_reply(generation, 0),
    ):
        with pytest.raises(LocalProtocolError, match="begin one first"):
            operation()


def test_too_many_open_replies() -> None:
    replies = Replies()
    for _ in range(32):
        replies.start()
    with pytest.raises(LocalProtocolError, match="end or flush them"):
        replies.start()


def test_a_flush_overtakes_the_speaker() -> None:
    replies = Replies()
    one, two = replies.start(), replies.start()
    replies.end(one)
    replies.outputs.clear()
    replies.flush(0)
    assert replies.said == [Flush(2)]
    assert replies.outputs == [Reset(-2, 1)]
    assert not replies.send(two, pcm(0, 1), 1, 0)
    replies.end(two)
    replies.flush(0)
    replies.flush_reply(two, 0)
    assert replies.said == [Flush(2)]
    assert replies.outputs == [Reset(-2, 1)]


def test_one_reply_is_flushed_and_the_others_stay() -> None:
    replies = Replies()
    one, two, three = replies.start(), replies.start(), replies.start()
    replies.flush_reply(two, 0)
    replies.end(one)
    replies.flush_reply(one, 0)
    assert replies.said == [Flush(2, 2), Flush(1, 1)]
    assert replies.outputs == [Reset(-2, 1), Send(-1, b"", True)]
    assert replies.send(three, pcm(0, 1), 1, 0)
    for generation in range(65):
        replies.end(replies.start())
        assert replies.generation == generation + 4
    replies.flush_reply(one, 0)
    assert len(replies.said) == 2
    assert not replies.send(one, pcm(0, 1), 1, 0)


def test_a_cancelled_reply_is_reset() -> None:
    replies = Replies()
    one, two = replies.start(), replies.start()
    assert replies.cancel(-2) == two
    assert replies.cancel(-2) is None
    assert replies.outputs == [Reset(-2, 3)]
    assert not replies.send(two, pcm(0, 1), 1, 0)
    assert replies.send(one, pcm(0, 1), 1, 0)
    line = replies.ledger.get(two)
    assert line is not None
    assert line.state is ReplyState.CANCELLED


def a_header(generation: int) -> ReplyHeader:
    return ReplyHeader(response_id="resp", item_id="item", content_index=0, generation=generation, format=PCM)


def a_register(*generations: int) -> ReplyRegister:
    register = ReplyRegister()
    for generation in generations:
        assert register.admit(a_header(generation), DownlinkReceiver(Limits(), lambda event: None))
    return register


def positions(register: ReplyRegister) -> list[tuple[int, int, bool, str]]:
    return [(one.generation, one.played, one.complete, one.state) for one in register.received()]


def admitted(register: ReplyRegister, generation: int) -> bool:
    return register.admit(a_header(generation), DownlinkReceiver(Limits(), lambda event: None))


def a_report(generation: int, played: int, state: Any) -> Playback:
    return Playback(item_id="item", generation=generation, played=played, state=state)


def test_the_register_knows_what_the_player_is_busy_with() -> None:
    register = a_register(2, 1, 3)
    register.complete(1)
    register.complete(9)
    register.report(a_report(1, 5, "playing"))
    register.report(a_report(2, 7, "stopped"))
    register.report(a_report(9, 7, "done"))
    assert sorted(positions(register)) == [
        (1, 5, True, "playing"),
        (2, 7, False, "stopped"),
        (3, 0, False, "playing"),
    ]
    assert register.generation == 3


def test_flushed_replies_do_not_come_back() -> None:
    register = a_register(1, 2, 3, 4)
    assert register.flush(3, 3)
    assert not register.flush(3, 3)
    assert register.flush(1, 1)
    assert not register.flush(1, 1)
    assert register.flush(4, 9)
    assert not register.flush(5, 6)
    assert [admitted(register, one) for one in (1, 3, 5, 9, 10)] == [False, False, False, False, True]
    assert [generation for generation, *_ in positions(register)] == [2, 10]
    assert register.flushed == 1
    assert register.flush(1, 10)
    assert (register.flushed, positions(register)) == (10, [])


def test_one_generation_has_one_stream() -> None:
    register = a_register(1)
    with pytest.raises(RemoteProtocolError, match="one generation"):
        admitted(register, 1)


def test_the_register_is_bounded() -> None:
    register = a_register(*range(1, 100))
    assert len(positions(register)) == 64
    assert positions(register)[0][0] == 36
    for generation in range(200, 500, 2):
        register.flush(generation, generation)
    assert not admitted(register, 498)


@pytest.mark.parametrize("offset", [0, 29])
def test_audio_that_came_over_another_connection_is_cut_off(offset: int) -> None:
    found: list[Any] = []
    receiver = DownlinkReceiver(Limits(), found.append)
    receiver.header = a_header(1)
    receiver.received, receiver.again = 30, True
    receiver.feed(downlink_record(0, pcm(0, 30)) + downlink_record(offset, pcm(offset, 50)), 0)
    assert found == [ReplyAudio(1, "item", 30, pcm(30, 20 + offset))]


def test_packets_are_left_out_whole_or_not_at_all() -> None:
    receiver = DownlinkReceiver(Limits(), lambda event: None)
    receiver.header = msgspec.structs.replace(a_header(1), format=OPUS)
    receiver.received, receiver.again = 320, True
    receiver.feed(downlink_record(0, PACKET), 0)
    with pytest.raises(RemoteProtocolError, match="expected 320"):
        receiver.feed(downlink_record(100, PACKET), 0)


def test_refusing_what_is_not_known_is_harmless() -> None:
    register = a_register(1)
    register.refuse(2)
    register.refuse(1)
    assert positions(register) == [(1, 0, False, "stopped")]


@pytest.mark.parametrize(
    ("received", "again"),
    [(0, [(0, 10), (10, 10)]), (10, [(10, 10)]), (15, [(15, 5)]), (20, []), (99, [])],
)
def test_only_what_a_client_lacks_is_sent_again(received: int, again: list[tuple[int, int]]) -> None:
    replies = Replies()
    replies.keeps = True
    one = replies.start()
    for start in (0, 10):
        replies.send(one, pcm(start, 10), 10, 0)
    replies.outputs.clear()
    there = ReceivedReply(generation=one, item_id="item", received=received)
    assert replies.attach(replies.outputs.append, lambda: -9, replies.said.append, [there])
    opened, preface, *records = replies.outputs
    assert isinstance(opened, OpenStream)
    assert isinstance(preface, Send)
    replies.outputs[:] = records
    assert [(offset, len(payload) // 2) for offset, payload in replies.sent()] == again
