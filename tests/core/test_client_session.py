"""The client's end: hello first, audio at once, replies in order behind the welcome."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.core.link import OPUS, PCM, Link, a_hello, connected, of_type, pcm

from legato.core import (
    ClientSession,
    Limits,
    Playback,
    ReplyHeader,
    ResumeRequest,
    SessionState,
    UplinkSettings,
    Welcome,
)
from legato.core.errors import LocalProtocolError
from legato.core.events import (
    Draining,
    Event,
    Flushed,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SessionEnded,
    Welcomed,
)
from legato.core.outputs import CloseSession, OpenStream, Send, Stop
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import AudioAck, Flush, GoingAway, Hello
from legato.core.wire.records import control_record, downlink_record, uplink_record


def a_welcome(**fields: Any) -> Welcome:
    return Welcome(
        **{
            "session_id": "call_1",
            "input": PCM,
            "output": PCM,
            "profile": "turn",
            "lead_ms": 5_000,
            "server_time_us": 0,
            "limits": Limits(),
            **fields,
        }
    )


def say(client: ClientSession, message: Any, now: int = 0) -> None:
    client.receive(-1, control_record(encode_message(message)), False, now)


def active(hello: Hello | None = None) -> ClientSession:
    client = ClientSession(hello or a_hello(), 0)
    say(client, a_welcome())
    client.outputs()
    client.events()
    return client


def preface(generation: int = 1) -> bytes:
    header = encode_message(
        ReplyHeader(response_id="r", item_id="i", content_index=0, generation=generation, format=PCM)
    )
    return b"\x02" + (0x4000 | len(header)).to_bytes(2, "big") + header


def reply(
    client: ClientSession, stream: int, generation: int = 1, samples: int = 0, fin: bool = False
) -> None:
    """A reply arrives on a stream of its own."""
    client.stream_opened(stream, False, 0)
    audio = downlink_record(0, pcm(0, samples)) if samples else b""
    client.receive(stream, preface(generation) + audio, fin, 0)


def ended(client: ClientSession) -> int | None:
    found = of_type(client.events(), SessionEnded)
    return found[0].code if found else None


def test_hello_and_audio_leave_in_one_flight() -> None:
    client = ClientSession(a_hello(), 0)
    client.send_audio(pcm(0, 5), 0, 0)
    client.send_event({"type": "session.update"}, 0)
    outputs = client.outputs()
    assert [type(output) for output in outputs] == [OpenStream, Send, OpenStream, Send, Send, Send]
    assert outputs[0] == OpenStream(-1, True, 2)
    assert outputs[2:4] == [OpenStream(-2, False, 1), Send(-2, b"\x01", False)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"input": OPUS}, 4),
        ({"output": a_hello(output=(OPUS,)).output[0], "input": OPUS}, 4),
        ({"uplink_offset": 5}, 2),
        ({"resumed": True}, 2),
    ],
)
def test_a_welcome_to_something_else(change: dict[str, Any], code: int) -> None:
    client = ClientSession(a_hello(output=(PCM,)), 0)
    say(client, a_welcome(**change))
    assert ended(client) == code


def test_the_first_event_is_the_welcome() -> None:
    client = ClientSession(a_hello(), 0)
    client.receive(-1, control_record(b'{"type":"response.created"}'), False, 0)
    assert ended(client) == 2


def test_the_welcome_is_not_waited_for_for_ever() -> None:
    client = ClientSession(a_hello(), 7, limits=Limits(hello_ms=100))
    assert client.next_deadline() == 100_007
    client.on_deadline(100_006)
    assert ended(client) is None
    client.on_deadline(100_007)
    assert ended(client) == 7


def test_limits_of_the_welcome_count_from_then_on() -> None:
    client = ClientSession(a_hello(), 0, UplinkSettings(ring_us=1_000))
    client.outputs()
    say(client, a_welcome(limits=Limits(control_record_bytes=50, window_ms=1), resume_ttl_ms=1_000))
    assert client.next_deadline() is None
    client.send_audio(pcm(0, 16), 0, 0)
    client.outputs()
    client.send_audio(pcm(16, 1), 0, 0)
    assert client.outputs() == []
    with pytest.raises(LocalProtocolError, match="at most 50"):
        client.send_event({"type": "x" * 50}, 0)
    assert client.resume_request() is None


def test_a_resumed_call() -> None:
    hello = a_hello(resume=ResumeRequest(ticket="t", uplink_offset=100))
    client = ClientSession(hello, 0)
    assert client.send_audio(pcm(100, 50), 0, 0) == 150
    say(client, a_welcome(resumed=True, uplink_offset=120))
    assert (client.acked, client.captured, client.state) == (120, 150, SessionState.ACTIVE)
    say(ClientSession(hello, 0), a_welcome(uplink_offset=100))
    client = ClientSession(hello, 0)
    say(client, a_welcome(resumed=True, uplink_offset=101))
    assert ended(client) == 2


@pytest.mark.parametrize(
    ("message", "code"),
    [(a_welcome(), 2), (AudioAck(1), 2), (a_hello(), 2)],
)
def test_events_that_break_the_rules(message: Any, code: int) -> None:
    client = active()
    say(client, message)
    assert ended(client) == code


def test_a_reply_arrives() -> None:
    client = active()
    reply(client, 3, samples=2)
    client.receive(3, downlink_record(2, pcm(2, 1)), False, 0)
    client.receive(3, b"", True, 0)
    started, *rest = client.events()
    assert isinstance(started, ReplyStarted)
    assert rest == [ReplyAudio(1, "i", 0, pcm(0, 2)), ReplyAudio(1, "i", 2, pcm(2, 1)), ReplyEnded(1, "i", 3)]


def test_a_reply_byte_by_byte() -> None:
    client = active()
    client.stream_opened(3, False, 0)
    for byte in preface() + downlink_record(0, pcm(0, 2)):
        client.receive(3, bytes([byte]), False, 0)
    assert [type(event) for event in client.events()] == [ReplyStarted, ReplyAudio]


def test_replies_are_reported_behind_the_welcome() -> None:
    client = ClientSession(a_hello(), 0)
    reply(client, 3, samples=2, fin=True)
    assert client.events() == []
    say(client, a_welcome())
    kinds: list[type[Event]] = [Welcomed, ReplyStarted, ReplyAudio, ReplyEnded]
    assert [type(event) for event in client.events()] == kinds


def test_what_comes_before_the_welcome_is_bounded() -> None:
    client = ClientSession(a_hello(), 0, limits=Limits(window_bytes=300))
    reply(client, 3, samples=120)
    assert ended(client) == 6


@pytest.mark.parametrize(
    ("data", "fin", "code"),
    [
        (preface() + downlink_record(5, pcm(0, 2)) + downlink_record(6, pcm(0, 1)), False, 2),
        (preface() + downlink_record(1 << 53, pcm(0, 2)), False, 2),
        (preface() + downlink_record(0, b"abc"), False, 2),
        (preface() + downlink_record(0, b""), False, 2),
        (preface() + b"\x09", True, 2),
        (preface()[:-1], True, 2),
        (b"\x02", True, 2),
        (b"\x02\x50\x01", False, 6),
        (b"\x02\x01{", False, 2),
    ],
)
def test_replies_that_break_the_rules(data: bytes, fin: bool, code: int) -> None:
    client = active()
    client.stream_opened(3, False, 0)
    client.receive(3, data, fin, 0)
    assert ended(client) == code


def test_a_server_opens_no_bidirectional_stream() -> None:
    client = active()
    client.stream_opened(1, True, 0)
    assert ended(client) == 2


def test_many_short_replies_may_be_in_flight_but_not_endlessly_many() -> None:
    client = active()
    for stream in range(256):
        client.stream_opened(stream, False, 0)
    assert ended(client) is None
    client.stream_opened(256, False, 0)
    assert ended(client) == 6


def test_a_flush_by_event() -> None:
    client = active()
    reply(client, 3, generation=1, samples=2)
    reply(client, 7, generation=3)
    client.stream_opened(11, False, 0)
    client.receive(11, preface(2)[:9], False, 0)
    client.events()
    say(client, Flush(2))
    say(client, Flush(1))
    assert client.events() == [Flushed(2)]
    assert client.outputs() == [Stop(3, 3)]
    client.receive(3, downlink_record(2, pcm(2, 9)), True, 0)
    client.receive(11, preface(2)[9:] + downlink_record(0, pcm(0, 2)), False, 0)
    assert client.events() == []
    assert client.outputs() == [Stop(11, 3)]
    reply(client, 15, generation=2, fin=True)
    assert (client.events(), client.outputs()) == ([], [])
    client.receive(7, downlink_record(0, pcm(0, 2)), False, 0)
    assert client.events() == [ReplyAudio(3, "i", 0, pcm(0, 2))]


def test_a_flush_by_reset() -> None:
    client = active()
    reply(client, 3, generation=1)
    reply(client, 7, generation=2)
    client.events()
    client.stream_reset(7, 1, 0)
    assert client.events() == [Flushed(2, 2)]
    say(client, Flush(2))
    assert client.events() == [Flushed(2)]


@pytest.mark.parametrize(
    ("code", "end"), [(1, Flushed(1)), (3, ReplyEnded(1, "i", 2, complete=False))], ids=["flushed", "other"]
)
def test_a_reply_that_is_reset_before_the_welcome_ends(code: int, end: Event) -> None:
    client = ClientSession(a_hello(), 0)
    client.stream_opened(3, False, 0)
    client.receive(3, preface(1) + downlink_record(0, pcm(0, 2)), False, 0)
    client.stream_opened(7, False, 0)
    client.receive(7, preface(2)[:5], False, 0)
    for stream in (3, 7):
        client.stream_reset(stream, code, 0)
    say(client, a_welcome())
    assert client.events()[-1] == end
    assert client._audio == {}, "nothing more of them will ever come"


def test_streams_that_are_reset() -> None:
    client = active()
    reply(client, 3, samples=2)
    client.stream_opened(7, False, 0)
    client.stream_opened(11, False, 0)
    client.receive(11, preface(2)[:5], False, 0)
    client.events()
    for stream in (3, 7, 11, 99):
        client.stream_reset(stream, 0, 0)
    assert client.events() == [ReplyEnded(1, "i", 2, complete=False)]
    client.stream_opened(15, False, 0)
    client.receive(15, b"\x01\x00", False, 0)
    assert client.outputs() == [Stop(15, 2)]


@pytest.mark.parametrize("abandon", [ClientSession.stream_reset, ClientSession.stream_stopped])
def test_control_stays_open(abandon: Callable[..., None]) -> None:
    client = active()
    abandon(client, -1, 0, 0)
    assert ended(client) == 2


def test_a_server_that_stops_audio_breaks_the_rules() -> None:
    client = active()
    client.send_audio(pcm(0, 1), 0, 0)
    client.stream_stopped(-2, 0, 0)
    assert ended(client) == 2


def test_a_reply_that_is_not_wanted() -> None:
    client = active()
    reply(client, 3, generation=1, samples=2)
    reply(client, 7, generation=2)
    client.stream_opened(11, False, 0)
    client.receive(11, preface(3)[:5], False, 0)
    client.events()
    client.cancel_reply(2, 0)
    client.cancel_reply(2, 0)
    client.cancel_reply(3, 0)
    assert client.outputs() == [Stop(7, 3)]
    assert client.events() == [ReplyEnded(2, "i", 0, complete=False)]
    client.receive(7, downlink_record(0, pcm(0, 2)), False, 0)
    assert client.events() == []


def test_reports_go_to_the_server() -> None:
    client = active()
    reply(client, 3, samples=2)
    report = Playback(item_id="i", generation=1, played=1, state="playing")
    client.report_playback(report, 0)
    (said,) = client.outputs()
    assert said == Send(-1, control_record(encode_message(report)), False)


@pytest.mark.parametrize("operation", ["report_playback", "bye"])
def test_too_early_for_a_call(operation: str) -> None:
    client = ClientSession(a_hello(), 0)
    report = Playback(item_id="i", generation=1, played=1, state="playing")
    arguments = (report, 0) if operation == "report_playback" else (0,)
    with pytest.raises(LocalProtocolError, match="needs an accepted session"):
        getattr(client, operation)(*arguments)


def test_what_is_under_way_when_the_path_changes_is_said_again() -> None:
    client = active()
    client.send_audio(pcm(0, 10), 0, 0)
    client.outputs()
    client.path_changed(0)
    said = [output.data for output in client.outputs() if isinstance(output, Send)]
    assert uplink_record(0, 0, pcm(0, 10)) in said
    client.close(0, "", 0)
    client.outputs()
    client.path_changed(0)
    assert client.outputs() == []


def test_hanging_up_does_not_wait_for_ever() -> None:
    client = active()
    client.bye(5)
    assert client.next_deadline() == 1_000_005
    client.outputs()
    client.on_deadline(1_000_005)
    assert client.events() == [SessionEnded("local", 0, "bye")]
    assert client.outputs() == [CloseSession(0, "bye")]
    active().on_deadline(1 << 40)


def test_a_server_that_goes_away() -> None:
    client = active()
    say(client, GoingAway(300))
    assert (client.events(), client.state) == ([Draining(300)], SessionState.DRAINING)
    client.send_audio(pcm(0, 1), 0, 0)
    assert client.outputs()


def test_a_whole_reply_and_its_flush() -> None:
    link: Link = connected()
    one = link.server.begin_reply("resp", "item", PCM, 0)
    link.server.send_audio(one, pcm(0, 320), 320, 0)
    link.settle()
    assert [type(event) for event in link.take(link.near)] == [ReplyStarted, ReplyAudio]
    link.server.send_audio(one, pcm(320, 320), 320, 0)
    assert link.server.flush(0) == one
    link.settle()
    assert link.take(link.near) == [Flushed(one, one)]
