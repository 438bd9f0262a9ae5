"""Native calls as light as they can be: the packet engine and the wire's codecs, no session above them.

Owns the few records that make a valid call (hello, audio in groups, playback reports as a player would send
them); must not be taken for a client, which would also acknowledge, resume and play. Every call has a
connection and a UDP socket of its own, so to the server it looks like a caller somewhere else.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from legato import _native
from legato.bench.processes import BenchError
from legato.bench.pulse import FRAME_US, SAMPLES_PER_FRAME
from legato.core.audio import AudioFormat
from legato.core.wire import varint
from legato.core.wire.codes import SESSION_PATH, SessionCode, StreamType
from legato.core.wire.event_json import encode_event, encode_message, read_reply_header, read_server_event
from legato.core.wire.messages import Capabilities, Hello, Playback, PlaybackState, ReplyHeader, Welcome
from legato.core.wire.records import AudioReader, ControlReader, control_record, uplink_record
from legato.server.settings import Engine

__all__ = ["OPUS", "NativeCall", "NativeCalls"]

OPUS = AudioFormat("opus", 16_000)
PATIENCE_S = 20.0
GROUP_FRAMES = 500
"""Frames that share a stream: ten seconds, as the client groups them."""
REPORT_FRAMES = 10
"""A player reports every 200 ms."""
CLOCK_US = 3_600_000_000
"""What a caller's clock shows when the call begins: nobody's has just been switched on."""
RECORD_LIMIT = 1 << 20


class _Downlink:
    """One reply's stream: its header, then records to `deliver`."""

    __slots__ = ("_head", "_reader", "header")

    def __init__(self, deliver: Callable[[int, int, bytes, int], None]) -> None:
        self._head: bytearray | None = bytearray()
        self._reader = AudioReader(RECORD_LIMIT, False, deliver)
        self.header: ReplyHeader | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self._head is None:
            self._reader.feed(data, 0)
            return
        self._head += data
        kind = varint.decode(self._head, 0)
        length = varint.decode(self._head, kind[1]) if kind else None
        if length is None or len(self._head) < length[0] + length[1]:
            return
        rest = bytes(self._head[length[0] + length[1] :])
        self.header = read_reply_header(bytes(self._head[length[1] : length[0] + length[1]]))
        self._head = None
        self._reader.feed(rest, 0)


class NativeCall:
    """One call: says hello at once, then sends frames and counts what comes back."""

    def __init__(self, endpoint: _native.Endpoint, target: _native.ConnectTarget, hello: Hello) -> None:
        """Connect; nothing is waited for."""
        self._endpoint = endpoint
        self.session = endpoint.connect(target)
        self._control = endpoint.open_stream(self.session, True)
        self._hear = ControlReader(RECORD_LIMIT, self._said)
        self._streams: dict[int, _Downlink] = {}
        self._uplink: int | None = None
        self.welcome: Welcome | None = None
        self.ended: str | None = None
        self.events: list[dict[str, Any]] = []
        self.payloads: list[bytes] = []
        self.received_bytes = 0
        self.samples = 0
        self._format = hello.output[0]
        self._latest: _Downlink | None = None
        endpoint.send(self._control, control_record(encode_message(hello)))

    def send(self, number: int, payload: bytes) -> None:
        """Send one frame, and the report that is due with it."""
        if number % GROUP_FRAMES == 0:
            if self._uplink is not None:
                self._endpoint.send(self._uplink, b"", True)
            self._uplink = self._endpoint.open_stream(self.session, False)
            self._endpoint.send(self._uplink, varint.encode(StreamType.UPLINK_AUDIO))
        assert self._uplink is not None
        record = uplink_record(number * SAMPLES_PER_FRAME, CLOCK_US + number * FRAME_US, payload)
        self._endpoint.send(self._uplink, record)
        if number % REPORT_FRAMES == REPORT_FRAMES - 1:
            self.report()

    def say(self, event: dict[str, Any]) -> None:
        """Send one event of no particular meaning."""
        self._endpoint.send(self._control, control_record(encode_event(event, RECORD_LIMIT)))

    def report(self, state: PlaybackState = "playing") -> None:
        """Say that everything received so far was played."""
        if self._latest is None or (header := self._latest.header) is None:
            return
        report = Playback(
            item_id=header.item_id,
            generation=header.generation,
            content_index=header.content_index,
            played=self.samples,
            state=state,
        )
        self._endpoint.send(self._control, control_record(encode_message(report)))

    def data(self, stream: int, data: bytes) -> None:
        """Take stream data of this call."""
        if stream == self._control:
            self._hear.feed(data, 0)
            return
        downlink = self._streams.get(stream)
        if downlink is None:
            downlink = self._streams[stream] = self._latest = _Downlink(self._heard)
            self.samples = 0
        downlink.feed(data)

    def _heard(self, offset: int, _captured: int, payload: bytes, _now: int) -> None:
        self.payloads.append(payload)
        self.received_bytes += len(payload)
        self.samples = offset + self._format.samples(payload)

    def _said(self, _kind: int, payload: bytes, _now: int) -> None:
        message = read_server_event(payload)
        if isinstance(message, Welcome):
            self.welcome = message
        elif isinstance(message, dict):
            self.events.append(message)


