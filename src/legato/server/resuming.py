"""Which calls can be gone on with, and by whom: tickets given and tickets shown.

Owns the window, this server's id, and the register of native calls by name. It must not know connections, nor
how a ticket is sealed.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from typing import NamedTuple

import structlog

from legato.core.events import SessionEnded
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Hello
from legato.server.auth import Grant
from legato.server.carried_calls import CarriedCall, opened, sealed
from legato.server.native_call import NativeCall
from legato.server.tickets import Ticket, TicketRefused, Tickets

__all__ = ["CallOver", "Carried", "Resuming"]

TICKET_SECONDS = 86_400
"""How long a ticket can be opened; a connection that lasted longer cannot be resumed."""

MOST_REMEMBERED = 1000
"""Calls whose end is remembered for a caller who was away when it came."""

PLAUSIBLE_S = 300
"""What a caller may have captured ahead of time: whole files are sent faster than they sound."""

log = structlog.get_logger(__name__)


class Carried(NamedTuple):
    """A call that another server has left, and the ticket that it gave for it."""

    ticket: Ticket
    call: CarriedCall


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
        self._ends: OrderedDict[str, tuple[int, SessionEnded]] = OrderedDict()

    def remember(self, call: NativeCall, hello: Hello) -> None:
        """Let a call be found from now on, here and by a client that can on other servers."""
        self._calls[call.live.id] = call
        if self.window_ms and self._tickets.shared and hello.capabilities.carries:
            call.keep_checkpoints(lambda carried: sealed(carried, self._tickets), time.time)

    def forget(self, call: NativeCall, end: SessionEnded) -> None:
        """The call is over, which is remembered for a caller who comes back for it."""
        if self._calls.get(call.live.id) is call:
            del self._calls[call.live.id]
            self._ends[call.live.id] = (call.attachment, end)
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

    def find(self, hello: Hello, grant: Grant, now_us: int, now: float) -> NativeCall | Carried | None:
        """The call that goes on with `hello`, said by the holder of `grant`, or what another server has left
        of it; None: a new one begins.

        Raises `CallOver` for a caller who comes back to a call that was ended here.
        """
        if hello.resume is None:
            return None
        try:
            ticket = self._tickets.open(hello.resume.ticket, now)
            if ticket.holder != grant.holder:
                raise TicketRefused("it is for the holder of another key")
            call = self._calls.get(ticket.call_id)
            if call is not None and call.accepts(ticket, self._server):
                return _continued(call, hello, now_us)
            return self._carried(ticket, hello, now)
        except TicketRefused as refusal:
            log.warning("ticket not accepted", caller=grant.name, reason=str(refusal))
            return None

    def _carried(self, ticket: Ticket, hello: Hello, now: float) -> Carried:
        call, foreign = self._calls.get(ticket.call_id), ticket.server != self._server
        if call is not None and not (foreign and ticket.attachment >= call.attachment):
            raise TicketRefused("it was used before: the call has another connection")
        attachment, end = self._ends.get(ticket.call_id, (0, None))
        if end is not None and not (foreign and ticket.attachment >= attachment):
            if end.by == "local":
                raise CallOver(end.code, end.reason)
            raise TicketRefused("its call is over")
        if hello.resume is None or hello.resume.checkpoint is None or not self.window_ms:
            raise TicketRefused(f"its call is on the server {ticket.server}")
        carried = opened(hello.resume.checkpoint, self._tickets)
        if (carried.call_id, carried.holder) != (ticket.call_id, ticket.holder):
            raise TicketRefused("it came with what another call has come to")
        source, output = carried.formats
        if hello.input != source or output not in hello.output or not hello.capabilities.carries:
            raise TicketRefused("the caller speaks or plays otherwise than before")
        missing = hello.resume.uplink_offset - carried.dialogue.understood
        if missing > (now - carried.sealed_at + PLAUSIBLE_S) * source.rate:
            raise TicketRefused("the caller has captured more than there was time for")
        if call is not None:
            # It went on elsewhere, while its connection here was not known to be lost.
            call.live.close(SessionCode.GOING_AWAY, "another server continued the call")
        return Carried(ticket, carried)


def _continued(call: NativeCall, hello: Hello, now_us: int) -> NativeCall:
    if not call.session.can_continue(hello, now_us):
        raise TicketRefused("the call cannot go on without a gap for what the hello asks")
    return call
