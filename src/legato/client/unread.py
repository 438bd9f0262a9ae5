"""What has happened in a call and was not read yet by its application.

Owns how much of that is kept. It must not know what the events mean.
"""

from __future__ import annotations

from collections import deque

import msgspec

from legato._inbox import Inbox
from legato.client.events import ClientEvent, ServerEvent

__all__ = ["UnreadEvents"]

UNREAD_EVENTS = 10_000
UNREAD_BYTES = 16 << 20
"""Events kept for an application that does not read them, and what those of the server may come to as JSON;
beyond that the oldest go."""

NESTED_BYTES = 1 << 20
"""What one counts as that cannot be measured: no event is longer."""


class UnreadEvents(Inbox[ClientEvent]):
    """The events of one call, for one reader."""

    __slots__ = ("_bytes", "_sizes")

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__(self._taken)
        self._bytes = 0
        self._sizes: deque[int] = deque()

    def put(self, item: ClientEvent) -> int:
        """Add an event, in the place of the oldest ones if need be."""
        if self._closed:
            return len(self)
        size = _size(item)
        self._bytes += size
        while self._items and (len(self) >= UNREAD_EVENTS or self._bytes > UNREAD_BYTES):
            self._taken(self._items[0])
            self.drop_oldest()
        self._sizes.append(size)
        return super().put(item)

    def _taken(self, _: ClientEvent) -> None:
        self._bytes -= self._sizes.popleft()


def _size(item: ClientEvent) -> int:
    if not isinstance(item, ServerEvent):
        return 0
    try:
        return len(msgspec.json.encode(item.event))
    except RecursionError:
        # Read a little higher up the stack, where it was just not nested too deeply.
        return NESTED_BYTES
