"""What of its replies a call gets again over another connection, and what is kept for that."""

import msgspec
import pytest
from tests.core.link import OPUS, PACKET, PCM, Link, a_hello, of_type, pcm
from tests.core.lost_calls import TICKET, a_call, again, lose, resumed

from legato.core import (
    Limits,
    Playback,
    SessionState,
    Terms,
    downlink_sender,
)
from legato.core.events import (
    ReplyAudio,
    ReplyCancelled,
    ReplyEnded,
)


def test_unplayed_audio_is_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downlink_sender, "KEPT_REPLY_BYTES", 1_000)
    link = a_call()
    one = link.server.begin_reply("r", "i", PCM, 0)
    two = link.server.begin_reply("r", "j", PCM, 0)
    for start in range(0, 300, 100):
        link.server.send_audio(one, pcm(start, 100), 100, 0)
    link.server.end_reply(one, 0)
    for start in range(0, 200, 100):
        link.server.send_audio(two, pcm(start, 100), 100, 0)
        assert link.server._downlink.kept_bytes <= 1_000
    lose(link)
    seen = (fresh := resumed(link)).take(fresh.near)
    got = [(one.generation, one.offset, len(one.payload) // 2) for one in of_type(seen, ReplyAudio)]
    assert got == [(one, 200, 100), (two, 0, 100), (two, 100, 100)]


def test_a_large_piece_is_kept_in_records() -> None:
    link = a_call(limits=Limits(audio_record_bytes=100))
    one = link.server.begin_reply("r", "i", PCM, 0)
    link.server.send_audio(one, pcm(0, 100), 100, 0)
    lose(link)
    seen = (fresh := resumed(link)).take(fresh.near)
    assert b"".join(audio.payload for audio in of_type(seen, ReplyAudio)) == pcm(0, 100)


def test_a_record_is_cut_where_the_client_has_its_beginning() -> None:
    link = a_call()
    one = link.server.begin_reply("r", "i", PCM, 0)
    link.server.send_audio(one, pcm(0, 100), 100, 0)
    link.settle()
    link.take(link.near)
    lose(link)
    request = link.client.resume_request()
    assert request is not None
    (reply,) = request.downlink
    part = msgspec.structs.replace(reply, received=30, complete=False)
    seen = (fresh := resumed(link, downlink=(part,))).take(fresh.near)
    assert of_type(seen, ReplyAudio) == []
    fresh.server.send_audio(one, pcm(100, 1), 1, 0)
    fresh.settle()
    assert of_type(fresh.take(fresh.near), ReplyAudio) == [ReplyAudio(one, "i", 100, pcm(100, 1))]


def test_a_reply_that_overlaps_what_is_there_is_cut() -> None:
    link = a_call()
    one = link.server.begin_reply("r", "i", PCM, 0)
    for start in (0, 40):
        link.server.send_audio(one, pcm(start, 40), 40, 0)
    link.far.collect()
    for number, size in ((0, 1 << 20), (5_000_001, 1)):
        if link.far.queues.get(number):
            link.far.deliver(number, size, 0)
    fresh = again(link)
    link.settle()
    link.take(link.near)
    fresh.server.accept(Terms(session_id="c", output=PCM, **TICKET), 0, link.server)
    fresh.settle()
    assert of_type(fresh.take(fresh.near), ReplyAudio) == []


def test_packets_are_not_cut() -> None:
    link = a_call(a_hello(output=(OPUS, PCM)))
    one = link.server.begin_reply("r", "i", OPUS, 0)
    for _ in range(2):
        link.server.send_audio(one, PACKET, 320, 0)
    link.settle()
    link.take(link.near)
    lose(link)
    request = link.client.resume_request()
    assert request is not None
    lie = msgspec.structs.replace(request.downlink[0], received=100)
    fresh = resumed(link, downlink=(lie,))
    assert of_type(fresh.take(fresh.near), ReplyAudio) == []
    assert fresh.client.state is SessionState.ACTIVE


def test_a_reply_nobody_wants_is_not_sent_again() -> None:
    link = a_call()
    one = link.server.begin_reply("r", "i", PCM, 0)
    two = link.server.begin_reply("r", "j", PCM, 0)
    for generation in (one, two):
        link.server.send_audio(generation, pcm(0, 10), 10, 0)
    link.settle()
    link.client.cancel_reply(one, 0)
    link.client.report_playback(Playback(item_id="j", generation=two, played=3, state="stopped"), 0)
    lose(link)
    fresh = resumed(link)
    assert of_type(fresh.take(fresh.near), ReplyAudio) == []
    cancelled = of_type(fresh.take(fresh.far), ReplyCancelled)
    assert [one.generation for one in cancelled] == [one, two]
    assert fresh.server._downlink.kept_bytes == 0


def say_whole(link: Link, replies: int, samples: int) -> None:
    """Have the server say so many replies, each to its end."""
    for _ in range(replies):
        generation = link.server.begin_reply("r", "i", PCM, 0)
        link.server.send_audio(generation, pcm(0, samples), samples, 0)
        link.server.end_reply(generation, 0)


def test_replies_that_are_whole_or_played_are_not_sent_again() -> None:
    link = a_call()
    say_whole(link, replies=3, samples=10)
    link.settle()
    link.take(link.near)
    link.client.report_playback(Playback(item_id="i", generation=1, played=10, state="done"), 0)
    link.settle()
    lose(link)
    link.client.report_playback(Playback(item_id="i", generation=2, played=10, state="done"), 0)
    fresh = resumed(link)
    seen = fresh.take(fresh.near)
    assert of_type(seen, ReplyAudio) == of_type(seen, ReplyEnded) == []
    assert len(fresh.server._downlink._ended) == 1


def test_ended_replies_are_kept_up_to_a_number() -> None:
    link = a_call()
    say_whole(link, replies=70, samples=1)
    assert len(link.server._downlink._ended) == 64
    assert link.server._downlink.kept_bytes == 64 * (64 + 2)


def test_events_are_acknowledged_in_a_ticketed_call_only() -> None:
    for terms, kept in (({}, 72 - 32), ({"resume_ticket": None}, 0)):
        link = a_call(**terms)
        for _ in range(72):
            link.server.send_event({"type": "test.event"}, 0)
            link.client.send_event({"type": "test.event"}, 0)
        link.settle()
        for session in (link.client, link.server):
            assert len(session._log._kept) == kept
