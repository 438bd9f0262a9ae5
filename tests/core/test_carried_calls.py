"""Property: a call outlives its servers, whichever moment they die at.

One client, and servers that die without a word and know nothing of each other but what a checkpoint says.
Checked all along: what agents hear, one behind the other, is what was captured; counted events of the client
take effect once and in order; no sample of a flushed reply arrives; memory is bounded; nobody is accused of
breaking the protocol.
"""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.link import OPUS, PACKET, PCM, End, a_hello, of_type, pcm

from legato.core import Capabilities, ClientSession, Playback, ServerSession, SessionCode, SessionState, Terms
from legato.core.carried_call import CarriedCall
from legato.core.errors import RemoteProtocolError
from legato.core.event_log import EventLog
from legato.core.events import (
    AudioReceived,
    ConnectionLost,
    Draining,
    EventReceived,
    Flushed,
    GapReported,
    HelloReceived,
    PlaybackReported,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SessionEnded,
    Welcomed,
)
from legato.core.terms import CarriedSession
from legato.core.uplink_sender import UplinkSettings
from legato.core.wire.messages import ReceivedReply

CARRIES = Capabilities(playback_reports=True, resume=True, checkpoints=True)
EVERYTHING = 1 << 30
LEAP = 1_024


class Fleet:
    """A client, the server it is on, and what both have seen."""

    def __init__(self, form: Any = PCM) -> None:
        self.now = 0
        self.form = form
        self.heard: list[tuple[int, int]] = []
        self.understood = 0
        self.gaps: list[tuple[int, int]] = []
        self.taken: list[int] = []
        self.said = 0
        self.checkpoints: dict[str, tuple[CarriedSession, int, int, int]] = {}
        self.told: list[Any] = []
        self.client = ClientSession(a_hello(form, capabilities=CARRIES), 0, UplinkSettings(group_us=100_000))
        self.join(self.client)
        self.server.accept(self.terms(), 0)
        self.deliver()

    def terms(self, carried: CarriedSession | None = None) -> Terms:
        return Terms(
            session_id="call_1", output=PCM, resume_ticket="t", resume_ttl_ms=60_000, carried=carried
        )

    def join(self, client: ClientSession) -> None:
        self.server = ServerSession(self.now)
        self.near, self.far = End(client, 1_000_000), End(self.server, 5_000_000)
        self.near.other, self.far.other = self.far, self.near
        self.deliver()

    def deliver(self) -> None:
        """Let everything arrive."""
        self.collect()
        while moving := [(end, one) for end in (self.near, self.far) for one in end.ready()]:
            for end, one in moving:
                if one in end.ready():
                    end.deliver(one, EVERYTHING, self.now)
                    self.collect()

    def collect(self) -> None:
        self.near.collect()
        self.far.collect()
        for event in self.far.events:
            if isinstance(event, AudioReceived):
                frame = event.frame
                if self.form is PCM:
                    assert frame.payload == pcm(frame.offset, frame.samples)
                self.hear(frame.offset, frame.offset + frame.samples)
                self.server.consumed(frame.samples, len(frame.payload))
            elif isinstance(event, GapReported):
                self.gaps.append((event.gap.start, event.gap.stop))
                self.hear(event.gap.start, event.gap.stop)
            elif isinstance(event, EventReceived):
                self.taken.append(event.event["number"])
        self.told += self.near.events
        self.near.events, self.far.events = [], []

    def hear(self, start: int, stop: int) -> None:
        assert start == (self.heard[-1][1] if self.heard else 0), "audio out of order"
        self.heard.append((start, stop))

    def checkpoint(self, behind: int = 0) -> None:
        """The server says how far it has come, all but the last `behind` pieces of audio; never less far."""
        kept = self.understood = max(self.understood, len(self.heard) - behind)
        offset = self.heard[kept - 1][1] if kept else 0
        state = f"state {len(self.checkpoints)}"
        events = self.server.events_taken
        carried = CarriedSession(uplink_offset=offset, events=events, generation=self.server.generation)
        self.checkpoints[state] = (carried, kept, len(self.taken), len(self.gaps))
        self.server.send_checkpoint(state, offset, events)

    def die(self) -> None:
        """The server and all that it has not said is gone."""
        self.client.closed("transport", 0, "gone", self.now)
        self.collect()

    def move(self, **changes: Any) -> Welcomed | None:
        """Go on with another server; None if the client has nothing to go on with."""
        request = changes.pop("request", None) or self.client.resume_request()
        if request.checkpoint is None:
            return None
        carried, heard, taken, gaps = self.checkpoints[request.checkpoint]
        del self.heard[heard:], self.taken[taken:], self.gaps[gaps:]
        request = msgspec.structs.replace(request, **changes)
        hello = msgspec.structs.replace(self.client.hello, resume=request)
        fresh = ClientSession(hello, self.now, self.client.settings, continues=self.client)
        self.join(fresh)
        start = min(carried.uplink_offset, request.uplink_offset)
        if start < carried.uplink_offset:
            # A packet that cannot be cut is heard again whole.
            self.heard = [piece for piece in self.heard if piece[1] <= start]
        self.understood = len(self.heard)
        self.server.accept(self.terms(carried), self.now)
        self.told.clear()
        self.deliver()
        self.client = fresh
        return next((event for event in self.told if isinstance(event, Welcomed)), None)

    def speak(self, samples: int) -> None:
        start = self.client.captured
        self.client.send_audio(pcm(start, samples), start, self.now)

    def say(self) -> None:
        self.client.send_event({"type": "test.number", "number": self.said}, self.now)
        self.said += 1


