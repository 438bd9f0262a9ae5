"""What both ends of a session have in common: inputs, outputs, events, the control stream, the end.

Owns the contract with the driver. Must not know what a role makes of a message or of audio: that is
`server_session.py` and `client_session.py`.

The contract. *Inputs* tell what happened, *operations* what the owner wants; both take the time `now`
(microseconds of any monotonic clock, the same one throughout). After each of them, or after a batch of them:

    1. carry out `outputs()` in order (bytes to send, streams to open, the session to close);
    2. look at `events()` in order;
    3. call `on_deadline(now)` when `next_deadline()` is reached, if nothing else happened before.

The first two may change places. Nothing is lost by draining late, only delayed. An input never raises on
account of the peer's bytes: a violation becomes `CloseSession` as the last output and `SessionEnded` as
the last event, and every later input and operation has no effect. An operation that is not allowed raises
`LocalProtocolError` with a sentence that says what to do; one that merely comes too late (the session has
ended) does nothing.
"""

from abc import abstractmethod
from collections.abc import Callable, Sized
from typing import ParamSpec

from legato.core.errors import LocalProtocolError, Party, RemoteProtocolError
from legato.core.event_log import EventLog
from legato.core.events import (
    ConnectionLost,
    Draining,
    Event,
    EventReceived,
    HeartbeatReturned,
    SessionEnded,
)
from legato.core.opening_streams import OpeningStreams
from legato.core.outputs import CloseSession, Output, Pause, Resume, Send, SendDatagram
from legato.core.state import CONNECTED, LIVE, SessionCause, SessionState, session_after
from legato.core.wire import varint
from legato.core.wire.codes import DATAGRAM_MAX_BYTES, DatagramType, RecordType, SessionCode
from legato.core.wire.event_json import encode_event, encode_message
from legato.core.wire.messages import ClientMessage, EventAck, JsonObject, Limits, ServerMessage
from legato.core.wire.records import ControlReader, control_record

# A close reason fits the WebTransport close capsule (draft-ietf-webtrans-http3, CLOSE_WEBTRANSPORT_SESSION).
_REASON_MAX_BYTES = 1_024
_CONTROL_ENDED = "the control stream ended before the session"

_Arguments = ParamSpec("_Arguments")


