"""Streams and datagrams as messages of one WebSocket (wire/SPEC.md, "The same over one WebSocket").

Owns the layout of a message and which streams exist; must not know sockets, nor what a stream carries.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from legato.core.errors import RemoteProtocolError
from legato.core.wire import varint
from legato.core.wire.codes import DATA_MESSAGE_MAX_BYTES, REASON_MAX_BYTES, MessageType, SessionCode

__all__ = [
    "Close",
    "Data",
    "Datagram",
    "Drain",
    "Message",
    "MuxStreams",
    "Reset",
    "Stop",
    "StreamMessage",
    "decode",
    "encode",
    "is_bidirectional",
]

PEER_STREAMS_MAX = 4096
"""Streams of the peer that are open at a time: what a session remembers of them is bounded."""

_FIN = 1
_CODE_MAX = (1 << 32) - 1

_BIDIRECTIONAL, _UNIDIRECTIONAL, _STEP = 0, 2, 4
"""Streams are numbered as RFC 9000, section 2.1: the lowest bit says whose, the next which kind."""


class Data(NamedTuple):
    """The next bytes of a stream; with `fin` they are the last."""

    stream: int
    fin: bool
    payload: bytes


class Reset(NamedTuple):
    """The sender abandons its direction of a stream."""

    stream: int
    code: int


class Stop(NamedTuple):
    """The sender wants no more of a stream."""

    stream: int
    code: int


class Datagram(NamedTuple):
    """A datagram."""

    payload: bytes


class Drain(NamedTuple):
    """No new session will be taken."""


class Close(NamedTuple):
    """The end of the session."""

    code: int
    reason: str


StreamMessage: TypeAlias = Data | Reset | Stop
Message: TypeAlias = StreamMessage | Datagram | Drain | Close

Verdict: TypeAlias = Literal["opened", "known", "dropped"]
"""What becomes of a message about a stream: it opens it, it is reported, it is not."""


def encode(message: Message) -> bytes:
    """Return the message as bytes; a reason that is too long is cut."""
    if isinstance(message, Data):
        head = b"\0" + varint.encode(message.stream)
        return head + (b"\1" if message.fin else b"\0") + message.payload
    if isinstance(message, Reset):
        return _numbers(MessageType.RESET, *message)
    if isinstance(message, Stop):
        return _numbers(MessageType.STOP, *message)
    if isinstance(message, Datagram):
        return _numbers(MessageType.DATAGRAM) + message.payload
    if isinstance(message, Drain):
        return _numbers(MessageType.DRAIN)
    reason = message.reason.encode(errors="replace")[:REASON_MAX_BYTES]
    return _numbers(MessageType.CLOSE, message.code) + reason.decode(errors="ignore").encode()


def decode(data: bytes) -> Message | None:
    """Return what a message says; None for a type that is not known. Raises `RemoteProtocolError`."""
    kind, at = _number(data, 0)
    if kind == MessageType.DATA:
        stream, at = _number(data, at)
        flags, at = _number(data, at)
        if len(data) - at > DATA_MESSAGE_MAX_BYTES:
            limit = f"more than {DATA_MESSAGE_MAX_BYTES} bytes of a stream in a message"
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, limit)
        return Data(stream, flags & _FIN == _FIN, data[at:])
    if kind in (MessageType.RESET, MessageType.STOP):
        stream, at = _number(data, at)
        code, _ = _number(data, at, _CODE_MAX)
        return Reset(stream, code) if kind == MessageType.RESET else Stop(stream, code)
    if kind == MessageType.DATAGRAM:
        return Datagram(data[at:])
    if kind == MessageType.DRAIN:
        return Drain()
    if kind == MessageType.CLOSE:
        code, at = _number(data, at, _CODE_MAX)
        return Close(code, _reason(data[at:]))
    return None


class MuxStreams:
    """One end's account of the streams of a session: numbers its own, judges what the peer says of any."""

    def __init__(self, server: bool) -> None:
        """Begin without streams, as the server's end or the client's."""
        own = int(server)
        self._next_own = {kind: kind + own for kind in (_BIDIRECTIONAL, _UNIDIRECTIONAL)}
        self._next_peer = {kind: kind + 1 - own for kind in (_BIDIRECTIONAL, _UNIDIRECTIONAL)}
        self._sending: set[int] = set()
        self._receiving: dict[int, bool] = {}  # streams the peer may send on; False: we declined that

    def open(self, bidirectional: bool) -> int:
        """Return the number of a new stream of this end."""
        kind = _BIDIRECTIONAL if bidirectional else _UNIDIRECTIONAL
        stream = self._next_own[kind]
        self._next_own[kind] += _STEP
        self._sending.add(stream)
        if bidirectional:
            self._receiving[stream] = True
        return stream

    def sends(self, stream: int) -> bool:
        """Whether this end may send on a stream."""
        return stream in self._sending

    def receives(self, stream: int) -> bool:
        """Whether something of a stream is still to come, and wanted."""
        return self._receiving.get(stream, False)

    def finished(self, stream: int) -> bool:
        """End our direction of a stream; returns whether there was one."""
        if stream not in self._sending:
            return False
        self._sending.remove(stream)
        return True

    def declined(self, stream: int) -> bool:
        """Decline the peer's direction of a stream; returns whether there was anything left to decline."""
        if not self._receiving.get(stream, False):
            return False
        self._receiving[stream] = False
        return True

    def judge(self, message: StreamMessage) -> Verdict:
        """Say what becomes of a message of the peer. Raises `RemoteProtocolError` if it may not be sent."""
        stream = message.stream
        if type(message) is Stop:
            return self._judge_stop(stream)
        wanted = self._receiving.get(stream)
        if wanted is None:
            if type(message) is not Data:
                raise _malformed(f"a reset of stream {stream}, which is not open")
            self._admit(stream, message.fin)
            return "opened"
        if type(message) is not Data or message.fin:
            del self._receiving[stream]
        return "known" if wanted else "dropped"

    def _judge_stop(self, stream: int) -> Verdict:
        if stream in self._sending:
            return "known"
        kind = stream & _UNIDIRECTIONAL
        ours = stream & 1 == self._next_own[kind] & 1
        existed = stream < (self._next_own if ours else self._next_peer)[kind]
        if existed and (ours or is_bidirectional(stream)):
            return "dropped"
        raise _malformed(f"a stop of stream {stream}, which does not exist or is not ours to send on")

    def _admit(self, stream: int, fin: bool) -> None:
        """Take in a stream that the peer opens: the next one of its kind."""
        kind = stream & _UNIDIRECTIONAL
        if stream != self._next_peer[kind]:
            raise _malformed(f"data for stream {stream}, which is not open nor the next one")
        if len(self._receiving) >= PEER_STREAMS_MAX:
            limit = f"more than {PEER_STREAMS_MAX} streams open at a time"
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, limit)
        self._next_peer[kind] += _STEP
        if not fin:
            self._receiving[stream] = True
        if kind == _BIDIRECTIONAL:
            self._sending.add(stream)


def is_bidirectional(stream: int) -> bool:
    """Whether both ends may send on a stream of this number."""
    return stream & _UNIDIRECTIONAL == _BIDIRECTIONAL


def _numbers(*numbers: int) -> bytes:
    return b"".join(map(varint.encode, numbers))


def _number(data: bytes, at: int, most: int | None = None) -> tuple[int, int]:
    found = varint.decode(data, at)
    if found is None:
        raise _malformed("it ends within its numbers")
    if most is not None and found[0] > most:
        raise _malformed(f"{found[0]} is too large for a code")
    return found


def _reason(data: bytes) -> str:
    if len(data) > REASON_MAX_BYTES:
        raise _malformed("its reason is too long")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _malformed("its reason is not UTF-8") from None


def _malformed(fault: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        SessionCode.PROTOCOL_VIOLATION, f"a malformed message on the WebSocket: {fault}"
    )
