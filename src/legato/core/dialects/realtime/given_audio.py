"""Audio that a client gave its items, on the way to be transcribed.

Owns the bound on what waits. Must not know items, nor what a transcript is.
"""

from collections import deque
from collections.abc import Callable

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime import refusals
from legato.core.dialects.realtime.dialogue_events import AudioItemCreated, DialogueEvent

MOST_WAITING = 1_000
"""Items that may wait: each takes some memory and a turn of the recogniser, however short it is."""


class GivenAudio:
    """Hands audio to the owner, who may take its time; a client cannot pile it up meanwhile."""

    def __init__(self, tell: Callable[[DialogueEvent], None] | None, limit: int) -> None:
        """At most `limit` bytes wait; with `tell` None nobody transcribes and nothing is handed on."""
        self._tell = tell
        self._limit = limit
        self._bytes = 0
        self._items = 0
        # A client may give one id to several items.
        self._waiting: dict[str, deque[int]] = {}

    def admit(self, *sizes: int) -> None:
        """Refuse items of so many bytes if too much waits already."""
        items = len(sizes) - sizes.count(0)
        if self._tell is None or not items:
            return
        if self._items + items > MOST_WAITING or self._bytes + sum(sizes) > self._limit:
            raise refusals.too_much_untranscribed(self._limit, MOST_WAITING)

    def hand_on(self, item_id: str, audio: bytes, form: AudioFormat) -> None:
        """Ask for the transcript of an item's audio, which was admitted."""
        if self._tell is not None and audio:
            self._waiting.setdefault(item_id, deque()).append(len(audio))
            self._bytes += len(audio)
            self._items += 1
            self._tell(AudioItemCreated(item_id, audio, form))

    def settled(self, item_id: str) -> None:
        """The transcript of an item is there, or will never be."""
        sizes = self._waiting.get(item_id)
        if sizes is None:
            return
        self._bytes -= sizes.popleft()
        self._items -= 1
        if not sizes:
            del self._waiting[item_id]
