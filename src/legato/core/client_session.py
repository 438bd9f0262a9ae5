"""The client's end of a session: captured audio into it, replies out of it.

Owns what a client does with streams, messages and time. Must not know the player, the capture device or
the transport. See `session.py` for the contract of inputs, outputs and events; rules: wire/SPEC.md.
"""

from legato.core.carried_call import CarriedCall
from legato.core.client_uplink import ClientUplink
from legato.core.errors import Party, RemoteProtocolError
from legato.core.events import Flushed, Welcomed
from legato.core.outputs import OpenStream
from legato.core.state import LIVE, SessionCause, SessionState, session_after
from legato.core.uplink_sender import UplinkSettings
from legato.core.wire.codes import (
    DOWNLINK_STREAMS_MAX,
    Priority,
    SessionCode,
)
from legato.core.wire.event_json import read_server_event
from legato.core.wire.messages import (
    AudioAck,
    Bye,
    Checkpoint,
    EventAck,
    Flush,
    GoingAway,
    Hello,
    Limits,
    Playback,
    ResumeRequest,
    Welcome,
)

CLIENT_LIMITS = Limits(hello_ms=10_000)
"""What a client accepts unless told otherwise."""

_BYE_PATIENCE_US = 1_000_000


class ClientSession(ClientUplink):
    """A client's half of one call. Its first outputs open the control stream and say hello.

    Audio and events may be sent at once, before the welcome. `limits.hello_ms` is how long it waits for
    that. Replies are looked at after the welcome, whatever the order of arrival.

    With `continues` it goes on with that session's call, whose `resume_request` its hello must carry. Until
    `Welcomed` the owner keeps to the old session, connected or not; then that one has ended, and what was
    said to it and has not arrived is said again here.
    """

    def __init__(
        self,
        hello: Hello,
        now: int,
        settings: UplinkSettings | None = None,
        limits: Limits | None = None,
        continues: "ClientSession | None" = None,
    ) -> None:
        super().__init__(hello, settings or UplinkSettings(), limits or CLIENT_LIMITS, now)
        self.welcome: Welcome | None = None
        self._old = continues
        self._known = 0
        """Counted events that come again although they were taken."""
        self._carried = CarriedCall()
        self._control_key = self._take_key()
        self._outputs.append(OpenStream(self._control_key, True, Priority.CONTROL))
        self._say_message(hello)

    # Inputs

    def receive(self, stream: int, data: bytes, fin: bool, now: int) -> None:
        """The next bytes of a stream arrived, the last ones if `fin`; unknown streams are ignored."""
        reply = self._audio.get(stream)
        try:
            if reply is not None:
                self._feed(stream, reply, data, fin, now)
            elif stream == self._control_key:
                self._receive_control(data, fin, now)
            else:
                self._receive_opening(stream, data, fin, now, ready=self._state in LIVE)
        except RemoteProtocolError as violation:
            self._end_locally(violation.code, violation.reason)

    def next_deadline(self) -> int | None:
        """When `on_deadline` is due, or None while nothing waits for time."""
        return self._phase_deadline

    # Operations

    def report_playback(self, report: Playback, now: int) -> None:
        """Tell what the player did: on every change and every 200 ms while playing."""
        if not self._require_live("report_playback", "wait for Welcomed"):
            return
        self._replies.report(report)
        self._say_message(report)

    def bye(self, now: int) -> None:
        """Hang up: the server ends the session, or this side does after a second."""
        if self._require_live("bye", "use close before the welcome"):
            self._say_message(Bye())
            self._phase_deadline = now + _BYE_PATIENCE_US

    @property
    def carries(self) -> bool:
        """Whether another server could continue this call."""
        return self._carried.usable

    def resume_request(self) -> ResumeRequest | None:
        """What the hello of a session that continues this call must say; None if the server allows none."""
        if self.welcome is None or self.welcome.resume_ticket is None:
            return None
        return ResumeRequest(
            checkpoint=self._carried.show(self._uplink, self._log),  # first: the ring begins with it
            ticket=self.welcome.resume_ticket,
            uplink_offset=self._uplink.oldest,
            downlink=self._replies.hello(),
            events=self._log.taken,
        )

    # What the peer does

    def _stream_opened(self, stream: int, bidirectional: bool) -> None:
        if bidirectional:
            raise RemoteProtocolError(
                SessionCode.PROTOCOL_VIOLATION, "a server opens no bidirectional streams"
            )
        self._admit_stream(stream, len(self._audio), DOWNLINK_STREAMS_MAX)

    def _stream_reset(self, stream: int, code: int) -> None:
        if not self._reset_opening(stream, code, ready=self._state in LIVE):
            self._reset_reply(stream, code)

    def _stream_stopped(self, stream: int, code: int) -> None:
        raise RemoteProtocolError(
            SessionCode.PROTOCOL_VIOLATION, "the server stopped a stream of this client"
        )

    def _time_passed(self, now: int) -> None:
        if self._phase_deadline is None or now < self._phase_deadline:
            return
        if self._state is SessionState.CONNECTING:
            self._end_locally(SessionCode.HELLO_TIMEOUT, "no welcome in time")
        else:
            self._end_locally(SessionCode.NO_ERROR, "bye")

    def _event(self, payload: bytes, now: int) -> None:
        message = read_server_event(payload)
        if self._state is SessionState.CONNECTING:
            self._take_welcome(message, now)
        elif self._known and isinstance(message, dict | Flush):
            self._known -= 1
        elif isinstance(message, dict):
            self._report_event(message, len(payload))
        elif isinstance(message, AudioAck):
            self._uplink.acknowledge(message.offset)
        elif isinstance(message, EventAck):
            self._log.acknowledge(message.count)
        elif isinstance(message, Flush):
            self._take_flush(message.first, message.generation)
            self._take_counted(len(payload))
        elif isinstance(message, Checkpoint):
            self._carried.take(message, self._uplink, self._log)
        elif isinstance(message, GoingAway):
            self._drain(message.in_ms)
        else:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "legato.welcome was said twice")

    def _take_welcome(self, message: object, now: int) -> None:
        if not isinstance(message, Welcome):
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "the first event is not legato.welcome")
        if message.input != self.hello.input or message.output not in self.hello.output:
            raise RemoteProtocolError(SessionCode.UNSUPPORTED_FORMAT, "welcome with a format not offered")
        if not message.resumed and message.uplink_offset != self._start:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "welcome starts where no call was")
        if message.resumed and self.hello.resume is None:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "welcome to a call nobody resumed")
        self._state = session_after(self._state, SessionCause.WELCOME)
        self._phase_deadline = None
        self.welcome = message
        self._control_limit = message.limits.control_record_bytes
        old, self._old = self._old, None
        if old is not None and old.state is SessionState.CLOSED:
            self._end_locally(SessionCode.NO_ERROR, "the call has ended meanwhile")
        elif old is None:
            self._go_by(message)
            self._events.append(Welcomed(message))
            self._uplink.start_from(message.uplink_offset)
        else:
            self._continue(old, message, now)
        if message.resume_ticket is None:
            self._log.keep_nothing()
        else:
            self._resume_us = self.settings.resume_us
        self._uplink.keep_for(message.resume_ttl_ms)
        self._decide_all(now)

    def _continue(self, old: "ClientSession", welcome: Welcome, now: int) -> None:
        """Take over from the session before: the ring and, if the server goes on, all that is unfinished."""
        uplink = old._uplink
        offset = welcome.uplink_offset
        goes_on = welcome.resumed and not welcome.rebuilt
        if not (uplink.acked if goes_on else 0) <= offset <= uplink.captured:
            raise RemoteProtocolError(
                SessionCode.PROTOCOL_VIOLATION, f"welcome wants audio from {offset}, which is not to be had"
            )
        request = self.hello.resume
        if welcome.resumed and request is not None:
            unsaid = old._log.after(welcome.events)
            self._log = old._log
            # The old connection may have brought more since the hello was said.
            self._known = self._log.taken - request.events
            self._replies, self._carried = old._replies, old._carried
            if welcome.rebuilt:
                self._forget_since(request)
        else:
            unsaid = []
            if old._replies.generation:
                self._events.append(Flushed(old._replies.generation))
        uplink.give_up(now)
        lost = max(0, uplink.oldest - (offset if welcome.resumed else uplink.acked))
        self._uplink = uplink
        self._events.append(Welcomed(welcome, lost))
        old.hand_over(now)
        if welcome.resumed:
            self._say_message(EventAck(self._log.tell()))
        for payload in unsaid:
            self._say(payload)
        for report in self._replies.attach():
            self._say_message(report)
        self._go_by(welcome)
        uplink.attach(self, offset)

    def _forget_since(self, request: ResumeRequest) -> None:
        """Drop what the server that is gone has said and begun since the hello: this one knows nothing of
        it."""
        self._known = 0
        self._log.taken = request.events
        last = max((reply.generation for reply in request.downlink), default=self._replies.flushed)
        if self._replies.generation > last:
            self._take_flush(last + 1, self._replies.generation)

    def _is_loss(self, by: Party, code: int) -> bool:
        # A server that has said it would stop leaves the call to whoever can take it up.
        leaves = self._state is SessionState.DRAINING and code == SessionCode.GOING_AWAY and self.carries
        return leaves or super()._is_loss(by, code)

    def _release(self) -> None:
        self._audio.clear()

    def _detach(self) -> None:
        self._audio.clear()
        self._uplink.detach()
