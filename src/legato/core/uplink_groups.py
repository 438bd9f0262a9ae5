"""The streams that captured audio shares: which one takes the next piece, and how each of them ends.

Owns streams as a client opens them. Must not know the ring or the window. Rules: wire/SPEC.md, "Uplink
audio".

A group ends behind its last piece, unless audio may come to be given up (profile `duplex`): then its stream
stays open until all of it is acknowledged, because one that has ended cannot be reset.
"""

from collections import deque
from typing import Protocol

from legato.core.wire.records import uplink_record


class UplinkStreams(Protocol):
    """What captured audio needs from its session."""

    def open_group(self) -> int:
        """Open a uplink stream and return its key."""

    def send_record(self, key: int, data: bytes, fin: bool) -> None:
        """Send on that stream."""

    def reset_group(self, key: int) -> None:
        """Abandon that stream: what has not arrived of it need not be sent any more."""

    def declare_lost(self, start: int, stop: int) -> None:
        """Tell the server that these samples will never come."""


class UplinkGroups:
    """Streams of up to `samples` each, and at most `most` that are complete and not acknowledged."""

    def __init__(self, streams: UplinkStreams, samples: int) -> None:
        self.streams = streams
        self.samples = samples
        self.most = 1
        self.resettable = False
        self._open: int | None = None
        self._start = 0
        self._complete: deque[tuple[int, int]] = deque()

    def ready(self, start: int) -> bool:
        """Whether audio from `start` on may be sent now: on the open stream, or on one opened for it."""
        if self._open is None:
            if len(self._complete) >= self.most:
                return False
            self._open = self.streams.open_group()
            self._start = start
        return True

    def send(self, start: int, stop: int, captured_us: int, payload: bytes, last: bool = False) -> None:
        """Send a piece, for which it is `ready`; the group ends behind it if it is `last` or long enough."""
        key = self._open
        assert key is not None
        last = last or stop - self._start >= self.samples
        self.streams.send_record(
            key, uplink_record(start, captured_us, payload), last and not self.resettable
        )
        if last:
            self._complete_at(stop, key)

    def end(self, stop: int) -> None:
        """Let the group end behind what was sent, up to `stop`."""
        if self._open is not None:
            if not self.resettable:
                self.streams.send_record(self._open, b"", True)
            self._complete_at(stop, self._open)

    def acknowledge(self, offset: int) -> None:
        """The server has everything before `offset`."""
        while self._complete and self._complete[0][0] <= offset:
            _, key = self._complete.popleft()
            if self.resettable:
                self.streams.send_record(key, b"", True)

    def abandon(self, stop: int) -> int:
        """Reset the complete groups that end at `stop` or before; returns where the last of them ends, else
        0."""
        last = 0
        while self._complete and self._complete[0][0] <= stop:
            end, key = self._complete.popleft()
            self.streams.reset_group(key)
            last = max(last, end)
        return last

    def keep_all(self) -> None:
        """Nothing will be given up after all."""
        if self.resettable:
            self.resettable = False
            for _, key in self._complete:
                self.streams.send_record(key, b"", True)

    def detach(self) -> None:
        """The streams are gone with their connection."""
        self._open = None
        self._complete.clear()

    def attach(self, streams: UplinkStreams) -> None:
        """Open streams of another connection from now on."""
        self.streams = streams
        self.detach()

    def _complete_at(self, stop: int, key: int) -> None:
        self._open = None
        self._complete.append((stop, key))
