"""A native caller's call, over one connection after the other: what they send, in the order they meant.

Owns the order of events and audio, which travel on streams of their own, and which connection is the call's.
It must not know how a caller is let in, nor what the agent does with the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from legato.core.events import (
    AudioReceived,
    ConnectionLost,
    EventReceived,
    GapReported,
    PlaybackReported,
    ReplyCancelled,
    SessionEnded,
)
from legato.core.server_session import ServerSession
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import JsonObject
from legato.server.call_line import CallLine
from legato.server.carried_calls import CarriedCall, Checkpoints
from legato.server.ducking import Ducking
from legato.server.sessions import LiveCall
from legato.server.tickets import Ticket
from legato.session_driver import Reactions, SessionDriver

__all__ = ["COMMIT_OFFSET", "NativeCall"]

COMMIT_OFFSET = "legato_audio_offset"
"""Member of `input_audio_buffer.commit`: the first captured sample that is not meant (wire/SPEC.md)."""

MOST_HELD = 1000
"""Events that may wait for the audio that an earlier one is about."""

MOST_HELD_BYTES = 4 << 20
"""What these may weigh together; the first of them may weigh as much as an event may."""

log = structlog.get_logger(__name__)


class NativeCall:
    """One call, from the moment it is let in."""

    def __init__(
        self,
        live: LiveCall,
        line: CallLine,
        on_end: Callable[[NativeCall, SessionEnded], None],
        before: Ticket | None = None,
    ) -> None:
        """Take what comes over `line` for `live`; `on_end` is called when the call is over. `before` is the
        ticket of another server's with which it came here."""
        self.live = live
        self.attachment = 1 if before is None else before.attachment + 1
        """Number of the connection it goes on over."""
        self._oldest = 1 if before is None else before.attachment
        self._before = before
        self._checkpoints: Checkpoints | None = None
        self._line = line
        self._on_end = on_end
        self._held: list[JsonObject] = []
        self._held_bytes = 0
        self._ducking = Ducking(self._deny, self._sounding)
        self._reactions: dict[type, Callable[[Any], None]] = {
            PlaybackReported: live.call.speaker.playback,
            ReplyCancelled: live.call.speaker.cancelled,
            EventReceived: self._event,
            ConnectionLost: self._lost,
            SessionEnded: self._ended,
        }
        self._listen()

    @property
    def session(self) -> ServerSession:
        """The session that is the call's now."""
        return self._line.session

    def accepts(self, ticket: Ticket, here: str) -> bool:
        """Whether a ticket is still of use on the server `here`: one issued on a connection of this call is
        until its holder has shown that a later one has reached them."""
        before = self._before
        if ticket.server != here and (
            before is None or (before.server, before.attachment) != (ticket.server, ticket.attachment)
        ):
            return False
        oldest = self.attachment if self.session.confirmed else self._oldest
        return oldest <= ticket.attachment <= self.attachment

    def keep_checkpoints(self, seal: Callable[[CarriedCall], str | None], clock: Callable[[], float]) -> None:
        """From now on let the caller have what the call has come to, whenever that changes; `clock` gives
        seconds since 1970."""
        began = clock() - self.live.caller.spent_s

        def say() -> None:
            if not self.session.carries:
                return
            carried = self._carried(began, clock())
            state = seal(carried)
            if state is not None:
                self.session.send_checkpoint(state, carried.dialogue.understood, carried.events)
                self._line.carry_out()

        dialogue = self.live.call.dialogue
        self._checkpoints = Checkpoints(say, lambda: dialogue.position)
        dialogue.attend(self._checkpoints.note)
        self._reactions[PlaybackReported] = self._played
        self._checkpoints.note()

    def _carried(self, began: float, now: float) -> CarriedCall:
        caller = self.live.caller
        return CarriedCall(
            call_id=self.live.id,
            holder=caller.grant.holder,
            began_at=began,
            sealed_at=now,
            formats=caller.formats,
            generation=self.session.generation,
            # Those that wait for audio are said again: so is the audio.
            events=self.session.events_taken - len(self._held),
            dialogue=self.live.call.carry(),
        )

    def _played(self, report: PlaybackReported) -> None:
        self.live.call.speaker.playback(report)
        if report.state in ("stopped", "done") and self._checkpoints is not None:
            self._checkpoints.note()

    @property
    def reactions(self) -> Reactions:
        """What to do about the events of each of the call's sessions."""
        return self._reactions

    def attach(self, driver: SessionDriver[ServerSession], remote: str) -> SessionDriver[ServerSession]:
        """Go on over another connection; returns the driver of the one before, to be settled."""
        before = self._line.driver
        if before.session.confirmed:
            self._oldest = self.attachment
        self.attachment += 1
        self._line.attach(driver)
        self.live.continued(remote)
        if self._checkpoints is not None:
            self._checkpoints.note()
        return before

    def _lost(self, loss: ConnectionLost) -> None:
        self.live.parked(loss.by, loss.reason)

    def _ended(self, event: SessionEnded) -> None:
        # A session that hands its call over ends, too; the call does not.
        if (event.by, event.code) != ("local", SessionCode.REPLACED):
            self._line.wake()
            self._ducking.stop()
            if self._checkpoints is not None:
                self._checkpoints.stop()
            self._on_end(self, event)
            self.live.ended(event.by, event.code, event.reason)

    def _event(self, received: EventReceived) -> None:
        call, event = self.live.call, received.event
        grant = self.live.caller.grant
        if event["type"] == "legato.duck":
            detection = call.dialogue.settings.turn_detection
            may = detection is None or detection.interrupt_response
            self._ducking.duck(event.get("generation"), may)
        elif self._held or self._is_early(event):
            self._hold(event)
        elif event["type"] == "response.cancel" and grant.allows("response.cancel"):
            # Here the player's buffer is ours to clear, so that a reply can be cancelled which is made and
            # not yet heard.
            if call.dialogue.writing:
                call.receive(event, grant.permissions)
            call.interrupt()
        else:
            call.receive(event, grant.permissions)

    def _sounding(self, generation: int) -> bool:
        line = self.session.ledger.get(generation)
        return line is not None and line.audible

    def _deny(self, generation: int) -> None:
        if not self._line.over:
            self.session.send_event({"type": "legato.unduck", "generation": generation}, self._line.clock())
            self._line.settle()

    def _is_early(self, event: JsonObject) -> bool:
        """Whether an event is about audio that has not come yet."""
        if event["type"] != "input_audio_buffer.commit":
            return False
        offset = event.get(COMMIT_OFFSET)
        call = self.live.call
        return type(offset) is int and call.origin + call.dialogue.position < offset

    def _hold(self, event: JsonObject) -> None:
        """Keep an event, and those behind it, until the audio is here."""
        self._held_bytes += len(msgspec.json.encode(event)) if self._held else 0
        self._held.append(event)
        if len(self._held) > MOST_HELD or self._held_bytes > MOST_HELD_BYTES:
            self.live.close(SessionCode.LIMIT_EXCEEDED, "too many events wait for audio that does not come")
        elif len(self._held) == 1:
            self._reactions[AudioReceived] = self._hear_audio
            self._reactions[GapReported] = self._hear_gap

    def _hear_audio(self, event: AudioReceived) -> None:
        self.live.call.hear_audio(event)
        self._release()

    def _hear_gap(self, event: GapReported) -> None:
        self.live.call.hear_gap(event)
        self._release()

    def _release(self) -> None:
        """Take the events that no longer wait for anything."""
        if self._is_early(self._held[0]):
            return
        self._listen()
        held, self._held, self._held_bytes = self._held, [], 0
        for event in held:
            self._event(EventReceived(event))

    def _listen(self) -> None:
        self._reactions[AudioReceived] = self.live.call.hear_audio
        self._reactions[GapReported] = self.live.call.hear_gap
