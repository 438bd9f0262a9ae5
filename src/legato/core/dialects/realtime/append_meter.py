"""Whether a client that sends its audio in events sends more than is read, or faster than it may.

Owns the account of appended audio; must not know events or connections. Positions are samples, times
microseconds. Nothing is refused: who is behind or too fast is held, until what it sent is read or due.
"""

from legato.core.audio import AudioFormat
from legato.core.wire.messages import Limits


class AppendMeter:
    """The audio of one call: how much of it was not read yet, and when as much may have been spoken."""

    __slots__ = (
        "_burst_us",
        "_paid_until",
        "_pressed",
        "_rate",
        "_unread",
        "_unread_bytes",
        "_unread_bytes_limit",
        "_unread_limit",
        "hold_until",
        "position",
    )

    def __init__(self, limits: Limits) -> None:
        self.position = 0
        """Samples received so far."""
        self.hold_until: int | None = None
        """When the client may send again, if it sent faster than `audio_rate` for longer than its burst."""
        self._rate = limits.audio_rate
        self._burst_us = limits.audio_burst_ms * 1_000 // limits.audio_rate
        self._paid_until = 0
        self._unread = 0
        self._unread_bytes = 0
        self._unread_limit = limits.unread_ms * 1_000
        self._unread_bytes_limit = limits.unread_bytes
        self._pressed = False

    @property
    def holds(self) -> bool:
        """Whether nothing more of the client should be read now."""
        return self._pressed or self.hold_until is not None

    def add(self, form: AudioFormat, samples: int, size: int, now: int) -> None:
        """Account for `samples` samples and `size` bytes that arrived."""
        self.position += samples
        duration = form.duration_us(samples)
        paid = self._paid_until
        self._paid_until = paid = (paid if paid > now else now) + duration // self._rate
        if paid - now > self._burst_us:
            self.hold_until = paid - self._burst_us
        self._unread += duration
        self._unread_bytes += size
        if self._unread > self._unread_limit or self._unread_bytes > self._unread_bytes_limit:
            self._pressed = True

    def consumed(self, form: AudioFormat, samples: int, size: int) -> None:
        """Account for audio that was read; half of the limits lets the client go on."""
        self._unread -= form.duration_us(samples)
        self._unread_bytes -= size
        if self._unread * 2 <= self._unread_limit and self._unread_bytes * 2 <= self._unread_bytes_limit:
            self._pressed = False

    def on_deadline(self, now: int) -> None:
        """Let the client go on if it is time."""
        if self.hold_until is not None and now >= self.hold_until:
            self.hold_until = None
