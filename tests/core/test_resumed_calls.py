"""Property: a call outlives its connections, whichever byte they die at and whoever notices first.

One call, over any number of links that die without a word, sometimes at one end only, sometimes with another
one opened beside them. Checked all along: audio out is audio in, counted events come once and in order, no
sample of a flushed reply is sent or reported again, memory is bounded, nobody is accused of breaking the
protocol. At the end one link is left alone, and everything must have arrived.
"""

from functools import partial

import hypothesis.strategies as st
import msgspec
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.link import EVERYTHING, PCM, End, a_hello, joined, let_all_arrive, pcm

from legato.core import (
    ClientSession,
    Playback,
    ServerSession,
    SessionCode,
    SessionState,
    Terms,
    UplinkSettings,
)
from legato.core.events import (
    AudioReceived,
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
from legato.core.outputs import OpenStream, Output, Send
from legato.core.wire import varint
from legato.core.wire.event_json import read_reply_header

MOST_LINKS = 3


class Reply:
    """One reply, as both sides know it."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.played = 0
        self.heard = 0
        self.ended = False
        self.whole = False
        self.stale = False
        self.over = False


class ResumedCalls(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.links: list[tuple[End, End]] = []
        self.attachment = 0
        self.oldest = 1
        self.heard = 0
        self.said = [0, 0]
        self.taken = [0, 0]
        self.replies: dict[int, Reply] = {}
        self.generations: dict[tuple[int, int], int] = {}
        self.client: ClientSession
        self.server: ServerSession

    @initialize(group=st.sampled_from([1_000, 10_000, 1_000_000]))
    def start(self, group: int) -> None:
        self.settings = UplinkSettings(group_us=group, resume_us=10_000_000_000)
        self.client = ClientSession(a_hello(), 0, self.settings)
        self.server = ServerSession(0)
        self.attempt = self.client
        self.join(self.client, self.server)
        self.deliver_all()
        assert self.client.state is SessionState.ACTIVE

    # What the owners do

    @rule(samples=st.integers(1, 400))
    def capture(self, samples: int) -> None:
        start = self.client.captured
        self.client.send_audio(pcm(start, samples), start, self.now)
        self.pump()

    @rule()
    def end_utterance(self) -> None:
        self.client.end_utterance(self.now)
        self.pump()

    @rule(count=st.sampled_from([1, 2, 40]), whose=st.sampled_from([0, 1]))
    def say(self, count: int, whose: int) -> None:
        session = (self.client, self.server)[whose]
        for _ in range(count):
            session.send_event({"type": "test.number", "number": self.said[whose]}, self.now)
            self.said[whose] += 1
        self.pump()

    @rule()
    def begin_reply(self) -> None:
        if sum(not reply.over for reply in self.replies.values()) < 20:
            generation = self.server.begin_reply("resp", f"item_{len(self.replies)}", PCM, self.now)
            self.replies[generation] = Reply()
            self.pump()

    def some(self, data: st.DataObject) -> tuple[int, Reply]:
        return data.draw(st.sampled_from(sorted(self.replies.items(), key=lambda item: item[0])))

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), samples=st.integers(1, 300))
    def speak(self, data: st.DataObject, samples: int) -> None:
        generation, reply = self.some(data)
        if not reply.ended and self.server.send_audio(
            generation, pcm(generation * 1_000 + reply.sent, samples), samples, self.now
        ):
            reply.sent += samples
            self.pump()

    @precondition(lambda self: self.replies)
    @rule(data=st.data())
    def end_reply(self, data: st.DataObject) -> None:
        generation, reply = self.some(data)
        if not reply.ended:
            reply.ended = True
            self.server.end_reply(generation, self.now)
            self.pump()

    @rule()
    def flush(self) -> None:
        self.server.flush(self.now)
        for reply in self.replies.values():
            reply.stale = reply.ended = True
        self.pump()

    @precondition(lambda self: self.replies)
    @rule(data=st.data())
    def flush_reply(self, data: st.DataObject) -> None:
        generation, reply = self.some(data)
        line = self.server.ledger.get(generation)
        if line is not None and line.audible:
            reply.stale = True
        reply.ended = True
        self.server.flush_reply(generation, self.now)
        self.pump()

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), samples=st.integers(0, 300))
    def play(self, data: st.DataObject, samples: int) -> None:
        generation, reply = self.some(data)
        if not reply.received or reply.over:
            return
        reply.played = min(reply.received, reply.played + samples)
        reply.over = reply.whole and reply.played == reply.received
        self.client.report_playback(
            Playback(
                item_id=f"item_{generation - 1}",
                generation=generation,
                played=reply.played,
                state="done" if reply.over else "playing",
            ),
            self.now,
        )
        self.pump()

    # What the network does

    @rule(data=st.data(), size=st.one_of(st.integers(1, 40), st.just(EVERYTHING)))
    def deliver(self, data: st.DataObject, size: int) -> None:
        ways = [(end, number) for link in self.links for end in link for number in end.ready()]
        if ways:
            end, number = data.draw(st.sampled_from(ways))
            end.deliver(number, size, self.now)
            self.pump()

    @rule()
    def deliver_all(self) -> None:
        let_all_arrive(lambda: (end for link in self.links for end in link), self.now, self.pump)

    @rule(milliseconds=st.sampled_from([1, 50, 300]))
    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds * 1_000
        for near, far in self.links:
            for end in (near, far):
                due = end.session.next_deadline()
                if due is not None and due <= self.now:
                    end.session.on_deadline(self.now)
        self.pump()

    @precondition(lambda self: self.links)
    @rule(data=st.data(), one=st.sampled_from([(True, True), (True, False), (False, True)]))
    def die(self, data: st.DataObject, one: tuple[bool, bool]) -> None:
        """A link dies, and one end or both notice; the other one will have nothing more from it."""
        link = data.draw(st.sampled_from(self.links))
        self.links.remove(link)
        for end, notices in zip(link, one, strict=True):
            if notices and end.session.state is not SessionState.PARKED:
                end.session.closed("transport", 0, "idle", self.now)
            self.take(end)
        self.pump()

    @rule()
    def connect_again(self) -> None:
        if len(self.links) >= MOST_LINKS:
            self.links.pop(0)
        if self.attempt is not self.client:
            self.attempt.hand_over(self.now)
        request = self.client.resume_request()
        assert request is not None
        hello = msgspec.structs.replace(self.client.hello, resume=request)
        session = ClientSession(hello, self.now, self.settings, continues=self.client)
        self.attempt = session
        self.join(session, ServerSession(self.now))

    # What was promised

    @invariant()
    def memory_is_bounded(self) -> None:
        unplayed = sum(reply.sent for reply in self.replies.values() if not reply.stale)
        assert 0 <= self.server._downlink.kept_bytes <= (2 + 64) * unplayed

    def teardown(self) -> None:
        if not hasattr(self, "settings"):
            return
        # The late hello of an attempt given up may take the call away once more; its owner tries again.
        for _ in range(MOST_LINKS):
            self.connect_again()
            self.deliver_all()
        self.links = [link for link in self.links if link[0].session is self.client]
        self.end_utterance()
        self.deliver_all()
        self.deliver_all()
        assert self.client.state is SessionState.ACTIVE
        assert self.heard == self.client.captured
        assert self.taken == self.said
        assert self.client.acked == self.client.captured
        for generation, reply in self.replies.items():
            if not reply.stale:
                assert reply.received == reply.sent, generation
                assert reply.whole == reply.ended

    # Between the two

    def join(self, client: ClientSession, server: ServerSession) -> None:
        near, far = joined(client, server)
        far.watch = partial(self.nothing_stale, far)
        self.links.append((near, far))
        self.pump()

    def nothing_stale(self, far: End, output: Output) -> None:
        if isinstance(output, OpenStream):
            self.generations[id(far), output.key] = 0
        elif isinstance(output, Send) and (id(far), output.key) in self.generations:
            generation = self.generations[id(far), output.key]
            if not generation:
                length = varint.decode(output.data, 1)
                assert length is not None
                header = read_reply_header(output.data[length[1] : length[1] + length[0]])
                self.generations[id(far), output.key] = generation = header.generation
            reply = self.replies.get(generation)
            assert reply is None or not reply.stale, "sent after its flush"

    def pump(self) -> None:
        moving = True
        while moving:
            moving = False
            for near, far in list(self.links):
                for end in (near, far):
                    end.collect()
                    moving |= bool(end.events)
                    self.take(end)

    def take(self, end: End) -> None:
        end.events += end.session.events()
        events, end.events = end.events, []
        for event in events:
            if isinstance(end.session, ServerSession):
                self.server_event(end.session, event)
            else:
                assert isinstance(end.session, ClientSession)
                self.client_event(end.session, event)

    def server_event(self, session: ServerSession, event: object) -> None:
        match event:
            case HelloReceived(hello):
                self.decide(session, hello.resume and int(hello.resume.ticket))
            case AudioReceived(frame):
                assert frame.offset == self.heard
                assert frame.payload == pcm(frame.offset, frame.samples)
                self.heard += frame.samples
                session.consumed(frame.samples, len(frame.payload))
            case GapReported():
                raise AssertionError("a gap, and the ring holds everything")
            case EventReceived(value):
                assert value["number"] == self.taken[0]
                self.taken[0] += 1
            case PlaybackReported(_, _, generation, played):
                assert self.replies[generation].heard <= played <= self.replies[generation].sent
                self.replies[generation].heard = played
            case SessionEnded(by, code):
                assert by != "local" or code in (SessionCode.REPLACED, SessionCode.GOING_AWAY), event
                assert session is not self.server

    def decide(self, session: ServerSession, ticket: int | None) -> None:
        terms = {"session_id": "call", "output": PCM, "resume_ttl_ms": 10_000_000}
        if ticket is not None:
            oldest = self.attachment if self.server.confirmed else self.oldest
            hello = session._hello
            assert hello is not None
            if not oldest <= ticket <= self.attachment or not self.server.can_continue(hello, self.now):
                session.refuse(SessionCode.GOING_AWAY, "the ticket was used", self.now)
                return
            if self.server.confirmed:
                self.oldest = self.attachment
        self.attachment += 1
        before, self.server = self.server, session
        session.accept(
            Terms(**terms, resume_ticket=str(self.attachment)),  # type: ignore[arg-type]
            self.now,
            None if ticket is None else before,
        )

    def client_event(self, session: ClientSession, event: object) -> None:
        match event:
            case Welcomed(welcome, lost):
                assert lost == 0
                if session is not self.client:
                    assert welcome.resumed
                    assert self.client.state is SessionState.CLOSED
                    self.client = session
            case EventReceived(value):
                assert value["number"] == self.taken[1]
                self.taken[1] += 1
            case ReplyStarted(header):
                assert not self.replies[header.generation].received
            case ReplyAudio(generation, _, offset, payload):
                reply = self.replies[generation]
                assert offset == reply.received
                assert payload == pcm(generation * 1_000 + offset, len(payload) // 2)
                assert not reply.over
                reply.received += len(payload) // 2
            case ReplyEnded(generation, _, samples):
                assert self.replies[generation].received == samples
                self.replies[generation].whole = True
            case Flushed(last, first):
                for generation in range(first, last + 1):
                    self.replies[generation].over = True
            case SessionEnded(by, code):
                assert by != "local" or code == SessionCode.REPLACED, event
                assert session is not self.client or code == SessionCode.REPLACED


TestResumedCalls = ResumedCalls.TestCase
TestResumedCalls.settings = settings(stateful_step_count=30)


def test_nothing_is_said_twice_on_one_connection() -> None:
    machine = ResumedCalls()
    machine.start(1_000)
    machine.say(3, 1)
    machine.deliver_all()
    assert machine.taken == [0, 3]
    assert machine.client.state is SessionState.ACTIVE
