"""What streams that share one connection have to send, and who is next.

Owns the order: streams of the highest priority first, those of one priority in turn, piece by piece. Must not
know how a piece travels.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from legato.core.errors import TransportError

__all__ = ["HIGH_WATER_BYTES", "PIECE_BYTES", "SEND_LIMIT_BYTES", "Piece", "StreamQueue"]

PIECE_BYTES = 16 * 1024
"""Most bytes of one stream before it is another's turn: what an urgent stream may have to wait for."""

HIGH_WATER_BYTES = 256 * 1024
SEND_LIMIT_BYTES = 64 * 1024 * 1024
"""Bytes of one stream above which its sender is told when it drained, and those it may not pass."""

Piece = tuple[int, bytes, bool, bool]
"""A stream, its next bytes, whether they are the last, and whether the stream has drained by them."""


@dataclass(slots=True)
class _Waiting:
    """What one stream has to send."""

    chunks: deque[bytes] = field(default_factory=deque)
    at: int = 0  # how much of the first chunk is gone
    buffered: int = 0
    fin: bool = False
    was_high: bool = False
    queued: bool = False


class StreamQueue:
    """The streams of one session."""

    def __init__(self) -> None:
        """Begin with nothing to send."""
        self._waiting: dict[int, _Waiting] = {}
        self._priority: dict[int, int] = {}
        self._turns: dict[int, deque[int]] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._turns)

    def buffered(self, stream: int) -> int:
        """Return how many bytes of a stream wait."""
        waiting = self._waiting.get(stream)
        return waiting.buffered if waiting is not None else 0

    def ends(self, stream: int) -> bool:
        """Whether the end of a stream waits."""
        waiting = self._waiting.get(stream)
        return waiting is not None and waiting.fin

    def add(self, stream: int, data: bytes, fin: bool) -> None:
        """Append to a stream. Raises `TransportError` beyond `SEND_LIMIT_BYTES`."""
        waiting = self._waiting.setdefault(stream, _Waiting())
        if waiting.buffered + len(data) > SEND_LIMIT_BYTES:
            raise TransportError(f"stream {stream} has {waiting.buffered} bytes unsent: wait until writable")
        if data:
            waiting.chunks.append(data)
            waiting.buffered += len(data)
        waiting.was_high |= waiting.buffered > HIGH_WATER_BYTES
        waiting.fin |= fin
        if not waiting.queued and (data or fin):
            waiting.queued = True
            self._turns.setdefault(self._priority.get(stream, 0), deque()).append(stream)

    def set_priority(self, stream: int, priority: int) -> None:
        """Let a stream with a higher number go before those with lower ones; the default is 0."""
        waiting = self._waiting.get(stream)
        queued = waiting is not None and waiting.queued
        if queued:
            self._leave(stream)
        self._priority[stream] = priority
        if queued:
            self._turns.setdefault(priority, deque()).append(stream)

    def drop(self, stream: int) -> None:
        """Forget a stream and what it has to send."""
        waiting = self._waiting.pop(stream, None)
        if waiting is not None and waiting.queued:
            self._leave(stream)
        self._priority.pop(stream, None)

    def next(self) -> Piece:
        """Take the next piece; only while there is something to send."""
        urgent = max(self._turns)
        turn = self._turns[urgent]
        stream = turn.popleft()
        waiting = self._waiting[stream]
        payload = _cut(waiting)
        if waiting.chunks:
            turn.append(stream)
        else:
            waiting.queued = False
        if not turn:
            del self._turns[urgent]
        drained = waiting.was_high and waiting.buffered < HIGH_WATER_BYTES // 2
        if drained:
            waiting.was_high = False
        last = waiting.fin and not waiting.chunks
        if last:
            self.drop(stream)
        return stream, payload, last, drained

    def _leave(self, stream: int) -> None:
        priority = self._priority.get(stream, 0)
        turn = self._turns[priority]
        turn.remove(stream)
        if not turn:
            del self._turns[priority]


def _cut(waiting: _Waiting) -> bytes:
    """Take the next bytes of a stream: small chunks together, a large one in pieces."""
    chunks = waiting.chunks
    if not chunks:
        return b""
    first = chunks[0]
    if waiting.at or len(first) > PIECE_BYTES:
        payload = first[waiting.at : waiting.at + PIECE_BYTES]
        waiting.at += len(payload)
        if waiting.at == len(first):
            chunks.popleft()
            waiting.at = 0
    else:
        parts, size = [chunks.popleft()], len(first)
        while chunks and size + len(chunks[0]) <= PIECE_BYTES:
            size += len(chunks[0])
            parts.append(chunks.popleft())
        payload = parts[0] if len(parts) == 1 else b"".join(parts)
    waiting.buffered -= len(payload)
    return payload
