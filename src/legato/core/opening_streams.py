"""The beginnings of a peer's unidirectional streams, kept until it is known what they are.

Owns their bytes and the two bounds on them. Must not know control streams, messages or what audio leads to:
a role of `session.py` takes over the streams that carry some. Rules: wire/SPEC.md, "Streams".
"""

from abc import ABC, abstractmethod

from legato.core.errors import RemoteProtocolError
from legato.core.outputs import Output, Stop
from legato.core.wire import varint
from legato.core.wire.codes import SessionCode, StreamCode
from legato.core.wire.messages import Limits


class OpeningStream:
    """A peer's stream of which the session has not decided what it is."""

    __slots__ = ("data", "fin", "reset")

    def __init__(self) -> None:
        self.data = bytearray()
        self.fin = False
        self.reset: int | None = None
        """The code with which the peer abandoned it."""


class OpeningStreams(ABC):
    """The part of a session that tells streams apart."""

    __slots__ = ("_opening", "_opening_bytes", "_outputs", "limits")

    _audio_type: int
    """The stream type that the peer uses for audio."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._outputs: list[Output] = []
        self._opening: dict[int, OpeningStream] = {}
        self._opening_bytes = 0

    @abstractmethod
    def _start_audio(self, stream: int, data: bytes, opening: OpeningStream, now: int) -> None:
        """Take over a stream that turned out to carry audio; `data` follows its type."""

    def _admit_stream(self, stream: int, open_streams: int, limit: int) -> None:
        """Wait for the type of a unidirectional stream, unless too many are open."""
        if open_streams + len(self._opening) >= limit:
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "too many audio streams are open")
        self._opening[stream] = OpeningStream()

    def _receive_opening(self, stream: int, data: bytes, fin: bool, now: int, ready: bool) -> None:
        """Collect the beginning of a stream; once `ready`, decide what it is."""
        opening = self._opening.get(stream)
        if opening is None:
            return
        opening.data += data
        opening.fin = fin
        self._opening_bytes += len(data)
        if ready:
            self._decide(stream, now)
        elif self._opening_bytes > self.limits.window_bytes:
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "too much audio before the welcome")

    def _reset_opening(self, stream: int, code: int, ready: bool) -> bool:
        """Note that the peer abandoned a stream; returns whether it was one of these."""
        opening = self._opening.get(stream)
        if opening is None:
            return False
        opening.reset = code
        if ready:
            self._decide(stream, 0)
        return True

    def _decide(self, stream: int, now: int) -> None:
        opening = self._opening[stream]
        kind = varint.decode(opening.data, 0)
        over = opening.fin or opening.reset is not None
        if kind is None and not over:
            return
        del self._opening[stream]
        self._opening_bytes -= len(opening.data)
        if kind is not None and kind[0] == self._audio_type:
            self._start_audio(stream, bytes(opening.data[kind[1] :]), opening, now)
        elif not over:
            self._outputs.append(Stop(stream, StreamCode.UNKNOWN_STREAM))

    def _decide_all(self, now: int) -> None:
        """Decide about the streams that waited for the welcome, as far as they have come."""
        for stream in list(self._opening):
            self._decide(stream, now)

    def _forget_openings(self) -> None:
        self._opening.clear()
        self._opening_bytes = 0
