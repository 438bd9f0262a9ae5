"""Property: a call outlives its servers, whichever moment they die at.

One client, and servers that die without a word and know nothing of each other but what a checkpoint says.
Checked all along: what agents hear, one behind the other, is what was captured; counted events of the client
take effect once and in order; no sample of a flushed reply arrives; memory is bounded; nobody is accused of
breaking the protocol.
"""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.fleet import LEAP, Fleet
from tests.core.link import PCM, of_type, pcm

from legato.core import SessionState
from legato.core.events import (
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
)


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
