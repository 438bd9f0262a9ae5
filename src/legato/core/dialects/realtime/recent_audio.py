"""The newest input audio, until it is known what becomes of it.

Owns bytes by position. Must not know turns or items. Positions are samples since the session began.
"""

from collections import deque

_SMALL_BYTES = 64
_JOINED_BYTES = 1_024
"""Pieces smaller than the first are joined to such as this: each costs more memory than it holds."""


class RecentAudio:
    """Input audio up to `limit` bytes; the oldest goes first."""

    __slots__ = ("_limit", "_pieces", "_since", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._since = 0

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._size

    def add(self, end: int, payload: bytes) -> None:
        """Take audio that ends at position `end`; without bytes it is lost, and nothing before it counts."""
        if not payload:
            self._pieces.clear()
            self._size = 0
            self._since = end
            return
        self._size += len(payload)
        if len(payload) < _SMALL_BYTES and self._pieces and len(self._pieces[-1][1]) < _JOINED_BYTES:
            payload = self._pieces.pop()[1] + payload
        self._pieces.append((end, payload))
        while self._size > self._limit:
            self._drop_oldest()

    def forget(self, position: int) -> None:
        """Let go of pieces that end at or before a position."""
        while self._pieces and self._pieces[0][0] <= position:
            self._drop_oldest()

    def between(self, start: int, stop: int, sample_bytes: int) -> bytes | None:
        """The audio from `start` up to `stop`; None if it is not there, or not the whole of it."""
        if start < self._since or not self._pieces or stop > self._pieces[-1][0]:
            return None
        begins = self._since
        wanted = bytearray()
        for end, payload in self._pieces:
            if end > start and begins < stop:
                first = max(0, start - begins) * sample_bytes
                wanted += payload[first : (min(stop, end) - begins) * sample_bytes]
            begins = end
        return bytes(wanted)

    def _drop_oldest(self) -> None:
        self._since, payload = self._pieces.popleft()
        self._size -= len(payload)
