"""The calls in progress: from the moment a caller is let in to the end of its agent.

Owns which calls there are, what each is given, and the order agent, close, end. It must not know sockets,
certificates, how audio travels or how a caller proved who they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from legato.agents.base import Agent
from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.carried import CarriedDialogue
from legato.core.dialects.realtime.dialogue import Opening
from legato.core.dialects.realtime.session_settings import SessionDefaults, SessionSettings
from legato.core.errors import AgentError, Party, TransportError
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Limits, Profile, ReceivedReply
from legato.server.auth import Grant
from legato.server.call import ServerCall
from legato.server.line import Line
from legato.session_driver import monotonic_us

__all__ = ["CallTerms", "Caller", "LiveCall", "LiveCalls", "new_id"]

AGENT_GRACE_S = 5.0
"""How long an agent may take to return by itself after its call is over."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallTerms:
    """What every call of a server is given."""

    agent: Agent
    limits: Limits = field(default_factory=Limits)
    lead_ms: int = 10_000
    """How far a reply may run ahead of its playback, unless the client wants less."""
    profile: Profile = "turn"
    """What callers get that leave it to the server."""
    late_ms: int = 400
    """How late audio may be in profile `duplex`, unless the client wants it otherwise."""
    session: SessionDefaults = field(default_factory=SessionDefaults)
    """What a conversation begins with, until its client changes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, and on what terms they were let in."""

    remote: str
    formats: tuple[AudioFormat, AudioFormat]
    """What they send and what they play."""
    settings: SessionSettings
    grant: Grant
    client: str = ""
    audio_as_events: bool = False
    """Whether audio travels within the dialect's events, in base64, so that items can be asked for theirs."""
    origin: int = 0
    """Position of the first captured sample of theirs that this call gets."""
    carried: CarriedDialogue | None = None
    """What their conversation has come to on another server, and `replies` what they have of its answers."""
    replies: tuple[ReceivedReply, ...] = ()
    spent_s: float = 0.0
    """How long the call has lasted there."""


class Guest(Protocol):
    """What the server holds while a connection lasts: a call, or one that may become a call."""

    def going_away(self, in_ms: int) -> None:
        """Say that the server stops in `in_ms`."""

    def close(self, code: SessionCode, reason: str) -> None:
        """End it now."""

    def cancel_agent(self) -> None:
        """Stop its agent, if one runs."""


class LiveCalls:
    """Every call of this server, and those that knock."""

    def __init__(self, terms: CallTerms, clock: Callable[[], int] = monotonic_us) -> None:
        """Start without calls."""
        self.terms = terms
        self.clock = clock
        self.parked = 0
        """How many calls wait for their caller to come back."""
        self._guests: set[Guest] = set()
        self._calls: dict[str, LiveCall] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """Return how many calls are in progress or about to begin."""
        return len(self._guests)

    def arrive(self, guest: Guest) -> None:
        """Count a connection that may become a call; it must `leave`."""
        self._guests.add(guest)
        self._empty.clear()

    def leave(self, guest: Guest) -> None:
        """Count it no longer. Idempotent."""
        self._guests.discard(guest)
        if not self._guests:
            self._empty.set()

    def find(self, call_id: str) -> LiveCall | None:
        """Return the call in progress of that name; one that only its agent lingers in is over."""
        live = self._calls.get(call_id)
        return None if live is None or live.over else live

    def begin(self, caller: Caller, line: Line, call_id: str) -> LiveCall:
        """Let the agent answer a caller; `call_id` is `new_id("call")`.

        Raises `auth.Unauthorized` if the caller's key has as many calls as it may.
        """
        caller.grant.enter()
        live = LiveCall(self, caller, line, call_id)
        self._calls[call_id] = live
        self.arrive(live)
        live.start()
        return live

    def gone(self, live: LiveCall) -> None:
        """Forget a call whose agent has returned."""
        # One that came back from another server has the name of the one that it left here.
        if self._calls.get(live.id) is live:
            del self._calls[live.id]
        live.caller.grant.leave()
        self.leave(live)

    def going_away(self, in_ms: int) -> None:
        """Tell every caller that the server stops in `in_ms`."""
        for guest in list(self._guests):
            guest.going_away(in_ms)

    async def wait_empty(self) -> None:
        """Wait until no call is in progress."""
        await self._empty.wait()

    def close_all(self, code: SessionCode, reason: str) -> None:
        """End every call now."""
        for guest in list(self._guests):
            guest.close(code, reason)

    def cancel_agents(self) -> int:
        """Cancel every agent that has not returned yet; return how many calls there are."""
        for guest in self._guests:
            guest.cancel_agent()
        return len(self._guests)


