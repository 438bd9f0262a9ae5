"""The server's end of a session: captured audio in order out of it, replies into it.

Owns what a server does with streams, messages and time. Must not know the agent, the transport or how a
call is authorised: `HelloReceived` asks the owner, `accept` or `refuse` answers. See `session.py` for the
contract of inputs, outputs and events; rules: wire/SPEC.md.
"""

from legato.core.audio import AudioFormat
from legato.core.downlink_sender import DownlinkSender
from legato.core.errors import LocalProtocolError, RemoteProtocolError
from legato.core.events import HelloReceived, ReplyCancelled
from legato.core.outputs import CloseSession, Pause, Reset, Resume, Stop
from legato.core.playout import PlayoutLedger
from legato.core.resume import ResumeState
from legato.core.session import OpeningStream, Session
from legato.core.state import LIVE, SessionCause, SessionState, session_after
from legato.core.terms import Terms
from legato.core.uplink_receiver import ACK_PATIENCE_US, UplinkReceiver
from legato.core.wire.codes import OVERHEAD_BYTES, SessionCode, StreamCode, StreamType
from legato.core.wire.event_json import read_client_event
from legato.core.wire.messages import (
    AudioAck,
    AudioLost,
    Bye,
    GoingAway,
    Hello,
    JsonObject,
    Limits,
    Playback,
)
from legato.core.wire.records import AudioReader


class ServerSession(Session):
    """A server's half of one call, from the first byte of the control stream to the end."""

    _audio_type = StreamType.UPLINK_AUDIO

    def __init__(self, now: int, limits: Limits | None = None) -> None:
        super().__init__(limits or Limits(), now)
        self._audio: dict[int, AudioReader] = {}
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._hello: Hello | None = None
        self._terms: Terms | None = None
        self._uplink: UplinkReceiver | None = None
        self._downlink = self._new_downlink(reports=False)

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
        due, phase = self._uplink.ack_due if self._uplink is not None else None, self._phase_deadline
        if due is None:
            return phase
        due += ACK_PATIENCE_US
        return due if phase is None or due < phase else phase

    # Operations on the session

    def accept(self, terms: Terms, now: int) -> None:
        """Take the call: answer the hello, then take in what the client sent behind it."""
        hello = self._hello
        if self._state is SessionState.CLOSED:
            return
        if hello is None:
            raise LocalProtocolError("there is no hello to accept; wait for HelloReceived")
        if self._state is not SessionState.DECIDING:
            raise LocalProtocolError("the session is accepted already; call accept once")
        self.limits = terms.limits or self.limits
        welcome = terms.welcome(hello, self.limits, now)
        self._control.narrow(self.limits.control_record_bytes)
        self._state = session_after(self._state, SessionCause.ACCEPT)
        self._terms = terms
        self._say_message(welcome)
        self._downlink = self._new_downlink(hello.capabilities.playback_reports)
        self._uplink = UplinkReceiver(
            hello.input, self.limits, welcome.uplink_offset, self._events.append, self._press
        )
        self._guarded(self._take_early, now)

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
        if self._require_live("going_away", "use refuse before that"):
            self._say_message(GoingAway(in_ms))
            self._phase_deadline = now + in_ms * 1_000
            self._drain(in_ms)

    def consumed(self, samples: int, size: int) -> bool:
        """The owner took `samples`, `size` payload bytes, of any number of frames off its queue; without
        this call the session stops reading audio after `unread_ms` or `unread_bytes`. Returns whether it
        reads on now: outputs say so."""
        return self._uplink is not None and self._uplink.consumed(samples, size)

    # Operations on replies

    def begin_reply(
        self, response_id: str, item_id: str, form: AudioFormat, now: int, content_index: int = 0
    ) -> int:
        """Open the stream of one part of a reply; returns its generation, higher than all before. They are
        played one after the other, in their order."""
        if self._require_live("begin_reply", "accept the hello first"):
            return self._downlink.begin(response_id, item_id, form, content_index)
        return 0

    def send_audio(self, generation: int, payload: bytes, samples: int, now: int) -> bool:
        """Send the next `samples` of a reply, as soon as they exist; long PCM is cut into records.

        Returns False, and sends nothing, if the reply was flushed or cancelled or the session has ended:
        these overtake a speaker and are no mistake. `credit` tells how much the client wants to hold.
        """
        if self._state is SessionState.CLOSED:
            return False
        return self._downlink.send(generation, payload, samples, now)

    def end_reply(self, generation: int, now: int) -> None:
        """The reply is complete; without effect if it was flushed or cancelled."""
        if self._state is not SessionState.CLOSED:
            self._downlink.end(generation)

    def flush(self, now: int) -> int:
        """Make every reply begun so far stale: nothing of it is sent or played any more.

        Returns the last generation that is stale (0 if there was no reply yet). The client's final reports
        follow as `PlaybackReported` with state "stopped".
        """
        if self._require_live("flush", "accept the hello first"):
            self._downlink.flush(now)
        return self._downlink.flushed

    def flush_reply(self, generation: int, now: int) -> None:
        """Make one reply stale and leave the others; without effect if it was played or flushed."""
        if self._require_live("flush_reply", "accept the hello first"):
            self._downlink.flush_reply(generation, now)

    def credit_us(self, now: int) -> int:
        """How much more audio the client should be sent now, in microseconds; 0 means wait for a report."""
        if self._terms is None:
            return 0
        return max(0, self._terms.lead_ms * 1_000 - self.ledger.lead_us(now))

    @property
    def ledger(self) -> PlayoutLedger:
        """The playback ledger, for reading: `heard`, `lead_us`, the lines of single replies."""
        return self._downlink.ledger

    def resume_state(self) -> ResumeState:
        """What another session would have to know to continue this call."""
        return ResumeState(
            uplink_offset=self._uplink.expected if self._uplink is not None else 0,
            generation=self._downlink.generation,
            flushed=self._downlink.flushed,
            replies=self._downlink.ledger.positions(),
        )

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
        opening = self._opening.get(stream)
        if opening is not None:
            opening.reset = True
            if self._state in LIVE:
                self._decide(stream, 0)
        elif self._audio.pop(stream, None) is not None:
            self._abandoned()

    def _stream_stopped(self, stream: int, code: int) -> None:
        generation = self._downlink.cancel(stream)
        if generation is not None:
            self._events.append(ReplyCancelled(generation, code))

    def _abandoned(self) -> None:
        if self._terms is not None and self._terms.profile == "turn":
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "audio was reset in profile turn")

    def _time_passed(self, now: int) -> None:
        if self._uplink is not None and self._uplink.ack_due is not None and now >= self._uplink.ack_due:
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
            self._report_event(message)
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
        for stream in list(self._opening):
            self._decide(stream, now)

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
        elif opening.reset:
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

    def _new_downlink(self, reports: bool) -> DownlinkSender:
        ledger, limit = PlayoutLedger(reports), self.limits.audio_record_bytes
        return DownlinkSender(ledger, limit, self._outputs.append, self._take_key, self._say_message)

    def _release(self) -> None:
        self._audio.clear()
        self._early.clear()
        self._downlink.release()
        if self._uplink is not None:
            self._uplink.take_ack()
