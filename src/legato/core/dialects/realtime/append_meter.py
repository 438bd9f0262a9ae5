"""Whether a client that sends its audio in events sends more than is read, or faster than it may.

Owns the account of appended audio; must not know events or connections. Sizes are bytes of formats without
compression, in which bytes are time; times are microseconds. Nothing is refused: who is behind or too fast is
held, until what it sent is read or due.
"""

from legato.core.wire.messages import Limits


class AppendMeter:
    """The audio of one call: how much of it was not read yet, and when as much may have been spoken."""

    __slots__ = (
        "_burst_us",
        "_limits",
        "_paid_until",
        "_pressed",
        "_rate",
        "_unread",
        "_unread_limit",
        "hold_until",
        "holds",
    )

    def __init__(self, limits: Limits) -> None:
        """Nothing arrives before `follow` was told the format."""
        self.holds = False
        """Whether nothing more of the client should be read now."""
        self.hold_until: int | None = None
        """When the client may send again, if it sent faster than `audio_rate` for longer than its burst."""
        self._limits = limits
        self._burst_us = limits.audio_burst_ms * 1_000 // limits.audio_rate
        self._paid_until = 0
        self._unread = 0
        self._pressed = False
        self._rate = 1
        self._unread_limit = 0

    def follow(self, bytes_per_second: int) -> None:
        """The client sends so many bytes per second of audio from now on."""
        limits = self._limits
        self._rate = bytes_per_second * limits.audio_rate
        self._unread_limit = min(limits.unread_ms * bytes_per_second // 1_000, limits.unread_bytes)

    def add(self, size: int, now: int) -> None:
        """Account for `size` bytes that arrived."""
        paid = self._paid_until
        self._paid_until = paid = (paid if paid > now else now) + size * 1_000_000 // self._rate
        if paid - now > self._burst_us:
            self.hold_until = paid - self._burst_us
            self.holds = True
        self._unread = unread = self._unread + size
        if unread > self._unread_limit:
            self._pressed = self.holds = True

    def consumed(self, size: int) -> bool:
        """Account for bytes that were read; half of the limit lets the client go on. Returns whether it does
        so now."""
        self._unread = unread = self._unread - size
        if self._pressed and unread * 2 <= self._unread_limit:
            self._pressed = False
            self.holds = self.hold_until is not None
            return not self.holds
        return False

    def on_deadline(self, now: int) -> None:
        """Let the client go on if it is time."""
        if self.hold_until is not None and now >= self.hold_until:
            self.hold_until = None
            self.holds = self._pressed