class Session(OpeningStreams):
    """One end of a session; see the module's first lines for its contract."""

    __slots__ = (
        "_control", "_control_key", "_control_limit", "_control_over", "_events", "_log", "_loss",
        "_next_key", "_phase_deadline", "_resume_us", "_state", "undone", "untold",
    )  # fmt: skip

    _close_patience_us = 0  # how long the end of the control stream may come before that of the session

    def __init__(self, limits: Limits, now: int) -> None:
        super().__init__(limits)
        self._state = SessionState.CONNECTING
        self._events: list[Event] = []
        self.undone: Sized = self._outputs
        """What `outputs()` would return; here to be asked for its length."""
        self.untold: Sized = self._events
        """What `events()` would return; here to be asked for its length."""
        self._control_key: int | None = None
        self._control = ControlReader(limits.control_record_bytes, self._control_record)
        self._control_limit = limits.control_record_bytes
        self._control_over = False
        self._next_key = -1
        self._log = EventLog()
        self._loss: ConnectionLost | None = None
        self._resume_us = 0
        self._phase_deadline: int | None = now + limits.hello_ms * 1_000

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self._state

    def outputs(self) -> list[Output]:
        """What to do now, in order; the list is the caller's and the next call starts anew."""
        outputs = self._outputs[:]
        self._outputs.clear()
        return outputs

    def events(self) -> list[Event]:
        """What happened, in order; the list is the caller's and the next call starts anew."""
        events = self._events[:]
        self._events.clear()
        return events

    @abstractmethod
    def next_deadline(self) -> int | None:
        """When `on_deadline` is due, or None while nothing waits for time."""

    # Inputs

    def stream_opened(self, stream: int, bidirectional: bool, now: int) -> None:
        """The peer opened a stream."""
        self._guarded(self._stream_opened, stream, bidirectional)

    @abstractmethod
    def receive(self, stream: int, data: bytes, fin: bool, now: int) -> None:
        """The next bytes of a stream arrived, the last ones if `fin`; unknown streams are ignored."""

    def stream_reset(self, stream: int, code: int, now: int) -> None:
        """The peer abandoned its direction of a stream."""
        self._guarded(self._abandon, self._stream_reset, stream, code)

    def stream_stopped(self, stream: int, code: int, now: int) -> None:
        """The peer reads no more of our direction of a stream."""
        self._guarded(self._abandon, self._stream_stopped, stream, code)

    def datagram(self, data: bytes, now: int) -> None:
        """A datagram arrived; unknown, malformed and oversized ones are ignored."""
        kind = varint.decode(data, 0)
        if kind is None or len(data) > DATAGRAM_MAX_BYTES or self._state is SessionState.CLOSED:
            return
        sequence = varint.decode(data, kind[1])
        if sequence is None:
            return
        if kind[0] == DatagramType.HEARTBEAT:
            self._send_datagram(DatagramType.HEARTBEAT_ECHO, sequence[0])
        elif kind[0] == DatagramType.HEARTBEAT_ECHO:
            self._events.append(HeartbeatReturned(sequence[0]))

    def path_changed(self, now: int) -> None:
        """What is sent from here on takes another way through the network; nothing else has changed."""

    def closed(self, by: Party, code: int, reason: str, now: int) -> None:
        """The transport session is over. So is the call, unless another session may continue it: then it
        waits for that. Said of a call that waits, it is over."""
        if not (self._is_loss(by, code) and self._resume_us) or self._state not in CONNECTED:
            self._end(by, code, reason)
            return
        self._state = session_after(self._state, SessionCause.LOSE)
        self._loss = ConnectionLost(by, code, reason)
        self._events.append(self._loss)
        self._phase_deadline = now + self._resume_us
        self._control_key = None
        self._forget_openings()
        self._detach()
        self._outputs.clear()

    def on_deadline(self, now: int) -> None:
        """Time has passed; harmless if nothing is due."""
        due = self._phase_deadline is not None and now >= self._phase_deadline
        if due and self._loss is not None:
            self._end(self._loss.by, self._loss.code, self._loss.reason)
        elif due and self._control_over:
            self._end_locally(SessionCode.PROTOCOL_VIOLATION, _CONTROL_ENDED)
        else:
            self._guarded(self._time_passed, now)

    # Operations

    def send_event(self, event: JsonObject, now: int) -> None:
        """Say an event of the dialect: a dictionary of plain values with a "type"."""
        self._say_counted(encode_event(event, self._control_limit))

    def send_heartbeat(self, sequence: int, now: int) -> None:
        """Send a heartbeat datagram; `HeartbeatReturned` with the same number shows that the path works."""
        if self._state is not SessionState.CLOSED:
            self._send_datagram(DatagramType.HEARTBEAT, sequence)

    def hold_events(self, held: bool) -> None:
        """Stop reading the control stream while the owner has more events than it can take."""
        if self._control_key is not None and self._state is not SessionState.CLOSED:
            self._outputs.append(Pause(self._control_key) if held else Resume(self._control_key))

    def close(self, code: int, reason: str, now: int) -> None:
        """End the session at once; unsent data may be lost."""
        self._end_locally(code, reason)

    def hand_over(self, now: int) -> None:
        """Another session continues the call, or will: this one ends."""
        self._end_locally(SessionCode.REPLACED, "another connection continues the call")

    # For the two roles

    def _is_loss(self, by: Party, code: int) -> bool:
        """Whether a transport session that ends so leaves the call to another one."""
        return by == "transport" or code == SessionCode.REPLACED

    @abstractmethod
    def _stream_opened(self, stream: int, bidirectional: bool) -> None: ...

    @abstractmethod
    def _stream_reset(self, stream: int, code: int) -> None: ...

    @abstractmethod
    def _stream_stopped(self, stream: int, code: int) -> None: ...

    @abstractmethod
    def _time_passed(self, now: int) -> None: ...

    @abstractmethod
    def _event(self, payload: bytes, now: int) -> None:
        """Take one event from the control stream."""

    @abstractmethod
    def _release(self) -> None:
        """Forget the streams of the role: the session has ended."""

    @abstractmethod
    def _detach(self) -> None:
        """Forget the connection, not the call."""

    def _guarded(
        self,
        take: Callable[_Arguments, None],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> None:
        """Run an input; whatever the peer did wrong ends the session instead of raising."""
        if self._state is SessionState.CLOSED:
            return
        try:
            take(*args, **kwargs)
        except RemoteProtocolError as violation:
            self._end_locally(violation.code, violation.reason)

    def _abandon(self, take: Callable[[int, int], None], stream: int, code: int) -> None:
        if stream == self._control_key:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "the control stream was abandoned")
        take(stream, code)

    def _receive_control(self, data: bytes, fin: bool, now: int) -> None:
        self._control.feed(data, now)
        if fin and self._state is not SessionState.CLOSED:
            if not self._close_patience_us:
                raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, _CONTROL_ENDED)
            self._control_over = True
            self._phase_deadline = now + self._close_patience_us

    def _control_record(self, kind: int, payload: bytes, now: int) -> None:
        if kind == RecordType.EVENT and self._state is not SessionState.CLOSED:
            self._event(payload, now)

    def _take_key(self) -> int:
        key = self._next_key
        self._next_key -= 1
        return key

    def _say_message(self, message: ClientMessage | ServerMessage) -> None:
        self._say(encode_message(message))

    def _say_counted(self, payload: bytes) -> None:
        """Say an event that arrives whatever becomes of this connection."""
        if self._state is not SessionState.CLOSED:
            self._log.say(payload)
            self._say(payload)

    def _take_counted(self, size: int) -> None:
        """Count an event of the peer's, of so many bytes."""
        if self._log.take(size) and self._log.keeps:
            self._say_message(EventAck(self._log.tell()))

    def _say(self, payload: bytes) -> None:
        if self._state is not SessionState.CLOSED and self._control_key is not None:
            self._outputs.append(Send(self._control_key, control_record(payload), False))

    def _send_datagram(self, kind: DatagramType, sequence: int) -> None:
        self._outputs.append(SendDatagram(varint.encode(kind) + varint.encode(sequence)))

    def _report_event(self, event: JsonObject, size: int) -> None:
        self._events.append(EventReceived(event))
        self._take_counted(size)

    def _drain(self, in_ms: int) -> None:
        self._state = session_after(self._state, SessionCause.GOING_AWAY)
        self._events.append(Draining(in_ms))

    def _require_live(self, operation: str, instead: str) -> bool:
        """Whether the operation may go on; raises LocalProtocolError if it comes too early."""
        if self._state in LIVE:
            return True
        if self._state is SessionState.CLOSED:
            return False
        raise LocalProtocolError(f"{operation} needs an accepted session; {instead}")

    def _end_locally(self, code: int, reason: str) -> None:
        if self._state is not SessionState.CLOSED:
            reason = reason.encode(errors="replace")[:_REASON_MAX_BYTES].decode(errors="ignore")
            self._outputs.append(CloseSession(int(code), reason))
            self._end("local", int(code), reason)

    def _end(self, by: Party, code: int, reason: str) -> None:
        if self._state is SessionState.CLOSED:
            return
        self._state = session_after(self._state, SessionCause.END)
        self._events.append(SessionEnded(by, code, reason))
        self._forget_openings()
        self._phase_deadline = None
        self._release()
