"""A client's end of replies: their streams in, audio in order out, nothing of what was flushed.

Owns what a client does with downlink streams. Must not know the control stream or the player. See
`session.py` for the contract of inputs, outputs and events; rules: wire/SPEC.md, "Downlink audio".
"""

from legato.core.downlink_receiver import DownlinkReceiver, ReplyRegister
from legato.core.errors import RemoteProtocolError
from legato.core.events import Flushed, ReplyEnded, ReplyStarted
from legato.core.opening_streams import OpeningStream
from legato.core.outputs import Stop
from legato.core.session import Session
from legato.core.wire.codes import SessionCode, StreamCode, StreamType
from legato.core.wire.messages import Limits


class ClientReplies(Session):
    """The part of a client's session that takes replies."""

    _audio_type = StreamType.DOWNLINK_AUDIO

    def __init__(self, limits: Limits, now: int) -> None:
        super().__init__(limits, now)
        self._audio: dict[int, DownlinkReceiver] = {}
        self._replies = ReplyRegister()

    def cancel_reply(self, generation: int, now: int) -> None:
        """Ask the server to stop sending one reply; without effect if it is complete or unknown."""
        for stream, reply in self._audio.items():
            if reply.header is not None and reply.header.generation == generation:
                self._outputs.append(Stop(stream, StreamCode.CANCELLED))
                del self._audio[stream]
                self._replies.refuse(generation)
                self._events.append(
                    ReplyEnded(generation, reply.header.item_id, reply.received, complete=False)
                )
                return

    def _reset_reply(self, stream: int, code: int) -> None:
        reply = self._audio.pop(stream, None)
        if reply is None or reply.header is None:
            return
        header = reply.header
        if code == StreamCode.FLUSHED:
            # The event that says so is on its way; nothing is gained by playing until it is here.
            self._take_flush(header.generation, header.generation)
        else:
            self._events.append(ReplyEnded(header.generation, header.item_id, reply.received, complete=False))

    def _take_flush(self, first: int, last: int) -> None:
        if not self._replies.flush(first, last):
            return
        for stream, reply in list(self._audio.items()):
            if reply.header is not None and first <= reply.header.generation <= last:
                self._outputs.append(Stop(stream, StreamCode.CANCELLED))
                del self._audio[stream]
        self._events.append(Flushed(last, first))

    def _start_audio(self, stream: int, data: bytes, opening: OpeningStream, now: int) -> None:
        reply = DownlinkReceiver(self.limits, self._events.append)
        self._audio[stream] = reply
        self._feed(stream, reply, data, opening.fin, now)
        if opening.reset is not None:
            self._reset_reply(stream, opening.reset)

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
        if not reply.again:
            self._events.append(ReplyStarted(reply.header))
        reply.feed(rest, now)
        return True

    def _finish(self, stream: int, reply: DownlinkReceiver) -> None:
        del self._audio[stream]
        header = reply.header
        if header is None or reply.within_record:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "a reply ended within a record")
        self._replies.complete(header.generation)
        self._events.append(ReplyEnded(header.generation, header.item_id, reply.received))
