"""The client's end of a session: captured audio into it, replies out of it.

Owns what a client does with streams, messages and time. Must not know the player, the capture device or
the transport. See `session.py` for the contract of inputs, outputs and events; rules: wire/SPEC.md.
"""

from legato.core.downlink_receiver import DownlinkReceiver, ReplyRegister
from legato.core.errors import RemoteProtocolError
from legato.core.events import Event, Flushed, ReplyAudio, ReplyEnded, ReplyStarted, Welcomed
from legato.core.outputs import OpenStream, Send, Stop
from legato.core.resume import ResumeState
from legato.core.session import OpeningStream, Session
from legato.core.state import SessionCause, SessionState, session_after
from legato.core.uplink_sender import UplinkSender, UplinkSettings
from legato.core.wire import varint
from legato.core.wire.codes import (
    DOWNLINK_STREAMS_MAX,
    OVERHEAD_BYTES,
    Priority,
    SessionCode,
    StreamCode,
    StreamType,
)
from legato.core.wire.event_json import read_server_event
from legato.core.wire.messages import (
    AudioAck,
    AudioLost,
    Bye,
    Flush,
    GoingAway,
    Hello,
    Limits,
    Playback,
    Welcome,
)

CLIENT_LIMITS = Limits(hello_ms=10_000)
"""What a client accepts unless told otherwise."""

_BYE_PATIENCE_US = 1_000_000


