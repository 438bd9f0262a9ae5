"""How a call is parked, continued, given up, and what is told when something is lost after all."""

from typing import Any

import msgspec
import pytest
from tests.core.link import OPUS, PCM, Link, a_hello, of_type, pcm
from tests.core.lost_calls import TICKET, a_call, again, lose, resumed

from legato.core import (
    Capabilities,
    Playback,
    SessionCode,
    SessionState,
    Terms,
    UplinkSettings,
)
from legato.core.errors import RemoteProtocolError
from legato.core.events import (
    AudioReceived,
    Draining,
    EventReceived,
    Flushed,
    GapReported,
    PlaybackReported,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SessionEnded,
    Welcomed,
)
from legato.core.outputs import CloseSession
from legato.core.wire.codes import EVENT_ACK_EVENTS


def test_a_call_without_ticket_ends_with_its_connection() -> None:
    for terms in ({"resume_ticket": None}, {"resume_ttl_ms": 0}):
        link = a_call(**terms)
        link.server.closed("transport", 0, "idle", 0)
        assert link.server.events() == [SessionEnded("transport", 0, "idle")]
    silent = a_hello(capabilities=Capabilities(resume=True))
    link = a_call(silent)
    assert link.client.resume_request() is None
    for session in (link.client, link.server):
        session.closed("transport", 0, "idle", 0)
        assert session.events() == [SessionEnded("transport", 0, "idle")]


def test_a_client_may_wish_for_no_resume() -> None:
    link = a_call(settings=UplinkSettings(resume_us=0))
    link.client.closed("transport", 0, "idle", 0)
    assert link.client.events() == [SessionEnded("transport", 0, "idle")]


def test_an_end_that_was_said_is_an_end() -> None:
    link = a_call()
    link.server.closed("peer", 0, "bye", 0)
    assert link.server.events() == [SessionEnded("peer", 0, "bye")]


def test_a_parked_call_ends_when_patience_does() -> None:
    link = a_call()
    lose(link)
    assert link.server.next_deadline() == 5_000_000
    link.server.on_deadline(4_999_999)
    assert link.server.state is SessionState.PARKED
    link.server.on_deadline(5_000_000)
    assert link.server.events() == [SessionEnded("transport", 0, "idle")]
    link.server.on_deadline(6_000_000)
    assert link.server.outputs() == []
    link.client.closed("transport", 0, "idle", 0)
    assert link.client.events() == [SessionEnded("transport", 0, "idle")]


def test_a_parked_session_asks_for_nothing() -> None:
    link = a_call()
    one = link.server.begin_reply("r", "i", PCM, 0)
    lose(link)
    link.client.send_audio(pcm(0, 5), 0, 0)
    link.client.end_utterance(0)
    link.client.send_event({"type": "test.one"}, 0)
    link.server.send_audio(one, pcm(0, 3), 3, 0)
    link.server.end_reply(one, 0)
    link.server.begin_reply("r", "j", PCM, 0)
    link.server.send_event({"type": "test.two"}, 0)
    link.server.going_away(1_000, 0)
    link.server.flush(0)
    assert link.client.outputs() == link.server.outputs() == []
    assert of_type(link.server.events(), Draining) == []


def test_everything_goes_on_over_another_connection() -> None:
    link = a_call()
    link.client.send_audio(pcm(0, 100), 0, 0)
    one = link.server.begin_reply("r", "i", PCM, 0)
    link.server.send_audio(one, pcm(0, 50), 50, 0)
    link.settle()
    link.take(link.near)
    link.client.send_event({"type": "test.before"}, 0)
    lose(link)
    link.client.send_audio(pcm(100, 100), 0, 0)
    link.client.send_event({"type": "test.after"}, 0)
    link.client.report_playback(Playback(item_id="i", generation=one, played=20, state="playing"), 0)
    link.server.send_audio(one, pcm(50, 50), 50, 0)
    link.server.end_reply(one, 0)
    link.server.send_event({"type": "test.news"}, 0)
    fresh = resumed(link)
    heard, seen = fresh.take(fresh.far), fresh.take(fresh.near)
    assert [(one.frame.offset, one.frame.samples) for one in of_type(heard, AudioReceived)] == [(100, 100)]
    assert [one.event["type"] for one in of_type(heard, EventReceived)] == ["test.before", "test.after"]
    assert [one.played for one in of_type(heard, PlaybackReported)] == [20]
    (welcomed,) = of_type(seen, Welcomed)
    assert (welcomed.welcome.resumed, welcomed.welcome.uplink_offset, welcomed.lost) == (True, 100, 0)
    assert [one.event["type"] for one in of_type(seen, EventReceived)] == ["test.news"]
    assert of_type(seen, ReplyStarted) == []
    assert of_type(seen, ReplyAudio) == [ReplyAudio(one, "i", 50, pcm(50, 50))]
    assert of_type(seen, ReplyEnded) == [ReplyEnded(one, "i", 100)]
    assert fresh.server.confirmed
    assert (link.client.state, link.server.state) == (SessionState.CLOSED, SessionState.CLOSED)
    assert fresh.server.ledger.heard(one, 0) == 20


