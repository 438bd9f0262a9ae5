"""Replies as a server sends them: one stream each, generations, and the flush that makes them stale.

Owns the streams of open replies, keeps the playback ledger true, and remembers what was not played yet for a
client that loses its connection. Must not know the control stream or who speaks. Rules: wire/SPEC.md,
"Downlink audio", "Flush and generations" and "Resume".
"""

from collections.abc import Callable, Iterable

from legato.core.audio import AudioFormat
from legato.core.downlink_reply import SentReply, report_of
from legato.core.errors import LocalProtocolError
from legato.core.events import PlaybackReported
from legato.core.outputs import OpenStream, Output, Reset, Send
from legato.core.playout import PlayoutLedger, ReplyProgress
from legato.core.state import ReplyCause, ReplyState
from legato.core.wire import varint
from legato.core.wire.codes import KEPT_REPLY_BYTES, OVERHEAD_BYTES, Priority, StreamCode, StreamType
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import Flush, Playback, ReceivedReply, ReplyHeader
from legato.core.wire.records import downlink_record

_MAX_OPEN = 32
# Complete replies that a client may not have whole; more than its owner lets go unheard.
_MAX_ENDED = 64
# A server that is gone may have begun so many replies of which this one does not know.
_LEAP = 1_024
# Room for the offset inside the size limit of a record.
_HEAD_BYTES = 8


