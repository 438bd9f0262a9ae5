"""Whole messages out of data frames (RFC 6455 §5.4, §8.1).

Owns the joining of fragments and the check of UTF-8. The order of frames and the size of a message are the
protocol's own business: it lets nothing through that breaks them.
"""

from __future__ import annotations

from websockets.frames import Frame, Opcode

__all__ = ["MessageAssembler"]


class MessageAssembler:
    """Joins the data frames of one connection."""

    __slots__ = ("_is_text", "_parts")

    def __init__(self) -> None:
        """Begin between messages."""
        self._parts = bytearray()
        self._is_text = False

    def take(self, frame: Frame) -> str | bytes | None:
        """Return the message that ends with this frame, or None; raises `UnicodeDecodeError`."""
        opcode = frame.opcode
        if opcode is Opcode.TEXT and frame.fin:
            return bytes(frame.data).decode()
        if opcode is Opcode.BINARY and frame.fin:
            return bytes(frame.data)
        if opcode is not Opcode.CONT:
            self._is_text = opcode is Opcode.TEXT
        # Empty fragments, of which there may be any number, leave nothing behind.
        self._parts += frame.data
        if not frame.fin:
            return None
        whole = bytes(self._parts)
        self._parts.clear()
        return whole.decode() if self._is_text else whole
