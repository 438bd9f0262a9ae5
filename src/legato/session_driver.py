"""The one loop that joins a core session to a transport.

Owns the drain rule: after every input the core is emptied of outputs (to the transport) and events (to the
owner) and its next deadline is armed. Knows neither what events mean nor how bytes travel; the same class
serves both roles. Time comes from `clock`, in microseconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from legato._alarm import Alarm
from legato.core.errors import LegatoError
from legato.core.outputs import (
    CloseSession,
    OpenStream,
    Output,
    Pause,
    Reset,
    Resume,
    Send,
    SendDatagram,
    Stop,
)
from legato.core.session import Session
from legato.core.state import SessionState
from legato.core.wire.codes import SessionCode
from legato.transports.base import CloseSource, Transport

__all__ = ["HIGH_WATER_BYTES", "Reactions", "SessionDriver", "monotonic_us"]

Reactions: TypeAlias = Mapping[type, Callable[[Any], None]]
"""What an owner does about the events of its session, by their type; others are of no interest to it."""

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Session)

HIGH_WATER_BYTES = 256 * 1024
"""Bytes buffered for one stream above which a sender should wait in `writable`."""

DELIVERY_S = 1.0
"""How long `delivered` waits at the most."""

QUIET_BYTES = 1500
"""What acknowledgements of the peer's own data may come to in a round trip in which nothing else leaves."""


def monotonic_us() -> int:
    """Return the process's monotonic clock in microseconds."""
    return time.monotonic_ns() // 1000


