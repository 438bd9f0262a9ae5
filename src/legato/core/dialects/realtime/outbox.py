"""Server events on their way out: a name, an id and members each.

Owns the ids of server events. Must not know what they mean.
"""

from collections.abc import Callable
from typing import Any

from legato.core.wire.messages import JsonObject


class Outbox:
    """Collects server events in the order in which they are to be sent."""

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self.new_id = new_id
        self._events: list[JsonObject] = []

    def say(self, kind: str, **members: Any) -> None:
        """Add an event."""
        self._events.append({"type": kind, "event_id": self.new_id("event"), **members})

    def take(self) -> list[JsonObject]:
        """All events since the last call."""
        events, self._events = self._events, []
        return events
