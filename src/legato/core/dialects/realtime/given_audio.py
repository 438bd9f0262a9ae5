"""Audio that a client gave its items, on the way to be transcribed.

Owns the bound on what waits. Must not know items, nor what a transcript is.
"""

from collections.abc import Callable

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime import refusals
from legato.core.dialects.realtime.dialogue_events import AudioItemCreated, DialogueEvent


class GivenAudio:
    """Hands audio to the owner, who may take its time; a client cannot pile it up meanwhile."""

    def __init__(self, tell: Callable[[DialogueEvent], None] | None, limit: int) -> None:
        """At most `limit` bytes wait; with `tell` None nobody transcribes and nothing is handed on."""
        self._tell = tell
        self._limit = limit
        self._waiting: dict[str, int] = {}

    def admit(self, size: int) -> None:
        """Refuse `size` more bytes if too much waits already."""
        if self._tell is not None and size and sum(self._waiting.values()) + size > self._limit:
            raise refusals.too_much_untranscribed(self._limit)

    def hand_on(self, item_id: str, audio: bytes, form: AudioFormat) -> None:
        """Ask for the transcript of an item's audio, which was admitted."""
        if self._tell is not None and audio:
            self._waiting[item_id] = len(audio)
            self._tell(AudioItemCreated(item_id, audio, form))

    def settled(self, item_id: str) -> None:
        """The transcript of an item is there, or will never be."""
        self._waiting.pop(item_id, None)
