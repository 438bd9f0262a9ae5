"""Captured audio as a server receives it: any grouping into streams in, every sample once and in order out.

Owns reassembly by offset, explicit gaps, what is too late (profile `duplex`), what is acknowledged, and the
three bounds (out of order, unread, rate). Must not know streams, JSON or who reads the audio. Rules:
wire/SPEC.md, "Uplink audio".

Theory of operation. `expected` is the first sample not handed over yet. A record that starts there is
handed over at once; one that starts later waits in `_waiting`, keyed by its start, with the starts also in
a heap; one that ends before it is a duplicate. Gaps wait in a heap of their own; when the turn of one comes,
`_lost_until` says how far nothing is waited for, and what is there nevertheless is handed over. Whenever
`expected` moves, whatever now touches it follows, cut at the front where it overlaps.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import NamedTuple

from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.errors import RemoteProtocolError
from legato.core.events import AudioReceived, Event, GapReported
from legato.core.lateness import Lateness
from legato.core.wire.codes import ACK_INTERVAL_US, OVERHEAD_BYTES, SessionCode
from legato.core.wire.messages import Limits

ACK_PATIENCE_US = 40_000
"""How long a due acknowledgement waits for more audio, to leave in the same packet as what answers that."""


class _Waiting(NamedTuple):
    """A record that does not touch `expected` yet."""

    stop: int
    captured_us: int
    payload: bytes


class UplinkReceiver:
    """Puts records in order and reports them through `emit`.

    `pressure(True)` is called when the owner has fallen behind by more than the unread limits and
    `pressure(False)` when it has caught up to half of them.
    """

    __slots__ = (
        "_acked", "_born", "_bucket", "_burst", "_emit", "_gaps", "_lateness", "_leaked",
        "_lost_until", "_pressed", "_pressure", "_rate", "_samples", "_start", "_starts", "_unread",
        "_unread_bytes", "_unread_bytes_limit", "_unread_limit", "_waiting", "_waiting_bytes",
        "_window", "_window_bytes", "ack_due", "expected", "format", "on_time",
    )  # fmt: skip

    def __init__(
        self,
        form: AudioFormat,
        limits: Limits,
        start: int,
        emit: Callable[[Event], None],
        pressure: Callable[[bool], None],
    ) -> None:
        self.format = form
        self.expected = start
        self.ack_due: int | None = None
        """When to acknowledge with the next audio; alone, if none has come `ACK_PATIENCE_US` after that."""
        self._start = start
        self._emit = emit
        self._pressure = pressure
        self._samples = form.samples
        self._waiting: dict[int, _Waiting] = {}
        self._starts: list[int] = []
        self._gaps: list[tuple[int, int]] = []
        self._waiting_bytes = 0
        self._acked = start
        self._window = limits.window_ms * form.rate // 1_000
        self._window_bytes = limits.window_bytes
        self._unread = 0
        self._unread_bytes = 0
        self._unread_limit = limits.unread_ms * form.rate // 1_000
        self._unread_bytes_limit = limits.unread_bytes
        self._pressed = False
        # The rate is kept as a bucket that leaks `_rate` per microsecond, in millionths of a sample.
        self._rate = limits.audio_rate * form.rate
        self._burst = limits.audio_burst_ms * form.rate * 1_000
        self._bucket = 0
        self._leaked = 0
        self._born: int | None = None
        self._lost_until = start
        self.on_time = False
        """Whether audio is given up that is too late."""
        self._lateness: Lateness | None = None

    def give_up_after(self, late_us: int) -> None:
        """From now on audio is of no use if it comes so late: it is left out, with a gap in its place."""
        self.on_time, self._lateness = True, Lateness(late_us)

    def record(self, offset: int, captured_us: int, payload: bytes, now: int) -> None:
        """Take one audio record; raises RemoteProtocolError if it breaks a rule or a bound."""
        try:
            samples = self._samples(payload)
        except ValueError as error:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, str(error)) from None
        if not samples:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "an audio record without audio")
        born = self._born
        if born is None:
            self._born = born = now
        leaked = (now - born) * self._rate
        if leaked < self._leaked:
            # The clock has jumped back: nothing leaks meanwhile.
            self._born = now - self._leaked // self._rate
            leaked = self._leaked
        self._leaked = leaked
        bucket = self._bucket
        self._bucket = bucket = (bucket if bucket > leaked else leaked) + samples * 1_000_000
        if bucket - leaked > self._burst:
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "audio arrives too fast for too long")
        late = self._lateness is not None and self._lateness.is_late(captured_us, now)
        if not late and offset == self.expected:
            # What `_hand_over` does, here because nearly every frame of every call comes this way.
            self.expected = offset + samples
            self._emit(AudioReceived(AudioFrame(offset, captured_us, payload, self.format, samples)))
            self._unread = unread = self._unread + samples
            self._unread_bytes = size = self._unread_bytes + len(payload) + OVERHEAD_BYTES
            if unread > self._unread_limit or size > self._unread_bytes_limit:
                self._press()
            if self.ack_due is None:
                self.ack_due = now + ACK_INTERVAL_US
            if self._waiting or self._gaps:
                self._follow()
            return
        stop = offset + samples
        if offset != self.expected and stop - self.expected > self._window:
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "audio too far ahead of what is missing")
        if late:
            self._miss(offset, stop)
        else:
            self._keep(offset, _Waiting(stop, captured_us, payload))
        self._follow_on(now)

    def gap(self, start: int, stop: int, now: int) -> None:
        """Take the client's word that these samples are lost; raises RemoteProtocolError if it is absurd."""
        if stop <= start:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "a gap ends where it starts or before")
        if not self.can_have(stop, now):
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "a gap ends later than audio can be")
        self._miss(start, stop)
        self._follow_on(now)

    def give_up_at(self) -> int | None:
        """When what is missing before audio that waits will be too late; None if nothing ever is."""
        if self._lateness is None or not self._starts:
            return None
        start = self._starts[0]
        before = self.format.duration_us(start - self.expected)
        return self._lateness.due(self._waiting[start].captured_us - before)

    def give_up(self, now: int) -> None:
        """Wait no longer for what has become too late."""
        while (due := self.give_up_at()) is not None and due <= now:
            self._lost_until = self._starts[0]
            self._follow_on(now)

    def can_have(self, stop: int, now: int) -> bool:
        """Whether audio may have come as far as `stop` by now, at the fastest that is allowed."""
        elapsed = 0 if self._born is None else max(0, now - self._born)
        return (stop - self._start) * 1_000_000 <= self._burst + elapsed * self._rate

    def attach(self, emit: Callable[[Event], None], pressure: Callable[[bool], None]) -> None:
        """Go on for another session, which has what is before `expected` acknowledged by its welcome."""
        self._emit = emit
        self._pressure = pressure
        self.ack_due = None
        self._acked = self.expected

    def take_ack(self) -> int | None:
        """The offset to acknowledge now, or None if nothing is new; disarms `ack_due`."""
        self.ack_due = None
        if self._acked == self.expected:
            return None
        self._acked = self.expected
        return self._acked

    def consumed(self, samples: int, size: int, frames: int = 1) -> bool:
        """The owner has taken `frames` of `samples` samples and `size` payload bytes in all; returns whether
        it has caught up by that."""
        self._unread -= samples
        self._unread_bytes -= size + frames * OVERHEAD_BYTES
        if (
            self._pressed
            and self._unread * 2 <= self._unread_limit
            and self._unread_bytes * 2 <= self._unread_bytes_limit
        ):
            self._pressed = False
            self._pressure(False)
            return True
        return False

    @property
    def under_pressure(self) -> bool:
        """Whether the owner has fallen behind."""
        return self._pressed

    @property
    def waiting_bytes(self) -> int:
        """Memory held by audio out of order, overhead included."""
        return self._waiting_bytes

    def _hand_over(self, frame: AudioFrame) -> None:
        self.expected += frame.samples
        self._emit(AudioReceived(frame))
        self._unread += frame.samples
        self._unread_bytes += len(frame.payload) + OVERHEAD_BYTES
        if self._unread > self._unread_limit or self._unread_bytes > self._unread_bytes_limit:
            self._press()

    def _press(self) -> None:
        if not self._pressed:
            self._pressed = True
            self._pressure(True)

    def _keep(self, start: int, entry: _Waiting) -> None:
        """Put a record among the waiting unless it is a duplicate; of two with one start the longer stays."""
        if entry.stop <= self.expected:
            return
        old = self._waiting.get(start)
        if old is None:
            heappush(self._starts, start)
        elif old.stop >= entry.stop:
            return
        else:
            self._waiting_bytes -= _cost(old)
        self._waiting[start] = entry
        self._weigh(_cost(entry))

    def _miss(self, start: int, stop: int) -> None:
        """Expect nothing of these samples."""
        if stop > self.expected:
            heappush(self._gaps, (start, stop))
            self._weigh(OVERHEAD_BYTES)

    def _weigh(self, size: int) -> None:
        self._waiting_bytes += size
        if self._waiting_bytes > self._window_bytes:
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "too much audio waits for what is missing")

    def _follow_on(self, now: int) -> None:
        """Hand over what can be, and see to its acknowledgement."""
        self._follow()
        if self.ack_due is None and self.expected != self._acked:
            self.ack_due = now + ACK_INTERVAL_US

    def _follow(self) -> None:
        """Hand over whatever touches `expected`."""
        starts, gaps = self._starts, self._gaps
        while True:
            while gaps and gaps[0][0] <= self.expected:
                self._lost_until = max(self._lost_until, heappop(gaps)[1])
                self._waiting_bytes -= OVERHEAD_BYTES
            if starts and starts[0] <= self.expected:
                start = heappop(starts)
                entry = self._waiting.pop(start)
                self._waiting_bytes -= _cost(entry)
                if entry.stop > self.expected:
                    self._hand_over(self._cut(start, entry))
            elif self.expected < self._lost_until:
                stop = min(self._lost_until, starts[0]) if starts else self._lost_until
                gap, self.expected = AudioGap(self.expected, stop), stop
                self._emit(GapReported(gap))
            else:
                return

    def _cut(self, start: int, entry: _Waiting) -> AudioFrame:
        """The frame without what was handed over before."""
        surplus = self.expected - start
        samples = entry.stop - self.expected
        if not surplus:
            return AudioFrame(start, entry.captured_us, entry.payload, self.format, samples)
        size = self.format.bytes_per_sample
        if size is None:
            raise RemoteProtocolError(
                SessionCode.PROTOCOL_VIOLATION, "packets overlap that cannot be cut at a sample"
            )
        captured_us = entry.captured_us + self.format.duration_us(surplus)
        return AudioFrame(self.expected, captured_us, entry.payload[surplus * size :], self.format, samples)


def _cost(entry: _Waiting) -> int:
    return OVERHEAD_BYTES + len(entry.payload)
