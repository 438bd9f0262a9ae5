"""The contract of every transport: one session's pipes, seen as synchronous calls down and callbacks up.

Owns the words (`Transport`, `Handler`, `IncomingSession`, `Listener`) and their guarantees; it must never
know what the bytes mean.

Guarantees
----------
* A stream is reliable and ordered; streams are independent of each other. Datagrams are neither.
* Sends never block and never await: they return how much is buffered. Whoever sends faster than the network
  takes it watches that number and waits for `Handler.stream_writable`.
* Nothing is dropped on the way up. `pause` stops deliveries of one stream (at most the batch under way still
  arrives) and lets flow control push back on the peer.
* After `Handler.closed` no further callback is made for that session, and every method is a no-op.
* Stream numbers are unique within an endpoint for its whole life, and chosen without waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = [
    "CloseSource",
    "Handler",
    "IncomingSession",
    "Listener",
    "Transport",
    "TransportInfo",
    "TransportStatistics",
]

CloseSource = Literal["peer", "local", "transport"]


@dataclass(frozen=True, slots=True)
class TransportInfo:
    """Where a session runs: the transport's name and both ends as ``host:port``."""

    name: str
    local: str
    remote: str


@dataclass(frozen=True, slots=True)
class TransportStatistics:
    """One session's network figures at a moment; times in microseconds, sizes in bytes."""

    rtt_us: int
    lost_packets: int
    sent_packets: int
    bytes_sent: int
    bytes_received: int
    path_changes: int


class Handler(Protocol):
    """What a transport tells its session's owner. Callbacks run on the event loop and must not raise."""

    def opened(self) -> None:
        """Report, on the connecting side, that the peer accepted the session."""

    def stream_opened(self, stream: int, bidirectional: bool) -> None:
        """Report that the peer opened a stream; its data follows in `stream_data`."""

    def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
        """Deliver the next bytes of a stream, in order; with `fin` they are the last (and may be empty)."""

    def stream_reset(self, stream: int, code: int) -> None:
        """Report that the peer abandoned what it was sending (RESET_STREAM) with an application code."""

    def stream_stopped(self, stream: int, code: int) -> None:
        """Report that the peer wants no more of what we send (STOP_SENDING) with an application code."""

    def stream_writable(self, stream: int) -> None:
        """Report that a stream whose buffer had passed the high-water mark has drained below half of it."""

    def datagram(self, data: bytes) -> None:
        """Deliver one datagram."""

    def draining(self) -> None:
        """Report that the peer asks for the session to be wound up soon."""

    def path_changed(self, remote: str) -> None:
        """Report that the peer, at `remote`, is now reached another way, because its address or ours is
        another one. Streams and their order stay; what was on the old path is sent again in time."""

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        """Report the end of the session: who ended it, the application code and a reason for people."""


class Transport(Protocol):
    """One session: its streams, its datagrams, its end."""

    @property
    def info(self) -> TransportInfo:
        """Return where this session runs now."""

    def open_stream(self, bidirectional: bool) -> int:
        """Open a stream and return its number at once; it may be written to at once."""

    def send(self, stream: int, data: bytes, fin: bool = False) -> int:
        """Append `data` (and the end, with `fin`) to a stream and return the bytes buffered for it.

        Raises `TransportError` when the stream's hard limit would be passed: the sender ignored backpressure.
        """

    def reset(self, stream: int, code: int) -> None:
        """Abandon a stream that we send on; what is still buffered is dropped."""

    def stop(self, stream: int, code: int) -> None:
        """Ask the peer to stop sending on a stream."""

    def set_priority(self, stream: int, priority: int) -> None:
        """Let a stream with a higher number be sent before those with lower ones; the default is 0."""

    def pause(self, stream: int) -> None:
        """Stop delivering a stream's data until `resume`."""

    def resume(self, stream: int) -> None:
        """Deliver a paused stream's data again."""

    def send_datagram(self, data: bytes) -> None:
        """Send one datagram if the path takes one of that size now, else drop it."""

    def drain(self) -> None:
        """Ask the peer to wind the session up (DRAIN_WEBTRANSPORT_SESSION)."""

    def close(self, code: int, reason: str) -> None:
        """End the session, delivering what is already buffered on control paths as far as possible."""

    def statistics(self) -> TransportStatistics:
        """Return the session's network figures."""


class IncomingSession(Protocol):
    """A session that a client asks for and a server has not answered yet."""

    path: str
    authority: str
    origin: str | None
    remote: str
    headers: Sequence[tuple[str, str]]

    def accept(self, handler: Callable[[Transport], Handler]) -> Transport:
        """Accept the session; `handler` is called once with the transport and returns who listens to it."""

    def reject(self, status: int, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with an HTTP status, for example 404 or 429 with ``retry-after``."""


class Listener(Protocol):
    """A bound server endpoint."""

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Return the bound addresses."""

    async def close(self) -> None:
        """Close every session and the sockets. Idempotent."""
