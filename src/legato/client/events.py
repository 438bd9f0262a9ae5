"""What a call tells its application, as values with the moment they happened (microseconds, monotonic
clock)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from legato.core.wire.messages import PlaybackState

__all__ = [
    "ClientEvent",
    "Interrupted",
    "PlaybackChanged",
    "ReplyArrived",
    "ReplyBegan",
    "ServerEvent",
    "ServerLeaving",
]


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """An event of the server in OpenAI Realtime's words, whole."""

    event: dict[str, Any]
    at_us: int

    @property
    def type(self) -> str:
        """Return the event's type."""
        return str(self.event.get("type", ""))


@dataclass(frozen=True, slots=True)
class ReplyBegan:
    """The first audio of a reply part is here."""

    response_id: str
    item_id: str
    generation: int
    at_us: int


@dataclass(frozen=True, slots=True)
class ReplyArrived:
    """All audio of a reply part is here: `samples` at the output rate, most of it not played yet."""

    item_id: str
    generation: int
    samples: int
    at_us: int


@dataclass(frozen=True, slots=True)
class PlaybackChanged:
    """The player's position in a reply part, as it was reported to the server."""

    item_id: str
    generation: int
    played: int
    buffered: int
    underruns: int
    state: PlaybackState
    at_us: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The reply parts of generations `first` to `last` were flushed: nothing more of them is played."""

    first: int
    last: int
    at_us: int


@dataclass(frozen=True, slots=True)
class ServerLeaving:
    """The server ends the call in `in_ms`."""

    in_ms: int
    at_us: int


ClientEvent: TypeAlias = (
    ServerEvent | ReplyBegan | ReplyArrived | PlaybackChanged | Interrupted | ServerLeaving
)
