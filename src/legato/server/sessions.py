"""The calls in progress: from an accepted session to the end of its agent.

Owns the order hello, formats, welcome, agent, close, and the limits on it. It must not know sockets,
certificates or how audio travels.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from legato.agents.base import Agent
from legato.audio.codecs import codec_for
from legato.core.audio import AudioFormat
from legato.core.errors import AgentError, SettingsError, TransportError
from legato.core.events import (
    AudioReceived,
    EventReceived,
    GapReported,
    HelloReceived,
    PlaybackReported,
    ReplyCancelled,
    SessionEnded,
)
from legato.core.server_session import ServerSession
from legato.core.terms import Terms
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Hello, Limits, Profile
from legato.server.call import ServerCall
from legato.session_driver import SessionDriver, monotonic_us
from legato.transports.base import Handler, IncomingSession, Transport

__all__ = ["CallTerms", "LiveCalls"]

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
    session_seconds: float = 0
    """Longest call; 0 sets no limit."""


class LiveCalls:
    """Every call of this server."""

    def __init__(self, terms: CallTerms, clock: Callable[[], int] = monotonic_us) -> None:
        """Start without calls."""
        self.terms = terms
        self._clock = clock
        self._calls: set[_LiveCall] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """Return how many calls are in progress."""
        return len(self._calls)

    def take(self, incoming: IncomingSession) -> None:
        """Accept a session and see its call through."""
        live = _LiveCall(self.terms, self._clock, incoming.remote, self._gone)
        self._calls.add(live)
        self._empty.clear()
        incoming.accept(live.bind)

    def going_away(self, in_ms: int) -> None:
        """Tell every caller that the server stops in `in_ms`."""
        for live in list(self._calls):
            live.going_away(in_ms)

    async def wait_empty(self) -> None:
        """Wait until no call is in progress."""
        await self._empty.wait()

    def close_all(self, code: SessionCode, reason: str) -> None:
        """End every call now."""
        for live in list(self._calls):
            live.close(code, reason)

    def cancel_agents(self) -> int:
        """Cancel every agent that has not returned yet; return how many there are."""
        for live in self._calls:
            live.cancel_agent()
        return len(self._calls)

    def _gone(self, live: _LiveCall) -> None:
        self._calls.discard(live)
        if not self._calls:
            self._empty.set()


class _LiveCall:
    """One session and, once it has said hello, its call and agent."""

    def __init__(
        self, terms: CallTerms, clock: Callable[[], int], remote: str, on_gone: Callable[[_LiveCall], None]
    ) -> None:
        self._terms = terms
        self._clock = clock
        self._on_gone = on_gone
        self._id = f"call_{secrets.token_hex(8)}"
        self._log = log.bind(call=self._id, remote=remote)
        self._session = ServerSession(clock(), terms.limits)
        self._call: ServerCall | None = None
        self._agent: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._reactions: dict[type, Callable[[Any], None]] = {
            PlaybackReported: self._playback,
            EventReceived: self._event,
            ReplyCancelled: self._reply_cancelled,
            HelloReceived: self._hello,
            SessionEnded: self._ended,
        }

    def bind(self, transport: Transport) -> Handler:
        """Join the session to its transport."""
        self._driver = SessionDriver(self._session, transport, self._reactions, self._clock)
        self._driver.settle()
        return self._driver

    def going_away(self, in_ms: int) -> None:
        """Announce the end; a caller who has not said hello yet is better off elsewhere at once."""
        if self._call is None:
            self.close(SessionCode.GOING_AWAY, "the server stops")
        elif not self._driver.over:
            self._session.going_away(in_ms, self._clock())
            self._driver.settle()

    def close(self, code: SessionCode, reason: str) -> None:
        """End the call."""
        if not self._driver.over:
            self._session.close(code, reason, self._clock())
            self._driver.settle()

    def cancel_agent(self) -> None:
        """Stop the agent, if it runs."""
        if self._agent is not None:
            self._agent.cancel()

    def _hello(self, event: HelloReceived) -> None:
        hello = event.hello
        output = next((form for form in hello.output if _codable(form)), None)
        if output is None or not _codable(hello.input):
            wanted = hello.input if output is not None else hello.output
            self._session.refuse(
                SessionCode.UNSUPPORTED_FORMAT,
                f"no codec here for {_named(wanted)}; use pcm16",
                self._clock(),
            )
            return
        profile: Profile = "duplex" if hello.profile == "duplex" else "turn"
        self._session.accept(
            Terms(session_id=self._id, output=output, profile=profile, lead_ms=self._lead(hello)),
            self._clock(),
        )
        self._call = ServerCall(self._id, self._driver, (hello.input, output), _new_id)
        self._reactions[AudioReceived] = self._call.hear_audio
        self._reactions[GapReported] = self._call.hear_gap
        self._agent = asyncio.get_running_loop().create_task(self._run(self._call), name=self._id)
        if self._terms.session_seconds:
            loop = asyncio.get_running_loop()
            self._timers.append(
                loop.call_later(
                    self._terms.session_seconds,
                    self.close,
                    SessionCode.GOING_AWAY,
                    "the call lasted too long",
                )
            )
        self._log.info("call started", client=hello.client, input=_named(hello.input), output=_named(output))

    def _lead(self, hello: Hello) -> int:
        wanted = self._terms.lead_ms if hello.lead_ms is None else hello.lead_ms
        return max(1, min(wanted, self._terms.lead_ms))

    def _playback(self, event: PlaybackReported) -> None:
        if self._call is not None:
            self._call.speaker.playback(event)

    def _reply_cancelled(self, event: ReplyCancelled) -> None:
        if self._call is not None:
            self._call.speaker.cancelled(event)

    def _event(self, event: EventReceived) -> None:
        if self._call is None:
            return
        if event.event.get("type") == "response.cancel":
            self._call.interrupt()
        self._call.receive(event.event)

    def _ended(self, event: SessionEnded) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._call is not None:
            self._call.end()
        if self._agent is None or self._agent.done():
            self._on_gone(self)
        else:
            loop = asyncio.get_running_loop()
            self._timers = [
                loop.call_later(AGENT_GRACE_S, self.cancel_agent),
                loop.call_later(2 * AGENT_GRACE_S, self._complain),
            ]
        level = "info" if event.code in (SessionCode.NO_ERROR, SessionCode.GOING_AWAY) else "warning"
        getattr(self._log, level)("call ended", by=event.by, code=event.code, reason=event.reason)

    def _complain(self) -> None:
        # It still counts as a call: an operator who sees fewer callers than calls finds the reason here.
        self._log.error("the agent ignores its cancellation", grace_seconds=AGENT_GRACE_S)

    async def _run(self, call: ServerCall) -> None:
        code, reason = SessionCode.GOING_AWAY, "the agent was stopped"
        try:
            code, reason = await self._answered(call)
            with contextlib.suppress(TransportError):
                await self._driver.delivered()
        except asyncio.CancelledError:
            self._log.warning("agent cancelled")
        finally:
            with contextlib.suppress(Exception):
                self.close(code, reason)
            for timer in self._timers:
                timer.cancel()
            self._on_gone(self)

    async def _answered(self, call: ServerCall) -> tuple[SessionCode, str]:
        """Let the agent answer and be heard; return how the call is to be closed."""
        try:
            await self._terms.agent(call)
            await call.speaker.heard()
        except AgentError as error:
            self._log.error("agent failed", problem=str(error), retryable=error.retryable)
            return SessionCode.AGENT_ERROR, str(error)
        except Exception as error:
            self._log.error("agent failed", exc_info=error)
            return SessionCode.AGENT_ERROR, "the agent failed"
        return SessionCode.NO_ERROR, ""


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"


def _codable(form: AudioFormat) -> bool:
    try:
        codec_for(form)
    except SettingsError:
        return False
    return True


def _named(forms: AudioFormat | tuple[AudioFormat, ...]) -> str:
    several = forms if isinstance(forms, tuple) else (forms,)
    return ", ".join(f"{form.codec}/{form.rate}" for form in several) or "an empty list of formats"
