"""Two ends of a session in one process, without a network: for tests and for embedding.

Owns the guarantees of `base` with a send buffer that empties when the event loop turns. It must not know what
the bytes mean. Nothing is lost or reordered within a stream; `limit` bounds what a sender may have
outstanding while the receiver has paused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from legato.core.errors import TransportError
from legato.transports.base import CloseSource, Handler, Transport, TransportInfo, TransportStatistics

__all__ = ["DATAGRAM_BYTES", "MemoryTransport", "memory_pair"]

DATAGRAM_BYTES = 1200
"""The largest datagram that passes; larger ones are dropped, as on a real path."""

HIGH_WATER_BYTES = 256 * 1024
SEND_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class _Direction:
    """What one end sends on one stream."""

    waiting: deque[tuple[bytes, bool]] = field(default_factory=deque)
    buffered: int = 0
    was_high: bool = False
    paused: bool = False
    ended: bool = False


class MemoryTransport:
    """One end; implements `Transport`. Made by `memory_pair`."""

    def __init__(self, name: str, numbers: Callable[[], int]) -> None:
        """Make an end called `name`; `numbers` hands out stream numbers unique to the pair."""
        self.info = TransportInfo("memory", name, "")
        self._numbers = numbers
        self._loop = asyncio.get_running_loop()
        self._sending: dict[int, _Direction] = {}
        self._closed = False
        self._sent = 0
        self._received = 0
        self.handler: Handler
        self.peer: MemoryTransport

    def open_stream(self, bidirectional: bool) -> int:
        """Open a stream."""
        stream = self._numbers()
        if not self._closed:
            self._sending[stream] = _Direction()
            if bidirectional:
                self.peer._sending[stream] = _Direction()
            self._soon(lambda: self.peer.handler.stream_opened(stream, bidirectional))
        return stream

    def send(self, stream: int, data: bytes, fin: bool = False) -> int:
        """Append to a stream; returns the bytes buffered for it."""
        direction = self._sending.get(stream)
        if direction is None or self._closed or direction.ended:
            return 0
        if direction.buffered + len(data) > SEND_LIMIT_BYTES:
            raise TransportError(
                f"stream {stream} has {direction.buffered} bytes unsent: wait until writable"
            )
        direction.waiting.append((bytes(data), fin))
        direction.buffered += len(data)
        direction.ended = fin
        direction.was_high |= direction.buffered > HIGH_WATER_BYTES
        self._soon(lambda: self._flow(stream))
        return direction.buffered

    def reset(self, stream: int, code: int) -> None:
        """Abandon a stream that we send on."""
        if self._sending.pop(stream, None) is not None:
            self._soon(lambda: self.peer.handler.stream_reset(stream, code))

    def stop(self, stream: int, code: int) -> None:
        """Ask the peer to stop sending on a stream."""
        if stream in self.peer._sending:
            self._soon(lambda: self.peer.handler.stream_stopped(stream, code))

    def set_priority(self, stream: int, priority: int) -> None:
        """Accept and ignore: everything leaves at once."""

    def pause(self, stream: int) -> None:
        """Stop delivering a stream's data until `resume`."""
        if (direction := self.peer._sending.get(stream)) is not None:
            direction.paused = True

    def resume(self, stream: int) -> None:
        """Deliver a paused stream's data again."""
        if (direction := self.peer._sending.get(stream)) is not None:
            direction.paused = False
            self._soon(lambda: self.peer._flow(stream))

    def send_datagram(self, data: bytes) -> None:
        """Send one datagram, if it is not too long."""
        if len(data) <= DATAGRAM_BYTES:
            self._soon(lambda: self.peer.handler.datagram(data))

    def drain(self) -> None:
        """Ask the peer to wind the session up."""
        self._soon(self.peer.handler.draining)

    def close(self, code: int, reason: str) -> None:
        """End the session; what was sent before is delivered first."""
        if not self._closed:
            self._soon(lambda: self.peer._end("peer", code, reason))
            self._soon(lambda: self._end("local", code, reason))

    def statistics(self) -> TransportStatistics:
        """Return bytes moved; there is no path to measure."""
        return TransportStatistics(0, 0, 0, self._sent, self._received, 0)

    def _flow(self, stream: int) -> None:
        direction = self._sending.get(stream)
        if direction is None:
            return
        while direction.waiting and not direction.paused and not self._closed:
            data, fin = direction.waiting.popleft()
            direction.buffered -= len(data)
            self._sent += len(data)
            self.peer._received += len(data)
            self.peer.handler.stream_data(stream, data, fin)
            if fin:
                self._sending.pop(stream, None)
        if direction.was_high and direction.buffered < HIGH_WATER_BYTES // 2:
            direction.was_high = False
            self.handler.stream_writable(stream)

    def _soon(self, step: Callable[[], None]) -> None:
        def unless_closed() -> None:
            if not self._closed:
                step()

        self._loop.call_soon(unless_closed)

    def _end(self, by: CloseSource, code: int, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self.handler.closed(by, code, reason)


def memory_pair(
    first: Callable[[Transport], Handler], second: Callable[[Transport], Handler]
) -> tuple[MemoryTransport, MemoryTransport]:
    """Make both ends of a session; each function is given its end and returns who listens to it."""
    count = iter(range(1, 1 << 62)).__next__
    left, right = MemoryTransport("first", count), MemoryTransport("second", count)
    left.peer, right.peer = right, left
    left.handler, right.handler = first(left), second(right)
    left.handler.opened()
    return left, right
