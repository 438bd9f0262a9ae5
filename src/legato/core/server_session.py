"""The server's end of a session: captured audio in order out of it, replies into it.

Owns what a server does with streams, messages and time. Must not know the agent, the transport or how a
call is authorised: `HelloReceived` asks the owner, `accept` or `refuse` answers. See `session.py` for the
contract of inputs, outputs and events; rules: wire/SPEC.md.
"""

import msgspec

from legato.core.errors import LocalProtocolError, RemoteProtocolError
from legato.core.event_log import EventLog
from legato.core.events import HelloReceived, ReplyCancelled
from legato.core.opening_streams import OpeningStream
from legato.core.outputs import CloseSession, Pause, Reset, Resume, Stop
from legato.core.server_carrying import ServerCarrying
from legato.core.state import LIVE, SessionCause, SessionState, session_after
from legato.core.terms import Terms
from legato.core.uplink_receiver import ACK_PATIENCE_US
from legato.core.wire.codes import OVERHEAD_BYTES, SessionCode, StreamCode, StreamType
from legato.core.wire.event_json import read_client_event
from legato.core.wire.messages import (
    AudioAck,
    AudioLost,
    Bye,
    EventAck,
    GoingAway,
    Hello,
    JsonObject,
    Limits,
    Playback,
    Welcome,
)
from legato.core.wire.records import AudioReader


