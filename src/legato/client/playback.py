"""What the caller hears: replies queued in order and handed out sample by sample.

Owns the truth about what was played (the client's half of the playback ledger). Sans-IO: a device pulls from
it, possibly in a thread of its own, a session pushes into it; it knows neither clocks nor networks nor
codecs. Positions are samples at `rate`.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from legato.core.errors import RemoteProtocolError
from legato.core.wire.codes import SessionCode

__all__ = ["PlaybackBuffer", "PlaybackState", "PlayedItem"]

PlaybackState = Literal["playing", "paused", "stopped", "done"]
SAMPLE_BYTES = 2

WAITING_MAX_S = 900
"""How much unplayed audio a server may send, unless the caller has asked for more than half of that."""

WAITING_MAX_REPLIES = 1024
"""How many reply parts may wait at once, with or without audio."""


@dataclass(slots=True)
class PlayedItem:
    """One reply part as the player sees it: how much of it was played, waits, and ran dry."""

    item_id: str
    content_index: int
    generation: int
    played: int = 0
    received: int = 0
    underruns: int = 0
    skipped: int = 0
    """Samples of those played that did not sound, because they came too late."""
    behind: int = 0
    """Samples of silence since its beginning: how much later the rest is than it was meant to be."""
    complete: bool = False
    state: PlaybackState = "playing"
    _chunks: deque[memoryview] = field(default_factory=deque)
    _dry: bool = False

    @property
    def buffered(self) -> int:
        """Return the samples received but not played."""
        return self.received - self.played

    def append(self, pcm: bytes) -> None:
        """Queue s16le samples."""
        if pcm:
            self._chunks.append(memoryview(pcm))
            self.received += len(pcm) // SAMPLE_BYTES

    def take(self, samples: int) -> bytes:
        """Play up to `samples` samples and return them."""
        wanted = samples * SAMPLE_BYTES
        parts: list[memoryview] = []
        while wanted and self._chunks:
            chunk = self._chunks.popleft()
            if len(chunk) > wanted:
                self._chunks.appendleft(chunk[wanted:])
                chunk = chunk[:wanted]
            parts.append(chunk)
            wanted -= len(chunk)
        pcm = b"".join(parts)
        self.played += len(pcm) // SAMPLE_BYTES
        return pcm

    def skip(self, samples: int) -> None:
        """Leave samples out to be less behind."""
        self.take(samples)
        self.skipped += samples
        self.behind -= samples

    def note_dry(self) -> bool:
        """Count an underrun once per dry spell; return whether a new one began."""
        if self._dry or self.played == 0:
            return False
        self._dry = True
        self.underruns += 1
        return True

    def note_wet(self) -> None:
        """End a dry spell."""
        self._dry = False

    def stop(self) -> None:
        """Drop what was not played: the item is stale."""
        self._chunks.clear()
        self.received = self.played
        self.state = "stopped"


class PlaybackBuffer:
    """Replies in the order in which they are to be heard.

    `start_samples` is how much of a reply must have arrived before it starts, unless it is complete: a
    cushion against jitter at its very beginning. Later bursts make their own cushion. `lead_ms` is how far
    ahead replies were asked to be sent; what is far beyond that is refused.
    """

    def __init__(self, rate: int, start_samples: int = 0, lead_ms: int = 0) -> None:
        """Make an empty buffer for audio of `rate` samples per second."""
        self.rate = rate
        self.paused = False
        self._most = rate * max(WAITING_MAX_S * 1000, 2 * lead_ms) // 1000
        self._start = start_samples
        self._behind_most: int | None = None
        self._queue: deque[PlayedItem] = deque()
        self._changed: list[PlayedItem] = []
        self._flushed = 0
        self._lock = threading.Lock()

    def keep_up(self, late_us: int | None) -> None:
        """Let no reply fall behind by more than this while it is still being made (profile `duplex`)."""
        self._behind_most = None if late_us is None else late_us * self.rate // 1_000_000

    @property
    def buffered(self) -> int:
        """Return the samples that wait to be played, over all items."""
        with self._lock:
            return sum(item.buffered for item in self._queue)

    @property
    def current(self) -> PlayedItem | None:
        """Return the item that is being played or is next."""
        with self._lock:
            return self._queue[0] if self._queue else None

    def begin(self, item_id: str, content_index: int, generation: int) -> PlayedItem | None:
        """Expect a reply part; None when its generation was flushed already."""
        with self._lock:
            if generation <= self._flushed:
                return None
            item = PlayedItem(item_id, content_index, generation)
            self._queue.append(item)
            return item

    def append(self, item: PlayedItem, pcm: bytes) -> None:
        """Queue s16le samples of `item`; ignored when it was flushed."""
        with self._lock:
            if item.state != "stopped":
                item.append(pcm)

    def check_lead(self) -> None:
        """Before more of a server's is taken: raise `RemoteProtocolError` when so much waits that this would
        fill the memory."""
        if self.buffered > self._most or len(self._queue) >= WAITING_MAX_REPLIES:
            reason = "replies run too far ahead of what is played"
            raise RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, reason)

    def complete(self, item: PlayedItem) -> None:
        """Note that no more of `item` will come."""
        with self._lock:
            item.complete = True
            self._retire()

    def flush(self, last: int, first: int = 0) -> list[PlayedItem]:
        """Drop the items of generations `first` to `last` at once; return them with their final positions."""
        with self._lock:
            if first <= self._flushed + 1:
                self._flushed = max(self._flushed, last)
            stale = [item for item in self._queue if first <= item.generation <= last]
            self._queue = deque(item for item in self._queue if not first <= item.generation <= last)
            for item in stale:
                item.stop()
            self._changed.extend(stale)
            return stale

    def hold(self) -> int | None:
        """Play nothing until `go_on`; returns the generation that was sounding, None if none was."""
        with self._lock:
            current = self._queue[0] if self._queue else None
            if self.paused or current is None or current.played == 0:
                return None
            self.paused = True
            current.state = "paused"
            self._changed.append(current)
            return current.generation

    def go_on(self) -> None:
        """Play on from the same sample."""
        with self._lock:
            self.paused = False
            if self._queue and self._queue[0].state == "paused":
                self._queue[0].state = "playing"
                self._changed.append(self._queue[0])

    def restart(self) -> None:
        """Begin anew with generations: another call follows in which they count from 1 again."""
        with self._lock:
            self._flushed = 0

    def pull(self, samples: int) -> bytes:
        """Return exactly `samples` samples for the loudspeaker; silence where there is nothing to play."""
        with self._lock:
            parts: list[bytes] = []
            missing = samples
            while missing and not self.paused and self._queue:
                pcm = self._play(self._queue[0], missing)
                if not pcm:
                    break
                missing -= len(pcm) // SAMPLE_BYTES
                parts.append(pcm)
                self._retire()
            current = self._queue[0] if self._queue else None
            if current is not None and current.played and not self.paused:
                current.behind += missing
        parts.append(bytes(missing * SAMPLE_BYTES))
        return b"".join(parts)

    def changes(self) -> list[PlayedItem]:
        """Return, once, the items that started, ran dry, ended or were flushed since the last call."""
        with self._lock:
            changed, self._changed = self._changed, []
            return changed

    def due(self, position_too: bool) -> list[PlayedItem]:
        """Return what is to be reported: `changes`, and if wished the item that is being played."""
        due, current = self.changes(), self.current
        if position_too and current is not None and current.played:
            return [*(item for item in due if item is not current), current]
        return due

    def _play(self, item: PlayedItem, samples: int) -> bytes:
        if item.played == 0 and item.buffered < self._start and not item.complete:
            return b""
        if item.buffered == 0:
            if not item.complete and item.note_dry():
                self._changed.append(item)
            return b""
        if item.played == 0:
            self._changed.append(item)
        item.note_wet()
        if self._behind_most is not None and item.behind > self._behind_most and not item.complete:
            spare = min(item.behind, item.buffered - samples)
            if spare > 0:
                item.skip(spare)
                self._changed.append(item)
        return item.take(samples)

    def _retire(self) -> None:
        while self._queue and self._queue[0].complete and self._queue[0].buffered == 0:
            item = self._queue.popleft()
            item.state = "done"
            self._changed.append(item)
