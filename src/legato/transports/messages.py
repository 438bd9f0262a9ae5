"""The contract of a transport that carries messages: one connection, whole messages both ways.

Owns the words (`MessageHandler`, `MessageLimits`, close codes); must never know what a message says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from legato.transports.base import CloseSource

__all__ = [
    "GOING_AWAY",
    "INVALID_TEXT",
    "MESSAGE_TOO_BIG",
    "NORMAL",
    "NO_CLOSE_FRAME",
    "NO_STATUS",
    "POLICY_VIOLATION",
    "PROTOCOL_ERROR",
    "SERVER_ERROR",
    "SERVICE_RESTART",
    "TRY_AGAIN_LATER",
    "MessageHandler",
    "MessageLimits",
]

NORMAL, GOING_AWAY, PROTOCOL_ERROR = 1000, 1001, 1002
NO_STATUS, NO_CLOSE_FRAME, INVALID_TEXT = 1005, 1006, 1007
POLICY_VIOLATION, MESSAGE_TOO_BIG = 1008, 1009
SERVER_ERROR, SERVICE_RESTART, TRY_AGAIN_LATER = 1011, 1012, 1013
"""Close codes (RFC 6455 §7.4.1 and the registry it makes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLimits:
    """What one connection may take; sizes in bytes, times in seconds."""

    message_bytes: int = 1 << 20
    """Longest message of the peer, over all its fragments."""
    high_water_bytes: int = 32 * 1024
    """Buffered bytes above which a sender should wait; half of it lets the sender go on."""
    pause_bytes: int = 512 * 1024
    """Buffered bytes above which the peer is not read from: it asks for more than it takes."""
    unsent_bytes: int = 16 << 20
    """Buffered bytes above which a peer is cut off."""
    ahead_bytes: int = 256 * 1024
    """What may be read of the peer while the owner takes nothing: its pings are somewhere behind."""
    ahead_messages: int = 64
    """The same in messages."""
    keep_alive_s: float = 20
    """How long nothing may be heard before the peer is pinged, and then before it counts as gone."""
    close_s: float = 3
    """How long a close may stand still before the connection is cut."""


class MessageHandler(Protocol):
    """What a connection tells its owner, on the event loop. An exception ends the connection with 1011."""

    def message(self, data: str | bytes) -> None:
        """Deliver the next whole message."""

    def drained(self) -> None:
        """Report that the buffer, which had passed the high-water mark, has drained below half of it."""

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        """Report the end: who ended it, its close code and a reason for people."""
