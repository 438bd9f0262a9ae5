"""The native door: a session over QUIC becomes a call, or goes on with one, once its hello was understood.

Owns the order hello, key, ticket, formats, welcome. It must not know what is said in a call, nor sockets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from legato.audio.codecs import codec_for
from legato.core.audio import AudioFormat
from legato.core.errors import SettingsError
from legato.core.events import HelloReceived, SessionEnded
from legato.core.server_session import ServerSession
from legato.core.terms import LEAST_LATE_MS, MOST_LATE_MS, CarriedSession, Terms
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Hello, Limits, Profile
from legato.server.auth import Authority, Grant, Unauthorized
from legato.server.call_line import CallLine
from legato.server.carried_calls import CarriedCall
from legato.server.native_call import NativeCall
from legato.server.resuming import CallOver, Carried, Resuming
from legato.server.sessions import Caller, LiveCall, LiveCalls, new_id
from legato.session_driver import SessionDriver
from legato.transports.base import Handler, IncomingSession, Transport

__all__ = ["NativeDoor"]

log = structlog.get_logger(__name__)

PACED_LEAD_MS = 600
"""How far a reply runs ahead in profile `duplex`, beside the lateness that is allowed: what is sent further
ahead would be stale after a break of the network, and with less a reply would wait for the reports of its
player, which come every 200 ms and a round trip late."""


class NativeDoor:
    """Lets native callers in."""

    def __init__(
        self,
        calls: LiveCalls,
        authority: Authority,
        resuming: Resuming | None = None,
        most_calls: int | None = None,
    ) -> None:
        """Let callers with a key of `authority` into `calls`; beyond `most_calls` only returning ones."""
        self.calls = calls
        self.most_calls = most_calls
        self.authority = authority
        self.resuming = resuming or Resuming()

    def open(self, incoming: IncomingSession) -> None:
        """Accept a session and see its call through."""
        visitor = _Visitor(self, incoming)
        self.calls.arrive(visitor)
        incoming.accept(visitor.bind)


class _Visitor:
    """One session at the door, until it is a call's."""

    def __init__(self, door: NativeDoor, incoming: IncomingSession) -> None:
        self._door = door
        self._calls = door.calls
        self._remote = incoming.remote
        self._origin = incoming.origin
        self._session = ServerSession(self._calls.clock(), self._calls.terms.limits)
        self._reactions: dict[type, Callable[[Any], None]] = {
            HelloReceived: self._hello,
            SessionEnded: self._ended,
        }

    def bind(self, transport: Transport) -> Handler:
        """Join the session to its transport."""
        self._driver = SessionDriver(self._session, transport, self._reactions, self._calls.clock)
        self._driver.settle()
        return self._driver

    def going_away(self, in_ms: int) -> None:
        """Send away who has not said hello yet: they are better off elsewhere at once."""
        self.close(SessionCode.GOING_AWAY, "the server stops")

    def close(self, code: SessionCode, reason: str) -> None:
        """End the session."""
        if not self._driver.over:
            self._session.close(code, reason, self._calls.clock())
            self._driver.settle()

    def cancel_agent(self) -> None:
        """Do nothing: no agent answers yet."""

    def _hello(self, event: HelloReceived) -> None:
        hello = event.hello
        try:
            grant = self._door.authority.admit(hello.token, self._origin)
            output = next((form for form in hello.output if _codable(form)), None)
            if output is None or not _codable(hello.input):
                wanted = hello.input if output is not None else hello.output
                reason = f"no codec here for {_named(wanted)}; use pcm16"
                self._session.refuse(SessionCode.UNSUPPORTED_FORMAT, reason, self._calls.clock())
            else:
                found = self._door.resuming.find(hello, grant, self._calls.clock(), time.time())
                if isinstance(found, NativeCall):
                    self._continue(found, hello, output, grant)
                elif self._door.most_calls is not None and len(self._calls) > self._door.most_calls:
                    raise Unauthorized(
                        429, "overloaded", "the server takes no more calls now: try again later"
                    )
                else:
                    self._begin(hello, output, grant, found)
        except Unauthorized as refusal:
            log.warning("call refused", remote=self._remote, reason=str(refusal))
            code = SessionCode.OVERLOADED if refusal.status == 429 else SessionCode.UNAUTHORIZED
            self._session.refuse(code, str(refusal), self._calls.clock())
        except CallOver as end:
            self._session.refuse(end.code, end.reason, self._calls.clock())

    def _begin(self, hello: Hello, output: AudioFormat, grant: Grant, left: Carried | None) -> None:
        """Begin a call, or take up one that another server has `left`."""
        if left is None:
            call_id = new_id("call")
            settings = grant.settings(self._calls.terms.session)
        else:
            call_id, settings, output = left.ticket.call_id, left.call.dialogue.settings, left.call.formats[1]
        caller = Caller(
            remote=self._remote,
            formats=(hello.input, output),
            settings=settings,
            grant=grant,
            client=hello.client,
            **_brought(hello, left),
        )
        line = CallLine(self._driver)
        live = self._calls.begin(caller, line, call_id)
        call = NativeCall(live, line, self._door.resuming.forget, left.ticket if left is not None else None)
        terms = self._terms(call, hello, output)
        if left is not None:
            terms = msgspec.structs.replace(terms, carried=_whereabouts(left.call))
        self._session.accept(terms, self._calls.clock())
        self._adopt(live, caller)
        self._door.resuming.remember(call, hello)
        self._driver.obey(call.reactions)
        self._calls.leave(self)
        live.call.open()

    def _adopt(self, live: LiveCall, caller: Caller) -> None:
        """Let the call follow what its caller still has to hear of another server's answers."""
        for reply in caller.replies:
            line = self._session.ledger.get(reply.generation)
            if line is not None and line.audible:
                live.call.speaker.adopt(reply.item_id, reply.generation)

    def _continue(self, call: NativeCall, hello: Hello, output: AudioFormat, grant: Grant) -> None:
        before = call.session
        driver = call.attach(self._driver, self._remote)
        self._session.accept(self._terms(call, hello, output), self._calls.clock(), before)
        self._driver.obey(call.reactions)
        self._calls.leave(self)
        driver.settle()

    def _terms(self, call: NativeCall, hello: Hello, output: AudioFormat) -> Terms:
        mine, resuming = self._calls.terms, self._door.resuming
        profile: Profile = mine.profile if hello.profile == "auto" else hello.profile
        late_ms = min(max(hello.late_ms or mine.late_ms, LEAST_LATE_MS), MOST_LATE_MS)
        lead_ms = self._lead(hello)
        return Terms(
            session_id=call.live.id,
            output=output,
            profile=profile,
            late_ms=late_ms,
            lead_ms=min(lead_ms, late_ms + PACED_LEAD_MS) if profile == "duplex" else lead_ms,
            limits=self._limits(call.live.caller.grant),
            resume_ticket=resuming.ticket(call, time.time()),
            resume_ttl_ms=resuming.window_ms,
        )

    def _limits(self, grant: Grant) -> Limits:
        """What the caller's key allows, and no more than everybody may."""
        most = self._calls.terms.limits
        return msgspec.structs.replace(
            most,
            audio_rate=min(most.audio_rate, grant.limits.audio_rate),
            control_record_bytes=min(most.control_record_bytes, grant.limits.event_bytes),
        )

    def _lead(self, hello: Hello) -> int:
        most = self._calls.terms.lead_ms
        return max(1, min(most if hello.lead_ms is None else hello.lead_ms, most))

    def _ended(self, event: SessionEnded) -> None:
        self._calls.leave(self)
        log.warning("session ended at the door", remote=self._remote, code=event.code, reason=event.reason)


def _brought(hello: Hello, left: Carried | None) -> dict[str, Any]:
    """What a caller brings along."""
    resume = hello.resume
    if resume is None:
        return {}
    if left is None:
        return {"origin": resume.uplink_offset}
    carried = left.call
    return {
        "origin": min(resume.uplink_offset, carried.dialogue.understood),
        "carried": carried.dialogue,
        "replies": resume.downlink,
        "spent_s": max(0.0, carried.sealed_at - carried.began_at),
    }


def _whereabouts(carried: CarriedCall) -> CarriedSession:
    """Where the session of a carried call takes it up."""
    return CarriedSession(
        uplink_offset=carried.dialogue.understood, events=carried.events, generation=carried.generation
    )


def _codable(form: AudioFormat) -> bool:
    try:
        codec_for(form)
    except SettingsError:
        return False
    return True


def _named(forms: AudioFormat | tuple[AudioFormat, ...]) -> str:
    several = forms if isinstance(forms, tuple) else (forms,)
    return ", ".join(f"{form.codec}/{form.rate}" for form in several) or "an empty list of formats"
