"""A session's streams over one WebSocket: for networks that let no UDP through (wire/SPEC.md, section 20).

Owns the joint between `MessageHandler` and `Handler`: which streams exist, what waits to be sent and to be
taken. It must not know what streams carry.

A loss delays everything behind it here, which nothing can be done about. Two more things follow from the one
connection:

* What waits is kept here, per stream, so that the connection holds little: a reset or an event passes the
  audio in front of it, and what is reset never leaves. Pings mark what has arrived: see `flight_window`.
* A paused stream is held here up to `HELD_BYTES`, of all streams together; beyond that nothing is read from
  the socket, so that every stream stands still until the owner of the paused one takes more.
"""

from __future__ import annotations

import asyncio
from collections import deque

from legato.core.errors import RemoteProtocolError
from legato.core.wire import mux
from legato.core.wire.codes import (
    DATA_MESSAGE_MAX_BYTES,
    DATAGRAM_MAX_BYTES,
    OVERHEAD_BYTES,
    WEBSOCKET_PROTOCOL,
    SessionCode,
)
from legato.core.wire.mux import Close, Data, Datagram, Drain, MuxStreams, Reset, Stop, StreamMessage
from legato.transports.base import CloseSource, Handler, TransportInfo, TransportStatistics
from legato.transports.flight_window import FlightWindow
from legato.transports.messages import INVALID_TEXT, MESSAGE_TOO_BIG, NORMAL, PROTOCOL_ERROR, MessageLimits
from legato.transports.stream_queue import StreamQueue
from legato.transports.websocket import WebSocketConnection
from legato.transports.websocket_client import ClientWebSocket, open_websocket
from legato.transports.webtransport import ConnectTarget

__all__ = ["LIMITS", "WebSocketTransport"]

LIMITS = MessageLimits(
    message_bytes=2 * DATA_MESSAGE_MAX_BYTES,
    high_water_bytes=8 * 1024,
    keep_alive_s=15,
)
"""Beyond the longest message that is allowed, so that one too long can be answered with a code."""

MARK_INTERVAL_S = 0.5
"""How long anything may be sent without a mark, so that whoever watches the connection sees it answered."""

UNANSWERED_S = 2.0
"""How long answers to marks may stay away before the connection's own buffers are relied on."""

HELD_BYTES = 1 << 20
"""Bytes of paused streams above which nothing is read any more; half of it lets the peer go on."""

_FAULTS = {
    PROTOCOL_ERROR: SessionCode.PROTOCOL_VIOLATION,
    INVALID_TEXT: SessionCode.PROTOCOL_VIOLATION,
    MESSAGE_TOO_BIG: SessionCode.LIMIT_EXCEEDED,
}
"""What ends a session when the connection itself finds fault with the peer."""


