"""Captured audio as a client sends it: a ring that keeps every sample until the server has it.

Owns offsets, the window of unacknowledged audio, and what is given up when the ring is full or, in profile
`duplex`, when it is too late. Must not know transports, capture devices or coding. Rules: wire/SPEC.md,
"Uplink audio".

Theory of operation. A captured piece goes into `_unsent`; `pump` moves pieces to `_sent` while the window
has room, and an acknowledgement removes them there. `_flying` remembers what unacknowledged pieces weigh,
also those that the ring no longer holds. Positions run

    oldest ≤ acked ≤ sent end ≤ next to be captured

and a ring that is over its bounds drops its oldest piece: first sent ones (the transport still holds them,
only a resume could miss them), then unsent ones, which `pump` declares lost before it sends what follows.
"""

from collections import deque
from typing import NamedTuple

import msgspec

from legato.core.audio import AudioFormat
from legato.core.errors import LocalProtocolError, RemoteProtocolError
from legato.core.uplink_groups import UplinkGroups, UplinkStreams
from legato.core.wire.codes import OVERHEAD_BYTES, SessionCode
from legato.core.wire.messages import Limits

# Room for offset and capture time (8 bytes each) inside the size limit of a record.
_HEAD_BYTES = 16
# What is said again at most when the path has changed: a congestion window as it is at the beginning.
_AGAIN_BYTES = 12_000
# How much longer than it is of use sent audio is left to the network: its acknowledgement takes as long.
_LEFT_ALONE_US = 500_000


class UplinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a client sends and keeps its audio.

    `group_us`: how much audio shares a stream; `resume_us`: how long a call without connection waits for
    another one, 0 not at all; `ring_us`: how much is kept for a resume at least, longer if the server's
    resume time is, but at most `ring_max_us`; `ring_bytes`: the memory bound; `assumed`: what the server is
    taken to accept until its welcome; `duplex_group_us`: `group_us` at most if profile `duplex` is asked for.
    """

    group_us: int = 10_000_000
    duplex_group_us: int = 100_000
    resume_us: int = 60_000_000
    ring_us: int = 60_000_000
    ring_max_us: int = 300_000_000
    ring_bytes: int = 32 << 20
    assumed: Limits = Limits()


class _Piece(NamedTuple):
    start: int
    stop: int
    captured_us: int
    payload: bytes


class UplinkSender:
    """The client's half of lossless audio."""

    def __init__(
        self, form: AudioFormat, settings: UplinkSettings, start: int, streams: UplinkStreams
    ) -> None:
        self.format = form
        self.captured = start
        self.acked = start
        self.sent = start
        self._settings = settings
        self.groups = UplinkGroups(streams, settings.group_us * form.rate // 1_000_000)
        self._late_us: int | None = None
        self._given_up = start
        self._acknowledged: deque[_Piece] = deque()
        self._needed: int | None = None
        self._sent: deque[_Piece] = deque()
        self._unsent: deque[_Piece] = deque()
        self._bytes = 0
        self._flying: deque[tuple[int, int]] = deque()
        self._flying_bytes = 0
        self._ring = settings.ring_us * form.rate // 1_000_000
        self._attached = True
        self._group_ends: set[int] = set()
        self.set_limits(settings.assumed)

    def set_limits(self, limits: Limits) -> None:
        """Go by what the server accepts from now on."""
        self._limits = limits
        self._window = limits.window_ms * self.format.rate // 1_000
        # Half of what the server allows: the end of a stream may reach it later than the acknowledgement.
        self.groups.most = max(1, limits.uplink_streams // 2)

    def keep_for(self, resume_ttl_ms: int) -> None:
        """Keep audio as long as the server would resume the call, within `ring_max_us`."""
        keep = min(max(self._settings.ring_us, resume_ttl_ms * 1_000), self._settings.ring_max_us)
        self._ring = keep * self.format.rate // 1_000_000

    @property
    def oldest(self) -> int:
        """The oldest sample the ring still holds: where a resume could start."""
        first = self._acknowledged or self._sent or self._unsent
        return first[0].start if first else self.captured

    @property
    def ring_bytes(self) -> int:
        """Memory held, overhead included."""
        return self._bytes

    def needed_from(self, offset: int) -> None:
        """Keep audio from there on, as far as the ring goes, acknowledged or not, for another server."""
        self._needed = offset
        while self._acknowledged and self._acknowledged[0].stop <= offset:
            self._bytes -= _cost(self._acknowledged.popleft())

    def push(self, payload: bytes, captured_us: int) -> int:
        """Take captured audio and send what may be sent; returns the position behind it.

        Raises LocalProtocolError if `payload` is not whole audio of the format.
        """
        try:
            samples = self.format.samples(payload)
        except ValueError as error:
            raise LocalProtocolError(f"{error}; pass whole {self.format.codec} audio") from error
        if not samples:
            raise LocalProtocolError("there is no audio in an empty payload; leave it out")
        size = self.format.bytes_per_sample
        room = self._limits.audio_record_bytes - _HEAD_BYTES
        if len(payload) <= room:
            self._append(payload, samples, captured_us)
        elif size is None:
            raise LocalProtocolError(f"a packet of {len(payload)} bytes is too large; {room} fit a record")
        else:
            step = room // size * size
            for at in range(0, len(payload), step):
                part = payload[at : at + step]
                when = captured_us + self.format.duration_us(at // size)
                self._append(part, len(part) // size, when)
        self.pump()
        return self.captured

    def end_group(self) -> None:
        """Let the stream end behind what was captured so far."""
        if self._unsent:
            self._group_ends.add(self.captured)
        else:
            self.groups.end(self.sent)

    def acknowledge(self, offset: int) -> None:
        """The server has everything before `offset`; raises RemoteProtocolError beyond what was sent."""
        if offset > self.sent:
            raise RemoteProtocolError(
                SessionCode.PROTOCOL_VIOLATION, f"acknowledged {offset} samples of {self.sent} sent"
            )
        if offset <= self.acked:
            return
        self.acked = offset
        while self._sent and self._sent[0].stop <= offset:
            self._done_with(self._sent.popleft())
        while self._flying and self._flying[0][0] <= offset:
            self._flying_bytes -= self._flying.popleft()[1]
        self.groups.acknowledge(offset)
        self.pump()

    def start_from(self, offset: int) -> None:
        """The server has everything before `offset`, perhaps from an earlier connection.

        Raises RemoteProtocolError if that audio was acknowledged before or never captured.
        """
        if not self.acked <= offset <= self.captured:
            raise RemoteProtocolError(
                SessionCode.PROTOCOL_VIOLATION, f"welcome wants audio from {offset}, which is not to be had"
            )
        while self._unsent and self._unsent[0].stop <= offset:
            self._bytes -= _cost(self._unsent.popleft())
        self.sent = max(self.sent, offset)
        self.acknowledge(offset)
        self.pump()

    def detach(self) -> None:
        """The connection is lost: what is captured waits."""
        self._attached = False
        self.groups.detach()

    def attach(self, streams: UplinkStreams, offset: int) -> None:
        """Go on over another session, whose server has everything before `offset` and nothing behind it."""
        self.groups.attach(streams)
        for waiting in (self._sent, self._acknowledged):
            self._unsent.extendleft(reversed(waiting))
            waiting.clear()
        self._flying.clear()
        self._flying_bytes = 0
        while self._unsent and self._unsent[0].stop <= offset:
            self._done_with(self._unsent.popleft())
        self.acked = self.sent = self._given_up = offset
        self._attached = True
        self.pump()

    def pump(self) -> None:
        """Send what the window has room for."""
        while self._attached and self.sent < self.captured:
            piece = self._unsent[0] if self._unsent else None
            if piece is not None and self.sent > self.acked and not self._has_room(piece):
                return
            if piece is None or piece.start > self.sent:
                # Said once, when it is clear how much it is; the window then waits for its acknowledgement.
                start = self.captured if piece is None else piece.start
                self.groups.streams.declare_lost(self.sent, start)
                self.sent = start
                continue
            if not self.groups.ready(piece.start):
                return
            self._unsent.popleft()
            self._sent.append(piece)
            self._flying.append((piece.stop, _cost(piece)))
            self._flying_bytes += _cost(piece)
            self.sent = piece.stop
            last = piece.stop in self._group_ends
            self.groups.send(*piece, last)
            self._group_ends.discard(piece.stop)

    def say_again(self) -> None:
        """The path has changed: send what is not acknowledged once more, on a stream of its own.

        What was under way is lost with the old path, and it would take a round trip to find that out. The
        server takes every sample once.
        """
        if not self._attached or not self._sent or self._flying_bytes > _AGAIN_BYTES:
            return
        self.groups.end(self.sent)
        for piece in self._sent:
            if not self.groups.ready(piece.start):
                return
            self.groups.send(*piece)

    def give_up_after(self, late_us: int | None) -> None:
        """From now on audio that is older is of no use (profile `duplex`); None: all of it is of use."""
        self._late_us = late_us
        if late_us is None:
            self.groups.keep_all()

    def give_up(self, now: int) -> None:
        """Drop what has become too late, if anything ever does."""
        if self._late_us is None:
            return
        horizon = now - self._late_us
        if self._attached:
            self._reset_until(horizon - _LEFT_ALONE_US)
        else:
            self._drop(self._sent, horizon)
        # What is left out here is declared by `pump`, before what follows.
        self._drop(self._unsent, horizon)
        self.pump()

    def _reset_until(self, horizon: int) -> None:
        late = [piece.stop for piece in self._sent if piece.captured_us < horizon]
        stop = self.groups.abandon(late[-1]) if late else 0
        while self._sent and self._sent[0].stop <= stop:
            self._bytes -= _cost(self._sent.popleft())
        start = max(self.acked, self._given_up)
        if stop > start:
            self.groups.streams.declare_lost(start, stop)
            self._given_up = stop

    def _drop(self, waiting: deque[_Piece], horizon: int) -> None:
        while waiting and waiting[0].captured_us < horizon:
            lost = waiting.popleft()
            self._bytes -= _cost(lost)
            self._group_ends.discard(lost.stop)

    def _done_with(self, piece: _Piece) -> None:
        """The server has this piece."""
        if self._needed is None or piece.stop <= self._needed:
            self._bytes -= _cost(piece)
        else:
            self._acknowledged.append(piece)

    def _has_room(self, piece: _Piece) -> bool:
        within = piece.stop - self.acked <= self._window
        return within and self._flying_bytes + _cost(piece) <= self._limits.window_bytes

    def _append(self, payload: bytes, samples: int, captured_us: int) -> None:
        piece = _Piece(self.captured, self.captured + samples, captured_us, payload)
        self.captured = piece.stop
        self._unsent.append(piece)
        self._bytes += _cost(piece)
        while self.captured - self.oldest > self._ring or self._bytes > self._settings.ring_bytes:
            if kept := self._acknowledged or self._sent:
                self._bytes -= _cost(kept.popleft())
            elif len(self._unsent) > 1:
                lost = self._unsent.popleft()
                self._bytes -= _cost(lost)
                self._group_ends.discard(lost.stop)
            else:
                return


def _cost(piece: _Piece) -> int:
    return OVERHEAD_BYTES + len(piece.payload)
