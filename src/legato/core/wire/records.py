"""Records: length-prefixed pieces of a stream, found in chunks of any size.

Owns their layout (wire/SPEC.md, "Records") and the bytes of one unfinished record per stream; must not
know what a record leads to. A reader calls `deliver` for each whole record, in order, so that every way of
cutting the same bytes gives the same calls; what breaks the layout raises `RemoteProtocolError` after
everything before it was delivered. A reader never holds more than one record of the size limit plus the
chunk at hand, and copies each byte a fixed number of times however it arrives.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from struct import Struct

from legato.core.errors import RemoteProtocolError
from legato.core.wire import varint
from legato.core.wire.codes import VARINT_MAX, RecordType, SessionCode

DeliverAudio = Callable[[int, int, bytes, int], None]
"""Receives offset (samples), capture time (microseconds, 0 on a downlink), payload, time of arrival."""

DeliverControl = Callable[[int, bytes, int], None]
"""Receives record type, payload, time of arrival."""

# Length and value bits of a number by the two top bits of its first byte (RFC 9000 section 16).
_SIZES = (1, 2, 4, 8)
_MASKS = (0x3F, 0x3FFF, 0x3FFF_FFFF, 0x3FFF_FFFF_FFFF_FFFF)

_number = int.from_bytes


def control_record(payload: bytes) -> bytes:
    """One event as a control record."""
    return varint.encode(RecordType.EVENT) + varint.encode(len(payload)) + payload


# The layouts nearly every record has: a length of two bytes, an offset of four, a capture time of eight.
# One pack is three times as fast as three encoded numbers, and gives the same bytes.
_UPLINK_HEAD = Struct(">HIQ")
_DOWNLINK_HEAD = Struct(">HI")
_TWO, _FOUR, _EIGHT = 0x4000, 0x8000_0000, 0xC000_0000_0000_0000


def uplink_record(offset: int, captured_us: int, payload: bytes) -> bytes:
    """One audio record of a client."""
    length = len(payload) + 12
    if 64 <= length < 0x4000 <= offset < 0x4000_0000 <= captured_us <= VARINT_MAX:
        return _UPLINK_HEAD.pack(_TWO | length, _FOUR | offset, _EIGHT | captured_us) + payload
    head = varint.encode(offset) + varint.encode(captured_us)
    return varint.encode(len(head) + len(payload)) + head + payload


def downlink_record(offset: int, payload: bytes) -> bytes:
    """One audio record of a server."""
    length = len(payload) + 4
    if 64 <= length < 0x4000 <= offset < 0x4000_0000:
        return _DOWNLINK_HEAD.pack(_TWO | length, _FOUR | offset) + payload
    head = varint.encode(offset)
    return varint.encode(len(head) + len(payload)) + head + payload


class _RecordReader(ABC):
    """Collects the unfinished record; subclasses take whole ones out."""

    __slots__ = ("_limit", "_partial", "_wanted")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._partial = bytearray()
        self._wanted = 0

    @property
    def within_record(self) -> bool:
        """Whether the bytes so far end inside a record: an error if the stream ends here."""
        return bool(self._partial)

    def feed(self, data: bytes, now: int) -> None:
        """Take the next bytes of the stream; delivers each record that they complete."""
        partial = self._partial
        if partial:
            partial += data
            if len(partial) < self._wanted:
                return
            data = bytes(partial)
            partial.clear()
        done = self._take(data, now)
        if done < len(data):
            partial += data[done:]

    @abstractmethod
    def _take(self, data: bytes, now: int) -> int:
        """Deliver the whole records in `data`; returns where the unfinished one starts.

        Sets `_wanted` to a number of bytes below which that record cannot be complete.
        """

    def _check(self, length: int) -> None:
        if length > self._limit:
            raise RemoteProtocolError(
                SessionCode.LIMIT_EXCEEDED, f"a record of {length} bytes is over the limit of {self._limit}"
            )


class ControlReader(_RecordReader):
    """Control records: type, length, payload."""

    __slots__ = ("_deliver",)

    def __init__(self, limit: int, deliver: DeliverControl) -> None:
        super().__init__(limit)
        self._deliver = deliver

    def narrow(self, limit: int) -> None:
        """Accept no longer records than `limit` from now on."""
        self._limit = min(self._limit, limit)

    def _take(self, data: bytes, now: int) -> int:
        at = 0
        while True:
            self._wanted = 0
            kind = varint.decode(data, at)
            length = varint.decode(data, kind[1]) if kind else None
            if kind is None or length is None:
                return at
            self._check(length[0])
            stop = length[1] + length[0]
            if stop > len(data):
                self._wanted = stop - at
                return at
            self._deliver(kind[0], data[length[1] : stop], now)
            at = stop


class AudioReader(_RecordReader):
    """Audio records: length, offset, capture time if `timed` (uplink), payload."""

    __slots__ = ("_deliver", "_most", "_timed")

    def __init__(self, limit: int, timed: bool, deliver: DeliverAudio) -> None:
        super().__init__(limit)
        # The largest length of two bytes that is allowed, as it is written.
        self._most = _TWO + min(limit, 0x3FFF)
        self._timed = timed
        self._deliver = deliver

    def _take(self, data: bytes, now: int) -> int:
        # Runs once per audio frame of every call, so the numbers are read in place.
        at = 0
        end = len(data)
        timed = self._timed
        while at < end:
            body = at + 14
            if timed and body <= end:
                size, offset, captured = _UPLINK_HEAD.unpack_from(data, at)
                stop = at + size - 0x3FFE
                # The layout that `uplink_record` writes for all but the first seconds of a call.
                if (
                    body <= stop <= end
                    and offset >> 30 == 2
                    and captured >= _EIGHT
                    and 0x400C <= size <= self._most
                ):
                    self._deliver(offset - _FOUR, captured - _EIGHT, data[body:stop], now)
                    at = stop
                    continue
            kind = data[at] >> 6
            body = at + _SIZES[kind]
            if body > end:
                self._wanted = body - at
                return at
            length = _number(data[at:body]) & _MASKS[kind]
            stop = body + length
            if length > self._limit:
                self._check(length)
            if stop > end:
                self._wanted = stop - at
                return at
            if body == stop:
                raise _cut_short()
            kind = data[body] >> 6
            behind = body + _SIZES[kind]
            offset = _number(data[body:behind]) & _MASKS[kind]
            captured = 0
            if self._timed:
                if behind >= stop:
                    raise _cut_short()
                kind = data[behind] >> 6
                body = behind
                behind = body + _SIZES[kind]
                captured = _number(data[body:behind]) & _MASKS[kind]
            if behind > stop:
                raise _cut_short()
            self._deliver(offset, captured, data[behind:stop], now)
            at = stop
        return at


def _cut_short() -> RemoteProtocolError:
    return RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "an audio record ends within its header")
