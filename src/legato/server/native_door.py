"""The native door: a session over QUIC becomes a call once its hello was understood.

Owns the order hello, key, formats, welcome, and the order of events and audio, which travel on streams of
their own. It must not know what an agent does with the call, nor sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from legato.audio.codecs import codec_for
from legato.core.audio import AudioFormat
from legato.core.errors import SettingsError
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
from legato.core.wire.messages import Hello, JsonObject, Limits, Profile
from legato.server.auth import Authority, Grant, Unauthorized
from legato.server.call import ServerCall
from legato.server.sessions import Caller, LiveCall, LiveCalls, new_id
from legato.session_driver import SessionDriver
from legato.transports.base import Handler, IncomingSession, Transport

__all__ = ["NativeDoor"]

COMMIT_OFFSET = "legato_audio_offset"
"""Member of `input_audio_buffer.commit`: the first captured sample that is not meant (wire/SPEC.md)."""

MOST_HELD = 1000
"""Events that may wait for the audio that an earlier one is about."""

log = structlog.get_logger(__name__)


class NativeDoor:
    """Lets native callers in."""

    def __init__(self, calls: LiveCalls, authority: Authority) -> None:
        """Let callers with a key of `authority` into `calls`."""
        self.calls = calls
        self.authority = authority

    def open(self, incoming: IncomingSession) -> None:
        """Accept a session and see its call through."""
        visitor = _Visitor(self, incoming)
        self.calls.arrive(visitor)
        incoming.accept(visitor.bind)


class _Visitor:
    """One session: at the door until its hello, then a call."""

    def __init__(self, door: NativeDoor, incoming: IncomingSession) -> None:
        self._door = door
        self._calls = door.calls
        self._remote = incoming.remote
        self._origin = incoming.origin
        self._session = ServerSession(self._calls.clock(), self._calls.terms.limits)
        self._live: LiveCall | None = None
        self._held: list[JsonObject] = []
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
                self._begin(hello, output, grant)
        except Unauthorized as refusal:
            log.warning("call refused", remote=self._remote, reason=str(refusal))
            code = SessionCode.OVERLOADED if refusal.status == 429 else SessionCode.UNAUTHORIZED
            self._session.refuse(code, str(refusal), self._calls.clock())

    def _begin(self, hello: Hello, output: AudioFormat, grant: Grant) -> None:
        call_id = new_id("call")
        caller = Caller(
            remote=self._remote,
            formats=(hello.input, output),
            settings=grant.settings(self._calls.terms.session),
            grant=grant,
            client=hello.client,
        )
        profile: Profile = "duplex" if hello.profile == "duplex" else "turn"
        live = self._calls.begin(caller, self._driver, call_id)
        self._session.accept(
            Terms(
                session_id=call_id,
                output=output,
                profile=profile,
                lead_ms=self._lead(hello),
                limits=self._limits(grant),
            ),
            self._calls.clock(),
        )
        call = live.call
        self._live = live
        self._listen(call)
        self._reactions[PlaybackReported] = call.speaker.playback
        self._reactions[ReplyCancelled] = call.speaker.cancelled
        self._reactions[EventReceived] = self._event
        self._calls.leave(self)
        call.open()

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

    def _event(self, received: EventReceived) -> None:
        assert self._live is not None
        call, event = self._live.call, received.event
        grant = self._live.caller.grant
        if self._held or self._is_early(event):
            self._hold(event)
        elif event["type"] == "response.cancel" and grant.allows("response.cancel"):
            # Here the player's buffer is ours to clear, so that a reply can be cancelled which is made and
            # not yet heard.
            if call.dialogue.writing:
                call.receive(event, grant.permissions)
            call.interrupt()
        else:
            call.receive(event, grant.permissions)

    def _is_early(self, event: JsonObject) -> bool:
        """Whether an event is about audio that has not come yet."""
        assert self._live is not None
        if event["type"] != "input_audio_buffer.commit":
            return False
        offset = event.get(COMMIT_OFFSET)
        return type(offset) is int and self._live.call.dialogue.position < offset

    def _hold(self, event: JsonObject) -> None:
        """Keep an event, and those behind it, until the audio is here."""
        assert self._live is not None
        self._held.append(event)
        if len(self._held) > MOST_HELD:
            self.close(SessionCode.LIMIT_EXCEEDED, "too many events wait for audio that does not come")
        elif len(self._held) == 1:
            self._reactions[AudioReceived] = self._hear_audio
            self._reactions[GapReported] = self._hear_gap

    def _hear_audio(self, event: AudioReceived) -> None:
        assert self._live is not None
        self._live.call.hear_audio(event)
        self._release()

    def _hear_gap(self, event: GapReported) -> None:
        assert self._live is not None
        self._live.call.hear_gap(event)
        self._release()

    def _release(self) -> None:
        """Take the events that no longer wait for anything."""
        assert self._live is not None
        if self._is_early(self._held[0]):
            return
        self._listen(self._live.call)
        held, self._held = self._held, []
        for event in held:
            self._event(EventReceived(event))

    def _listen(self, call: ServerCall) -> None:
        self._reactions[AudioReceived] = call.hear_audio
        self._reactions[GapReported] = call.hear_gap

    def _ended(self, event: SessionEnded) -> None:
        if self._live is not None:
            self._live.ended(event.by, event.code, event.reason)
        else:
            self._calls.leave(self)
            log.warning(
                "session ended at the door", remote=self._remote, code=event.code, reason=event.reason
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
