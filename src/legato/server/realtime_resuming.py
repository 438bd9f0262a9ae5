"""What makes a call of a stock client of the Realtime API outlive its connection.

Owns the words of the URL for that, and the events said, until they are too many. It must not know connections
nor what an event means.

    ?legato_resume=on       when a call begins: let it wait for its client if the connection is lost
    ?legato_resume=ID       when it was lost: go on with the session of that id (`session.created`)
     &legato_after=ID       the `event_id` of the last event the client has; later ones come again
"""

from __future__ import annotations

from collections import deque

__all__ = ["AFTER", "ON", "RESUME", "SaidEvents"]

RESUME = "legato_resume"
AFTER = "legato_after"
ON = "on"

KEPT_BYTES = 8 << 20
"""Two minutes of speech."""

_OVERHEAD_BYTES = 64


class SaidEvents:
    """The latest events said to a client, sent or not."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._texts: deque[bytes] = deque()
        self._bytes = 0
        self._unsent = 0

    def add(self, text: bytes, sent: bool) -> None:
        """Keep an event, which a connection has taken, or none."""
        self._texts.append(text)
        self._bytes += len(text) + _OVERHEAD_BYTES
        self._unsent = 0 if sent else self._unsent + 1
        while self._bytes > KEPT_BYTES:
            self._bytes -= len(self._texts.popleft()) + _OVERHEAD_BYTES

    def all_sent(self) -> None:
        """A connection has taken everything."""
        self._unsent = 0

    def after(self, event_id: str | None) -> list[bytes] | None:
        """The events behind that one, or behind the last that was sent; None if some are not kept."""
        texts = list(self._texts)
        if event_id is None:
            return texts[len(texts) - self._unsent :] if self._unsent <= len(texts) else None
        name = b'"event_id":"%b"' % event_id.encode()
        for index in range(len(texts) - 1, -1, -1):
            if name in texts[index]:
                return texts[index + 1 :]
        return None
