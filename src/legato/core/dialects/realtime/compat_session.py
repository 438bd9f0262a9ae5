"""The server's end of a call whose audio and events are JSON messages of the OpenAI Realtime API.

Owns what travels: reads the client's messages, cuts its audio into frames, writes replies as
`response.output_audio.delta`, and estimates what of them was heard. Must not know what an event means (that
is `dialogue.py`), the agent or the connection.

The contract is that of `legato.core.session`: inputs and operations take the time, then `outputs()` (texts to
send, in order), `events()` (`AudioReceived`, `EventReceived`, `SessionEnded`), `holds`, `ending` and
`next_deadline()` say what follows. Whatever a client sends never raises; a refusal is an `error` event.

Nothing here ever says an event that the API does not define: its stock clients refuse to read on.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from legato.core.audio import AudioFormat, AudioFrame
from legato.core.dialects.realtime.append_meter import AppendMeter
from legato.core.dialects.realtime.client_events import EVENT_ID_MAX, read_append, read_message
from legato.core.dialects.realtime.compat_replies import CompatReplies, SpokenItems
from legato.core.dialects.realtime.errors import EventRefused, invalid, missing, mistyped
from legato.core.dialects.realtime.vocabulary import SERVER_EVENTS
from legato.core.errors import LocalProtocolError, Party
from legato.core.events import AudioReceived, EventReceived, SessionEnded
from legato.core.playout import PlayoutLedger
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import JsonObject, Limits

UNBOUNDED_CREDIT_US = 3_600_000_000
"""A client of this kind has no window: it is sent what the network takes."""

FRAME_MS = 100
"""Longest frame that an agent is given: a client may append minutes at once."""

PLAIN_CHARACTERS = 1 << 18
PLAIN_COMMAS = 200_000
"""A message longer than the first may have so many commas: what it becomes in memory is then bounded."""

_ERROR_TYPES = {
    SessionCode.PROTOCOL_VIOLATION: "invalid_request_error",
    SessionCode.LIMIT_EXCEEDED: "invalid_request_error",
    SessionCode.INTERNAL_ERROR: "server_error",
    SessionCode.AGENT_ERROR: "server_error",
}
"""Ends that a client is told the reason of in an `error` event, because few look at a close frame."""

_encode = msgspec.json.Encoder().encode


class CompatSession:
    """A server's half of one call, from the opened connection to the end. Implements `VoiceSession`."""

    def __init__(
        self,
        form: AudioFormat,
        limits: Limits,
        tag: str,
        may_append: bool = True,
    ) -> None:
        """Begin to hear audio in the format `form`; `tag` is in the id of every event said here. Without
        `may_append` audio is an event like others, for the dialogue to refuse."""
        self.ending: tuple[int, str] | None = None
        """A `SessionCode` and a reason, once the connection is to be closed."""
        self.leaving = False
        """Whether the server goes away: who is sent off now may call again."""
        self._input_format: Callable[[], AudioFormat] = lambda: form
        self._meter = AppendMeter(limits)
        self._position = 0  # samples received so far
        self._follow(form)
        self._may_append = may_append
        self._event_prefix = f"event_{tag}".encode()
        self._said = 0
        self._replies = CompatReplies()
        self.undone: list[bytes] = []
        """What `outputs()` would return; here to be asked whether there is something."""
        self.untold: list[AudioReceived | EventReceived | SessionEnded] = []
        """What `events()` would return; here to be asked whether there is something."""
        self._over = False
        self._leaves_at: int | None = None

    def join(self, items: SpokenItems, input_format: Callable[[], AudioFormat]) -> None:
        """Speak for that conversation, and hear in the format that it has at each moment."""
        self._replies.items = items
        self._input_format = input_format

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        return self._over

    @property
    def holds(self) -> bool:
        """Whether nothing more should be read from the client for now."""
        return self._meter.holds

    @property
    def ledger(self) -> PlayoutLedger:
        """The playback ledger: what was heard is worked out from what was sent and when."""
        return self._replies.ledger

    def outputs(self) -> list[bytes]:
        """Messages to send, in order; the list is the caller's."""
        outputs, self.undone = self.undone, []
        return outputs

    def events(self) -> list[AudioReceived | EventReceived | SessionEnded]:
        """What happened, in order; the list is the caller's."""
        events, self.untold = self.untold, []
        return events

    # Inputs

    def receive(self, message: str | bytes, now: int) -> None:
        """The client's next message arrived; never raises."""
        if self._over:
            return
        try:
            if type(message) is not str:
                raise EventRefused("invalid_message", "Send text messages: each one event, as a JSON object.")
            audio = read_append(message) if self._may_append else None
            if audio is None:
                self.untold.append(EventReceived(read_event(message)))
            elif not self._hear(audio, now):
                raise self._torn(len(audio), read_event(message))
        except EventRefused as refusal:
            self.send_event({"type": "error", "error": refusal.as_error()}, now)

    def closed(self, by: Party, code: int, reason: str) -> None:
        """The connection has ended, or is ending."""
        self._end(by, code, reason)

    def next_deadline(self) -> int | None:
        """When `on_deadline` is due, or None while nothing waits for time."""
        held, leaves = self._meter.hold_until, self._leaves_at
        if held is None or leaves is None:
            return leaves if held is None else held
        return min(held, leaves)

    def on_deadline(self, now: int) -> None:
        """Time has passed; harmless if nothing is due."""
        self._meter.on_deadline(now)
        if self._leaves_at is not None and now >= self._leaves_at:
            self.close(SessionCode.GOING_AWAY, "the server goes away", now)

    # Operations

    def send_event(self, event: JsonObject, now: int) -> None:
        """Say an event of the API. One that the API does not define is left out: this client has no use for
        it, and stock ones take it for an error."""
        if self._over or event.get("type") not in SERVER_EVENTS:
            return
        if "event_id" not in event:
            event = {**event, "event_id": self._event_id().decode()}
        try:
            self.undone.append(_encode(event))
        except (TypeError, ValueError, RecursionError) as error:
            message = f"{event['type']} is not JSON: {error}; send plain values only"
            raise LocalProtocolError(message) from error

    def begin_reply(
        self, response_id: str, item_id: str, form: AudioFormat, now: int, content_index: int = 0
    ) -> int:
        """Open one part of a reply; returns its generation, higher than all before."""
        return 0 if self._over else self._replies.begin(response_id, item_id, form)

    def send_audio(self, generation: int, payload: bytes, samples: int, now: int) -> bool:
        """Send the next `samples` of a reply; False if it was flushed or the session has ended."""
        if self._over:
            return False
        delta = self._replies.delta(generation, payload, samples, self._event_id(), now)
        if delta is None:
            return False
        self.undone.append(delta)
        return True

    def end_reply(self, generation: int, now: int) -> None:
        """The reply is complete; without effect if it was flushed."""
        if not self._over:
            self._replies.end(generation)

    def flush(self, now: int) -> int:
        """Make every reply begun so far stale. The client is told by the dialogue's own events."""
        return self._replies.flush(now)

    def flush_reply(self, generation: int, now: int) -> None:
        """Make one reply stale and leave the others."""
        self._replies.flush_reply(generation, now)

    def credit_us(self, now: int) -> int:
        """How much more audio the client should be sent: any amount, if the network takes it."""
        return UNBOUNDED_CREDIT_US

    def consumed(self, samples: int, size: int) -> bool:
        """The agent took audio off its queue; returns whether the client is not held any more by that."""
        return self._meter.consumed(size)

    def going_away(self, in_ms: int, now: int) -> None:
        """End the session in `in_ms`: the API has no event to announce it."""
        if not self._over:
            self.leaving = True
            self._leaves_at = now + in_ms * 1_000

    def close(self, code: int, reason: str, now: int) -> None:
        """End the session with a `SessionCode`."""
        if self._over:
            return
        kind = _ERROR_TYPES.get(SessionCode(code))
        if kind is not None:
            error = {
                "type": kind,
                "code": SessionCode(code).name.lower(),
                "message": reason,
                "param": None,
                "event_id": None,
            }
            self.send_event({"type": "error", "error": error}, now)
        self.ending = (code, reason)
        self._end("local", code, reason)

    # Inside

    def _hear(self, audio: bytes, now: int) -> bool:
        """Take audio in; False, and nothing was done, if it ends within a sample."""
        form = self._input_format()
        if form is not self._form:
            self._follow(form)
        size, width, most = len(audio), self._sample_bytes, self._frame_bytes
        if size % width:
            return False
        if not size:
            return True
        self._meter.add(size, now)
        position = self._position
        self._position = position + size // width
        if size <= most:
            self.untold.append(AudioReceived(AudioFrame(position, now, audio, form, size // width)))
            return True
        for at in range(0, size, most):
            piece = audio[at : at + most]
            frame = AudioFrame(position + at // width, now, piece, form, len(piece) // width)
            self.untold.append(AudioReceived(frame))
        return True

    def _torn(self, size: int, event: JsonObject) -> EventRefused:
        sentence = f"{size} bytes are not whole samples of {self._sample_bytes} bytes."
        refusal = invalid("audio", sentence)
        refusal.event_id = _event_id_of(event)
        return refusal

    def _follow(self, form: AudioFormat) -> None:
        """Take audio in this format from now on."""
        self._form = form
        self._sample_bytes = form.bytes_per_sample or 1
        self._frame_bytes = form.rate * FRAME_MS // 1_000 * self._sample_bytes
        self._meter.follow(form.rate * self._sample_bytes)

    def _event_id(self) -> bytes:
        self._said += 1
        return b"%b%x" % (self._event_prefix, self._said)

    def _end(self, by: Party, code: int, reason: str) -> None:
        if not self._over:
            self._over = True
            self._leaves_at = None
            self._replies.release()
            self.untold.append(SessionEnded(by, code, reason))


def read_event(message: str) -> JsonObject:
    """Return the event that a message holds, whatever its type; raises `EventRefused`."""
    if len(message) > PLAIN_CHARACTERS and message.count(",") > PLAIN_COMMAS:
        raise EventRefused("invalid_message", "The event has too many values: send several smaller ones.")
    event = read_message(message)
    kind = event.get("type")
    if isinstance(kind, str):
        return event
    refusal = missing("type") if kind is None else mistyped("type", "a string", kind)
    refusal.event_id = _event_id_of(event)
    raise refusal


def _event_id_of(event: JsonObject) -> str | None:
    """The name a client gave to an event, unless it is too long to be said again."""
    event_id = event.get("event_id")
    return event_id if isinstance(event_id, str) and len(event_id) <= EVENT_ID_MAX else None