class NativeCalls:
    """Many calls over one endpoint; implements `Calls`."""

    def __init__(self, port: int, sha256: bytes, sessions: int, hello: Hello | None = None) -> None:
        """Start to open all of them; nothing is waited for, and audio may be sent at once."""
        self._endpoint = _native.Endpoint.client(Engine())
        target = loopback_target(port, sha256)
        self.calls: list[NativeCall] = []
        self._who: dict[int, int] = {}
        for who in range(sessions):
            call = NativeCall(self._endpoint, target, hello or echo_hello())
            self._who[call.session] = who
            self.calls.append(call)

    @property
    def count(self) -> int:
        """Return how many calls there are."""
        return len(self.calls)

    def filenos(self) -> Sequence[int]:
        """Return the endpoint's one descriptor."""
        return [self._endpoint.fileno()]

    def send(self, who: int, number: int, payload: bytes) -> None:
        """Send one frame."""
        self.calls[who].send(number, payload)

    def receive(self, fileno: int = -1) -> Iterable[tuple[int, bytes]]:
        """Return every frame that has come back."""
        echoes: list[tuple[int, bytes]] = []
        calls, numbers = self.calls, self._who
        for kind, session, stream, value in self._endpoint.drain():
            if kind == _native.STREAM_DATA:
                who = numbers[session]
                call = calls[who]
                call.data(stream, value)
                if call.payloads:
                    echoes.extend((who, payload) for payload in call.payloads)
                    call.payloads.clear()
            elif kind in (_native.SESSION_CLOSED, _native.SESSION_REFUSED, _native.CONNECT_FAILED):
                calls[numbers[session]].ended = str(value)
        return echoes

    def close(self) -> None:
        """Hang up every call."""
        for call in self.calls:
            self._endpoint.close(call.session, SessionCode.NO_ERROR, "")
        self._endpoint.shutdown()

    def wait_for_welcomes(self) -> None:
        """Wait until every call was welcomed; raises `BenchError` if one was not."""
        self.wait_until(lambda: all(call.welcome for call in self.calls), "a welcome for every call")

    def wait_until(self, done: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Receive until `done`; raises `BenchError` when a call ends or patience does."""
        give_up = time.monotonic() + patience_s
        with select.epoll() as poll:
            poll.register(self._endpoint.fileno(), select.EPOLLIN)
            while not done():
                if ended := next((call.ended for call in self.calls if call.ended), None):
                    raise BenchError(f"the server ended a call: {ended}")
                if time.monotonic() > give_up:
                    raise BenchError(f"{what} did not come within {patience_s:g} s")
                poll.poll(0.05)
                self.receive()


def echo_hello() -> Hello:
    """Return what a caller says who sends Opus and wants Opus back."""
    return Hello(
        input=OPUS, output=(OPUS,), capabilities=Capabilities(playback_reports=True), client="legato bench"
    )


def loopback_target(port: int, sha256: bytes) -> _native.ConnectTarget:
    """Return 127.0.0.1:`port`, trusting one certificate by its hash."""
    return _native.ConnectTarget(
        addresses=[("127.0.0.1", port)],
        server_name="localhost",
        authority=f"localhost:{port}",
        path=SESSION_PATH,
        origin=None,
        headers=[],
        certificate_hashes=[sha256],
        roots=None,
        system_roots=False,
    )
