"""A server with one behaviour for each path, so that a client can look at every part of the transport.

Owns what the server does and what it remembers of each session. It must not know which client is on the other
side, nor anything of legato's own protocol: only `legato.transports` is under test here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from legato import _native
from legato.server.certificates import ServerIdentity, make_development_identity
from legato.transports.base import CloseSource, Handler, Transport
from legato.transports.webtransport import IncomingWebTransport, WebTransportEndpoint

SPEECH = bytes(range(256)) * 1200
"""What `/speaks` sends without being asked: more than a first congestion window."""

CLOSE_CODE, CLOSE_REASON = 4242, "enough said"
RESET_CODE, STOP_CODE = 9, 8


@dataclass
class SessionRecord:
    """What the server saw of one session."""

    path: str
    origin: str | None
    streams: dict[int, bytes] = field(default_factory=dict)
    resets: list[int] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)
    datagrams: int = 0
    drained: bool = False
    ended: tuple[CloseSource, int, str] | None = None


class Scene:
    """Echoes: bidirectional streams as they come, whole unidirectional ones on a new stream, datagrams."""

    def __init__(self, transport: Transport, record: SessionRecord, ended: asyncio.Event) -> None:
        self.transport = transport
        self.record = record
        self._ended = ended
        self._bidirectional: set[int] = set()

    def opened(self) -> None:
        """Never called on the accepting side."""

    def stream_opened(self, stream: int, bidirectional: bool) -> None:
        self.record.streams[stream] = b""
        if bidirectional:
            self._bidirectional.add(stream)

    def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
        self.record.streams[stream] += data
        if stream in self._bidirectional:
            self.transport.send(stream, data, fin)
        elif fin:
            answer = self.transport.open_stream(False)
            self.transport.send(answer, self.record.streams[stream], True)

    def stream_reset(self, stream: int, code: int) -> None:
        self.record.resets.append(code)

    def stream_stopped(self, stream: int, code: int) -> None:
        self.record.stops.append(code)

    def stream_writable(self, stream: int) -> None:
        """Nothing waits for room."""

    def datagram(self, data: bytes) -> None:
        self.record.datagrams += 1
        self.transport.send_datagram(data)

    def draining(self) -> None:
        self.record.drained = True

    def path_changed(self, remote: str) -> None:
        """Of no interest."""

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        self.record.ended = (by, code, reason)
        self._ended.set()


class Closes(Scene):
    """Ends the session with the first bytes that come."""

    def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
        self.transport.close(CLOSE_CODE, CLOSE_REASON)


class Drains(Scene):
    """Asks for an end with the first stream, and echoes all the same."""

    def stream_opened(self, stream: int, bidirectional: bool) -> None:
        self.transport.drain()
        super().stream_opened(stream, bidirectional)


class Resets(Scene):
    """Begins to speak; then abandons that, and what it is asked to: the answer, or the listening."""

    def __init__(self, transport: Transport, record: SessionRecord, ended: asyncio.Event) -> None:
        super().__init__(transport, record, ended)
        self.speech = transport.open_stream(False)
        transport.send(self.speech, b"spee")

    def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
        if data == b"reset":
            self.transport.reset(self.speech, RESET_CODE)
            self.transport.reset(stream, RESET_CODE)
        elif data == b"stop":
            self.transport.stop(stream, STOP_CODE)


class Speaks(Scene):
    """Speaks first."""

    def __init__(self, transport: Transport, record: SessionRecord, ended: asyncio.Event) -> None:
        super().__init__(transport, record, ended)
        transport.send(transport.open_stream(False), SPEECH, True)


SCENES: dict[str, type[Scene]] = {
    "/echo": Scene,
    "/closes": Closes,
    "/drains": Drains,
    "/resets": Resets,
    "/speaks": Speaks,
}


class Stage:
    """The running server."""

    def __init__(self, identity: ServerIdentity) -> None:
        self.identity = identity
        self.sessions: list[SessionRecord] = []
        self._ended: list[asyncio.Event] = []
        native = _native.Identity(list(identity.chain), identity.key)
        addresses = [("localhost", 0)]
        self.endpoint = WebTransportEndpoint.listen(addresses, native, object(), None, self._requested)

    @property
    def port(self) -> int:
        return self.endpoint.addresses[0][1]

    @property
    def url(self) -> str:
        host, port = self.endpoint.addresses[0]
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    def of(self, path: str) -> SessionRecord:
        """The only session that was asked for under this path."""
        (record,) = [record for record in self.sessions if record.path == path]
        return record

    async def all_ended(self) -> None:
        """Wait until every session so far is over."""
        await asyncio.gather(*(event.wait() for event in self._ended))

    def _requested(self, incoming: IncomingWebTransport) -> None:
        scene = SCENES.get(incoming.path.partition("?")[0])
        if scene is None:
            incoming.reject(429 if incoming.path == "/busy" else 404, [("retry-after", "5")])
            return
        record, ended = SessionRecord(incoming.path, incoming.origin), asyncio.Event()
        self.sessions.append(record)
        self._ended.append(ended)

        def handler(transport: Transport) -> Handler:
            return scene(transport, record, ended)

        incoming.accept(handler)


@contextlib.asynccontextmanager
async def stage(identity: ServerIdentity | None = None) -> AsyncIterator[Stage]:
    """Run the server on free ports of the loopback addresses, by default with a certificate of today."""
    running = Stage(identity or make_development_identity(datetime.now(UTC)))
    try:
        yield running
    finally:
        await running.endpoint.close()
