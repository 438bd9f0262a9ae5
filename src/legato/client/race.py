"""WebTransport against a WebSocket: the first that the server consents to carries the session.

Owns who starts when, what was said before there is a winner, and who is given up. It must not know what is
sent.

What the session says goes to WebTransport at once, with its first flight, and is kept for the WebSocket,
which says nothing before it has won. Streams opened before that have numbers of the race's own, below 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from legato.core.errors import TransportError
from legato.core.wire.codes import SessionCode
from legato.transports.base import CloseSource, Handler, Transport, TransportInfo, TransportStatistics

__all__ = ["HEAD_START_S", "Race", "Start"]

HEAD_START_S = 0.3
"""How much later the WebSocket starts, unless WebTransport has failed before."""

Start: TypeAlias = Callable[[Callable[[Transport], Handler]], Transport]
"""Begins to connect and returns at once: a transport as `transports.base` has it, before `Handler.opened`."""

_NOTHING = TransportStatistics(0, 0, 0, 0, 0, 0)


class Race:
    """The transport of a session whose transport is not decided yet; implements `Transport`."""

    def __init__(
        self,
        bind: Callable[[Transport], Handler],
        webtransport: Start,
        websocket: Start,
        given_up: SessionCode = SessionCode.NO_ERROR,
    ) -> None:
        """Start; `bind` is called once and returns who listens to the winner, `given_up` closes the other."""
        self._given_up = given_up
        self.winner: Transport | None = None
        """Who carries the session, once that is decided."""
        self._said: list[Callable[[_Runner], object]] = []
        self._opened = 0
        self._faults: list[str] = []
        self._over = False
        self._start_websocket: Start | None = websocket
        self._won: _Runner | None = None
        self._handler = bind(self)
        self._early = _Runner(self, first=True)
        self._running: list[_Runner] = []
        self._timer = asyncio.get_running_loop().call_later(HEAD_START_S, self._second)
        try:
            self._early.transport = webtransport(lambda _: self._early)
            self._running.append(self._early)
        except TransportError as error:
            self._faults.append(str(error))
            self._second()

    @property
    def faults(self) -> str:
        """Say why those have failed that did; "" while nobody has."""
        return "; ".join(self._faults)

    # Transport

    @property
    def info(self) -> TransportInfo:
        """Return where the session runs; the name is empty before that is decided."""
        return self.winner.info if self.winner is not None else TransportInfo("", "", "")

    def open_stream(self, bidirectional: bool) -> int:
        """Open a stream and return its number at once."""
        if self.winner is not None:
            return self.winner.open_stream(bidirectional)
        self._opened -= 1
        stream = self._opened
        self._say(lambda runner: runner.open(stream, bidirectional))
        return stream

    def send(self, stream: int, data: bytes, fin: bool = False) -> int:
        """Append to a stream. Before there is a winner nobody is told to wait: 0 bytes are buffered."""
        if (won := self._won) is not None:
            return won.transport.send(won.names.get(stream, stream), data, fin)
        self._say(lambda runner: runner.transport.send(runner.names[stream], data, fin))
        return 0

    def reset(self, stream: int, code: int) -> None:
        """Abandon a stream that we send on."""
        self._say(lambda runner: runner.transport.reset(runner.names.get(stream, stream), code))

    def stop(self, stream: int, code: int) -> None:
        """Ask the peer to stop sending on a stream."""
        self._say(lambda runner: runner.transport.stop(runner.names.get(stream, stream), code))

    def set_priority(self, stream: int, priority: int) -> None:
        """Let a stream with a higher number be sent first."""
        self._say(lambda runner: runner.transport.set_priority(runner.names.get(stream, stream), priority))

    def pause(self, stream: int) -> None:
        """Stop delivering a stream's data until `resume`."""
        self._say(lambda runner: runner.transport.pause(runner.names.get(stream, stream)))

    def resume(self, stream: int) -> None:
        """Deliver a paused stream's data again."""
        self._say(lambda runner: runner.transport.resume(runner.names.get(stream, stream)))

    def send_datagram(self, data: bytes) -> None:
        """Send one datagram, if there is a winner."""
        if self.winner is not None:
            self.winner.send_datagram(data)

    def drain(self) -> None:
        """Ask the peer to wind the session up."""
        self._say(lambda runner: runner.transport.drain())

    def close(self, code: int, reason: str) -> None:
        """End the session, or all attempts at it."""
        if self.winner is not None:
            self.winner.close(code, reason)
        elif not self._over:
            for runner in self._finish():
                runner.transport.close(code, reason)
            asyncio.get_running_loop().call_soon(self._handler.closed, "local", code, reason)

    def statistics(self) -> TransportStatistics:
        """Return the winner's figures; before there is one, those of who runs since the start."""
        if self.winner is not None:
            return self.winner.statistics()
        return self._early.transport.statistics() if self._early in self._running else _NOTHING

    # The race

    def _say(self, what: Callable[[_Runner], object]) -> None:
        """Let the winner say it, or who runs now and whoever wins later."""
        if self._won is not None:
            what(self._won)
        elif not self._over:
            self._said.append(what)
            if self._early in self._running:
                what(self._early)

    def _second(self) -> None:
        """Start the WebSocket, once."""
        self._timer.cancel()
        start, self._start_websocket = self._start_websocket, None
        if start is not None and not self._over:
            runner = _Runner(self, first=False)
            self._running.append(runner)
            runner.transport = start(lambda _: runner)

    def opened(self, runner: _Runner) -> None:
        """Take the server's consent to a runner's request."""
        if self._over:
            return
        said, self._said = self._said, []
        others = [one for one in self._finish() if one is not runner]
        if not runner.first:
            for step in said:
                step(runner)
        self._won, self.winner = runner, runner.transport
        runner.win(self._handler)
        for other in others:
            other.transport.close(self._given_up, "another transport was first")
        self._handler.opened()

    def closed(self, runner: _Runner, by: CloseSource, code: int, reason: str) -> None:
        """Take the end of a runner that has not won."""
        if self._over or runner not in self._running:
            return
        self._running.remove(runner)
        if runner.first and by == "peer":
            # The server's own answer: another road leads to the same.
            self._lost("peer", code, reason)
            return
        if reason not in self._faults:
            self._faults.append(reason if runner.first else f"as a WebSocket: {reason}")
        self._second()
        if not self._running:
            self._lost(by, code, self.faults)

    def _lost(self, by: CloseSource, code: int, reason: str) -> None:
        for other in self._finish():
            other.transport.close(self._given_up, reason)
        self._handler.closed(by, code, reason)

    def _finish(self) -> list[_Runner]:
        """Decide nothing any more; returns who still runs."""
        self._over = True
        self._timer.cancel()
        self._said.clear()
        running, self._running = self._running, []
        return running