def test_a_connection_is_made_before_the_other_breaks() -> None:
    link = a_call()
    one = link.server.begin_reply("r", "i", PCM, 0)
    link.server.send_audio(one, pcm(0, 50), 50, 0)
    link.settle()
    fresh = again(link)
    link.server.send_audio(one, pcm(50, 50), 50, 0)
    link.server.send_event({"type": "test.one"}, 0)
    link.server.flush_reply(link.server.begin_reply("r", "j", PCM, 0), 0)
    link.client.report_playback(Playback(item_id="i", generation=one, played=60, state="playing"), 0)
    link.settle()
    seen = link.take(link.near)
    assert len(of_type(seen, EventReceived)) == 1
    fresh.server.accept(Terms(session_id="c", output=PCM, **TICKET), 0, link.server)
    assert link.server.outputs()[-1] == CloseSession(
        SessionCode.REPLACED, "another connection continues the call"
    )
    fresh.server.send_audio(one, pcm(100, 10), 10, 0)
    fresh.settle()
    seen = fresh.take(fresh.near)
    assert of_type(seen, EventReceived) == of_type(seen, Flushed) == []
    assert of_type(seen, ReplyAudio) == [ReplyAudio(one, "i", 100, pcm(100, 10))]
    assert [one.played for one in of_type(fresh.take(fresh.far), PlaybackReported)] == [60, 60]
    fresh.server.send_event({"type": "test.two"}, 0)
    fresh.settle()
    assert [one.event["type"] for one in of_type(fresh.take(fresh.near), EventReceived)] == ["test.two"]


def test_events_that_come_behind_the_hello_may_be_acknowledged_before_it_is_read() -> None:
    link = a_call()
    link.server.send_event({"type": "test.first"}, 0)
    link.settle()
    fresh = again(link)
    for number in range(EVENT_ACK_EVENTS):
        link.server.send_event({"type": "test.more", "number": number}, 0)
    link.settle()
    assert len(of_type(link.take(link.near), EventReceived)) == EVENT_ACK_EVENTS + 1
    assert link.server.can_continue(fresh.client.hello, fresh.now), "nothing is missing at the client"
    fresh.server.accept(Terms(session_id="c", output=PCM, **TICKET), 0, link.server)
    fresh.server.send_event({"type": "test.last"}, 0)
    fresh.settle()
    seen = of_type(fresh.take(fresh.near), EventReceived)
    assert [one.event["type"] for one in seen] == ["test.last"]


def outgrown() -> Link:
    """A lost call whose caller has said more since than the ring holds: 240 of 400 samples are gone."""
    link = a_call(settings=UplinkSettings(ring_us=10_000, ring_max_us=10_000))
    lose(link)
    for start in range(0, 400, 40):
        link.client.send_audio(pcm(start, 40), start, 0)
    return link


def test_what_the_ring_gave_up_is_an_exact_gap() -> None:
    fresh = resumed(outgrown(), uplink_offset=0)
    (welcomed,) = of_type(fresh.take(fresh.near), Welcomed)
    heard = fresh.take(fresh.far)
    assert welcomed.lost == 240
    assert [(one.gap.start, one.gap.stop) for one in of_type(heard, GapReported)] == [(0, 240)]
    assert [one.frame.offset for one in of_type(heard, AudioReceived)] == [240, 280, 320, 360]