class ServerSession(ServerCarrying):
    """A server's half of one call, from the first byte of the control stream to the end."""

    __slots__ = ("_audio", "_early", "_early_bytes", "confirmed")

    _audio_type = StreamType.UPLINK_AUDIO
    _close_patience_us = 1_000_000  # a browser's close ends its streams, too, and may be overtaken by that

    def __init__(self, now: int, limits: Limits | None = None) -> None:
        super().__init__(limits or Limits(), now)
        self._audio: dict[int, AudioReader] = {}
        self._early: list[bytes] = []
        self._early_bytes = 0
        self.confirmed = False
        """Whether the client has shown that it read the welcome, and so has the ticket in it."""

    # Inputs

    def receive(self, stream: int, data: bytes, fin: bool, now: int) -> None:
        """The next bytes of a stream arrived, the last ones if `fin`; unknown streams are ignored."""
        reader = self._audio.get(stream)
        try:
            if reader is not None:
                reader.feed(data, now)
                uplink = self._uplink
                if uplink is not None and uplink.ack_due is not None and now >= uplink.ack_due:
                    self._acknowledge()
                if fin:
                    self._end_audio(stream, reader)
            elif stream == self._control_key:
                self._receive_control(data, fin, now)
            else:
                self._receive_opening(stream, data, fin, now, ready=self._state in LIVE)
        except RemoteProtocolError as violation:
            self._end_locally(violation.code, violation.reason)

    def next_deadline(self) -> int | None:
        """When `on_deadline` is due, or None while nothing waits for time."""
        uplink, phase = self._uplink, self._phase_deadline
        if uplink is None or self._state is SessionState.CLOSED:
            return phase
        if uplink.on_time and (late := uplink.give_up_at()) is not None:
            phase = late if phase is None else min(late, phase)
        if (due := uplink.ack_due) is None:
            return phase
        due += ACK_PATIENCE_US
        return due if phase is None or due < phase else phase

    # Operations on the session

    def can_continue(self, hello: Hello, now: int) -> bool:
        """Whether the call of this session, connected or not, can go on with a client that says `hello`: it
        speaks and plays what it did, and nothing that it lacks has been given up."""
        mine, request, uplink, terms = self._hello, hello.resume, self._uplink, self._terms
        if mine is None or request is None or uplink is None or terms is None or self._state not in LIVE:
            return False
        return (
            self._log.keeps
            and (hello.input, hello.profile) == (mine.input, mine.profile)
            and terms.output in hello.output
            and hello.capabilities.resumes
            and self._log.has_all_after(request.events)
            and (request.uplink_offset <= uplink.expected or uplink.can_have(request.uplink_offset, now))
        )

    def accept(self, terms: Terms, now: int, continues: "ServerSession | None" = None) -> None:
        """Take the call: answer the hello, then take in what the client sent behind it.

        With `continues` go on with that session's call, which `can_continue` with this hello; that session
        ends. From here on the owner keeps to this one.
        """
        hello = self._hello
        if self._state is SessionState.CLOSED:
            return
        if hello is None:
            raise LocalProtocolError("there is no hello to accept; wait for HelloReceived")
        if self._state is not SessionState.DECIDING:
            raise LocalProtocolError("the session is accepted already; call accept once")
        self.limits = terms.limits or self.limits
        welcome = terms.welcome(hello, self.limits, now)
        if continues is not None:
            welcome = continues.welcome_back(welcome)
        self._control.narrow(self.limits.control_record_bytes)
        self._state = session_after(self._state, SessionCause.ACCEPT)
        self._terms = terms
        self._say_message(welcome)
        if continues is not None:
            self._guarded(self._continue, continues, hello, now)
        else:
            self._begin(hello, welcome, terms)
        if welcome.resume_ticket is not None:
            self._resume_us = terms.resume_ttl_ms * 1_000
            self._downlink.keeps = True
        else:
            self._log.keep_nothing()
        self._guarded(self._take_early, now)

    def welcome_back(self, welcome: Welcome) -> Welcome:
        """`welcome` as it is said to a client that continues the call of this session."""
        expected = self._uplink.expected if self._uplink is not None else 0
        return msgspec.structs.replace(
            welcome,
            resumed=True,
            uplink_offset=max(expected, welcome.uplink_offset),
            events=self._log.taken,
        )

    def refuse(self, code: int, reason: str, now: int) -> None:
        """Turn the client away before the call begins."""
        if self._state in LIVE:
            raise LocalProtocolError("the session is accepted already; use close")
        self._end_locally(code, reason)

    def send_event(self, event: JsonObject, now: int) -> None:
        """Say an event of the dialect: a dictionary of plain values with a "type"."""
        self._require_live("send_event", "accept the hello first")
        super().send_event(event, now)

    def going_away(self, in_ms: int, now: int) -> None:
        """Announce that the session will be ended in `in_ms`; it is ended then."""
        if self._require_live("going_away", "use refuse before that") and self._loss is None:
            self._say_message(GoingAway(in_ms))
            self._phase_deadline = now + in_ms * 1_000
            self._drain(in_ms)

    def consumed(self, samples: int, size: int, frames: int = 1) -> bool:
        """The owner took `frames` of `samples`, `size` payload bytes, in all off its queue; without this
        call the session stops reading audio after `unread_ms` or `unread_bytes`. Returns whether it reads
        on now: outputs say so."""
        return self._uplink is not None and self._uplink.consumed(samples, size, frames)

    # What the peer does

    def _stream_opened(self, stream: int, bidirectional: bool) -> None:
        if not bidirectional:
            self._admit_stream(stream, len(self._audio), self.limits.uplink_streams)
        elif self._control_key is None:
            self._control_key = stream
        else:
            self._outputs.append(Stop(stream, StreamCode.UNKNOWN_STREAM))
            self._outputs.append(Reset(stream, StreamCode.UNKNOWN_STREAM))

    def _stream_reset(self, stream: int, code: int) -> None:
        if not self._reset_opening(stream, code, ready=self._state in LIVE) and stream in self._audio:
            del self._audio[stream]
            self._abandoned()

    def _stream_stopped(self, stream: int, code: int) -> None:
        generation = self._downlink.cancel(stream)
        if generation is not None:
            self._events.append(ReplyCancelled(generation, code))

    def _abandoned(self) -> None:
        if self._terms is not None and self._terms.profile == "turn":
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "audio was reset in profile turn")

    def _time_passed(self, now: int) -> None:
        if self._uplink is not None:
            self._uplink.give_up(now)
            if self._uplink.ack_due is not None and now >= self._uplink.ack_due:
                self._acknowledge()
        if self._phase_deadline is not None and now >= self._phase_deadline:
            if self._state is SessionState.DRAINING:
                self._end_locally(SessionCode.GOING_AWAY, "the server goes away")
            else:
                self._end_locally(SessionCode.HELLO_TIMEOUT, "no hello in time")

    def _event(self, payload: bytes, now: int) -> None:
        if self._state is SessionState.DECIDING:
            self._early.append(payload)
            self._early_bytes += len(payload) + OVERHEAD_BYTES
            if self._early_bytes > self.limits.control_record_bytes:
                raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "too many events before the welcome")
            return
        message = read_client_event(payload)
        if self._state is SessionState.CONNECTING:
            if not isinstance(message, Hello):
                raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "say legato.hello first")
            self._state = session_after(self._state, SessionCause.HELLO)
            self._phase_deadline = None
            self._hello = message
            self._events.append(HelloReceived(message))
        elif isinstance(message, Playback):
            reported = self._downlink.report(message)
            if reported is not None:
                self._events.append(reported)
        elif isinstance(message, dict):
            self._report_event(message, len(payload))
        elif isinstance(message, EventAck):
            self.confirmed = True
            self._log.acknowledge(message.count)
        elif isinstance(message, AudioLost):
            assert self._uplink is not None
            self._uplink.gap(message.start, message.stop, now)
        elif isinstance(message, Bye):
            self._outputs.append(CloseSession(SessionCode.NO_ERROR, "bye"))
            self._end("peer", SessionCode.NO_ERROR, "bye")
        else:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "legato.hello was said twice")

    def _take_early(self, now: int) -> None:
        early, self._early = self._early, []
        for payload in early:
            self._control_record(0, payload, now)
        self._decide_all(now)

    def _continue(self, old: "ServerSession", hello: Hello, now: int) -> None:
        """Take over from the session before, and send what the client lacks."""
        request, uplink = hello.resume, old._uplink
        assert request is not None
        assert uplink is not None
        self._uplink, self._downlink, self._log = uplink, old._downlink, old._log
        old._uplink, old._downlink, old._log = None, old._new_downlink(reports=False), EventLog()
        old.hand_over(now)
        self._log.tell()
        for payload in self._log.after(request.events):
            self._say(payload)
        self._events += self._downlink.attach(
            self._outputs.append, self._take_key, self._say_flush, request.downlink
        )
        uplink.attach(self._events.append, self._press)
        if request.uplink_offset > uplink.expected:
            uplink.gap(uplink.expected, request.uplink_offset, now)

    def _start_audio(self, stream: int, data: bytes, opening: OpeningStream, now: int) -> None:
        uplink = self._uplink
        assert uplink is not None
        reader = AudioReader(self.limits.audio_record_bytes, timed=True, deliver=uplink.record)
        self._audio[stream] = reader
        if uplink.under_pressure:
            self._outputs.append(Pause(stream))
        reader.feed(data, now)
        if opening.fin:
            self._end_audio(stream, reader)
        elif opening.reset is not None:
            del self._audio[stream]
            self._abandoned()

    def _end_audio(self, stream: int, reader: AudioReader) -> None:
        del self._audio[stream]
        if reader.within_record:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "an audio stream ended within a record")
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Say how far audio has come, if there is news."""
        offset = self._uplink.take_ack() if self._uplink is not None else None
        if offset is not None:
            self._say_message(AudioAck(offset))

    def _press(self, pressed: bool) -> None:
        for stream in self._audio:
            self._outputs.append(Pause(stream) if pressed else Resume(stream))

    def _detach(self) -> None:
        self._audio.clear()
        self._downlink.detach()
        self._acknowledge()

    def _release(self) -> None:
        self._audio.clear()
        self._early.clear()
        self._downlink.release()
        if self._uplink is not None:
            self._uplink.take_ack()
