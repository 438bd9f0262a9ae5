"""What a session asks its driver to do; must not know which transport does it.

Plain frozen values, drained with `outputs()` and to be carried out in order. A `key` names a stream: negative
numbers are streams this session opened (`OpenStream` came first), others are the numbers under which the
driver reported the peer's streams. Inputs about a stream use the same key.
"""

import msgspec


class OpenStream(msgspec.Struct, frozen=True, gc=False):
    """Open a stream and remember it as `key`; a higher `priority` is sent first."""

    key: int
    bidirectional: bool
    priority: int


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send `data` on the stream, reliably and in order; `fin` ends our direction after it."""

    key: int
    data: bytes
    fin: bool


class Reset(msgspec.Struct, frozen=True, gc=False):
    """Abandon our direction of the stream; data not sent yet must not be sent any more."""

    key: int
    code: int


class Stop(msgspec.Struct, frozen=True, gc=False):
    """Ask the peer to stop sending on its stream; nothing more of it needs to be reported."""

    stream: int
    code: int


class Pause(msgspec.Struct, frozen=True, gc=False):
    """Stop reading the stream, so that flow control holds the peer back; `Resume` follows."""

    stream: int


class Resume(msgspec.Struct, frozen=True, gc=False):
    """Read the stream again."""

    stream: int


class SendDatagram(msgspec.Struct, frozen=True, gc=False):
    """Send one unreliable datagram; dropping it is harmless."""

    data: bytes


class CloseSession(msgspec.Struct, frozen=True, gc=False):
    """End the session; always the last output."""

    code: int
    reason: str


Output = OpenStream | Send | Reset | Stop | Pause | Resume | SendDatagram | CloseSession
