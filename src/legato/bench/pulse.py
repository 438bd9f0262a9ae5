"""The load: many callers, one frame each every 20 ms, staggered by milliseconds, from one thread.

Owns when a frame is sent and how its echo is timed; must not know over what it travels. A `Caller` is
anything with a file descriptor that becomes readable when an echo may have come.

The loop sleeps until the next frame is due and looks at the sockets in between, so the times it takes are
good to about a tenth of a millisecond, as long as it is not late itself; how late it was is part of the
result.
"""

from __future__ import annotations

import array
import gc
import select
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "FRAME_BYTES",
    "FRAME_US",
    "LATE_NS",
    "SAMPLES_PER_FRAME",
    "Calls",
    "PulseResult",
    "PulseTimes",
    "pulse",
]

FRAME_US = 20_000
TICK_NS = 1_000_000
"""Callers wake up at whole milliseconds, as most programs' timers do; those of one tick send in a row."""
LATE_NS = 60_000_000
"""A frame that comes back later than this is late: small jitter buffers have run dry."""
FRAME_BYTES = 120
"""Size of a payload: 20 ms of Opus at 48 kbit/s."""
SAMPLES_PER_FRAME = 320
"""20 ms at 16 kHz."""

_STAMP = struct.Struct(">BIQ")
_OPUS_20_MS = 0x48
"""First byte of an Opus packet: SILK wideband, one frame of 20 ms, mono (RFC 6716 section 3.1)."""
_FILLER = bytes(FRAME_BYTES - _STAMP.size)


class Calls(Protocol):
    """The open calls of a load, numbered from 0."""

    @property
    def count(self) -> int:
        """Return how many there are."""

    def filenos(self) -> Sequence[int]:
        """Return the descriptors that become readable when `receive` has work."""

    def send(self, who: int, number: int, payload: bytes) -> None:
        """Send frame `number` of call `who`; must not wait."""

    def receive(self, fileno: int) -> Iterable[tuple[int, bytes]]:
        """Return the payloads that have come back by now, each with its call; must not wait."""

    def close(self) -> None:
        """Hang up."""


@dataclass(frozen=True, slots=True)
class PulseTimes:
    """Length of each part, in seconds: frames flow during the first two, figures count in the second."""

    warm_up: float = 1.5
    window: float = 8.0
    tail: float = 3.0


@dataclass(slots=True)
class PulseResult:
    """What happened; delays and lateness in nanoseconds, for frames sent within the window."""

    frames_sent: int = 0
    frames_echoed: int = 0
    frames_out_of_order: int = 0
    frames_in_window: int = 0
    delays_ns: array.array[int] | None = None
    late_ns: array.array[int] | None = None


class _Pulse:
    """State of one run."""

    def __init__(self, calls: Calls, times: PulseTimes, on_window: Callable[[bool], None]) -> None:
        self.calls = calls
        self.on_window = on_window
        self.expected = [0] * calls.count
        self.delays = array.array("q")
        self.late = array.array("q")
        self.result = PulseResult(delays_ns=self.delays, late_ns=self.late)
        self.poll = select.epoll()
        for descriptor in calls.filenos():
            self.poll.register(descriptor, select.EPOLLIN)
        self.total = int((times.warm_up + times.window) * 1e6 / FRAME_US) * calls.count
        self.start = time.monotonic_ns()
        self.window_start = self.start + int(times.warm_up * 1e9)
        self.window_stop = self.window_start + int(times.window * 1e9)
        self.within = False

    def run(self, tail: float) -> PulseResult:
        """Send every frame at its time, then wait for what is still on its way."""
        sent = 0
        while sent < self.total:
            now = time.monotonic_ns()
            self._mark_window(now)
            while sent < self.total and (late := now - self._due(sent)) >= 0:
                number, who = divmod(sent, self.calls.count)
                self.calls.send(who, number, _STAMP.pack(_OPUS_20_MS, number, now) + _FILLER)
                sent += 1
                if self.within:
                    self.late.append(late)
            self._look(self._due(sent) - time.monotonic_ns())
        self.result.frames_sent = sent
        give_up = time.monotonic_ns() + int(tail * 1e9)
        while (now := time.monotonic_ns()) < give_up:
            self._mark_window(now)
            if self.result.frames_echoed >= sent and not self.within:
                break
            self._look(2_000_000)
        if self.within:
            self._mark_window(self.window_stop)
        return self.result

    def _due(self, number: int) -> int:
        """Return when the frame of this number, counted over all calls, is to be sent."""
        even = number * FRAME_US * 1000 // self.calls.count
        return self.start + even - even % TICK_NS

    def _mark_window(self, now: int) -> None:
        within = self.window_start <= now < self.window_stop
        if within != self.within:
            self.within = within
            self.on_window(within)

    def _look(self, wait_ns: int) -> None:
        """Take echoes in, for about `wait_ns`: epoll counts in milliseconds, a sleep takes the rest."""
        milliseconds = wait_ns // 1_000_000
        if milliseconds >= 1:
            ready = self.poll.poll(milliseconds / 1000)
        else:
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)
            ready = self.poll.poll(0)
        for descriptor, _ in ready:
            self._take(self.calls.receive(descriptor))

    def _take(self, echoes: Iterable[tuple[int, bytes]]) -> None:
        result = self.result
        now = time.monotonic_ns()
        for who, payload in echoes:
            _, number, sent_ns = _STAMP.unpack_from(payload)
            result.frames_echoed += 1
            if number != self.expected[who]:
                result.frames_out_of_order += 1
            self.expected[who] = number + 1
            if self.within:
                result.frames_in_window += 1
            if self.window_start <= sent_ns < self.window_stop:
                self.delays.append(now - sent_ns)


def pulse(calls: Calls, times: PulseTimes, on_window: Callable[[bool], None]) -> PulseResult:
    """Run the load over open calls; `on_window` is told when counting starts (True) and ends (False)."""
    run = _Pulse(calls, times, on_window)
    gc.collect()
    gc.disable()
    try:
        return run.run(times.tail)
    finally:
        gc.enable()
        run.poll.close()
