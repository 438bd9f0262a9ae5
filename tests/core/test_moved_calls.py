"""What a client and its next server make of a checkpoint, case by case."""

import msgspec
import pytest
from tests.core.fleet import CARRIES, LEAP, Fleet, a_fleet
from tests.core.link import OPUS, PACKET, PCM, a_hello, of_type, pcm

from legato.core import ClientSession, Playback, ServerSession, SessionCode, SessionState
from legato.core.carried_call import CarriedCall
from legato.core.errors import RemoteProtocolError
from legato.core.event_log import EventLog
from legato.core.events import (
    ConnectionLost,
    Draining,
    EventReceived,
    Flushed,
    HelloReceived,
    PlaybackReported,
    SessionEnded,
)
from legato.core.terms import CarriedSession
from legato.core.wire.messages import ReceivedReply


def test_only_who_keeps_checkpoints_is_told() -> None:
    server = ServerSession(0)
    server.send_checkpoint("state", 0, 0)
    assert not server.carries
    assert server.outputs() == []


def test_without_a_checkpoint_no_other_server_is_asked() -> None:
    fleet = Fleet()
    assert not fleet.client.carries
    fleet.die()
    assert fleet.move() is None


def test_what_the_ring_gave_up_is_a_gap_of_that_length() -> None:
    fleet = a_fleet()
    fleet.speak(3_000)
    fleet.die()
    welcomed = fleet.move(uplink_offset=2_500)
    assert welcomed is not None
    assert fleet.gaps == [(1_000, 2_500)]
    assert fleet.heard[-1][1] == 4_000


def test_a_packet_is_heard_again_whole() -> None:
    fleet = Fleet(OPUS)
    for at in range(3):
        fleet.client.send_audio(PACKET, at, 0)
    fleet.deliver()
    fleet.server.send_checkpoint("state", 400, 0)
    fleet.checkpoints["state"] = (CarriedSession(uplink_offset=400, events=0, generation=0), 2, 0, 0)
    fleet.deliver()
    fleet.die()
    fleet.client.send_audio(PACKET, 3, 0)
    welcomed = fleet.move()
    assert welcomed is not None
    assert welcomed.welcome.uplink_offset == 320
    assert fleet.heard == [(0, 320), (320, 640), (640, 960), (960, 1_280)]


def test_a_checkpoint_during_an_attempt_takes_nothing_away() -> None:
    fleet = a_fleet()
    request = fleet.client.resume_request()
    assert request is not None
    fleet.speak(500)
    fleet.say()
    fleet.deliver()
    fleet.checkpoint()
    fleet.deliver()
    fleet.die()
    assert fleet.move(request=request) is not None
    assert (fleet.heard[-1][1], fleet.taken, fleet.gaps) == (1_500, [0, 1], [])


def test_after_a_move_nothing_is_heard_again_that_was_understood_there() -> None:
    fleet = a_fleet()
    fleet.die()
    fleet.move()
    fleet.speak(1_000)
    fleet.client.end_utterance(0)
    fleet.deliver()
    fleet.checkpoint()
    fleet.deliver()
    fleet.die()
    welcomed = fleet.move()
    assert welcomed is not None
    assert welcomed.welcome.uplink_offset == 2_000


def test_what_the_old_server_began_behind_the_hello_is_dropped() -> None:
    fleet = a_fleet()
    first = fleet.server.begin_reply("resp", "item_1", PCM, 0)
    fleet.server.send_audio(first, pcm(0, 100), 100, 0)
    fleet.deliver()
    request = fleet.client.resume_request()
    assert request is not None
    late = fleet.server.begin_reply("resp", "item_2", PCM, 0)
    fleet.server.send_audio(late, pcm(0, 100), 100, 0)
    fleet.server.send_event({"type": "test.late"}, 0)
    fleet.deliver()
    welcomed = fleet.move(downlink=request.downlink, events=request.events)
    assert welcomed is not None
    (flushed,) = of_type(fleet.told, Flushed)
    assert (flushed.first, flushed.generation) == (late, late)
    fleet.server.send_event({"type": "test.new"}, 0)
    fleet.deliver()
    assert [event.event["type"] for event in of_type(fleet.told, EventReceived)] == ["test.new"]


