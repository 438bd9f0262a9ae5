"""What a call tells its application, as values with the moment they happened (microseconds, monotonic
clock)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from legato.core.wire.messages import PlaybackState, Welcome

__all__ = [
    "ClientEvent",
    "Interrupted",
    "PlaybackChanged",
    "ReplyArrived",
    "ReplyBegan",
    "Resumed",
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
    """The player's position in a reply part, as it was reported to the server; `skipped` of the samples
    before it were left out because they came too late (profile `duplex`)."""

    item_id: str
    generation: int
    played: int
    buffered: int
    underruns: int
    state: PlaybackState
    at_us: int
    skipped: int = 0


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


@dataclass(frozen=True, slots=True)
class Resumed:
    """The connection was lost and there is another.

    If `welcome.resumed` the conversation goes on; otherwise the server did not have it any more and has begun
    a new one with the audio that was still kept. For `gap_ms` nothing came; `lost_samples` of what was
    captured never reach an agent, and the server was told which.
    """

    welcome: Welcome
    gap_ms: int
    lost_samples: int
    at_us: int


ClientEvent: TypeAlias = (
    ServerEvent | ReplyBegan | ReplyArrived | PlaybackChanged | Interrupted | ServerLeaving | Resumed
)
