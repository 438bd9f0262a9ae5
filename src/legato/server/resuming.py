"""Which calls can be gone on with, and by whom: tickets given and tickets shown.

Owns the window, this server's id, and the register of native calls by name. It must not know connections, nor
how a ticket is sealed.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

import structlog

from legato.core.events import SessionEnded
from legato.core.wire.messages import Hello
from legato.server.auth import Grant
from legato.server.native_call import NativeCall
from legato.server.tickets import Ticket, TicketRefused, Tickets

__all__ = ["CallOver", "Resuming"]

TICKET_SECONDS = 86_400
"""How long a ticket can be opened; a connection that lasted longer cannot be resumed."""

MOST_REMEMBERED = 1000
"""Calls whose end is remembered for a caller who was away when it came."""

log = structlog.get_logger(__name__)


class CallOver(Exception):  # noqa: N818 - named after what happened
    """The call of a good ticket was ended here while its caller had no connection."""

    def __init__(self, code: int, reason: str) -> None:
        """Take the code and the reason it was ended with."""
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Resuming:
    """Gives tickets, and finds the calls of those that are shown."""

    def __init__(
        self, tickets: Tickets | None = None, window_s: float = 60, server_id: str | None = None
    ) -> None:
        """Let lost calls wait `window_s` seconds, 0 not at all; without an id this server has one of its
        own."""
        self.window_ms = round(window_s * 1000)
        self._tickets = tickets or Tickets()
        self._server = server_id or secrets.token_hex(8)
        self._calls: dict[str, NativeCall] = {}
        self._ends: OrderedDict[str, SessionEnded] = OrderedDict()

    def remember(self, call: NativeCall) -> None:
        """Let a call be found from now on."""
        self._calls[call.live.id] = call

    def forget(self, call: NativeCall, end: SessionEnded) -> None:
        """The call is over. One that was ended here is told so to a caller who comes back for it."""
        self._calls.pop(call.live.id, None)
        if end.by == "local":
            self._ends[call.live.id] = end
            if len(self._ends) > MOST_REMEMBERED:
                self._ends.popitem(last=False)

    def ticket(self, call: NativeCall, now: float) -> str | None:
        """A ticket for the connection that `call` is on; `now` in seconds since 1970."""
        if not self.window_ms:
            return None
        return self._tickets.seal(
            Ticket(
                call_id=call.live.id,
                server=self._server,
                attachment=call.attachment,
                holder=call.live.caller.grant.holder,
                expires_at=int(now) + TICKET_SECONDS,
            )
        )

    def find(self, hello: Hello, grant: Grant, now_us: int, now: float) -> NativeCall | None:
        """The call that goes on with `hello`, said by the holder of `grant`; None: a new one begins.

        Raises `CallOver` for a caller who comes back to a call that was ended here.
        """
        if hello.resume is None:
            return None
        try:
            ticket = self._tickets.open(hello.resume.ticket, now)
            return self._continued(ticket, hello, grant, now_us)
        except TicketRefused as refusal:
            log.warning("ticket not accepted", caller=grant.name, reason=str(refusal))
            return None

    def _continued(self, ticket: Ticket, hello: Hello, grant: Grant, now_us: int) -> NativeCall:
        if ticket.holder != grant.holder:
            raise TicketRefused("it is for the holder of another key")
        if ticket.server != self._server:
            raise TicketRefused(f"its call is on the server {ticket.server}")
        call = self._calls.get(ticket.call_id)
        if call is None:
            end = self._ends.get(ticket.call_id)
            if end is not None:
                raise CallOver(end.code, end.reason)
            raise TicketRefused("its call is over")
        if not call.accepts(ticket.attachment):
            raise TicketRefused("it was used before: the call has another connection")
        if not call.session.can_continue(hello, now_us):
            raise TicketRefused("the call cannot go on without a gap for what the hello asks")
        return call
