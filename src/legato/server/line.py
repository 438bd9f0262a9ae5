"""What a call needs of the connection behind it, whichever kind that is.

Owns two protocols and nothing else. A native call's line is a `SessionDriver` with a `ServerSession`; a
WebSocket's has a session of messages. Positions are samples of the output format, times microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from legato.core.audio import AudioFormat
from legato.core.playout import PlayoutLedger

__all__ = ["Line", "VoiceSession"]


class VoiceSession(Protocol):
    """The server's end of a session: replies and events go in, what was heard can be asked."""

    @property
    def ledger(self) -> PlayoutLedger:
        """The playback ledger, for reading."""

    def begin_reply(
        self, response_id: str, item_id: str, form: AudioFormat, now: int, content_index: int = 0
    ) -> int:
        """Open one part of a reply; return its generation, higher than all before."""

    def send_audio(self, generation: int, payload: bytes, samples: int, now: int) -> bool:
        """Send the next `samples` of a reply; False if it was flushed or the session has ended."""

    def end_reply(self, generation: int, now: int) -> None:
        """The reply is complete; without effect if it was flushed."""

    def flush(self, now: int) -> int:
        """Make every reply begun so far stale; return the last generation that is."""

    def flush_reply(self, generation: int, now: int) -> None:
        """Make one reply stale and leave the others."""

    def credit_us(self, now: int) -> int:
        """How much more audio the caller should be sent now; 0 means wait."""

    def send_event(self, event: dict[str, Any], now: int) -> None:
        """Say an event of the dialect."""

    def consumed(self, samples: int, size: int) -> bool:
        """The agent took audio off its queue; return whether that lets the caller go on, who was held: then
        the line wants to be settled."""

    def going_away(self, in_ms: int, now: int) -> None:
        """Announce that the session will be ended in `in_ms`."""

    def close(self, code: int, reason: str, now: int) -> None:
        """End the session with a `SessionCode`."""


class Line(Protocol):
    """Drives a `VoiceSession` over its transport."""

    @property
    def session(self) -> VoiceSession:
        """The session at work."""

    @property
    def clock(self) -> Callable[[], int]:
        """The time in microseconds."""

    @property
    def over(self) -> bool:
        """Whether the session has ended."""

    @property
    def parked(self) -> bool:
        """Whether the call goes on without a connection, for a while."""

    @property
    def congested(self) -> bool:
        """Whether so much waits to be sent that a sender should wait in `writable`."""

    def settle(self) -> None:
        """Carry out what the session asks for, pass on its events, arm its deadline."""

    def carry_out(self) -> None:
        """Carry out what the session asks for, after an operation without events or deadlines."""

    async def writable(self) -> None:
        """Wait until the line is not congested, or over."""

    async def delivered(self) -> None:
        """Wait until what was sent last must have arrived; a close would overtake it."""