class SessionDriver(Generic[S]):
    """Drives one core session over one transport; implements `transports.base.Handler`."""

    __slots__ = (
        "_alarm", "_full", "_keys", "_loop", "_over", "_rare", "_reactions", "_settling",
        "_streams", "_waiting", "clock", "congested", "established", "session", "transport",
    )  # fmt: skip

    def __init__(
        self,
        session: S,
        transport: Transport,
        reactions: Reactions,
        clock: Callable[[], int] = monotonic_us,
    ) -> None:
        """Join `session` to `transport`; `reactions` are called for its events, in order."""
        self.session = session
        self.transport = transport
        self.clock = clock
        self._reactions = reactions
        self._streams: dict[int, int] = {}
        self._keys: dict[int, int] = {}
        self.established = False
        """Whether the peer accepted the session, on the connecting side."""
        self.congested = False
        """Whether some stream holds more than `HIGH_WATER_BYTES`, so that a sender should wait."""
        self._full: set[int] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(clock, self._on_deadline)
        self._over = False
        self._settling = False
        self._rare: dict[type, Callable[[Output], None]] = {
            OpenStream: self._open_stream,
            Reset: self._reset,
            Stop: self._stop,
            Pause: self._pause,
            Resume: self._resume,
            SendDatagram: self._send_datagram,
            CloseSession: self._close,
        }

    @property
    def over(self) -> bool:
        """Return whether the session has ended."""
        return self._over

    async def writable(self) -> None:
        """Wait until no stream is above the high-water mark, or the session is over."""
        while self.congested and not self._over:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter

    async def delivered(self) -> None:
        """Wait until what was sent last must have arrived; a close would overtake it.

        Nobody acknowledges events, so that this goes by the network: a round trip in which next to nothing
        leaves. Gives up after `DELIVERY_S`.
        """
        deadline, before = self._loop.time() + DELIVERY_S, -QUIET_BYTES
        while not self._over and self._loop.time() < deadline:
            statistics = self.transport.statistics()
            if statistics.bytes_sent - before < QUIET_BYTES:
                return
            before = statistics.bytes_sent
            await asyncio.sleep(max(0.01, 2 * statistics.rtt_us / 1_000_000))

    # What the transport tells us: see Handler.

    def opened(self) -> None:
        """Take note that the peer accepted the session; the wire's own welcome says the rest."""
        self.established = True

    def stream_opened(self, stream: int, bidirectional: bool) -> None:
        """Pass a peer's new stream on to the session."""
        self.session.stream_opened(stream, bidirectional, self.clock())
        self.settle()

    def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
        """Pass bytes on to the session."""
        self.session.receive(self._keys.get(stream, stream), data, fin, self.clock())
        self.settle()

    def stream_reset(self, stream: int, code: int) -> None:
        """Pass a peer's RESET_STREAM on."""
        self.session.stream_reset(self._keys.get(stream, stream), code, self.clock())
        self.settle()

    def stream_stopped(self, stream: int, code: int) -> None:
        """Pass a peer's STOP_SENDING on, by the session's own key for that stream."""
        self._relieve(stream)
        self.session.stream_stopped(self._keys.get(stream, stream), code, self.clock())
        self.settle()

    def stream_writable(self, stream: int) -> None:
        """Let waiting senders go on."""
        self._relieve(stream)

    def datagram(self, data: bytes) -> None:
        """Pass a datagram on."""
        self.session.datagram(data, self.clock())
        self.settle()

    def draining(self) -> None:
        """Ignore the transport's own hint: `legato.going_away` says it with a time."""

    def path_changed(self, remote: str) -> None:
        """Pass it on: a session outlives its path, but what was on the old one may not arrive."""
        self.session.path_changed(self.clock())
        self.settle()

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        """End the session: nothing more comes from the transport."""
        if not self._over:
            self.session.closed(by, code, reason, self.clock())
            self._streams.clear()
            self._keys.clear()
            self.settle()
            self._part()

    def obey(self, reactions: Reactions) -> None:
        """Tell another owner of what happens from now on."""
        self._reactions = reactions

    def settle(self) -> None:
        """Empty the session into the owner and the transport, then arm its deadline.

        Owners call it after every operation on `session`. An owner that acts on the session from inside an
        event needs not: the outer call goes round again until nothing is left.
        """
        if self._settling:
            return
        self._settling = True
        session = self.session
        try:
            while True:
                if session.untold:
                    # First: what their owner does in answer leaves with the same outputs, in order.
                    for event in session.events():
                        reaction = self._reactions.get(type(event))
                        if reaction is not None:
                            try:
                                reaction(event)
                            except Exception as error:
                                self._failed(event, error)
                elif session.undone:
                    self.carry_out()
                else:
                    break
        finally:
            self._settling = False
        deadline = session.next_deadline()
        # A timer that fires early costs one call; moving it on every frame would cost one per frame.
        if deadline is not None:
            armed = self._alarm.at
            if (armed is None or deadline < armed) and not self._over:
                self._alarm.set(deadline)

    def carry_out(self) -> None:
        """Do what the session asks for, after an operation that causes neither events nor deadlines."""
        try:
            for output in self.session.outputs():
                if type(output) is not Send:
                    self._rare[type(output)](output)
                    continue
                key = output.key
                stream = self._streams.get(key, key) if key < 0 else key
                if self.transport.send(stream, output.data, output.fin) > HIGH_WATER_BYTES or output.fin:
                    self._sent(key, stream, output.fin)
        except LegatoError as error:
            # The peer takes nothing and a buffer is full. What is left must not arrive with a hole in it.
            self.session.close(SessionCode.LIMIT_EXCEEDED, str(error), self.clock())
            self.settle()

    def _failed(self, event: object, error: Exception) -> None:
        """End the session: what an owner raises must reach neither the transport, which serves others too,
        nor the events behind it."""
        log.error("%s was not dealt with", type(event).__name__, exc_info=error)
        self.session.close(SessionCode.INTERNAL_ERROR, "an internal error", self.clock())

    def _sent(self, key: int, stream: int, fin: bool) -> None:
        """Take note that a stream is full, or finished."""
        if not fin:
            self._full.add(stream)
            self.congested = True
        elif key < 0:
            del self._streams[key]
            self._keys.pop(stream, None)
            self._relieve(stream)

    def _open_stream(self, output: Output) -> None:
        assert isinstance(output, OpenStream)
        stream = self.transport.open_stream(output.bidirectional)
        self._streams[output.key] = stream
        self._keys[stream] = output.key
        if output.priority:
            self.transport.set_priority(stream, output.priority)

    def _reset(self, output: Output) -> None:
        assert isinstance(output, Reset)
        stream = self._streams.pop(output.key, output.key)
        self._keys.pop(stream, None)
        self.transport.reset(stream, output.code)
        self._relieve(stream)

    def _stop(self, output: Output) -> None:
        assert isinstance(output, Stop)
        self.transport.stop(output.stream, output.code)

    def _pause(self, output: Output) -> None:
        assert isinstance(output, Pause)
        self.transport.pause(output.stream)

    def _resume(self, output: Output) -> None:
        assert isinstance(output, Resume)
        self.transport.resume(output.stream)

    def _send_datagram(self, output: Output) -> None:
        assert isinstance(output, SendDatagram)
        self.transport.send_datagram(output.data)

    def _close(self, output: Output) -> None:
        assert isinstance(output, CloseSession)
        self.transport.close(output.code, output.reason)
        self._finish()

    def _relieve(self, stream: int) -> None:
        self._full.discard(stream)
        self.congested = bool(self._full)
        if not self.congested:
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _on_deadline(self) -> None:
        self.session.on_deadline(self.clock())
        self.settle()
        if self.session.state is SessionState.CLOSED:
            self._finish()

    def _part(self) -> None:
        """Wait for nothing from the transport any more; the session may have a while to go."""
        if self.session.state is not SessionState.PARKED:
            self._finish()
            return
        self._full.clear()
        self.congested = False
        self._wake()

    def _finish(self) -> None:
        self._over = True
        self._full.clear()
        self.congested = False
        self._wake()
        self._alarm.set(None)
