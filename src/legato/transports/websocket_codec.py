"""Bytes of one WebSocket to messages and back (RFC 6455), without a socket.

Owns the joint between `websockets`' protocol, which judges everything out of the ordinary, and the quick way
for plain messages. Must not know connections, nor what a message says.
"""

from __future__ import annotations

import logging
import re
from typing import NamedTuple

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from legato.transports.base import CloseSource
from legato.transports.messages import INVALID_TEXT, NO_STATUS
from legato.transports.websocket_frames import OTHER, FrameCutter, frame_head, masked_frame

__all__ = ["Ended", "Item", "WebSocketCodec"]

_TEXT = int(Opcode.TEXT)

_HEAD_END = b"\r\n\r\n"
_HEAD_BYTES = 16 * 1024
_CONSENT = re.compile(rb"HTTP/1\.1 101[ \r]")

REASON_BYTES = 123
"""Longest reason that fits a close frame (RFC 6455 §5.5)."""


class Ended(NamedTuple):
    """The peer closes, or broke the protocol: nothing comes after this."""

    by: CloseSource
    code: int
    reason: str


Item = str | bytes | Ended | Request | Response
"""What bytes of the peer come to: a text or binary message, the end, and at the very first the request or the
answer to it."""


class WebSocketCodec:
    """One end of one connection: the server's or, with the protocol of one, the client's."""

    def __init__(self, message_bytes: int, log: logging.Logger, client: ClientProtocol | None = None) -> None:
        """Take messages of up to `message_bytes`; the library logs to `log`."""
        self._client = client
        self._protocol = client or ServerProtocol(logger=log)
        # Else whoever debugs has every key and every frame of audio in the log.
        self._protocol.debug = False
        self._cutter = FrameCutter(message_bytes, masked=client is None)
        self.limit(message_bytes)
        self._head: bytearray | None = bytearray()
        self._parts = bytearray()
        self._parts_are_text = False
        self._undecided = False
        self._early: list[bytes] = []
        self.open = False
        """Whether messages may be sent."""
        self.consented = False
        """Whether the server took our request; the end may have come right behind that."""
        self.pong: bytes | None = None
        """What the peer's last pong said."""

    @property
    def undecided(self) -> bool:
        """Whether the request waits for its answer; what comes before that is kept."""
        return self._undecided

    @property
    def connecting(self) -> bool:
        """Whether our own request waits for its answer."""
        return self._client is not None and self._client.state is State.CONNECTING

    def limit(self, message_bytes: int) -> None:
        """Take messages of up to `message_bytes` from now on."""
        self._protocol.max_message_size = self._cutter.limit = message_bytes

    def frame(self, opcode: int, payload: bytes) -> bytes:
        """Return a whole message as it is sent."""
        if self._client is not None:
            return masked_frame(opcode, payload)
        return frame_head(opcode, len(payload)) + payload

    def receive(self, data: bytes) -> list[Item]:
        """Take bytes in; return what they complete. See `to_send` for what has to be said to that."""
        if not self.open and (self._undecided or self._protocol.state is State.CONNECTING):
            return self._opening(data) if self._client is None else self._answered(data)
        items: list[Item] = []
        for opcode, payload in self._cutter.cut(data):
            if opcode == OTHER:
                self._other(items, payload)
            elif not self.open:
                continue  # the end has been told; only the peer's close is still of interest
            elif opcode == _TEXT:
                self._text(items, payload)
            else:
                items.append(payload)
        return items

    def eof(self) -> None:
        """The peer says no more."""
        self._protocol.receive_eof()
        self.open = False

    @property
    def speaks(self) -> bool:
        """Whether something has to be said by itself: an answer, a pong, a close."""
        return bool(self._protocol.writes)

    def to_send(self) -> list[bytes]:
        """Return what has to be said; an empty one is the end of what we say."""
        return self._protocol.data_to_send()

    def judge(self, request: Request) -> Response:
        """Return the answer to a request: 101, or what is wrong with it."""
        assert isinstance(self._protocol, ServerProtocol)
        return self._protocol.accept(request)

    def answer(self, response: Response) -> list[Item]:
        """Say it; return what came in the meantime."""
        self._undecided = False
        assert isinstance(self._protocol, ServerProtocol)
        self._protocol.send_response(response)
        self.open = self._protocol.state is State.OPEN
        early, self._early = self._early, []
        return [item for data in early for item in self.receive(data)] if self.open else []

    def close(self, code: int, reason: str) -> None:
        """Say that we close."""
        self._protocol.send_close(code, reason.encode()[:REASON_BYTES].decode(errors="ignore"))
        self.open = False

    def ping(self, payload: bytes = b"") -> None:
        """Ask whether the peer is there; its pong says the same."""
        self._protocol.send_ping(payload)

    def _opening(self, data: bytes) -> list[Item]:
        """Read the request; keep what comes before its answer."""
        if self._undecided:
            self._early.append(data)
            return []
        self._protocol.receive_data(data)
        requests = [event for event in self._protocol.events_received() if isinstance(event, Request)]
        self._undecided = bool(requests)
        return [*requests]

    def _answered(self, data: bytes) -> list[Item]:
        """Read the server's answer to our request; what follows a consent are frames."""
        assert self._client is not None
        rest = b""
        if self._head is not None:
            self._head += data
            end = self._head.find(_HEAD_END) + len(_HEAD_END)
            if end < len(_HEAD_END) and len(self._head) <= _HEAD_BYTES:
                return []
            data, self._head = bytes(self._head), None
            if _CONSENT.match(data):
                data, rest = data[:end], data[end:]
        self._client.receive_data(data)
        answers: list[Item] = [
            event for event in self._client.events_received() if isinstance(event, Response)
        ]
        self.open = self.consented = self._client.state is State.OPEN
        return [*answers, *self.receive(rest)] if self.open else answers

    def _other(self, items: list[Item], data: bytes) -> None:
        """Let the library judge a frame."""
        protocol, was_open = self._protocol, self.open
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._fragment(items, event)
            elif isinstance(event, Frame) and event.opcode is Opcode.PONG:
                self.pong = bytes(event.data)
        self.open = protocol.state is State.OPEN
        if was_open and not self.open:
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
            self.open = False
            self._protocol.fail(INVALID_TEXT, reason)
            items.append(Ended("local", INVALID_TEXT, reason))
