"""The quick way for the frames that nearly all messages are: whole, not fragmented (RFC 6455 §5.2).

Owns finding where frames end, and unmasking the plain ones. Everything else, broken frames included, is cut
out untouched for the protocol library to judge; what follows a frame whose end cannot be told goes there too.
Must not know connections.
"""

from __future__ import annotations

import os
import struct

from websockets.frames import Opcode

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build without its C part
    from websockets.utils import apply_mask

__all__ = ["OTHER", "FrameCutter", "frame_head", "masked_frame"]

OTHER = -1
"""Instead of an opcode: these bytes are for the library."""

_WHOLE = (0x81, 0x82)  # text and binary
_DATA_OPCODES = (Opcode.CONT, Opcode.TEXT, Opcode.BINARY)

_SHORT, _MIDDLE, _LONG = 125, 126, 127
_MIDDLE_FRAME, _LONG_FRAME = struct.Struct(">BBH"), struct.Struct(">BBQ")
_MASK_BYTES = 4
_MASKED = 0x80
_MASKED_MIDDLE, _MIDDLE_HEAD = _MASKED | _MIDDLE, 8


class FrameCutter:
    """Cuts the bytes of one connection into frames."""

    __slots__ = ("_buffer", "_fragmented", "_lost", "_masked", "_wanted", "limit")

    def __init__(self, limit: int, masked: bool = True) -> None:
        """Judge frames with a payload beyond `limit` no further; those of clients are `masked`."""
        self.limit = limit
        self._masked = masked
        self._buffer = bytearray()
        self._wanted = 0  # bytes without which the buffer holds no whole frame
        self._fragmented = False
        self._lost = False

    def cut(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return what is complete with `data`: the opcode and payload of a plain message, or `OTHER` and
        the bytes of any other frame."""
        if self._lost:
            return [(OTHER, data)]
        size = len(data)
        if (
            size > _MIDDLE_HEAD
            and data[1] == _MASKED_MIDDLE
            and data[0] in _WHOLE
            and size - _MIDDLE_HEAD == (data[2] << 8 | data[3]) <= self.limit
            and not self._buffer
            and not self._fragmented
            and self._masked
        ):
            # One frame of a few hundred bytes: the audio of a call, frame by frame.
            return [(data[0] & 0x0F, apply_mask(data[_MIDDLE_HEAD:], data[4:_MIDDLE_HEAD]))]
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        found: list[tuple[int, bytes]] = []
        at, end = 0, len(data)
        while at < end:
            start, stop = self._bounds(data, at)
            if self._lost:
                found.append((OTHER, data[at:]))
                break
            if stop > end:
                self._wanted = stop - at
                self._buffer += data[at:]
                break
            head = data[at]
            if head in _WHOLE and not self._fragmented:
                payload = data[start:stop]
                if self._masked:
                    payload = apply_mask(payload, data[start - _MASK_BYTES : start])
                found.append((head & 0x0F, payload))
            else:
                found.append((OTHER, data[at:stop]))
                if head & 0x0F in _DATA_OPCODES:
                    self._fragmented = not head & 0x80
            at = stop
        return found

    def _bounds(self, data: bytes, at: int) -> tuple[int, int]:
        """Return where the payload of the frame at `at` begins and ends, at the least, if that is not told
        yet. Finds itself lost if the frame is not masked as it should be, or too long."""
        if len(data) - at < 2:
            return at, at + 2
        length, start = data[at + 1] & 0x7F, at + 2
        if length >= _MIDDLE:
            start += 2 if length == _MIDDLE else 8
            if len(data) < start:
                return start, start
            length = int.from_bytes(data[at + 2 : start], "big")
        masked = data[at + 1] >= _MASKED
        self._lost = masked is not self._masked or length > self.limit
        if masked:
            start += _MASK_BYTES
        return start, start + length


def frame_head(opcode: int, size: int) -> bytes:
    """Return the head of a whole frame with `size` bytes of payload, as servers send it: unmasked."""
    if size <= _SHORT:
        return bytes((0x80 | opcode, size))
    if size < 1 << 16:
        return _MIDDLE_FRAME.pack(0x80 | opcode, _MIDDLE, size)
    return _LONG_FRAME.pack(0x80 | opcode, _LONG, size)


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """Return a whole frame, as clients send it."""
    head = bytearray(frame_head(opcode, len(payload)))
    head[1] |= _MASKED
    mask = os.urandom(_MASK_BYTES)
    return b"".join((head, mask, apply_mask(payload, mask)))
