"""What both roles have in common: time, datagrams, events, the end."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.link import PCM, a_hello, connected, of_type, pcm

from legato.core import ClientSession, Limits, Playback, ServerSession, SessionState, Terms
from legato.core.errors import LocalProtocolError
from legato.core.events import EventReceived, HeartbeatReturned, SessionEnded
from legato.core.outputs import CloseSession, Pause, Resume, SendDatagram
from legato.core.session import Session
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import Bye
from legato.core.wire.records import control_record

SESSIONS: list[Callable[[], Session]] = [lambda: ServerSession(0), lambda: ClientSession(a_hello(), 0)]


def both() -> list[Session]:
    link = connected()
    return [link.client, link.server]


def test_events_go_both_ways() -> None:
    link = connected()
    link.client.send_event({"type": "response.create"}, 0)
    link.server.send_event({"type": "response.created"}, 0)
    link.settle()
    assert link.take(link.far) == [EventReceived({"type": "response.create"})]
    assert link.take(link.near) == [EventReceived({"type": "response.created"})]


def test_heartbeats_come_back() -> None:
    link = connected()
    link.client.send_heartbeat(7, 0)
    link.server.send_heartbeat(300, 0)
    link.settle()
    assert link.take(link.near) == [HeartbeatReturned(7)]
    assert link.take(link.far) == [HeartbeatReturned(300)]


@given(data=st.binary(max_size=30))
def test_any_datagram_is_harmless(data: bytes) -> None:
    for session in both():
        session.datagram(data, 0)
        session.datagram(data + bytes(1_000), 0)
        assert session.state is SessionState.ACTIVE
        assert {type(event) for event in session.events()} <= {HeartbeatReturned}
        assert {type(output) for output in session.outputs()} <= {SendDatagram}


@pytest.mark.parametrize("session", [0, 1], ids=["client", "server"])
def test_the_end_comes_once(session: int) -> None:
    ended = both()[session]
    ended.outputs()
    ended.close(4, "enough", 0)
    ended.close(5, "again", 0)
    ended.closed("peer", 0, "", 0)
    assert ended.events() == [SessionEnded("local", 4, "enough")]
    assert ended.outputs() == [CloseSession(4, "enough")]
    assert (ended.state, ended.next_deadline()) == (SessionState.CLOSED, None)


@pytest.mark.parametrize("by", ["peer", "transport", "local"])
def test_the_transport_may_end_it(by: Any) -> None:
    for session in both():
        session.closed(by, 3, "why", 0)
        assert session.events() == [SessionEnded(by, 3, "why")]
        assert session.outputs() == []


def test_control_may_end_a_moment_before_the_servers_session() -> None:
    control = connected().near.number(-1)
    closed, silent = connected().server, connected().server
    for one in (closed, silent):
        one.outputs()
        one.receive(control, b"", True, 100)
        assert (one.events(), one.next_deadline()) == ([], 1_000_100)
    closed.closed("peer", 0, "hung up", 200)
    assert closed.events() == [SessionEnded("peer", 0, "hung up")]
    silent.on_deadline(1_000_099)
    assert silent.events() == []
    silent.on_deadline(1_000_100)
    reason = "the control stream ended before the session"
    assert silent.events() == [SessionEnded("local", 2, reason)]
    assert silent.outputs() == [CloseSession(2, reason)]


def test_a_server_does_not_end_control_before_the_session() -> None:
    client = connected().client
    client.receive(-1, b"", True, 100)
    assert client.events() == [SessionEnded("local", 2, "the control stream ended before the session")]


def test_control_ends_with_the_last_word() -> None:
    link = connected()
    link.server.receive(link.near.number(-1), control_record(encode_message(Bye())), True, 0)
    assert link.server.events() == [SessionEnded("peer", 0, "bye")]


def test_a_closed_session_takes_everything_without_effect() -> None:
    link = connected()
    generation = link.server.begin_reply("r", "i", PCM, 0)
    link.client.send_audio(pcm(0, 9), 0, 0)
    link.settle()
    for session in (link.client, link.server):
        session.close(0, "", 0)
        session.outputs()
        session.events()
        session.stream_opened(50, False, 0)
        session.receive(50, b"\x01", False, 0)
        session.receive(-1, control_record(b"{}"), True, 0)
        session.stream_reset(50, 0, 0)
        session.stream_stopped(-1, 0, 0)
        session.datagram(b"\x00\x01", 0)
        session.on_deadline(1 << 40)
        session.send_event({"type": "x"}, 0)
        session.send_heartbeat(1, 0)
        session.hold_events(True)
    client, server = link.client, link.server
    assert client.send_audio(pcm(0, 9), 0, 0) == 9
    client.end_utterance(0)
    client.bye(0)
    client.cancel_reply(generation, 0)
    client.report_playback(Playback(item_id="i", generation=1, played=0, state="playing"), 0)
    server.accept(Terms(session_id="x", output=PCM), 0)
    server.refuse(0, "", 0)
    server.consumed(9, 18)
    assert server.begin_reply("r", "i", PCM, 0) == 0
    assert not server.send_audio(99, b"", 0, 0)
    server.end_reply(99, 0)
    server.flush_reply(99, 0)
    assert server.flush(0) == 0
    server.going_away(5, 0)
    for session in (client, server):
        assert (session.outputs(), session.events()) == ([], [])


def test_a_long_reason_is_cut_to_what_a_capsule_holds() -> None:
    session = ServerSession(0)
    session.close(9, "ü" * 2_000, 0)
    closing = session.outputs()[-1]
    assert isinstance(closing, CloseSession)
    assert closing.reason == "ü" * 512


def test_control_can_be_held_back() -> None:
    link = connected()
    link.server.hold_events(True)
    link.collect()
    link.client.send_event({"type": "x"}, 0)
    link.settle()
    assert link.take(link.far) == []
    link.server.hold_events(False)
    link.settle()
    assert link.take(link.far) == [EventReceived({"type": "x"})]


def test_holding_what_does_not_exist_yet() -> None:
    session = ServerSession(0)
    session.hold_events(True)
    assert session.outputs() == []
    assert Pause(1) != Resume(1)


@pytest.mark.parametrize("make", SESSIONS)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([-1, 0, 2, 3, 6]), st.binary(max_size=60), st.booleans()), max_size=20
    )
)
def test_any_bytes_on_any_stream_end_the_session_at_worst(
    make: Callable[[], Session], steps: list[tuple[int, bytes, bool]]
) -> None:
    session = make()
    session.outputs()
    for stream in (0, 2, 3, 6):
        session.stream_opened(stream, isinstance(session, ServerSession) and stream == 0, 0)
    for stream, data, fin in steps:
        session.receive(stream, data, fin, 0)
    _ends_at_worst(session)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0, 2, 6]),
            st.sampled_from(["data", "reset", "stop", "open"]),
            st.binary(max_size=40),
        ),
        max_size=25,
    ),
    streams=st.integers(1, 4),
)
def test_any_bytes_behind_a_good_beginning(steps: list[tuple[int, str, bytes]], streams: int) -> None:
    session = ServerSession(0, Limits(uplink_streams=streams))
    session.stream_opened(0, True, 0)
    session.receive(0, control_record(encode_message(a_hello())), False, 0)
    session.accept(Terms(session_id="x", output=PCM, profile="duplex"), 0)
    for stream, what, data in steps:
        match what:
            case "data" if stream == 0:
                session.receive(0, control_record(data), False, 0)
            case "data":
                session.receive(stream, data, len(data) % 7 == 0, 0)
            case "reset":
                session.stream_reset(stream, 0, 0)
            case "stop":
                session.stream_stopped(stream, 0, 0)
            case _:
                session.stream_opened(stream, False, 0)
                session.receive(stream, b"\x01" + data, False, 0)
    _ends_at_worst(session)


def _ends_at_worst(session: Session) -> None:
    events, outputs = session.events(), session.outputs()
    closed = session.state is SessionState.CLOSED
    assert len(of_type(events, SessionEnded)) == closed
    assert len([one for one in outputs if isinstance(one, CloseSession)]) == closed
    assert not closed or isinstance(outputs[-1], CloseSession)


def test_an_event_must_be_one() -> None:
    for session in both():
        with pytest.raises(LocalProtocolError, match="type"):
            session.send_event({}, 0)