class DownlinkSender:
    """All replies of one call."""

    __slots__ = (
        "_emit", "_ended", "_kept_bytes", "_open", "_room", "_take_key", "_tell", "flushed",
        "generation", "keeps", "ledger",
    )  # fmt: skip

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
        self.keeps = False
        """Whether audio is kept until it was played, for another connection."""
        self._room = record_limit - _HEAD_BYTES
        self._emit = emit
        self._take_key = take_key
        self._tell = tell
        self._open: dict[int, SentReply] = {}
        self._ended: dict[int, SentReply] = {}
        self._kept_bytes = 0

    @property
    def kept_bytes(self) -> int:
        """Memory held by audio that was not played yet, overhead included."""
        return self._kept_bytes

    def begin(self, response_id: str, item_id: str, form: AudioFormat, content_index: int) -> int:
        """Open a stream for a reply; returns its generation. See `ServerSession.begin_reply`."""
        if len(self._open) >= _MAX_OPEN:
            raise LocalProtocolError(f"{_MAX_OPEN} replies are open; end or flush them before the next one")
        self.generation += 1
        header = ReplyHeader(
            response_id=response_id,
            item_id=item_id,
            content_index=content_index,
            generation=self.generation,
            format=form,
        )
        self._open[self.generation] = self._opened(header)
        return self.generation

    def restore(
        self, generation: int, replies: Iterable[ReceivedReply], form: AudioFormat
    ) -> list[PlaybackReported]:
        """Go on with what another server has sent, of which `replies` have arrived: no more of them is to be
        had, so that each ends where its client has it to. Returns what the player did."""
        last = sorted({reply.generation: reply for reply in replies}.items())[-_MAX_ENDED:]
        self.generation = max(generation, last[-1][0] if last else 0) + _LEAP
        reports = []
        for number, there in last:
            header = ReplyHeader(
                response_id="",
                item_id=there.item_id,
                content_index=there.content_index,
                generation=number,
                format=form,
            )
            whole = there.complete or there.state in ("stopped", "done")
            reply = self._opened(header, silent=whole)
            reply.progress.sent = there.received
            reply.progress.move(ReplyCause.FINISH)
            if not whole:
                self._emit(Send(reply.key, b"", True))
                self._ended[number] = reply
            reports.append(self.report(report_of(there)))
        return [report for report in reports if report is not None]

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
            sent = progress.sent
            self._emit(Send(reply.key, downlink_record(sent, payload), False))
            progress.sent = sent + samples
            if self.keeps:
                self._keep(reply, samples, payload)
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
            if self.keeps:
                self._keep(reply, len(part) // size, part)
        return True

    def end(self, generation: int) -> None:
        """The reply is complete. See `ServerSession.end_reply`."""
        reply = self._open.pop(generation, None)
        if reply is None:
            self._too_late(generation)
            return
        reply.progress.move(ReplyCause.FINISH)
        self._emit(Send(reply.key, b"", True))
        if self.keeps:
            self._ended[generation] = reply
            if len(self._ended) > _MAX_ENDED:
                self._forget(self._ended.pop(min(self._ended)))

    def flush(self, now: int) -> None:
        """Make everything sent so far stale, and tell the client if anything is new."""
        for reply in self._open.values():
            self._emit(Reset(reply.key, StreamCode.FLUSHED))
        self.release()
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
        self._forget(reply or self._ended.pop(generation, None))
        line = self.ledger.get(generation)
        if line is not None and line.audible:
            self.ledger.flush(generation, generation, now)
            self._tell(Flush(generation, generation))

    def report(self, report: Playback) -> PlaybackReported | None:
        """Take a report of the client's player; returns what of it is credible."""
        line = self.ledger.report(report)
        if line is None:
            return None
        if self.keeps:
            self._trim(line)
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
                self._forget(reply)
                reply.progress.move(ReplyCause.CANCEL)
                self._emit(Reset(key, StreamCode.CANCELLED))
                return generation
        return None

    def detach(self) -> None:
        """The connection is lost: what is said is remembered and goes nowhere."""
        self._emit = _nowhere

    def attach(
        self,
        emit: Callable[[Output], None],
        take_key: Callable[[], int],
        tell: Callable[[Flush], None],
        received: Iterable[ReceivedReply],
    ) -> list[PlaybackReported]:
        """Go on over another session, for a client that has `received` so much: what it lacks is sent.
        Returns what its player did meanwhile."""
        self._emit, self._take_key, self._tell = emit, take_key, tell
        known = {reply.generation: reply for reply in received}
        reports = [self.report(report_of(reply)) for reply in known.values()]
        for generation, reply in sorted((self._ended | self._open).items()):
            there = known.get(generation)
            ended = generation in self._ended
            if ended and there is not None and there.complete:
                continue
            reply.key = take_key()
            emit(OpenStream(reply.key, False, Priority.AUDIO))
            emit(Send(reply.key, reply.preface, False))
            self._send_again(reply, there.received if there is not None else 0)
            if ended:
                emit(Send(reply.key, b"", True))
        return [report for report in reports if report is not None]

    def release(self) -> None:
        """Nothing is open or kept any more."""
        self._open.clear()
        self._ended.clear()
        self._kept_bytes = 0

    def _opened(self, header: ReplyHeader, silent: bool = False) -> SentReply:
        """A reply in the ledger and, unless `silent`, on a stream."""
        text = encode_message(header)
        form, generation = header.format, header.generation
        progress = self.ledger.begin(generation, header.item_id, header.content_index, form.rate)
        preface = varint.encode(StreamType.DOWNLINK_AUDIO) + varint.encode(len(text)) + text
        reply = SentReply(0 if silent else self._take_key(), progress, form, preface)
        if not silent:
            self._emit(OpenStream(reply.key, False, Priority.AUDIO))
            self._emit(Send(reply.key, preface, False))
        return reply

    def _keep(self, reply: SentReply, samples: int, payload: bytes) -> None:
        stop = reply.progress.sent
        reply.kept.append((stop - samples, stop, payload))
        self._kept_bytes += OVERHEAD_BYTES + len(payload)
        while self._kept_bytes > KEPT_REPLY_BYTES:
            # The oldest reply is the one whose beginning was played, or never will be.
            oldest = min((self._ended | self._open).items(), key=lambda item: (not item[1].kept, item[0]))[1]
            self._kept_bytes -= OVERHEAD_BYTES + len(oldest.kept.popleft()[2])

    def _trim(self, line: ReplyProgress) -> None:
        """Let go of what was played of a reply, and of one that will not go on."""
        generation = line.generation
        if line.state is ReplyState.SETTLED:
            self._forget(self._ended.pop(generation, None))
        reply = self._open.get(generation) or self._ended.get(generation)
        while reply is not None and reply.kept and reply.kept[0][1] <= line.played:
            self._kept_bytes -= OVERHEAD_BYTES + len(reply.kept.popleft()[2])

    def _forget(self, reply: SentReply | None) -> None:
        if reply is not None:
            self._kept_bytes -= sum(OVERHEAD_BYTES + len(payload) for _, _, payload in reply.kept)
            reply.kept.clear()

    def _send_again(self, reply: SentReply, received: int) -> None:
        for start, stop, payload in reply.kept:
            if start < received < stop and reply.sample_bytes is not None:
                rest = payload[(received - start) * reply.sample_bytes :]
                self._emit(Send(reply.key, downlink_record(received, rest), False))
            elif start >= received:
                self._emit(Send(reply.key, downlink_record(start, payload), False))

    def _too_late(self, generation: int) -> bool:
        """False for a reply that was flushed or cancelled under its speaker; raises for a mistake."""
        if not 0 < generation <= self.generation:
            raise LocalProtocolError(f"there is no reply of generation {generation}; begin one first")
        progress = self.ledger.get(generation)
        if progress is not None and progress.state is ReplyState.SENT:
            raise LocalProtocolError(f"reply {generation} has been ended; begin another one")
        return False


def _nowhere(_output: Output) -> None:
    """Where outputs go while there is no connection."""
