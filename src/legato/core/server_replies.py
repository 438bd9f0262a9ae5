"""A server's end of replies: what its owner says with sound, and what the client's player makes of it.

Owns the operations on replies. Must not know uplink audio or who speaks. See `session.py` for the contract of
inputs, outputs and events; rules: wire/SPEC.md, "Downlink audio" and "Flush and generations".
"""

from legato.core.audio import AudioFormat
from legato.core.downlink_sender import DownlinkSender
from legato.core.playout import PlayoutLedger
from legato.core.session import Session
from legato.core.state import SessionState
from legato.core.terms import Terms
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import Flush, Limits


class ServerReplies(Session):
    """The part of a server's session that gives replies."""

    __slots__ = ("_downlink", "_terms")

    def __init__(self, limits: Limits, now: int) -> None:
        super().__init__(limits, now)
        self._terms: Terms | None = None
        self._downlink = self._new_downlink(reports=False)

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
    def generation(self) -> int:
        """The last reply that was begun."""
        return self._downlink.generation

    @property
    def ledger(self) -> PlayoutLedger:
        """The playback ledger, for reading: `heard`, `lead_us`, the lines of single replies."""
        return self._downlink.ledger

    def _new_downlink(self, reports: bool) -> DownlinkSender:
        ledger, limit = PlayoutLedger(reports), self.limits.audio_record_bytes
        return DownlinkSender(ledger, limit, self._outputs.append, self._take_key, self._say_flush)

    def _say_flush(self, flush: Flush) -> None:
        self._say_counted(encode_message(flush))