def test_a_gap_that_the_hello_tells_is_reported_at_once() -> None:
    fresh = resumed(outgrown())
    assert fresh.client.hello.resume is not None
    assert fresh.client.hello.resume.uplink_offset == 240
    assert [(one.gap.start, one.gap.stop) for one in of_type(fresh.take(fresh.far), GapReported)] == [
        (0, 240)
    ]


def test_a_server_without_the_call_begins_a_new_one_where_the_ring_does() -> None:
    link = a_call()
    one = link.server.begin_reply("r", "i", PCM, 0)
    link.server.send_audio(one, pcm(0, 50), 50, 0)
    link.client.send_audio(pcm(0, 100), 0, 0)
    link.client.end_utterance(0)
    link.settle()
    link.client.send_event({"type": "test.lost"}, 0)
    lose(link)
    link.client.send_audio(pcm(100, 50), 0, 0)
    fresh = again(link)
    fresh.server.accept(Terms(session_id="call_2", output=PCM), 0)
    fresh.settle()
    flushed, welcomed = fresh.take(fresh.near)
    assert flushed == Flushed(one)
    assert (welcomed.welcome.resumed, welcomed.lost) == (False, 0)
    (heard,) = of_type(fresh.take(fresh.far), AudioReceived)
    assert (heard.frame.offset, heard.frame.samples) == (100, 50)
    assert fresh.client.resume_request() is None
    assert fresh.server.begin_reply("r", "i", PCM, 0) == 1
    fresh.settle()
    assert of_type(fresh.take(fresh.near), ReplyStarted)


def test_what_a_new_call_never_gets_is_counted() -> None:
    fresh = again(outgrown())
    fresh.server.accept(Terms(session_id="call_2", output=PCM), 0)
    fresh.settle()
    (welcomed,) = fresh.take(fresh.near)
    assert welcomed.lost == 240


@pytest.mark.parametrize("offset", [0, 300])
def test_a_server_cannot_want_what_is_not_there(offset: int) -> None:
    link = a_call()
    link.client.send_audio(pcm(0, 100), 0, 0)
    link.client.end_utterance(0)
    link.settle()
    lose(link)
    fresh = again(link)
    fresh.server.accept(Terms(session_id="call_1", output=PCM, **TICKET), 0, link.server)
    wrong = msgspec.structs.replace(
        fresh.client.welcome or link.client.welcome,
        resumed=True,
        uplink_offset=offset,  # type: ignore[type-var]
    )
    with pytest.raises(RemoteProtocolError, match="not to be had"):
        fresh.client._continue(link.client, wrong, 0)


def test_a_call_that_ended_meanwhile_is_not_continued() -> None:
    link = a_call()
    fresh = again(link)
    link.client.close(0, "enough", 0)
    fresh.server.accept(Terms(session_id="call_1", output=PCM, **TICKET), 0, link.server)
    fresh.settle()
    assert of_type(fresh.take(fresh.near), SessionEnded)[-1].reason == "the call has ended meanwhile"


@pytest.mark.parametrize(
    ("hello", "request_"),
    [
        ({"input": OPUS}, {}),
        ({"output": (OPUS,)}, {}),
        ({"capabilities": Capabilities(resume=True)}, {}),
        ({"capabilities": Capabilities(playback_reports=True)}, {}),
        ({"resume": None}, {}),
        ({}, {"events": 2}),
        ({}, {"uplink_offset": 1 << 50}),
    ],
)
def test_what_cannot_be_continued(hello: dict[str, Any], request_: dict[str, Any]) -> None:
    link = a_call()
    link.server.send_event({"type": "test.one"}, 0)
    link.settle()
    request = link.client.resume_request()
    assert request is not None
    good = msgspec.structs.replace(link.client.hello, resume=request)
    assert link.server.can_continue(good, 0)
    resume = msgspec.structs.replace(request, **request_)
    bad = msgspec.structs.replace(good, **({"resume": resume} | hello))
    assert not link.server.can_continue(bad, 0)
    link.server.close(0, "", 0)
    assert not link.server.can_continue(good, 0)
    assert not a_call(resume_ticket=None).server.can_continue(good, 0)
