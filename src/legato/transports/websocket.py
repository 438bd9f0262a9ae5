"""Messages over one WebSocket (RFC 6455), straight from the socket to the owner and back.

Owns the joint between an asyncio transport (TCP or TLS) and `websockets`' protocol without I/O: whole
messages up, backpressure, keep-alive, limits, an orderly close. It must not know what a message says, nor
how the connection is opened: `websocket_upgrade` does that for the server's end, `websocket_client` for the
client's.

Guarantees
----------
* A message arrives whole: text as `str` (UTF-8 was checked), anything else as `bytes`, in order. Larger ones
  than `message_bytes` end the connection with 1009, broken text with 1007, broken frames with 1002.
* Sends never block. Who sends more than the peer takes watches `congested` and waits for
  `MessageHandler.drained`.
* A peer that does not read is not read from either once `pause_bytes` wait, and is cut off at `unsent_bytes`,
  or when nothing moved for two whole `keep_alive_s`. A peer of which nothing is heard for two is gone.
* `MessageHandler.closed` is called once, unless the owner itself called `close`. After either no callback is
  made, and every method is without effect.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import cast

from websockets.http11 import Request, Response

from legato.transports.base import CloseSource, TransportInfo
from legato.transports.liveness import Liveness
from legato.transports.messages import (
    NO_CLOSE_FRAME,
    POLICY_VIOLATION,
    SERVER_ERROR,
    SERVICE_RESTART,
    MessageHandler,
    MessageLimits,
)
from legato.transports.tcp import end_text, tune
from legato.transports.websocket_codec import Ended, Item, WebSocketCodec

__all__ = ["WebSocketConnection"]

TURN_S = 0.005
"""How long one connection may take in what has come of it while others wait."""

_PIECE_BYTES = 4096
"""How much is taken in between two looks at the clock."""

_TEXT, _BINARY = 0x1, 0x2
"""Opcodes (RFC 6455 §5.2)."""

log = logging.getLogger(__name__)


class WebSocketConnection(asyncio.Protocol):
    """One end of one connection, from the request of its upgrade to its end."""

    def __init__(
        self, codec: WebSocketCodec, limits: MessageLimits, connections: set[object] | None = None
    ) -> None:
        """While it is open, the connection is a member of `connections`."""
        self.limits = limits
        self._connections: set[object] = set() if connections is None else connections
        self._codec = codec
        self._handler: MessageHandler | None = None
        self._items: deque[Item] = deque()
        self._rest = bytearray()  # what has come and waits for its turn
        self._liveness = Liveness()
        self._delivering = False
        self._paused = False  # the owner takes no messages
        self._reading = True
        self._congested = False
        self._over = False
        self._sent = 0
        self._received = 0
        self._taken = 0  # bytes of these that the network had, when the end began to be waited for
        self.on_pong: Callable[[bytes], None] | None = None
        """Is told what the peer's pongs say."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def info(self) -> TransportInfo:
        """Return where this connection runs."""
        return self._info

    @property
    def over(self) -> bool:
        """Whether nothing is said or heard any more."""
        return self._over

    @property
    def congested(self) -> bool:
        """Whether a sender should wait for `MessageHandler.drained`."""
        return self._congested

    @property
    def buffered(self) -> int:
        """Return how many bytes wait to be sent."""
        return self._transport.get_write_buffer_size()

    @property
    def bytes_sent(self) -> int:
        """Return how many bytes the network has taken."""
        return self._sent - self.buffered

    @property
    def bytes_received(self) -> int:
        """Return how many bytes have come."""
        return self._received

    def ping(self, payload: bytes) -> None:
        """Send a ping, which the peer answers with a pong of the same words, or the one behind it does."""
        if not self._over:
            self._codec.ping(payload)
            self._flush()

    def send_text(self, text: str | bytes) -> None:
        """Send one text message; bytes must be UTF-8."""
        self._send(_TEXT, text.encode() if isinstance(text, str) else text)

    def send_binary(self, data: bytes) -> None:
        """Send one binary message."""
        self._send(_BINARY, data)

    def pause(self) -> None:
        """Deliver no more messages until `resume`; flow control then pushes back on the peer."""
        if not self._over:
            self._paused = True
            self._read_or_not()

    def resume(self) -> None:
        """Deliver messages again."""
        if not self._over:
            self._paused = False
            self._read_or_not()
            asyncio.get_running_loop().call_soon(self._deliver)

    def close(self, code: int, reason: str = "") -> None:
        """Say what is buffered, then close; the peer's answer is not waited for longer than `close_s`."""
        if self._over:
            return
        self._over = True
        self._items.clear()
        self._say_close(code, reason)

    def shutdown(self) -> None:
        """Close because the HTTP server stops (its own contract with connections)."""
        if not self._over:
            self._fail(SERVICE_RESTART, "the server stops")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        # uvloop's transports have the methods of asyncio.Transport, but not its name.
        self._transport = cast(asyncio.Transport, transport)
        self._info = TransportInfo(
            "websocket", end_text(transport, "sockname"), end_text(transport, "peername")
        )
        high = self.limits.high_water_bytes
        self._transport.set_write_buffer_limits(high, high // 2)
        tune(transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; what takes long waits for others in between."""
        self._liveness.heard = True
        self._received += len(data)
        if self._rest:
            self._rest += data
        elif len(data) <= _PIECE_BYTES:
            self._read(data)
        else:
            self._rest += data
            self._take_turn()

    def eof_received(self) -> None:
        """The peer says no more: without a close frame, that is the end."""
        while self._rest:
            self._read(self._next_piece())
        self._codec.eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go."""
        self._rest.clear()
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end("transport", NO_CLOSE_FRAME, str(exc) if exc else "the connection ended without a close")
        self._handler = None

    def pause_writing(self) -> None:
        """Note that the buffer is above its high-water mark."""
        self._congested = True

    def resume_writing(self) -> None:
        """Let senders, and the peer, go on."""
        self._congested = False
        self._read_or_not()
        if self._handler is not None and not self._over:
            self._guarded(self._handler.drained)
        self._deliver()

    # Up

    def _take_turn(self) -> None:
        """Take in what has come, as far as others can wait for that."""
        loop = asyncio.get_running_loop()
        until = loop.time() + TURN_S
        while self._rest:
            self._read(self._next_piece())
            if self._rest and loop.time() >= until:
                loop.call_soon(self._take_turn)
                break
        self._read_or_not()

    def _next_piece(self) -> bytes:
        piece = bytes(self._rest[:_PIECE_BYTES])
        del self._rest[:_PIECE_BYTES]
        return piece

    def _read(self, data: bytes) -> None:
        self._take(self._codec.receive(data))
        if (pong := self._codec.pong) is not None:
            self._codec.pong = None
            if self.on_pong is not None and not self._over:
                self.on_pong(pong)

    def _take(self, items: list[Item]) -> None:
        """Queue what has come and deliver it, once what it makes the protocol say was said."""
        if not self._over:
            self._items.extend(items)
        if self._codec.speaks:
            self._flush()
        self._deliver()
        if items and type(items[-1]) is Ended:
            self._end(*items[-1])
            self._await_end()

    @abstractmethod
    def _opening(self, item: Request | Response) -> None:
        """Deal with what opens the connection: the peer's request, or the answer to ours."""

    def _deliver(self) -> None:
        """Hand over what came for as long as the owner takes it and the peer takes what it asks for."""
        if self._delivering:
            return
        self._delivering = True
        items, limit = self._items, self.limits.pause_bytes
        while items and not self._over and not self._paused:
            if self._congested and self.buffered > limit:
                break
            item = items.popleft()
            if type(item) is str or type(item) is bytes:
                assert self._handler is not None
                self._guarded(self._handler.message, item)
            elif type(item) is Ended:
                self._end(*item)
            else:
                assert isinstance(item, Request | Response)
                self._opening(item)
        self._delivering = False
        if items or not self._reading:
            self._read_or_not()

    def _guarded(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception as error:
            log.error("a message was not dealt with", exc_info=error)
            self._fail(SERVER_ERROR, "an internal error")

    def _read_or_not(self) -> None:
        """Read from the peer unless the owner, or what the peer asked for, is behind."""
        greedy = self._congested and self.buffered > self.limits.pause_bytes
        behind = greedy or bool(self._rest) or (self._paused and self._far_ahead)
        wanted = not (self._codec.undecided or behind)
        if wanted != self._reading and not self._transport.is_closing():
            self._reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    @property
    def _far_ahead(self) -> bool:
        """Whether as much waits for the owner as may."""
        if len(self._items) >= self.limits.ahead_messages:
            return True
        waiting = sum(len(item) for item in self._items if isinstance(item, str | bytes))
        return waiting >= self.limits.ahead_bytes

    # Down

    def _send(self, opcode: int, payload: bytes) -> None:
        if self._over:
            return
        if self._congested and (waiting := self.buffered) > self.limits.unsent_bytes:
            self._fail(POLICY_VIOLATION, f"{waiting} bytes wait to be read: read faster or ask for less")
            return
        data = self._codec.frame(opcode, payload)
        self._sent += len(data)
        self._transport.write(data)

    def _flush(self) -> None:
        """Send what the protocol has to say by itself; its end of stream closes the connection."""
        for data in self._codec.to_send():
            if data:
                self._sent += len(data)
                self._transport.write(data)
            else:
                self._transport.close()

    # The end

    def _fail(self, code: int, reason: str) -> None:
        """End the connection from here, and tell the owner, who does not know yet."""
        self._end("local", code, reason)
        self._say_close(code, reason)

    def _end(self, by: CloseSource, code: int, reason: str) -> None:
        if self._over:
            return
        self._over = True
        self._items.clear()
        if self._handler is not None:
            try:
                self._handler.closed(by, code, reason)
            except Exception as error:
                log.error("the end of a connection was not dealt with", exc_info=error)

    def _say_close(self, code: int, reason: str) -> None:
        if self._codec.open:
            self._codec.close(code, reason)
            self._flush()
            self._await_end()
        elif self._codec.undecided or self._codec.connecting:
            self._transport.abort()

    def _await_end(self) -> None:
        """Cut the connection when its end stands still."""
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()
        self._taken = self._sent - self.buffered
        self._arm(self.limits.close_s, self._cut)

    def _cut(self) -> None:
        taken = self._sent - self.buffered
        if taken > self._taken:
            self._await_end()
        else:
            self._transport.abort()

    # Keep-alive

    def _look_later(self) -> None:
        self._arm(self.limits.keep_alive_s, self._look)

    def _look(self) -> None:
        """Ping a silent peer; end a connection on which nothing moves."""
        verdict = self._liveness.look(self._sent - self.buffered, self._congested, not self._reading)
        if verdict == "stalled":
            self._fail(POLICY_VIOLATION, "nothing of what was sent was read for too long")
        elif verdict == "gone":
            self._end("transport", NO_CLOSE_FRAME, "the peer is gone: it does not answer pings")
            self._transport.abort()
        else:
            if verdict == "ping":
                self.ping(b"")
            self._look_later()

    def _arm(self, seconds: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, call)
