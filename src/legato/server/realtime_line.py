"""Joins a call that travels as messages to its connection: implements `Line`.

Owns the drain rule for `CompatSession`, as `SessionDriver` does for native sessions, and which close code an
end is given. It must not know what an event means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from legato._alarm import Alarm
from legato.core.dialects.realtime.compat_session import CompatSession
from legato.core.wire.codes import SessionCode
from legato.server.realtime_resuming import SaidEvents
from legato.session_driver import Reactions, monotonic_us
from legato.transports.base import CloseSource
from legato.transports.messages import (
    GOING_AWAY,
    NO_STATUS,
    NORMAL,
    POLICY_VIOLATION,
    SERVER_ERROR,
    SERVICE_RESTART,
    TRY_AGAIN_LATER,
    MessageHandler,
)
from legato.transports.websocket import WebSocketConnection

__all__ = ["CLOSE_CODES", "CompatLine"]

CLOSE_CODES = {
    SessionCode.NO_ERROR: NORMAL,
    SessionCode.GOING_AWAY: GOING_AWAY,
    SessionCode.REPLACED: GOING_AWAY,
    SessionCode.OVERLOADED: TRY_AGAIN_LATER,
    SessionCode.PROTOCOL_VIOLATION: POLICY_VIOLATION,
    SessionCode.LIMIT_EXCEEDED: POLICY_VIOLATION,
    SessionCode.UNAUTHORIZED: POLICY_VIOLATION,
    SessionCode.INTERNAL_ERROR: SERVER_ERROR,
    SessionCode.AGENT_ERROR: SERVER_ERROR,
}
"""How the end of a session is told on a WebSocket."""

_ORDERLY = {NORMAL: SessionCode.NO_ERROR, NO_STATUS: SessionCode.NO_ERROR, GOING_AWAY: SessionCode.NO_ERROR}

log = structlog.get_logger(__name__)


class CompatLine:
    """Drives one `CompatSession` over one connection; also its `MessageHandler`."""

    def __init__(self, session: CompatSession, clock: Callable[[], int] = monotonic_us) -> None:
        """Drive `session`; nothing is sent before `bind`."""
        self.session = session
        self.clock = clock
        self.reactions: Reactions = {}
        """What the owner does about the session's events, by their type."""
        self._loop = asyncio.get_running_loop()
        self._connection: WebSocketConnection | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._alarm = Alarm(clock, self._on_deadline)
        self._settling = False
        self._held = False
        self._said: SaidEvents | None = None
        self._patience: Callable[[], object] = lambda: None
        self._park: Callable[[CloseSource, int, str], None] = lambda *_: None

    def outlive(self, window_s: float, parked: Callable[[str], None]) -> None:
        """Let the session wait `window_s` seconds for another connection when one is lost; `parked` is told
        why it was."""
        self._said = SaidEvents()

        def wait(by: CloseSource, code: int, reason: str) -> None:
            timer = self._loop.call_later(window_s, self._give_up, by, code, reason)
            self._patience = timer.cancel
            parked(reason)

        self._park = wait

    def attach(self, connection: WebSocketConnection, after: str | None = None) -> MessageHandler:
        """Go on over a connection of a session that outlives it, behind the event of that id or what was sent
        last; returns who listens to that connection."""
        missed = self.unheard(after) or []
        before, self._connection = self._connection, connection
        self._held = False
        self._patience()
        if before is not None:
            before.close(POLICY_VIOLATION, "another connection continues the call")
        for text in missed:
            connection.send_text(text)
        if self._said is not None:
            self._said.all_sent()
        self.drained()
        self.settle()
        return _OneConnection(self, connection)

    def unheard(self, after: str | None) -> list[bytes] | None:
        """What a client lacks that has had events up to that one; None if it is not kept any more."""
        return None if self._said is None or self.over else self._said.after(after)

    def bind(self, connection: WebSocketConnection) -> CompatLine:
        """Join the session to its connection, and send what it has said by now."""
        self._connection = connection
        self.settle()
        return self

    @property
    def connection(self) -> WebSocketConnection | None:
        """The connection at work."""
        return self._connection

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        return self.session.over

    @property
    def parked(self) -> bool:
        """Whether the call goes on without a connection, for a while."""
        return self._said is not None and self._connection is None and not self.over

    @property
    def congested(self) -> bool:
        """Whether so much waits to be sent that a sender should wait in `writable`."""
        return self._connection.congested if self._connection is not None else self.parked

    async def writable(self) -> None:
        """Wait until the connection takes more, or is over."""
        while self.congested and not self.over:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter

    async def delivered(self) -> None:
        """Return at once: on one ordered connection a close overtakes nothing."""

    def settle(self) -> None:
        """Pass on what happened, send what is to be said, arm the session's deadline."""
        if self._settling:
            return
        self._settling = True
        session = self.session
        try:
            # What an owner does about an event leaves in the same round.
            while session.untold:
                for event in session.events():
                    reaction = self.reactions.get(type(event))
                    if reaction is not None:
                        try:
                            reaction(event)
                        except Exception as error:
                            self._failed(event, error)
        finally:
            self._settling = False
        if session.undone or session.ending is not None:
            self.carry_out()
        if session.holds is not self._held:
            self._hold(session.holds)
        deadline = session.next_deadline()
        if deadline is not None and (self._alarm.at is None or deadline < self._alarm.at):
            self._alarm.set(deadline)

    def carry_out(self) -> None:
        """Send what is to be said; close if that is what follows."""
        connection, said = self._connection, self._said
        if connection is None and said is None:
            return
        for text in self.session.outputs():
            if connection is not None:
                connection.send_text(text)
            if said is not None:
                said.add(text, connection is not None)
        if connection is None:
            if self.session.over:
                self._finish()
        elif self.session.ending is not None:
            code, reason = self.session.ending
            connection.close(self._close_code(SessionCode(code)), reason)
            self._finish()

    # MessageHandler

    def message(self, data: str | bytes) -> None:
        """Pass a message on to the session."""
        self.session.receive(data, self.clock())
        self.settle()

    def drained(self) -> None:
        """Let waiting senders go on."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        """End the session, or wait: nothing more comes from the connection."""
        if self._said is not None and by == "transport" and not self.over:
            self._connection = None
            self._park(by, code, reason)
            return
        self._give_up(by, code, reason)

    def _give_up(self, by: CloseSource, code: int, reason: str) -> None:
        self.session.closed(by, _ORDERLY.get(code, code), reason)
        self.settle()
        self._finish()

    def _close_code(self, code: SessionCode) -> int:
        """What the connection is closed with. A call that ends because the server does ends with the code on
        which stock clients call again; one that merely lasted too long does not."""
        if code is SessionCode.GOING_AWAY and self.session.leaving:
            return SERVICE_RESTART
        return CLOSE_CODES.get(code, SERVER_ERROR)

    def _failed(self, event: object, error: Exception) -> None:
        log.error("an event was not dealt with", kind=type(event).__name__, exc_info=error)
        self.session.close(SessionCode.INTERNAL_ERROR, "an internal error", self.clock())

    def _hold(self, held: bool) -> None:
        if self._connection is not None:
            self._held = held
            (self._connection.pause if held else self._connection.resume)()

    def _on_deadline(self) -> None:
        self.session.on_deadline(self.clock())
        self.settle()

    def _finish(self) -> None:
        self._patience()
        self.drained()
        self._alarm.set(None)


class _OneConnection:
    """Listens to one of the connections of a call, while it is the call's; implements `MessageHandler`."""

    def __init__(self, line: CompatLine, connection: WebSocketConnection) -> None:
        self._line = line
        self._connection = connection

    @property
    def _at_work(self) -> bool:
        return self._line.connection is self._connection

    def message(self, data: str | bytes) -> None:
        if self._at_work:
            self._line.message(data)

    def drained(self) -> None:
        if self._at_work:
            self._line.drained()

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        if self._at_work:
            self._line.closed(by, code, reason)
