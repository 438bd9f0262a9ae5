"""Where replies are played: a clock that stands in for a loudspeaker, or a real one. Knows no sessions.

A device pulls samples from a `PlaybackBuffer` at the pace at which a person would hear them and calls
`on_pull` after each pull, so that what was played can be reported.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from legato.client.playback import PlaybackBuffer

__all__ = ["BLOCK_MS", "Device", "VirtualSpeaker"]

log = logging.getLogger(__name__)

BLOCK_MS = 20
"""How much a device pulls at a time."""


class Device(Protocol):
    """Plays what a buffer holds."""

    def start(self, buffer: PlaybackBuffer, on_pull: Callable[[], None]) -> None:
        """Begin to pull; `on_pull` is called on the event loop."""

    def stop(self) -> None:
        """Stop pulling. Idempotent."""


class VirtualSpeaker:
    """Plays in real time into nothing, or into `record`, which is handed every block as heard.

    When `record` fails the log says so, and playing goes on without it.
    """

    def __init__(self, record: Callable[[bytes], None] | None = None) -> None:
        """Make a silent device."""
        self._record = record
        self._task: asyncio.Task[None] | None = None

    def start(self, buffer: PlaybackBuffer, on_pull: Callable[[], None]) -> None:
        """Begin to pull a block every `BLOCK_MS`."""
        self._task = asyncio.get_running_loop().create_task(
            self._run(buffer, on_pull), name="virtual speaker"
        )

    def stop(self) -> None:
        """Stop pulling."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self, buffer: PlaybackBuffer, on_pull: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        block = buffer.rate * BLOCK_MS // 1000
        start = loop.time()
        pulled = 0
        while True:
            # Late wake-ups are made up for, so that playback keeps the pace of a clock over any time.
            due = round((loop.time() - start) * buffer.rate) + block
            while pulled < due:
                pcm = buffer.pull(block)
                pulled += block
                if self._record is not None:
                    self._record_heard(self._record, pcm)
            on_pull()
            await asyncio.sleep(BLOCK_MS / 1000)

    def _record_heard(self, record: Callable[[bytes], None], pcm: bytes) -> None:
        try:
            record(pcm)
        except Exception as error:
            # A player that stood still would leave the call waiting for the end of a reply, nobody knows why.
            log.error("what is heard is not recorded any more", exc_info=error)
            self._record = None
