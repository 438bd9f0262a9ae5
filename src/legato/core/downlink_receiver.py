"""Replies as a client receives them: one stream each, header first, then audio without overlap.

Owns the order within a reply and the register of those the player may still be busy with. Must not know
the control stream or the player itself. Rules: wire/SPEC.md, "Downlink audio".
"""

from collections import deque
from collections.abc import Callable

from legato.core.errors import RemoteProtocolError
from legato.core.events import Event, ReplyAudio
from legato.core.wire import varint
from legato.core.wire.codes import POSITION_MAX, REPLY_HEADER_MAX_BYTES, SessionCode
from legato.core.wire.event_json import read_reply_header
from legato.core.wire.messages import Limits, Playback, PlaybackState, ReceivedReply, ReplyHeader
from legato.core.wire.records import AudioReader

_REMEMBERED = 64
_FINAL = ("stopped", "done")


class DownlinkReceiver:
    """Reads the stream behind its type number: `read_header` until `header` is known, then `feed`."""

    def __init__(self, limits: Limits, emit: Callable[[Event], None]) -> None:
        self.header: ReplyHeader | None = None
        self.received = 0
        self.again = False
        """Whether this goes on with a reply whose first part came over another connection."""
        self._emit = emit
        self._head = bytearray()
        self._reader = AudioReader(limits.audio_record_bytes, timed=False, deliver=self._audio)

    @property
    def within_record(self) -> bool:
        """Whether the bytes so far end inside a record."""
        return self._reader.within_record

    def read_header(self, data: bytes) -> bytes | None:
        """Take the next bytes of the header; returns those behind it once it is whole, None before."""
        self._head += data
        length = varint.decode(self._head, 0)
        if length is None:
            return None
        if length[0] > REPLY_HEADER_MAX_BYTES:
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "the header of a reply is too long")
        stop = length[1] + length[0]
        if len(self._head) < stop:
            return None
        self.header = read_reply_header(bytes(self._head[length[1] : stop]))
        rest = bytes(self._head[stop:])
        self._head.clear()
        return rest

    def feed(self, data: bytes, now: int) -> None:
        """Take the next bytes behind the header."""
        self._reader.feed(data, now)

    def _audio(self, offset: int, _captured_us: int, payload: bytes, _now: int) -> None:
        header = self.header
        assert header is not None
        try:
            samples = header.format.samples(payload)
        except ValueError as error:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, str(error)) from None
        if not samples:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "an audio record without audio")
        if offset < self.received or offset > POSITION_MAX:
            surplus = self.received - offset
            if self.again and surplus >= samples:
                return
            size = header.format.bytes_per_sample
            if not self.again or surplus < 0 or size is None:
                raise RemoteProtocolError(
                    SessionCode.PROTOCOL_VIOLATION, f"reply audio at {offset}, expected {self.received}"
                )
            offset, samples, payload = self.received, samples - surplus, payload[surplus * size :]
        self.received = offset + samples
        self._emit(ReplyAudio(header.generation, header.item_id, offset, payload))


class _Known:
    """A reply the player may still be busy with, or has done with not long ago."""

    __slots__ = ("attached", "complete", "header", "last", "played", "state", "stream")

    def __init__(self, header: ReplyHeader, stream: DownlinkReceiver) -> None:
        self.header = header
        self.stream = stream
        self.attached = True
        """Whether its stream came over this connection."""
        self.played = 0
        self.state: PlaybackState = "playing"
        self.last: Playback | None = None
        """The latest report, until a hello has told it."""
        self.complete = False

    def name(self) -> ReceivedReply:
        header = self.header
        return ReceivedReply(
            generation=header.generation,
            item_id=header.item_id,
            content_index=header.content_index,
            received=self.stream.received,
            played=self.played,
            complete=self.complete,
            state=self.state,
        )


class ReplyRegister:
    """The replies of a call that were not flushed, whether or not they were played; the latest ones.

    Everything up to `flushed` is stale. Single later generations that are stale are remembered too, the last
    ones of them.
    """

    def __init__(self) -> None:
        self.generation = 0
        """The highest one seen."""
        self.flushed = 0
        self._known: dict[int, _Known] = {}
        self._stale: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)

    def admit(self, header: ReplyHeader, stream: DownlinkReceiver) -> bool:
        """Enter a reply that begins or goes on; returns False if it is not wanted (any more)."""
        generation = header.generation
        if self._is_stale(generation):
            return False
        known = self._known.get(generation)
        if known is None:
            self._known[generation] = _Known(header, stream)
            self.generation = max(self.generation, generation)
            if len(self._known) > _REMEMBERED:
                del self._known[min(self._known)]
        elif known.attached:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "two streams have one generation")
        elif known.complete or known.state in _FINAL:
            return False
        else:
            stream.received = known.stream.received
            stream.again = True
            known.stream = stream
            known.attached = True
        return True

    def complete(self, generation: int) -> None:
        """All audio of a reply is here."""
        known = self._known.get(generation)
        if known is not None:
            known.complete = True

    def refuse(self, generation: int) -> None:
        """No more of this reply is wanted."""
        known = self._known.get(generation)
        if known is not None:
            known.state = "stopped"

    def report(self, report: Playback) -> None:
        """Note what the player did with a reply."""
        known = self._known.get(report.generation)
        if known is not None:
            known.played = report.played
            known.state = report.state
            known.last = report

    def flush(self, first: int, last: int) -> bool:
        """Forget these generations for good; returns False if that is nothing new."""
        if last <= self.flushed or any(one <= first and last <= other for one, other in self._stale):
            return False
        if first <= self.flushed + 1:
            self.flushed = last
        else:
            self._stale.append((first, last))
        self._known = {one: known for one, known in self._known.items() if not first <= one <= last}
        return True

    def received(self) -> tuple[ReceivedReply, ...]:
        """What is held and was played of each reply."""
        return tuple(known.name() for known in self._known.values())

    def hello(self) -> tuple[ReceivedReply, ...]:
        """The same for a hello, which tells all that was reported so far."""
        for known in self._known.values():
            known.last = None
        return self.received()

    def attach(self) -> list[Playback]:
        """Go on over another connection; returns what was reported since its hello."""
        for known in self._known.values():
            known.attached = False
        return [known.last for known in self._known.values() if known.last is not None]

    def _is_stale(self, generation: int) -> bool:
        if generation <= self.flushed:
            return True
        return any(first <= generation <= last for first, last in self._stale)
