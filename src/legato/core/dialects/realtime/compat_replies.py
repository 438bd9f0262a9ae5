"""Spoken replies as messages: each payload one `response.output_audio.delta`, and what was heard of them.

Owns those messages and the ledger behind them, which goes by the clock because clients of this kind do not
report what they play. Must not know the conversation, nor other events.
"""

from __future__ import annotations

import binascii
from typing import NamedTuple, Protocol

import msgspec

from legato.core.audio import AudioFormat
from legato.core.errors import LocalProtocolError
from legato.core.playout import PlayoutLedger, ReplyProgress
from legato.core.state import ReplyCause

_encode = msgspec.json.Encoder().encode


class SpokenItems(Protocol):
    """What a session asks the conversation about a spoken answer; `Dialogue` is one."""

    def output_place(self, item_id: str) -> tuple[int, int]:
        """The `output_index` and `content_index` of the item."""

    def keep_audio(self, item_id: str, payload: bytes) -> None:
        """Keep audio as it was sent."""


class _Reply(NamedTuple):
    """A reply that takes audio: its line in the ledger, and its messages up to the id that differs."""

    progress: ReplyProgress
    head: bytes


class CompatReplies:
    """The replies of one call."""

    def __init__(self) -> None:
        self.ledger = PlayoutLedger(reports=False)
        self.items: SpokenItems | None = None
        """The conversation that the replies are part of."""
        self._open: dict[int, _Reply] = {}
        self._generation = 0
        self._flushed = 0

    def begin(self, response_id: str, item_id: str, form: AudioFormat) -> int:
        """Open a reply; returns its generation."""
        self._generation += 1
        output_index, content_index = (0, 0) if self.items is None else self.items.output_place(item_id)
        head = _encode(
            {
                "type": "response.output_audio.delta",
                "response_id": response_id,
                "item_id": item_id,
                "output_index": output_index,
                "content_index": content_index,
            }
        )
        progress = self.ledger.begin(self._generation, item_id, content_index, form.rate)
        self._open[self._generation] = _Reply(progress, head[:-1] + b',"event_id":"')
        return self._generation

    def delta(self, generation: int, payload: bytes, samples: int, event_id: bytes, now: int) -> bytes | None:
        """Return the message that carries the next `samples` of a reply, None if it was flushed."""
        reply = self._open.get(generation)
        if reply is None:
            self._known(generation)
            return None
        progress, head = reply
        if progress.started_us is None:
            self.ledger.first_sent(progress, now)
        progress.sent += samples
        if self.items is not None:
            self.items.keep_audio(progress.item_id, payload)
        audio = binascii.b2a_base64(payload, newline=False)
        return b"".join((head, event_id, b'","delta":"', audio, b'"}'))

    def end(self, generation: int) -> None:
        """The reply is complete; without effect if it was flushed."""
        reply = self._open.pop(generation, None)
        if reply is None:
            self._known(generation)
        else:
            reply.progress.move(ReplyCause.FINISH)

    def flush(self, now: int) -> int:
        """Make every reply begun so far stale; returns the last generation that is."""
        self._open.clear()
        if self._generation > self._flushed:
            self.ledger.flush(1, self._generation, now)
            self._flushed = self._generation
        return self._flushed

    def flush_reply(self, generation: int, now: int) -> None:
        """Make one reply stale and leave the others."""
        self._known(generation)
        self._open.pop(generation, None)
        line = self.ledger.get(generation)
        if line is not None and line.audible:
            self.ledger.flush(generation, generation, now)

    def release(self) -> None:
        """The session has ended: nothing is open any more."""
        self._open.clear()

    def _known(self, generation: int) -> None:
        if not 0 < generation <= self._generation:
            raise LocalProtocolError(f"there is no reply of generation {generation}; begin one first")