class LiveCall:
    """One call: its line, its agent and its end. The door that let it in tells it what happens."""

    def __init__(self, calls: LiveCalls, caller: Caller, line: Line, call_id: str) -> None:
        """Make a call that has not started."""
        self.id = call_id
        self.caller = caller
        self._calls = calls
        self._line = line
        self._log = log.bind(call=call_id, remote=caller.remote, caller=caller.grant.name)
        self._agent: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._on_end: list[Callable[[], None]] = []
        self._parked = False
        self.call = ServerCall(self._opening(), line, caller.formats)

    def _opening(self) -> Opening:
        return Opening(
            session_id=self.id,
            settings=self.caller.settings,
            new_id=new_id,
            answers=bool(getattr(self._calls.terms.agent, "takes_requests", False)),
            keeps_audio=self.caller.audio_as_events,
            formats=None if self.caller.audio_as_events else self.caller.formats,
            origin=self.caller.origin,
            carried=self.caller.carried,
            replies=self.caller.replies,
        )

    def start(self) -> None:
        """Set the agent to work."""
        loop = asyncio.get_running_loop()
        self._agent = loop.create_task(self._run(), name=self.id)
        if seconds := self.caller.grant.limits.session_seconds:
            late = (SessionCode.GOING_AWAY, "the call lasted too long")
            rest = max(0.0, seconds - self.caller.spent_s)
            self._timers.append(loop.call_later(rest, self.close, *late))
        sent, played = (f"{form.codec}/{form.rate}" for form in self.caller.formats)
        event = "call started" if self.caller.carried is None else "call rebuilt"
        self._log.info(event, client=self.caller.client, input=sent, output=played)

    def parked(self, by: Party, reason: str) -> None:
        """Take note that the connection is lost; the agent goes on, and another connection may come."""
        self._calls.parked += 1
        self._parked = True
        self.call.speaker.parked()
        self._log.info("call parked", by=by, reason=reason)

    def continued(self, remote: str) -> None:
        """Take note that the call goes on over another connection."""
        self._unpark()
        self.call.speaker.continued()
        self._log = self._log.bind(remote=remote)
        self._log.info("call continued")

    def going_away(self, in_ms: int) -> None:
        """Announce the end."""
        if not self._line.over:
            self._line.session.going_away(in_ms, self._line.clock())
            self._line.settle()

    def close(self, code: SessionCode, reason: str) -> None:
        """End the call."""
        if not self._line.over:
            self._line.session.close(code, reason, self._line.clock())
            self._line.settle()

    def cancel_agent(self) -> None:
        """Stop the agent."""
        if self._agent is not None:
            self._agent.cancel()

    @property
    def over(self) -> bool:
        """Return whether its caller is gone for good."""
        return self._line.over

    @property
    def attended(self) -> int:
        """Return how many listen in."""
        return len(self._on_end)

    def attend(
        self, listener: Callable[[dict[str, Any]], None], on_end: Callable[[], None]
    ) -> Callable[[], None]:
        """Let `listener` have every event that the caller is sent, until `on_end` is called or what is
        returned here."""
        leave = self.call.dialogue.attend(listener)
        self._on_end.append(on_end)

        def stop() -> None:
            leave()
            if on_end in self._on_end:
                self._on_end.remove(on_end)

        return stop

    def ended(self, by: Party, code: int, reason: str) -> None:
        """Take note that the connection is over; the agent gets a moment to return by itself."""
        self._stop_timers()
        self._unpark()
        self.call.end()
        on_end, self._on_end = self._on_end, []
        for tell in on_end:
            tell()
        if self._agent is None or self._agent.done():
            self._calls.gone(self)
        else:
            loop = asyncio.get_running_loop()
            self._timers = [
                loop.call_later(AGENT_GRACE_S, self.cancel_agent),
                loop.call_later(2 * AGENT_GRACE_S, self._complain),
            ]
        level = "info" if code in (SessionCode.NO_ERROR, SessionCode.GOING_AWAY) else "warning"
        getattr(self._log, level)("call ended", by=by, code=code, reason=reason)

    def _unpark(self) -> None:
        self._calls.parked -= self._parked
        self._parked = False

    def _complain(self) -> None:
        # It still counts as a call: an operator who sees fewer callers than calls finds the reason here.
        self._log.error("the agent ignores its cancellation", grace_seconds=AGENT_GRACE_S)

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    async def _run(self) -> None:
        code, reason = SessionCode.GOING_AWAY, "the agent was stopped"
        try:
            code, reason = await self._answered()
            with contextlib.suppress(TransportError):
                await self._line.delivered()
        except asyncio.CancelledError:
            self._log.warning("agent cancelled")
        finally:
            with contextlib.suppress(Exception):
                self.close(code, reason)
            self._stop_timers()
            self._calls.gone(self)

    async def _answered(self) -> tuple[SessionCode, str]:
        """Let the agent answer and be heard; return how the call is to be closed."""
        try:
            await self._calls.terms.agent(self.call)
            await self.call.speaker.heard()
        except AgentError as error:
            self._log.error("agent failed", problem=str(error), retryable=error.retryable)
            return SessionCode.AGENT_ERROR, str(error)
        except Exception as error:
            self._log.error("agent failed", exc_info=error)
            return SessionCode.AGENT_ERROR, "the agent failed"
        return SessionCode.NO_ERROR, ""


def new_id(prefix: str) -> str:
    """Return a name that nobody can guess, such as "call_0f3c…"."""
    return f"{prefix}_{secrets.token_hex(8)}"
