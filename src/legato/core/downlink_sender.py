"""Replies as a server sends them: one stream each, generations, and the flush that makes them stale.

Owns the streams of open replies and keeps the playback ledger true. Must not know the control stream or
who speaks. Rules: wire/SPEC.md, "Downlink audio" and "Flush and generations".
"""

from collections.abc import Callable

from legato.core.audio import AudioFormat
from legato.core.errors import LocalProtocolError
from legato.core.events import PlaybackReported
from legato.core.outputs import OpenStream, Output, Reset, Send
from legato.core.playout import PlayoutLedger, ReplyProgress
from legato.core.state import ReplyCause, ReplyState
from legato.core.wire import varint
from legato.core.wire.codes import Priority, StreamCode, StreamType
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import Flush, Playback, ReplyHeader
from legato.core.wire.records import downlink_record

_MAX_OPEN = 32
# Room for the offset inside the size limit of a record.
_HEAD_BYTES = 8


class _OpenReply:
    __slots__ = ("format", "key", "progress", "sample_bytes")

    def __init__(self, key: int, progress: ReplyProgress, form: AudioFormat) -> None:
        self.key = key
        self.progress = progress
        self.format = form
        self.sample_bytes = form.bytes_per_sample


class DownlinkSender:
    """All replies of one session."""

    def __init__(
        self,
        ledger: PlayoutLedger,
        record_limit: int,
        emit: Callable[[Output], None],
        take_key: Callable[[], int],
        tell: Callable[[Flush], None],
    ) -> None:
        self.ledger = ledger
        self.generation = 0
        self.flushed = 0
        self._room = record_limit - _HEAD_BYTES
        self._emit = emit
        self._take_key = take_key
        self._tell = tell
        self._open: dict[int, _OpenReply] = {}

    def begin(self, response_id: str, item_id: str, form: AudioFormat, content_index: int) -> int:
        """Open a stream for a reply; returns its generation. See `ServerSession.begin_reply`."""
        if len(self._open) >= _MAX_OPEN:
            raise LocalProtocolError(f"{_MAX_OPEN} replies are open; end or flush them before the next one")
        self.generation += 1
        header = encode_message(
            ReplyHeader(
                response_id=response_id,
                item_id=item_id,
                content_index=content_index,
                generation=self.generation,
                format=form,
            )
        )
        progress = self.ledger.begin(self.generation, item_id, content_index, form.rate)
        key = self._take_key()
        self._open[self.generation] = _OpenReply(key, progress, form)
        self._emit(OpenStream(key, False, Priority.AUDIO))
        preface = varint.encode(StreamType.DOWNLINK_AUDIO) + varint.encode(len(header)) + header
        self._emit(Send(key, preface, False))
        return self.generation

    def send(self, generation: int, payload: bytes, samples: int, now: int) -> bool:
        """Send the next audio of a reply. See `ServerSession.send_audio`."""
        reply = self._open.get(generation)
        if reply is None:
            return self._too_late(generation)
        progress = reply.progress
        size = reply.sample_bytes
        if samples <= 0 or (size is not None and len(payload) != samples * size):
            raise LocalProtocolError(f"{len(payload)} bytes are not {samples} samples of {reply.format}")
        if progress.started_us is None:
            self.ledger.first_sent(progress, now)
        if len(payload) <= self._room:
            self._emit(Send(reply.key, downlink_record(progress.sent, payload), False))
            progress.sent += samples
            return True
        if size is None:
            raise LocalProtocolError(
                f"a packet of {len(payload)} bytes is too large; {self._room} fit a record"
            )
        step = self._room // size * size
        for at in range(0, len(payload), step):
            part = payload[at : at + step]
            self._emit(Send(reply.key, downlink_record(progress.sent, part), False))
            progress.sent += len(part) // size
        return True

    def end(self, generation: int) -> None:
        """The reply is complete. See `ServerSession.end_reply`."""
        reply = self._open.pop(generation, None)
        if reply is None:
            self._too_late(generation)
            return
        reply.progress.move(ReplyCause.FINISH)
        self._emit(Send(reply.key, b"", True))

    def flush(self, now: int) -> None:
        """Make everything sent so far stale, and tell the client if anything is new."""
        for reply in self._open.values():
            self._emit(Reset(reply.key, StreamCode.FLUSHED))
        self._open.clear()
        if self.generation > self.flushed:
            self.ledger.flush(1, self.generation, now)
            self.flushed = self.generation
            self._tell(Flush(self.generation))

    def flush_reply(self, generation: int, now: int) -> None:
        """Make one reply stale, and tell the client if it is not history already."""
        if not 0 < generation <= self.generation:
            raise LocalProtocolError(f"there is no reply of generation {generation}; begin one first")
        reply = self._open.pop(generation, None)
        if reply is not None:
            self._emit(Reset(reply.key, StreamCode.FLUSHED))
        line = self.ledger.get(generation)
        if line is not None and line.audible:
            self.ledger.flush(generation, generation, now)
            self._tell(Flush(generation, generation))

    def report(self, report: Playback) -> PlaybackReported | None:
        """Take a report of the client's player; returns what of it is credible."""
        line = self.ledger.report(report)
        if line is None:
            return None
        return PlaybackReported(
            line.item_id,
            line.content_index,
            line.generation,
            line.played,
            line.buffered,
            line.underruns,
            report.state,
        )

    def cancel(self, key: int) -> int | None:
        """The client reads no more of this stream; returns the generation, None if it is not open."""
        for generation, reply in self._open.items():
            if reply.key == key:
                del self._open[generation]
                reply.progress.move(ReplyCause.CANCEL)
                self._emit(Reset(key, StreamCode.CANCELLED))
                return generation
        return None

    def release(self) -> None:
        """The session has ended: nothing is open any more."""
        self._open.clear()

    def _too_late(self, generation: int) -> bool:
        """False for a reply that was flushed or cancelled under its speaker; raises for a mistake."""
        if not 0 < generation <= self.generation:
            raise LocalProtocolError(f"there is no reply of generation {generation}; begin one first")
        progress = self.ledger.get(generation)
        if progress is not None and progress.state is ReplyState.SENT:
            raise LocalProtocolError(f"reply {generation} has been ended; begin another one")
        return False
