"""The server's end: hello, streams, acknowledgements, pressure, replies."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.core.link import PCM, Link, a_hello, connected, of_type, pcm

from legato.core import Limits, Playback, ResumeRequest, ServerSession, SessionState, Terms
from legato.core.errors import LocalProtocolError
from legato.core.events import (
    AudioReceived,
    Draining,
    EventReceived,
    HelloReceived,
    PlaybackReported,
    ReplyCancelled,
    SessionEnded,
)
from legato.core.outputs import CloseSession, Pause, Reset, Resume, Send, Stop
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import AudioLost, Bye, Hello
from legato.core.wire.records import control_record, uplink_record


def greeted(hello: Hello | None = None, **limits: Any) -> ServerSession:
    """A server that knows its client and has not answered."""
    server = ServerSession(0, Limits(**limits))
    server.stream_opened(0, True, 0)
    server.receive(0, control_record(encode_message(hello or a_hello())), False, 0)
    return server


def active(hello: Hello | None = None, profile: Any = "turn", **limits: Any) -> ServerSession:
    server = greeted(hello, **limits)
    server.accept(Terms(session_id="call_1", output=PCM, profile=profile), 0)
    server.outputs()
    server.events()
    return server


def say(server: ServerSession, message: Any, now: int = 0) -> None:
    server.receive(0, control_record(encode_message(message)), False, now)


def speak(
    server: ServerSession, stream: int, *pieces: tuple[int, int], fin: bool = False, now: int = 0
) -> None:
    data = b"".join(uplink_record(start, 0, pcm(start, samples)) for start, samples in pieces)
    server.stream_opened(stream, False, now)
    server.receive(stream, b"\x01" + data, fin, now)


def ended(server: ServerSession) -> int | None:
    """The code with which the session ended, None if it has not."""
    found = of_type(server.events(), SessionEnded)
    return found[0].code if found else None


def frames(server: ServerSession) -> list[tuple[int, int]]:
    return [(one.frame.offset, one.frame.end) for one in of_type(server.events(), AudioReceived)]


def test_a_hello_waits_for_its_answer() -> None:
    server = greeted()
    assert server.state is SessionState.DECIDING
    assert server.next_deadline() is None
    assert of_type(server.events(), HelloReceived)[0].hello == a_hello()
    speak(server, 2, (0, 5))
    server.receive(0, control_record(b'{"type":"x"}'), False, 0)
    assert (server.events(), server.outputs()) == ([], [])
    server.accept(Terms(session_id="call_1", output=PCM), 9)
    assert [type(event) for event in server.events()] == [EventReceived, AudioReceived]


@pytest.mark.parametrize("stage", ["connecting", "deciding"])
def test_a_client_may_be_refused(stage: str) -> None:
    server = ServerSession(0) if stage == "connecting" else greeted()
    server.refuse(8, "full", 0)
    assert (ended(server), server.outputs()) == (8, [CloseSession(8, "full")])


OPERATIONS: list[Callable[[ServerSession], Any]] = [
    lambda server: server.begin_reply("r", "i", PCM, 0),
    lambda server: server.flush(0),
    lambda server: server.flush_reply(1, 0),
    lambda server: server.going_away(5, 0),
    lambda server: server.send_event({"type": "x"}, 0),
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_said_before_the_welcome(operation: Callable[[ServerSession], Any]) -> None:
    with pytest.raises(LocalProtocolError, match="needs an accepted session; "):
        operation(greeted())


@pytest.mark.parametrize(
    ("make", "terms", "reason"),
    [
        (lambda: ServerSession(0), {}, "wait for HelloReceived"),
        (active, {}, "call accept once"),
        (greeted, {"output": a_hello().output[1], "lead_ms": 0}, "set lead_ms"),
        (lambda: greeted(a_hello(output=(a_hello().output[1],))), {}, "take one of hello.output"),
    ],
)
def test_accept_at_the_wrong_time_or_on_wrong_terms(
    make: Callable[[], ServerSession], terms: dict[str, Any], reason: str
) -> None:
    with pytest.raises(LocalProtocolError, match=reason):
        make().accept(Terms(**{"session_id": "call_1", "output": PCM, **terms}), 0)


def test_a_client_may_be_given_less_than_all_begin_with() -> None:
    server = greeted(audio_burst_ms=1_000)
    less = Limits(audio_burst_ms=10, audio_rate=1, control_record_bytes=200)
    server.accept(Terms(session_id="call_1", output=PCM, limits=less), 0)
    (welcome,) = [one.data for one in server.outputs() if isinstance(one, Send)]
    assert b'"control_record_bytes":200' in welcome
    server.receive(0, control_record(b'{"type":"x"}'), False, 0)
    assert of_type(server.events(), EventReceived) != []
    speak(server, 2, (0, 1_000))
    assert ended(server) == 6


def test_a_client_that_was_given_less_may_not_say_more() -> None:
    server = greeted()
    server.accept(Terms(session_id="call_1", output=PCM, limits=Limits(control_record_bytes=200)), 0)
    server.receive(0, control_record(b'{"type":"%s"}' % (b"x" * 200)), False, 0)
    assert ended(server) == 6


def test_limits_of_terms_do_not_widen_what_is_read() -> None:
    server = greeted(control_record_bytes=1_000)
    server.accept(Terms(session_id="call_1", output=PCM, limits=Limits()), 0)
    server.receive(0, control_record(b'{"type":"%s"}' % (b"x" * 1_000)), False, 0)
    assert ended(server) == 6


def test_refuse_after_accept() -> None:
    with pytest.raises(LocalProtocolError, match="use close"):
        active().refuse(8, "", 0)


def test_a_silent_client_is_not_waited_for() -> None:
    server = ServerSession(7)
    assert server.next_deadline() == 5_000_007
    server.on_deadline(5_000_006)
    assert ended(server) is None
    server.on_deadline(5_000_007)
    assert ended(server) == 7


def test_a_call_goes_on_where_the_client_says() -> None:
    server = greeted(a_hello(resume=ResumeRequest(ticket="t", uplink_offset=1_000)))
    server.accept(Terms(session_id="call_1", output=PCM), 0)
    speak(server, 2, (1_000, 5))
    assert frames(server) == [(1_000, 1_005)]


def test_acknowledgements_come_by_time_or_with_the_end_of_a_stream() -> None:
    server = active()
    speak(server, 2, (0, 5), now=100)
    assert server.next_deadline() == 240_100
    server.on_deadline(200_099)
    assert server.outputs() == []
    server.on_deadline(200_100)
    (ack,) = server.outputs()
    assert isinstance(ack, Send)
    assert b'"offset":5' in ack.data
    assert server.next_deadline() is None
    server.receive(2, b"", True, 200_200)
    assert server.outputs() == []
    speak(server, 6, (5, 5), fin=True, now=300_000)
    assert b'"offset":10' in server.outputs()[0].data  # type: ignore[union-attr]


def test_a_due_acknowledgement_leaves_with_the_next_audio() -> None:
    server = active()
    speak(server, 2, (0, 5), now=100)
    server.receive(2, uplink_record(5, 0, bytes(10)), False, 200_099)
    assert server.outputs() == []
    server.receive(2, uplink_record(10, 0, bytes(10)), False, 200_100)
    (ack,) = server.outputs()
    assert isinstance(ack, Send)
    assert b'"offset":15' in ack.data


def test_both_deadlines_are_kept() -> None:
    server = active()
    server.going_away(100, 0)
    speak(server, 2, (0, 5))
    assert server.next_deadline() == 100_000
    server.on_deadline(100_000)
    assert ended(server) == 1


def test_going_away_is_announced() -> None:
    server = active()
    server.going_away(300, 0)
    assert server.events() == [Draining(300)]
    speak(server, 2, (0, 5))
    assert server.next_deadline() == 240_000
    assert server.state is SessionState.DRAINING
    assert server.begin_reply("r", "i", PCM, 0) == 1


def test_only_one_bidirectional_stream() -> None:
    server = active()
    server.stream_opened(4, True, 0)
    assert server.outputs() == [Stop(4, 2), Reset(4, 2)]
    server.receive(4, b"anything", False, 0)
    assert (server.events(), server.outputs()) == ([], [])


def test_streams_of_unknown_type_are_declined() -> None:
    server = active()
    for stream, data, fin in ((2, b"\x02", False), (6, b"\x40", False), (10, b"\x07", True), (14, b"", True)):
        server.stream_opened(stream, False, 0)
        server.receive(stream, data, fin, 0)
    server.receive(6, b"\x33", False, 0)
    assert server.outputs() == [Stop(2, 2), Stop(6, 2)]
    server.stream_opened(18, False, 0)
    server.stream_reset(18, 0, 0)
    server.stream_reset(99, 0, 0)
    server.receive(18, b"\x01", False, 0)
    assert (server.events(), server.outputs()) == ([], [])


@pytest.mark.parametrize("accepted", [True, False])
def test_open_streams_are_bounded(accepted: bool) -> None:
    server = active(uplink_streams=2) if accepted else greeted(uplink_streams=2)
    speak(server, 2, (0, 1), fin=accepted)
    speak(server, 6, (1, 1))
    assert ended(server) is None
    speak(server, 10, (2, 1))
    speak(server, 14, (3, 1))
    assert ended(server) == 6


@pytest.mark.parametrize(("profile", "code"), [("turn", 2), ("duplex", None)])
@pytest.mark.parametrize("early", [True, False])
def test_a_reset_of_audio(profile: Any, code: int | None, early: bool) -> None:
    server = greeted() if early else active(profile=profile)
    speak(server, 2, (0, 5))
    server.stream_reset(2, 3, 0)
    if early:
        server.events()
        server.accept(Terms(session_id="call_1", output=PCM, profile=profile), 0)
    assert ended(server) == code
    if code is None:
        say(server, AudioLost(5, 9))
        speak(server, 6, (9, 1))
        assert frames(server) == [(9, 10)]


def test_violations_behind_an_early_one_are_not_looked_at() -> None:
    server = greeted()
    for stream in (2, 6):
        server.stream_opened(stream, False, 0)
        server.receive(stream, b"\x01\x00", False, 0)
    server.accept(Terms(session_id="call_1", output=PCM), 0)
    assert ended(server) == 2
    bye = greeted()
    speak(bye, 2, (0, 5))
    say(bye, Bye())
    bye.receive(0, control_record(b'{"type":"x"}'), False, 0)
    bye.accept(Terms(session_id="call_1", output=PCM), 0)
    assert [type(event) for event in bye.events()] == [HelloReceived, SessionEnded]


def test_what_comes_before_the_welcome_is_bounded() -> None:
    server = greeted(window_bytes=100)
    speak(server, 2, (0, 51))
    assert ended(server) == 6
    server = greeted(control_record_bytes=1_000)
    for _ in range(20):
        server.receive(0, control_record(b'{"type":"x"}'), False, 0)
    assert ended(server) == 6


def test_a_server_that_falls_behind_stops_reading_every_stream() -> None:
    server = active(unread_ms=1)
    speak(server, 2, (0, 10))
    speak(server, 6, (10, 10))
    assert server.outputs() == [Pause(2), Pause(6)]
    speak(server, 10, (20, 1))
    assert server.outputs() == [Pause(10)]
    server.receive(2, b"", True, 0)
    server.outputs()
    server.consumed(21, 42)
    assert server.outputs() == [Resume(6), Resume(10)]


def test_consumed_before_a_call_is_harmless() -> None:
    server = greeted()
    server.consumed(1, 2)
    assert server.credit_us(0) == 0


def test_a_client_hangs_up() -> None:
    server = active()
    say(server, Bye())
    assert server.events() == [SessionEnded("peer", 0, "bye")]
    assert server.outputs() == [CloseSession(0, "bye")]


def test_reports_of_the_player() -> None:
    server = active()
    one = server.begin_reply("r", "i", PCM, 0, content_index=2)
    server.send_audio(one, pcm(0, 1_600), 1_600, 0)
    assert server.credit_us(0) == 10_000_000 - 100_000
    report = Playback(item_id="i", generation=one, content_index=2, played=800, buffered=800, state="playing")
    say(server, report)
    assert server.events() == [PlaybackReported("i", 2, one, 800, 800, 0, "playing")]
    assert server.credit_us(0) == 10_000_000 - 50_000
    assert server.ledger.heard(one, 0) == 800
    say(server, Playback(item_id="other", generation=one, played=800, state="playing"))
    assert server.events() == []
    assert server.ledger.violations == 1
    line = server.ledger.get(one)
    assert line is not None
    assert (line.sent, line.played) == (1_600, 800)


def test_credit_ends_at_the_lead() -> None:
    server = greeted(a_hello())
    server.accept(Terms(session_id="call_1", output=PCM, lead_ms=100), 0)
    one = server.begin_reply("r", "i", PCM, 0)
    server.send_audio(one, pcm(0, 3_200), 3_200, 0)
    assert server.credit_us(0) == 0


def test_the_caller_stops_a_reply() -> None:
    server = active()
    one = server.begin_reply("r", "i", PCM, 0)
    server.outputs()
    server.stream_stopped(-1, 3, 0)
    server.stream_stopped(-1, 3, 0)
    assert server.events() == [ReplyCancelled(one, 3)]
    assert server.outputs() == [Reset(-1, 3)]


@pytest.mark.parametrize("abandon", [ServerSession.stream_reset, ServerSession.stream_stopped])
def test_control_stays_open(abandon: Callable[..., None]) -> None:
    server = active()
    abandon(server, 0, 0, 0)
    assert ended(server) == 2


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"{}", 2), (b"[" * 5_000, 2), (encode_message(a_hello()), 2), (b'{"type":"legato.playback"}', 2)],
)
def test_events_that_break_the_rules(payload: bytes, code: int) -> None:
    server = active()
    server.receive(0, control_record(payload), False, 0)
    assert ended(server) == code


def test_the_first_event_is_the_hello() -> None:
    server = ServerSession(0)
    server.stream_opened(0, True, 0)
    say(server, Bye())
    assert ended(server) == 2


def test_unknown_records_and_events() -> None:
    server = active()
    server.receive(0, b"\x09\x01x" + control_record(b'{"type":"legato.later"}'), False, 0)
    assert server.events() == [EventReceived({"type": "legato.later"})]


def test_a_stream_that_ends_within_a_record() -> None:
    server = active()
    server.stream_opened(2, False, 0)
    server.receive(2, b"\x01\x09", True, 0)
    assert ended(server) == 2


def test_a_session_without_a_call_can_be_asked() -> None:
    server = ServerSession(0)
    assert (server.credit_us(0), server.ledger.heard(1, 0), server.next_deadline()) == (0, 0, 5_000_000)
    assert not server.can_continue(a_hello(resume=ResumeRequest(ticket="t")), 0)


def test_a_whole_call() -> None:
    link: Link = connected()
    for index in range(10):
        link.client.send_audio(pcm(index * 320, 320), 0, link.now)
    link.client.end_utterance(link.now)
    link.settle()
    assert [one.frame.samples for one in of_type(link.take(link.far), AudioReceived)] == [320] * 10
    assert link.client.acked == 3_200
