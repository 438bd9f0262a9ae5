"""Two session cores joined by streams in memory: what a driver and a network would do, under control.

Streams are independent: each has its own queue per direction, and a test decides which queue moves on and by
how many bytes. Data that is queued when its sender resets the stream is lost, as with QUIC.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from legato.core import AudioFormat, Capabilities, ClientSession, Hello, Limits, ServerSession, Terms
from legato.core.events import Event, HelloReceived
from legato.core.outputs import (
    CloseSession,
    OpenStream,
    Output,
    Pause,
    Reset,
    Resume,
    Send,
    SendDatagram,
    Stop,
)
from legato.core.session import Session
from legato.core.uplink_sender import UplinkSettings

PCM = AudioFormat("pcm16", 16_000)
OPUS = AudioFormat("opus", 16_000)
PACKET = b"\x08\x01\x02"
"""20 ms of Opus: 320 samples."""
EVERYTHING = 1 << 30
"""More bytes than are ever under way."""


def pcm(start: int, samples: int) -> bytes:
    """Samples that tell their own position."""
    return b"".join((at & 0xFFFF).to_bytes(2, "little") for at in range(start, start + samples))


def a_hello(form: AudioFormat = PCM, **fields: Any) -> Hello:
    reports = Capabilities(playback_reports=True, resume=True)
    return Hello(**{"input": form, "output": (PCM, OPUS), "capabilities": reports, **fields})


class End:
    """One side of the link: a session, what it reported, and what the other side has not received yet."""

    def __init__(self, session: Session, base: int) -> None:
        self.session = session
        self.base = base
        self.events: list[Event] = []
        self.queues: dict[int, deque[tuple[str, Any]]] = {}
        self.paused: set[int] = set()
        self.watch: Callable[[Output], None] = lambda output: None
        """Sees everything the session asks for."""
        self.other: End

    def number(self, key: int) -> int:
        """The number under which a stream travels."""
        return self.base - key if key < 0 else key

    def key(self, number: int) -> int:
        """What this side calls a stream."""
        return self.base - number if self.base < number < self.base + 1_000_000 else number

    def collect(self) -> None:
        """Queue the outputs for the other side and keep the events."""
        for output in self.session.outputs():
            self.watch(output)
            match output:
                case OpenStream(key, bidirectional, _):
                    self.queue(self.number(key)).append(("open", bidirectional))
                case Send(key, data, fin):
                    self.queue(self.number(key)).append(("data", (data, fin)))
                case Reset(key, code):
                    queue = self.queue(self.number(key))
                    opened = [item for item in queue if item[0] == "open"]
                    queue.clear()
                    queue.extend([*opened, ("reset", code)])
                case Stop(stream, code):
                    self.queue(stream).append(("stop", code))
                case Pause(stream):
                    self.paused.add(self.number(stream))
                case Resume(stream):
                    self.paused.discard(self.number(stream))
                case SendDatagram(data):
                    self.queue(0).append(("datagram", data))
                case CloseSession(code, reason):
                    self.queue(0).append(("close", (code, reason)))
        self.events += self.session.events()

    def queue(self, number: int) -> deque[tuple[str, Any]]:
        return self.queues.setdefault(number, deque())

    def ready(self) -> list[int]:
        """The streams on which the other side could receive something now."""
        return [one for one, queue in self.queues.items() if queue and one not in self.other.paused]

    def deliver(self, number: int, size: int, now: int) -> None:
        """Give the other side the next thing from a stream, at most `size` bytes of it."""
        queue, session, key = self.queues[number], self.other.session, self.other.key(number)
        kind, value = queue.popleft()
        match kind:
            case "open":
                session.stream_opened(key, value, now)
            case "data":
                data, fin = value
                if len(data) > size:
                    queue.appendleft(("data", (data[size:], fin)))
                    data, fin = data[:size], False
                session.receive(key, data, fin, now)
            case "reset":
                session.stream_reset(key, value, now)
            case "stop":
                session.stream_stopped(key, value, now)
            case "datagram":
                session.datagram(value, now)
            case "close":
                session.closed("peer", *value, now)


def joined(client: ClientSession, server: ServerSession) -> tuple[End, End]:
    """The two ends of a connection."""
    near, far = End(client, 1_000_000), End(server, 5_000_000)
    near.other, far.other = far, near
    return near, far


def let_all_arrive(ends: Callable[[], Iterable[End]], now: int, collect: Callable[[], None]) -> None:
    """Deliver what these ends have said, whole, and what is said to that, until nothing moves."""
    collect()
    while moving := [(end, one) for end in ends() for one in end.ready()]:
        for end, one in moving:
            if one in end.ready():
                end.deliver(one, EVERYTHING, now)
                collect()


class Link:
    """A client and a server, and the time both go by."""

    def __init__(
        self,
        hello: Hello | None = None,
        settings: UplinkSettings | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.now = 0
        self.client = ClientSession(hello or a_hello(), 0, settings)
        self.server = ServerSession(0, limits)
        self.near, self.far = joined(self.client, self.server)
        self.collect()

    @classmethod
    def between(cls, client: ClientSession, server: ServerSession, now: int) -> "Link":
        """Sessions that are there already, over another connection."""
        link = cls()
        link.now, link.client, link.server = now, client, server
        link.near, link.far = joined(client, server)
        return link

    def collect(self) -> None:
        self.near.collect()
        self.far.collect()

    def settle(self) -> None:
        """Deliver everything, whole and in order of the streams, until nothing moves."""
        let_all_arrive(lambda: (self.near, self.far), self.now, self.collect)

    def wait(self, microseconds: int) -> None:
        """Let time pass for both sides, then settle."""
        self.now += microseconds
        for session in (self.client, self.server):
            due = session.next_deadline()
            if due is not None and due <= self.now:
                session.on_deadline(self.now)
        self.settle()

    def accept(self, **terms: Any) -> None:
        self.server.accept(Terms(**{"session_id": "call_1", "output": PCM, **terms}), self.now)
        self.settle()

    def take(self, end: End) -> list[Event]:
        """The events since the last call."""
        taken, end.events = end.events, []
        return taken


def connected(**terms: Any) -> Link:
    """A call that has just begun."""
    link = Link()
    link.settle()
    assert [type(event) for event in link.take(link.far)] == [HelloReceived]
    link.accept(**terms)
    link.take(link.near)
    return link


def of_type(events: Iterable[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if type(event) is kind]
