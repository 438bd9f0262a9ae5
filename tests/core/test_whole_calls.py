"""Property: whatever the network does to the order and the pieces, a call keeps its promises.

A client and a server core talk over a link that delays, splits, reorders between streams and resets. Checked
all along: audio out is audio in or an explicit gap, nothing flushed is delivered, nothing is acknowledged
that was not delivered, memory is bounded, and nobody is accused of breaking the protocol.
"""

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.link import PCM, End, Link, a_hello, pcm

from legato.core import Limits, Playback, SessionState, UplinkSettings
from legato.core.events import (
    AudioReceived,
    Event,
    Flushed,
    GapReported,
    HelloReceived,
    PlaybackReported,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
)
from legato.core.outputs import OpenStream, Output

RING_BYTES = 8_000
WINDOW_BYTES = 4_000


class Calls(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.link: Link
        self.delivered = 0
        self.unread: list[AudioReceived] = []
        self.gaps = 0
        self.replies: dict[int, int] = {}
        self.ended: set[int] = set()
        self.stale: set[int] = set()
        self.received: dict[int, int] = {}
        self.asked = False

    @initialize(
        group=st.sampled_from([1_000, 10_000, 1_000_000]),
        window=st.sampled_from([5, 30, 1_000]),
        streams=st.sampled_from([2, 5, 64]),
        unread=st.sampled_from([3, 1_000]),
        profile=st.sampled_from(["turn", "duplex"]),
        joined=st.sampled_from([True, True, False]),
    )
    def start(self, group: int, window: int, streams: int, unread: int, profile: str, joined: bool) -> None:
        limits = Limits(window_ms=window, window_bytes=WINDOW_BYTES, uplink_streams=streams, unread_ms=unread)
        settings = UplinkSettings(
            group_us=group, ring_us=40_000, ring_max_us=40_000, ring_bytes=RING_BYTES, assumed=limits
        )
        self.profile = profile
        self.link = Link(a_hello(profile=profile), settings, limits)
        if joined:
            self.deliver_all(self.link.near)
            self.accept()
            self.deliver_all(self.link.far)

    # What the owners do

    @rule(samples=st.integers(1, 400))
    def capture(self, samples: int) -> None:
        start = self.link.client.captured
        now = self.link.now
        assert self.link.client.send_audio(pcm(start, samples), now, now) == start + samples
        self.pump()

    @rule()
    def end_utterance(self) -> None:
        self.link.client.end_utterance(self.link.now)
        self.pump()

    @precondition(lambda self: self.asked)
    @rule()
    def accept(self) -> None:
        self.asked = False
        self.link.accept(profile=self.profile, late_ms=300)
        self.pump()

    @rule(count=st.integers(1, 10))
    def read(self, count: int) -> None:
        for event in self.unread[:count]:
            self.link.server.consumed(event.frame.samples, len(event.frame.payload))
        del self.unread[:count]
        self.pump()

    def live(self) -> bool:
        return self.link.server.state is SessionState.ACTIVE

    @precondition(live)
    @rule()
    def begin_reply(self) -> None:
        if len(self.replies) - len(self.ended) < 20:
            generation = self.link.server.begin_reply("resp", f"item_{len(self.replies)}", PCM, self.link.now)
            self.replies[generation] = 0
            self.pump()

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), samples=st.integers(1, 100))
    def speak(self, data: st.DataObject, samples: int) -> None:
        generation = data.draw(st.sampled_from(sorted(self.replies)))
        if generation in self.ended:
            return
        payload = pcm(self.replies[generation], samples)
        if self.link.server.send_audio(generation, payload, samples, self.link.now):
            self.replies[generation] += samples
        else:
            self.ended.add(generation)
        self.pump()

    @precondition(lambda self: self.replies)
    @rule(data=st.data())
    def end_reply(self, data: st.DataObject) -> None:
        generation = data.draw(st.sampled_from(sorted(self.replies)))
        if generation not in self.ended:
            self.ended.add(generation)
            self.link.server.end_reply(generation, self.link.now)
            self.pump()

    @precondition(live)
    @rule()
    def flush(self) -> None:
        assert self.link.server.flush(self.link.now) == len(self.replies)
        self.ended |= self.replies.keys()
        self.pump()

    @precondition(lambda self: self.replies)
    @rule(data=st.data())
    def flush_reply(self, data: st.DataObject) -> None:
        generation = data.draw(st.sampled_from(sorted(self.replies)))
        self.link.server.flush_reply(generation, self.link.now)
        self.ended.add(generation)
        self.pump()

    @precondition(lambda self: self.received)
    @rule(data=st.data(), played=st.integers(0, 500), buffered=st.integers(0, 500))
    def report(self, data: st.DataObject, played: int, buffered: int) -> None:
        generation = data.draw(st.sampled_from(sorted(self.received)))
        state = data.draw(st.sampled_from(["playing", "paused", "stopped", "done"]))
        report = Playback(
            item_id=f"item_{generation - 1}",
            generation=generation,
            played=played,
            buffered=buffered,
            state=state,
        )
        self.link.client.report_playback(report, self.link.now)
        self.pump()

    @precondition(lambda self: self.received)
    @rule(data=st.data())
    def cancel_reply(self, data: st.DataObject) -> None:
        self.link.client.cancel_reply(data.draw(st.sampled_from(sorted(self.received))), self.link.now)
        self.pump()

    # What the network does

    @rule(data=st.data(), size=st.sampled_from([1, 7, 100, 10_000]), times=st.integers(1, 20))
    def deliver(self, data: st.DataObject, size: int, times: int) -> None:
        for _ in range(times):
            ready = [(end, one) for end in (self.link.near, self.link.far) for one in end.ready()]
            if not ready:
                return
            end, one = data.draw(st.sampled_from(ready))
            end.deliver(one, size, self.link.now)
            self.pump()

    @precondition(lambda self: any(number > 5_000_000 for number in self.link.far.queues))
    @rule(data=st.data())
    def break_reply(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([one for one in self.link.far.queues if one > 5_000_000]))
        queue = self.link.far.queue(number)
        if queue and queue[0][0] == "data":
            queue.clear()
            queue.append(("reset", 0))

    # Before the welcome a server counts every byte, said again or not. The window that a client assumes in
    # earnest has room for hundreds of changes, the one assumed here for none.
    @precondition(live)
    @rule()
    def change_path(self) -> None:
        self.link.client.path_changed(self.link.now)
        self.pump()

    @rule(microseconds=st.sampled_from([1_000, 100_000, 250_000]))
    def wait(self, microseconds: int) -> None:
        if self.link.client.state is SessionState.ACTIVE:
            self.link.now += microseconds
            self.link.client.on_deadline(self.link.now)
            self.link.server.on_deadline(self.link.now)
            self.pump()

    # What must hold

    def pump(self) -> None:
        self.link.collect()
        for event in self.link.take(self.link.far):
            self.at_server(event)
        for event in self.link.take(self.link.near):
            self.at_client(event)

    def at_server(self, event: Event) -> None:
        match event:
            case HelloReceived():
                self.asked = True
            case AudioReceived(frame):
                assert frame.offset == self.delivered
                assert frame.samples > 0
                assert frame.payload == pcm(frame.offset, frame.samples)
                self.delivered = frame.end
                self.unread.append(event)
            case GapReported(gap):
                assert gap.start == self.delivered
                assert gap.samples > 0
                self.gaps += gap.samples
                self.delivered = gap.stop
            case PlaybackReported():
                assert event.played + event.buffered <= self.replies[event.generation]

    def at_client(self, event: Event) -> None:
        match event:
            case ReplyStarted(header):
                assert header.generation not in self.stale
                assert header.generation not in self.received
                self.received[header.generation] = 0
            case ReplyAudio(generation, item_id, offset, payload):
                assert generation not in self.stale
                assert offset == self.received[generation]
                assert item_id == f"item_{generation - 1}"
                assert payload == pcm(offset, len(payload) // 2)
                self.received[generation] += len(payload) // 2
            case ReplyEnded(generation, _, samples, complete):
                assert generation not in self.stale
                assert samples == self.received[generation]
                assert not complete or samples == self.replies[generation]
            case Flushed(generation, first):
                self.stale.update(range(first, generation + 1))

    @invariant()
    def nobody_is_accused(self) -> None:
        for end in (self.link.near, self.link.far):
            assert end.session.state is not SessionState.CLOSED

    @invariant()
    def nothing_is_acknowledged_undelivered(self) -> None:
        assert self.link.client.acked <= self.delivered <= self.link.client.captured

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.link.client._uplink.ring_bytes <= RING_BYTES + 500
        uplink = self.link.server._uplink
        assert uplink is None or uplink.waiting_bytes <= WINDOW_BYTES

    @invariant()
    def nobody_hears_more_than_was_sent(self) -> None:
        for generation, sent in self.replies.items():
            assert self.link.server.ledger.heard(generation, self.link.now) <= sent

    def teardown(self) -> None:
        """When the network recovers and the agent reads, everything captured arrives or is named lost."""
        if not hasattr(self, "link"):
            return
        self.deliver_all(self.link.near)
        if self.asked:
            self.accept()
        for _ in range(200):
            self.read(len(self.unread) + 1)
            self.link.client.end_utterance(self.link.now)
            self.link.now += 200_000
            if self.live():
                self.link.server.on_deadline(self.link.now)
            self.deliver_all(self.link.near)
            self.deliver_all(self.link.far)
            if self.link.client.acked == self.link.client.captured:
                break
        assert self.link.client.acked == self.delivered == self.link.client.captured
        for generation in self.ended & self.received.keys() - self.stale:
            assert self.received[generation] <= self.replies[generation]

    def deliver_all(self, end: End) -> None:
        self.pump()
        while ready := end.ready():
            for one in ready:
                if one in end.ready():
                    end.deliver(one, 1 << 30, self.link.now)
                    self.pump()


TestCalls = Calls.TestCase


def test_what_is_said_again_before_the_welcome_is_taken_once() -> None:
    link = Link()
    said: list[Output] = []
    link.near.watch = said.append
    link.client.send_audio(pcm(0, 300), 0, 0)
    for _ in range(2):
        link.client.path_changed(0)
    link.settle()
    assert sum(isinstance(output, OpenStream) for output in said) == 3
    link.accept()
    heard = [event.frame for event in link.take(link.far) if isinstance(event, AudioReceived)]
    assert b"".join(frame.payload for frame in heard) == pcm(0, 300)
