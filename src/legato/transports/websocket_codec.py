"""Bytes of one WebSocket to messages and back (RFC 6455), without a socket.

Owns the joint between `websockets`' protocol, which judges everything out of the ordinary, and the quick way
for plain messages. Must not know connections, nor what a message says.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from legato.transports.base import CloseSource
from legato.transports.messages import INVALID_TEXT, NO_STATUS
from legato.transports.websocket_frames import FrameCutter, frame_head

__all__ = ["Ended", "Item", "WebSocketCodec"]

REASON_BYTES = 123
"""Longest reason that fits a close frame (RFC 6455 §5.5)."""


class Ended(NamedTuple):
    """The peer closes, or broke the protocol: nothing comes after this."""

    by: CloseSource
    code: int
    reason: str


Item = str | bytes | Ended | Request
"""What bytes of the peer come to: a text or binary message, the end, and at the very first the request."""


class WebSocketCodec:
    """The server's half of one connection."""

    def __init__(self, message_bytes: int, log: logging.Logger) -> None:
        """Take messages of up to `message_bytes`; the library logs to `log`."""
        self._protocol = ServerProtocol(max_size=message_bytes, logger=log)
        self._cutter = FrameCutter(message_bytes)
        self._parts = bytearray()
        self._parts_are_text = False
        self._undecided = False
        self._early: list[bytes] = []

    @property
    def open(self) -> bool:
        """Whether messages may be sent."""
        return self._protocol.state is State.OPEN

    @property
    def undecided(self) -> bool:
        """Whether the request waits for its answer; what comes before that is kept."""
        return self._undecided

    def limit(self, message_bytes: int) -> None:
        """Take messages of up to `message_bytes` from now on."""
        self._protocol.max_message_size = self._cutter.limit = message_bytes

    def receive(self, data: bytes) -> list[Item]:
        """Take bytes in; return what they complete. See `to_send` for what has to be said to that."""
        if self._undecided:
            self._early.append(data)
            return []
        if self._protocol.state is State.CONNECTING:
            self._protocol.receive_data(data)
            requests = [event for event in self._protocol.events_received() if isinstance(event, Request)]
            self._undecided = bool(requests)
            return [*requests]
        items: list[Item] = []
        for opcode, payload in self._cutter.cut(data):
            if opcode == Opcode.TEXT:
                self._text(items, payload)
            elif opcode == Opcode.BINARY:
                items.append(payload)
            else:
                self._other(items, payload)
            if self._protocol.state is not State.OPEN:
                break
        return items

    def eof(self) -> None:
        """The peer says no more."""
        self._protocol.receive_eof()

    def to_send(self) -> list[bytes]:
        """Return what has to be said; an empty one is the end of what we say."""
        return self._protocol.data_to_send()

    def judge(self, request: Request) -> Response:
        """Return the answer to a request: 101, or what is wrong with it."""
        return self._protocol.accept(request)

    def answer(self, response: Response) -> list[Item]:
        """Say it; return what came in the meantime."""
        self._undecided = False
        self._protocol.send_response(response)
        early, self._early = self._early, []
        return [item for data in early for item in self.receive(data)] if self.open else []

    def message(self, opcode: Opcode, payload: bytes) -> bytes:
        """Return one whole message as it is sent."""
        return frame_head(opcode, len(payload)) + payload

    def close(self, code: int, reason: str) -> None:
        """Say that we close."""
        self._protocol.send_close(code, reason.encode()[:REASON_BYTES].decode(errors="ignore"))

    def ping(self) -> None:
        """Ask whether the peer is there."""
        self._protocol.send_ping(b"")

    def _other(self, items: list[Item], data: bytes) -> None:
        """Let the library judge a frame."""
        protocol = self._protocol
        was_open = protocol.state is State.OPEN
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._fragment(items, event)
        if was_open and protocol.state is not State.OPEN:
            closed = protocol.close_rcvd
            said = closed or protocol.close_sent or Close(NO_STATUS, "")
            items.append(Ended("local" if closed is None else "peer", said.code, said.reason))

    def _fragment(self, items: list[Item], frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._parts_are_text = frame.opcode is Opcode.TEXT
        # Empty fragments, of which there may be any number, leave nothing behind.
        self._parts += frame.data
        if frame.fin:
            whole = bytes(self._parts)
            self._parts.clear()
            if self._parts_are_text:
                self._text(items, whole)
            else:
                items.append(whole)

    def _text(self, items: list[Item], payload: bytes) -> None:
        try:
            items.append(payload.decode())
        except UnicodeDecodeError as error:
            reason = f"a text message is not UTF-8 (byte {error.start})"
            if self.open:
                self._protocol.fail(INVALID_TEXT, reason)
                items.append(Ended("local", INVALID_TEXT, reason))