class _Runner:
    """One of the two; implements `Handler`: it tells the race of its fate and, once it has won, the session
    of everything."""

    def __init__(self, race: Race, first: bool) -> None:
        self.transport: Transport
        self.first = first
        self.names: dict[int, int] = {}
        self._race = race
        self._back: dict[int, int] = {}
        self._handler: Handler | None = None

    def open(self, name: int, bidirectional: bool) -> None:
        """Open the stream that the race calls `name`."""
        stream = self.transport.open_stream(bidirectional)
        self.names[name] = stream
        self._back[stream] = name

    def win(self, handler: Handler) -> None:
        """Tell `handler` everything from now on."""
        self._handler = handler

    def opened(self) -> None:
        self._race.opened(self)

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        if self._handler is not None:
            self._handler.closed(by, code, reason)
        else:
            self._race.closed(self, by, code, reason)

    def stream_opened(self, stream: int, bidirectional: bool) -> None:
        if self._handler is not None:
            self._handler.stream_opened(stream, bidirectional)

    def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
        if self._handler is not None:
            self._handler.stream_data(self._back.get(stream, stream), data, fin)

    def stream_reset(self, stream: int, code: int) -> None:
        if self._handler is not None:
            self._handler.stream_reset(self._back.get(stream, stream), code)

    def stream_stopped(self, stream: int, code: int) -> None:
        if self._handler is not None:
            self._handler.stream_stopped(self._back.get(stream, stream), code)

    def stream_writable(self, stream: int) -> None:
        if self._handler is not None:
            self._handler.stream_writable(self._back.get(stream, stream))

    def datagram(self, data: bytes) -> None:
        if self._handler is not None:
            self._handler.datagram(data)

    def draining(self) -> None:
        if self._handler is not None:
            self._handler.draining()

    def path_changed(self, remote: str) -> None:
        if self._handler is not None:
            self._handler.path_changed(remote)