class ClientSession(Session):
    """A client's half of one call. Its first outputs open the control stream and say hello.

    Audio and events may be sent at once, before the welcome. `limits.hello_ms` is how long it waits for
    that. Replies are reported after `Welcomed`, whatever the order of arrival.
    """

    _audio_type = StreamType.DOWNLINK_AUDIO

    def __init__(
        self,
        hello: Hello,
        now: int,
        settings: UplinkSettings | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(limits or CLIENT_LIMITS, now)
        self.hello = hello
        self._audio: dict[int, DownlinkReceiver] = {}
        self._early: list[Event] = []
        self._early_bytes = 0
        self._replies = ReplyRegister()
        self._start = hello.resume.uplink_offset if hello.resume is not None else 0
        self._uplink = UplinkSender(hello.input, settings or UplinkSettings(), self._start, self)
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
                self._receive_opening(stream, data, fin, now, ready=True)
        except RemoteProtocolError as violation:
            self._end_locally(violation.code, violation.reason)

    def next_deadline(self) -> int | None:
        """When `on_deadline` is due, or None while nothing waits for time."""
        return self._phase_deadline

    # Operations

    def send_audio(self, payload: bytes, captured_us: int, now: int) -> int:
        """Send captured audio, whole samples or one packet; returns the position behind it.

        Nothing is lost: what may not be sent yet waits in the ring. `captured_us` is the capture time of
        the first sample by this client's own clock.
        """
        if self._state is SessionState.CLOSED:
            return self._uplink.captured
        return self._uplink.push(payload, captured_us)

    def end_utterance(self, now: int) -> None:
        """Nothing follows for a while: let the server have and acknowledge everything now."""
        if self._state is not SessionState.CLOSED:
            self._uplink.end_group()

    def report_playback(self, report: Playback, now: int) -> None:
        """Tell what the player did: on every change and every 200 ms while playing."""
        if not self._require_live("report_playback", "wait for Welcomed"):
            return
        self._replies.report(report)
        self._say_message(report)

    def cancel_reply(self, generation: int, now: int) -> None:
        """Ask the server to stop sending one reply; without effect if it is complete or unknown."""
        for stream, reply in self._audio.items():
            if reply.header is not None and reply.header.generation == generation:
                self._outputs.append(Stop(stream, StreamCode.CANCELLED))
                del self._audio[stream]
                self._report(ReplyEnded(generation, reply.header.item_id, reply.received, complete=False))
                return

    def bye(self, now: int) -> None:
        """Hang up: the server ends the session, or this side does after a second."""
        if self._require_live("bye", "use close before the welcome"):
            self._say_message(Bye())
            self._phase_deadline = now + _BYE_PATIENCE_US

    @property
    def captured(self) -> int:
        """Position behind the last sample given to `send_audio`."""
        return self._uplink.captured

    @property
    def acked(self) -> int:
        """Position up to which the server has handed audio to the agent."""
        return self._uplink.acked

    def resume_state(self) -> ResumeState:
        """What another session would have to know to continue this call."""
        return ResumeState(
            uplink_offset=self._uplink.oldest,
            generation=self._replies.generation,
            flushed=self._replies.flushed,
            replies=self._replies.positions(),
        )

    # What the uplink sender needs (UplinkStreams)

    def open_group(self) -> int:
        """Open an uplink stream and return its key."""
        key = self._take_key()
        self._outputs.append(OpenStream(key, False, Priority.AUDIO))
        self._outputs.append(Send(key, varint.encode(StreamType.UPLINK_AUDIO), False))
        return key

    def send_record(self, key: int, data: bytes, fin: bool) -> None:
        """Send on that stream."""
        self._outputs.append(Send(key, data, fin))

    def declare_lost(self, start: int, stop: int) -> None:
        """Tell the server that these samples will never come."""
        self._say_message(AudioLost(start, stop))

    # What the peer does

    def _stream_opened(self, stream: int, bidirectional: bool) -> None:
        if bidirectional:
            raise RemoteProtocolError(
                SessionCode.PROTOCOL_VIOLATION, "a server opens no bidirectional streams"
            )
        self._admit_stream(stream, len(self._audio), DOWNLINK_STREAMS_MAX)

    def _stream_reset(self, stream: int, code: int) -> None:
        opening = self._opening.get(stream)
        if opening is not None:
            opening.reset = True
            self._decide(stream, 0)
            return
        reply = self._audio.pop(stream, None)
        if reply is None or reply.header is None:
            return
        header = reply.header
        if code == StreamCode.FLUSHED:
            # The event that says so is on its way; nothing is gained by playing until it is here.
            self._take_flush(header.generation, header.generation)
        else:
            self._report(ReplyEnded(header.generation, header.item_id, reply.received, complete=False))

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
            self._take_welcome(message)
        elif isinstance(message, dict):
            self._report_event(message)
        elif isinstance(message, AudioAck):
            self._uplink.acknowledge(message.offset)
        elif isinstance(message, Flush):
            self._take_flush(message.first, message.generation)
        elif isinstance(message, GoingAway):
            self._drain(message.in_ms)
        else:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "legato.welcome was said twice")

    def _take_welcome(self, message: object) -> None:
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
        self._control_limit = message.limits.control_record_bytes
        self._uplink.set_limits(message.limits)
        self._uplink.keep_for(message.resume_ttl_ms)
        self._events.append(Welcomed(message))
        self._events.extend(self._early)
        self._early.clear()
        self._uplink.start_from(message.uplink_offset)

    def _take_flush(self, first: int, last: int) -> None:
        if not self._replies.flush(first, last):
            return
        for stream, reply in list(self._audio.items()):
            if reply.header is not None and first <= reply.header.generation <= last:
                self._outputs.append(Stop(stream, StreamCode.CANCELLED))
                del self._audio[stream]
        self._report(Flushed(last, first))

    def _start_audio(self, stream: int, data: bytes, opening: OpeningStream, now: int) -> None:
        reply = DownlinkReceiver(self.limits, self._report)
        self._audio[stream] = reply
        self._feed(stream, reply, data, opening.fin, now)

    def _feed(self, stream: int, reply: DownlinkReceiver, data: bytes, fin: bool, now: int) -> None:
        if reply.header is not None:
            reply.feed(data, now)
        elif not self._begin(stream, reply, data, fin, now):
            return
        if fin:
            self._finish(stream, reply)

    def _begin(self, stream: int, reply: DownlinkReceiver, data: bytes, fin: bool, now: int) -> bool:
        """Take the header of a reply; returns False if it is stale and was turned away."""
        rest = reply.read_header(data)
        if reply.header is None or rest is None:
            return True
        if not self._replies.admit(reply.header, reply):
            del self._audio[stream]
            if not fin:
                self._outputs.append(Stop(stream, StreamCode.CANCELLED))
            return False
        self._report(ReplyStarted(reply.header))
        reply.feed(rest, now)
        return True

    def _finish(self, stream: int, reply: DownlinkReceiver) -> None:
        del self._audio[stream]
        header = reply.header
        if header is None or reply.within_record:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "a reply ended within a record")
        self._replies.complete(header.generation)
        self._report(ReplyEnded(header.generation, header.item_id, reply.received))

    def _report(self, event: Event) -> None:
        """Report what happens to replies, behind the welcome."""
        if self._state is not SessionState.CONNECTING:
            self._events.append(event)
            return
        self._early.append(event)
        self._early_bytes += OVERHEAD_BYTES + (len(event.payload) if isinstance(event, ReplyAudio) else 0)
        if self._early_bytes > self.limits.window_bytes:
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "too much audio before the welcome")

    def _release(self) -> None:
        self._audio.clear()
        self._early.clear()