class WebSocketTransport:
    """One session over one connection, either end; implements `Transport` and `MessageHandler`."""

    def __init__(self, server: bool) -> None:
        """Be the server's end or the client's. `attach` gives it a connection; what is sent before waits."""
        self.handler: Handler
        self._streams = MuxStreams(server)
        self._queue = StreamQueue()
        self._unannounced: dict[bool, deque[int]] = {True: deque(), False: deque()}
        self._paused: set[int] = set()
        self._held: dict[int, deque[Data | Reset]] = {}
        self._held_bytes = 0
        self._full = False
        self._over = False
        self._flight = FlightWindow()
        self._marked = 0.0
        self._waiting: asyncio.TimerHandle | None = None
        self._connection: WebSocketConnection | None = None
        self._made: ClientWebSocket | None = None
        self._loop = asyncio.get_running_loop()

    def attach(self, connection: WebSocketConnection) -> WebSocketTransport:
        """Send and receive over `connection`, which is open."""
        self._connection = connection
        if self._over:
            connection.close(NORMAL)
        else:
            connection.on_pong = self._answered
            self._mark()
            self._pump()
        return self

    async def connect(self, target: ConnectTarget) -> None:
        """Ask a server for the session; the handler hears `opened`, or `closed` when it came to nothing.

        Returns when the request has left, or all is over.
        """

        def opened(made: ClientWebSocket) -> None:
            self._made = made
            self.attach(made)
            if not self._over:
                self.handler.opened()

        try:
            made = await open_websocket(target, WEBSOCKET_PROTOCOL, self, opened, LIMITS)
        except Exception as error:
            # Whoever listens hears of it now, whatever it was.
            self._end("transport", 0, str(error) or type(error).__name__)
        else:
            self._made = made
            if self._over:
                made.close(NORMAL)

    async def released(self) -> None:
        """Wait until nothing is left of a connection that `connect` made: a few seconds behind its close."""
        if self._made is not None:
            await self._made.gone.wait()

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        return self._over

    # Transport

    @property
    def info(self) -> TransportInfo:
        """Return where this session runs."""
        where = self._connection.info if self._connection is not None else None
        return TransportInfo("websocket", where.local if where else "", where.remote if where else "")

    def open_stream(self, bidirectional: bool) -> int:
        """Open a stream and return its number at once."""
        stream = self._streams.open(bidirectional)
        self._unannounced[bidirectional].append(stream)
        return stream

    def send(self, stream: int, data: bytes, fin: bool = False) -> int:
        """Append to a stream; returns the bytes buffered for it."""
        if self._over or not self._streams.sends(stream):
            return 0
        self._queue.add(stream, data, fin)
        if fin:
            self._streams.finished(stream)
        self._pump()
        return self._queue.buffered(stream)

    def reset(self, stream: int, code: int) -> None:
        """Abandon a stream that we send on; what waits of it is dropped."""
        # A stream whose end still waits can be abandoned too; one whose end has left cannot.
        waits = self._queue.ends(stream)
        if not self._over and (self._streams.finished(stream) or waits):
            self._queue.drop(stream)
            self._announce(stream, reset=True)
            self._say(Reset(stream, code))

    def stop(self, stream: int, code: int) -> None:
        """Ask the peer to stop sending on a stream; what is held or still comes of it is dropped."""
        if self._over:
            return
        self._forget(stream)
        if self._streams.declined(stream):
            self._say(Stop(stream, code))

    def set_priority(self, stream: int, priority: int) -> None:
        """Let a stream with a higher number be sent first."""
        if self._streams.sends(stream):
            self._queue.set_priority(stream, priority)

    def pause(self, stream: int) -> None:
        """Stop delivering a stream's data until `resume`; see the module for what that means."""
        if self._streams.receives(stream) or stream in self._held:
            self._paused.add(stream)

    def resume(self, stream: int) -> None:
        """Deliver a paused stream's data again."""
        if stream in self._paused:
            self._paused.discard(stream)
            self._loop.call_soon(self._release, stream)

    def send_datagram(self, data: bytes) -> None:
        """Send one datagram, unless something waits or it is too long."""
        connection = self._connection
        waits = connection is None or connection.congested or bool(self._queue)
        if len(data) <= DATAGRAM_MAX_BYTES and not waits:
            self._say(Datagram(data))

    def drain(self) -> None:
        """Ask the peer to wind the session up."""
        self._say(Drain())

    def close(self, code: int, reason: str) -> None:
        """End the session; what waits on bidirectional streams is said before."""
        if self._over:
            return
        while self._queue:
            stream, payload, fin, _ = self._queue.next()
            if mux.is_bidirectional(stream):
                self._say_data(stream, payload, fin)
        self._say(Close(code, reason))
        self._over = True
        self._loop.call_soon(self.handler.closed, "local", code, reason)
        self._hang_up()

    def statistics(self) -> TransportStatistics:
        """Return the connection's figures; the kernel keeps losses to itself."""
        connection = self._connection
        if connection is None:
            return TransportStatistics(0, 0, 0, 0, 0, 0)
        return TransportStatistics(
            self._flight.rtt_us, 0, 0, connection.bytes_sent, connection.bytes_received, 0
        )

    # MessageHandler

    def message(self, data: str | bytes) -> None:
        """Take a message of the peer."""
        if self._over:
            return
        try:
            if isinstance(data, str):
                raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "a text message on the WebSocket")
            message = mux.decode(data)
            if message is not None:
                self._take(message)
        except RemoteProtocolError as violation:
            self._say(Close(violation.code, violation.reason))
            self._end("local", violation.code, violation.reason)
            self._hang_up()

    def drained(self) -> None:
        """Send more."""
        self._pump()

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        """Report a connection that ended without the session's own close."""
        fault = _FAULTS.get(code) if by == "local" else None
        if fault is not None:
            self._end("local", fault, reason)
        elif self._connection is None:
            self._end(by, 0, reason)
        else:
            self._end("transport", 0, reason or f"the WebSocket was closed with status {code}")

    # Up

    def _take(self, message: mux.Message) -> None:
        if isinstance(message, Data | Reset | Stop):
            self._take_of_stream(message)
        elif isinstance(message, Datagram):
            self.handler.datagram(message.payload)
        elif isinstance(message, Drain):
            self.handler.draining()
        else:
            self._end("peer", message.code, message.reason)
            self._hang_up()

    def _take_of_stream(self, message: StreamMessage) -> None:
        stream = message.stream
        verdict = self._streams.judge(message)
        if verdict == "dropped":
            return
        if isinstance(message, Stop):
            self.handler.stream_stopped(stream, message.code)
            # Whoever is told to stop answers, whether its owner cares or not.
            self.reset(stream, message.code)
            return
        if verdict == "opened":
            self.handler.stream_opened(stream, mux.is_bidirectional(stream))
        if stream in self._paused or stream in self._held:
            self._hold(message)
        else:
            self._deliver(message)

    def _deliver(self, message: Data | Reset) -> None:
        if isinstance(message, Reset):
            self.handler.stream_reset(message.stream, message.code)
        elif message.payload or message.fin:
            self.handler.stream_data(message.stream, message.payload, message.fin)

    def _hold(self, message: Data | Reset) -> None:
        self._held.setdefault(message.stream, deque()).append(message)
        self._weigh(_weight(message))

    def _release(self, stream: int) -> None:
        """Deliver what is held of a stream, for as long as its owner takes it."""
        held = self._held.get(stream)
        while held and stream not in self._paused and not self._over:
            message = held.popleft()
            self._weigh(-_weight(message))
            self._deliver(message)
        if not held:
            self._held.pop(stream, None)

    def _forget(self, stream: int) -> None:
        self._paused.discard(stream)
        held = self._held.pop(stream, None)
        # Emptied, because `_release` may be in the middle of it: its owner wants no more of what it delivers.
        while held:
            self._weigh(-_weight(held.popleft()))

    def _weigh(self, more: int) -> None:
        self._held_bytes += more
        assert self._connection is not None
        if self._held_bytes > HELD_BYTES and not self._full:
            self._full = True
            self._connection.pause()
        elif self._full and self._held_bytes <= HELD_BYTES // 2:
            self._full = False
            self._connection.resume()

    # Down

    def _pump(self) -> None:
        """Send what waits for as long as the connection takes it."""
        connection = self._connection
        if connection is None:
            return
        queue, flight = self._queue, self._flight
        # Who reads nothing hears no answer either.
        while queue and not connection.congested and not self._over and (flight.open or self._full):
            stream, payload, fin, drained = queue.next()
            self._say_data(stream, payload, fin)
            due = flight.sent(len(payload) + OVERHEAD_BYTES)
            if due or self._loop.time() - self._marked > MARK_INTERVAL_S:
                self._mark()
            if drained:
                self.handler.stream_writable(stream)
        if queue and not connection.congested and self._waiting is None:
            self._waiting = self._loop.call_later(UNANSWERED_S, self._unanswered)

    def _mark(self) -> None:
        assert self._connection is not None
        self._marked = self._loop.time()
        self._connection.ping(self._flight.mark(self._now_us()).to_bytes(8, "big"))

    def _answered(self, words: bytes) -> None:
        self._flight.answered(int.from_bytes(words, "big"), self._now_us())
        self._at_ease()
        self._pump()

    def _now_us(self) -> int:
        return round(self._loop.time() * 1_000_000)

    def _unanswered(self) -> None:
        self._waiting = None
        self._flight.give_up()
        self._pump()

    def _at_ease(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _say_data(self, stream: int, payload: bytes, fin: bool) -> None:
        self._announce(stream, reset=False)
        self._say(Data(stream, fin, payload))

    def _announce(self, stream: int, reset: bool) -> None:
        """Open the streams of this kind up to this one, in order: none may be left out.

        The first data of `stream` opens it; a reset does not.
        """
        waiting = self._unannounced[mux.is_bidirectional(stream)]
        while waiting and waiting[0] <= stream:
            first = waiting.popleft()
            if first != stream or reset:
                self._say(Data(first, False, b""))

    def _say(self, message: mux.Message) -> None:
        if not self._over and self._connection is not None:
            self._connection.send_binary(mux.encode(message))

    # The end

    def _end(self, by: CloseSource, code: int, reason: str) -> None:
        if not self._over:
            self._over = True
            self._at_ease()
            self.handler.closed(by, code, reason)

    def _hang_up(self) -> None:
        self._at_ease()
        self._held.clear()
        connection = self._connection or self._made
        if connection is not None:
            connection.close(NORMAL)


def _weight(message: Data | Reset) -> int:
    """What a held message takes: empty ones are bounded too."""
    return OVERHEAD_BYTES + (len(message.payload) if isinstance(message, Data) else 0)