def test_replies_go_on_where_the_client_has_them() -> None:
    fleet = a_fleet()
    replies = (
        ReceivedReply(generation=1, item_id="a", received=100, played=100, complete=True, state="done"),
        ReceivedReply(generation=2, item_id="b", received=90, played=10),
        ReceivedReply(generation=3, item_id="c", received=90, played=0, complete=True),
    )
    carried = CarriedSession(uplink_offset=0, events=0, generation=7)
    hello = a_hello(
        capabilities=CARRIES,
        resume=msgspec.structs.replace(
            fleet.client.resume_request(), downlink=replies, uplink_offset=0, events=0
        ),
    )
    client = ClientSession(hello, 0)
    fleet.join(client)
    fleet.server.accept(fleet.terms(carried), 0)
    reports = of_type(fleet.server.events(), PlaybackReported)
    assert [(one.generation, one.played, one.buffered) for one in reports] == [
        (1, 100, 0),
        (2, 10, 80),
        (3, 0, 90),
    ]
    assert fleet.server.ledger.lead_us(0) == 170 * 1_000_000 // PCM.rate
    assert fleet.server.begin_reply("resp", "d", PCM, 0) == 7 + LEAP + 1
    assert fleet.server.flush(0) == 7 + LEAP + 1
    line = fleet.server.ledger.get(3)
    assert line is not None
    assert not line.audible


def test_without_replies_generations_go_on_behind_the_checkpoint() -> None:
    fleet = a_fleet()
    fleet.die()
    fleet.move()
    assert fleet.server.begin_reply("resp", "d", PCM, 0) == LEAP + 1


@pytest.mark.parametrize(("offset", "events"), [(1_001, 0), (0, 2)])
def test_a_checkpoint_ahead_of_the_client_is_a_violation(offset: int, events: int) -> None:
    fleet = a_fleet()
    fleet.server.send_checkpoint("absurd", offset, events)
    fleet.deliver()
    (ended,) = of_type(fleet.told, SessionEnded)
    assert (ended.by, ended.code) == ("local", SessionCode.PROTOCOL_VIOLATION)


def test_events_that_were_given_up_make_a_checkpoint_useless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legato.core.event_log.KEPT_EVENT_BYTES", 300)
    fleet = a_fleet()
    for _ in range(10):
        fleet.say()
    request = fleet.client.resume_request()
    assert request is not None
    assert request.checkpoint is None


def test_a_log_keeps_what_is_needed() -> None:
    log = EventLog()
    for payload in (b"a", b"b", b"c"):
        log.say(payload)
    log.needed_from(1)
    log.acknowledge(3)
    assert (log.oldest, log.after(1), log.after(2), log.after(3)) == (1, [b"b", b"c"], [b"c"], [])
    log.needed_from(3)
    assert log.oldest == 3
    with pytest.raises(RemoteProtocolError):
        log.needed_from(4)


def test_nothing_is_shown_before_there_is_something() -> None:
    link = Fleet()
    assert CarriedCall().show(link.client._uplink, EventLog()) is None


# A server that stops


def test_a_client_that_can_leaves_the_call_to_another_server() -> None:
    fleet = a_fleet()
    fleet.server.going_away(1_000, 0)
    fleet.deliver()
    assert of_type(fleet.told, Draining)
    fleet.client.closed("peer", SessionCode.GOING_AWAY, "stops", 0)
    assert fleet.client.events() == [ConnectionLost("peer", SessionCode.GOING_AWAY, "stops")]
    assert fleet.move() is not None


def test_an_end_that_was_not_announced_is_an_end() -> None:
    fleet = a_fleet()
    fleet.client.closed("peer", SessionCode.GOING_AWAY, "too long", 0)
    assert isinstance(fleet.client.events()[-1], SessionEnded)


def test_who_leaves_a_server_that_stops_does_not_come_back() -> None:
    fleet = a_fleet()
    fleet.server.going_away(1_000, 0)
    fleet.deliver()
    fleet.client.hand_over(0)
    fleet.deliver()
    assert fleet.server.state is SessionState.CLOSED


def test_who_leaves_a_server_that_stays_may() -> None:
    fleet = a_fleet()
    fleet.client.hand_over(0)
    fleet.deliver()
    assert fleet.server.state is SessionState.PARKED


def test_reports_about_what_another_server_sent_are_taken() -> None:
    fleet = a_fleet()
    generation = fleet.server.begin_reply("resp", "item_1", PCM, 0)
    fleet.server.send_audio(generation, pcm(0, 100), 100, 0)
    fleet.deliver()
    fleet.die()
    fleet.move()
    fleet.client.report_playback(
        Playback(item_id="item_1", generation=generation, played=100, state="done"), 0
    )
    fleet.deliver()
    assert fleet.server.ledger.heard(generation, 0) == 100
    assert fleet.server.ledger.violations == 0
    assert not of_type(fleet.told, HelloReceived)