class CarriedCalls(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.fleet = Fleet()
        self.fleet.checkpoint()
        self.fleet.deliver()
        self.up = True
        self.flushed = 0
        self.open: list[int] = []

    @rule(samples=st.integers(1, 4_000))
    def capture(self, samples: int) -> None:
        self.fleet.speak(samples)

    @rule()
    def end_utterance(self) -> None:
        self.fleet.client.end_utterance(self.fleet.now)

    @rule(count=st.sampled_from([1, 3, 40]))
    def say(self, count: int) -> None:
        for _ in range(count):
            self.fleet.say()

    @precondition(lambda self: self.up)
    @rule()
    def deliver(self) -> None:
        self.fleet.now += 300_000
        for session in (self.fleet.client, self.fleet.server):
            due = session.next_deadline()
            if due is not None and due <= self.fleet.now:
                session.on_deadline(self.fleet.now)
        self.fleet.deliver()

    @precondition(lambda self: self.up)
    @rule(behind=st.integers(0, 3))
    def checkpoint(self, behind: int) -> None:
        self.fleet.collect()
        self.fleet.checkpoint(behind)

    @precondition(lambda self: self.up)
    @rule(samples=st.integers(1, 500), ends=st.booleans())
    def reply(self, samples: int, ends: bool) -> None:
        server = self.fleet.server
        generation = server.begin_reply("resp", f"item_{server.generation}", PCM, self.fleet.now)
        server.send_audio(generation, pcm(generation, samples), samples, self.fleet.now)
        if ends:
            server.end_reply(generation, self.fleet.now)

    @precondition(lambda self: self.up)
    @rule()
    def flush(self) -> None:
        self.fleet.server.flush(self.fleet.now)
        self.fleet.deliver()
        self.flushed = self.fleet.server.generation
        self.fleet.told.clear()

    @precondition(lambda self: self.up)
    @rule()
    def die(self) -> None:
        if self.fleet.client.carries:
            self.fleet.die()
            self.up = False

    @precondition(lambda self: not self.up)
    @rule()
    def move(self) -> None:
        known = self.fleet.client.resume_request()
        assert known is not None
        welcomed = self.fleet.move()
        assert welcomed is not None
        assert welcomed.welcome.rebuilt
        assert welcomed.lost == 0
        last = max((one.generation for one in known.downlink), default=0)
        assert self.fleet.server.generation >= last + LEAP
        ended = {event.generation for event in of_type(self.fleet.told, ReplyEnded)}
        assert {one.generation for one in known.downlink if not one.complete} <= ended
        self.up = True

    @invariant()
    def nothing_is_stale(self) -> None:
        for event in (getattr(self, "fleet", None) and self.fleet.told) or ():
            if isinstance(event, ReplyAudio | ReplyStarted):
                generation = event.generation if isinstance(event, ReplyAudio) else event.header.generation
                assert generation > self.flushed

    @invariant()
    def nobody_is_accused(self) -> None:
        if hasattr(self, "fleet"):
            assert self.fleet.client.state is not SessionState.CLOSED
            assert self.fleet.client._uplink.ring_bytes < 40 << 20

    def teardown(self) -> None:
        if not hasattr(self, "fleet"):
            return
        if not self.up:
            self.move()
        self.fleet.client.end_utterance(self.fleet.now)
        for _ in range(3):
            self.deliver()
        assert self.fleet.gaps == []
        assert (self.fleet.heard[-1][1] if self.fleet.heard else 0) == self.fleet.client.captured
        assert self.fleet.taken == list(range(self.fleet.said))


TestCarriedCalls = CarriedCalls.TestCase
TestCarriedCalls.settings = settings(stateful_step_count=40)


# What the machine does not come to


def a_fleet() -> Fleet:
    fleet = Fleet()
    fleet.speak(1_000)
    fleet.say()
    fleet.deliver()
    fleet.checkpoint()
    fleet.deliver()
    return fleet


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
