"""One reply part between the wire and the player: payloads in, samples without a hole out.

Owns the decoder and how much has arrived. It must not know sessions, nor what plays.
"""

from __future__ import annotations

from legato.audio.codecs import codec_for
from legato.client.playback import PlayedItem
from legato.core.errors import RemoteProtocolError
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import ReplyHeader

__all__ = ["IncomingReply"]

LONGEST_GAP_S = 30
"""Silence that may stand for lost audio; a longer gap is a mistake of the server, not a loss."""


class IncomingReply:
    """A reply part that is arriving, or has arrived and is being played."""

    __slots__ = ("_decoder", "_format", "item", "received", "response_id", "whole")

    def __init__(self, header: ReplyHeader, item: PlayedItem) -> None:
        """Expect the reply of `header`, to be played as `item`."""
        self.item = item
        self.response_id = header.response_id
        self.received = 0
        """Position behind the last sample that arrived."""
        self.whole: int | None = None
        """Samples of the whole reply, once it is complete."""
        self._format = header.format
        self._decoder = codec_for(header.format).decoder()

    def take(self, offset: int, payload: bytes) -> bytes:
        """Return the s16le samples that `payload` adds, with silence for what was lost before it.

        A payload that cannot be decoded is silence as well, so that positions stay true. Raises
        `RemoteProtocolError` for a gap that no loss explains.
        """
        lost = offset - self.received
        if lost > LONGEST_GAP_S * self._format.rate:
            raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, f"a reply lacks {lost} samples")
        silence = self._decoder.lose(lost) if lost > 0 else b""
        samples = self._format.samples(payload)
        self.received = offset + samples
        try:
            return silence + self._decoder.decode(payload)
        except ValueError:
            return silence + self._decoder.lose(samples)

    def end(self, samples: int) -> bytes:
        """Note that the reply is complete with `samples`; return what the decoder still held."""
        self.whole = samples
        return self._decoder.flush()
