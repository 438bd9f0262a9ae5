"""Whose turn it is, as far as a caller can tell, and what becomes of a reply that somebody speaks into.

Owns whether the player is held. It must not know sounds, connections or what is said.

Barge-in has two phases. Whoever notices a sound here ducks the reply at once; the server, which hears more,
then confirms (a flush) or denies (`legato.unduck`), and the reply goes on from the same sample. A server that
says neither is taken to mean no.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from legato.client.playback import PlaybackBuffer

__all__ = ["PATIENCE_S", "Turn"]

PATIENCE_S = 2.0
"""How long a ducked reply waits for the server's word."""

_BEGINS = {"input_audio_buffer.speech_started": "speech", "response.created": "response"}
_ENDS = {"input_audio_buffer.speech_stopped": "speech", "response.done": "response"}


class Turn:
    """The turns of one call."""

    def __init__(self, playback: PlaybackBuffer, changed: Callable[[], None]) -> None:
        """Hold `playback` while it is ducked; `changed` is called when it is held or goes on."""
        self._playback = playback
        self._changed = changed
        self._busy: set[str] = set()
        self._held = 0
        self._patience: asyncio.TimerHandle | None = None

    @property
    def pausing(self) -> bool:
        """Whether nobody speaks, and nothing is being answered."""
        return not self._busy and self._playback.buffered == 0

    def take(self, event: dict[str, Any]) -> None:
        """Take an event of the server's."""
        kind = event["type"]
        if kind in _BEGINS:
            self._busy.add(_BEGINS[kind])
        elif kind in _ENDS:
            self._busy.discard(_ENDS[kind])
        elif kind == "legato.unduck":
            generation = event.get("generation")
            if isinstance(generation, int):
                self.decided(generation, generation)
            else:
                self.decided()

    def restart(self) -> None:
        """Another server has the call: what was begun elsewhere has no end here."""
        self._busy.clear()
        self.decided()

    def duck(self) -> int | None:
        """Hold the reply; returns its generation, None if none sounds or it is held already."""
        generation = self._playback.hold()
        if generation is not None:
            self._held = generation
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(PATIENCE_S, self.decided)
            self._changed()
        return generation

    def decided(self, first: int = 0, last: int = sys.maxsize) -> None:
        """Let the player go on, with what is left to be played, if it holds one of these generations.
        Idempotent."""
        if self._patience is not None and first <= self._held <= last:
            self._patience.cancel()
            self._patience = None
            self._playback.go_on()
            self._changed()
