"""One stretch of speech, from the audio that is fed to it to the words it holds.

Owns the audio that waits for a recogniser, which may be slower than speech. It must not know where speech
begins or ends, nor what the words are for.
"""

import asyncio

from legato.agents.stages.base import HEARING_RATE

__all__ = ["Stretch"]


class Stretch:
    """Speech on its way to a recogniser. Positions are samples at `HEARING_RATE`."""

    def __init__(self, number: int, began: int) -> None:
        self.number = number
        self.began = began
        self.fed_to = began
        self.words = ""
        """The hypothesis so far."""
        self.heard_to = began
        """How far the recogniser has come."""
        self._waiting = bytearray()
        self._ended = False
        self._news = asyncio.Event()

    @property
    def seconds(self) -> float:
        """Length of what was fed."""
        return (self.fed_to - self.began) / HEARING_RATE

    def feed(self, pcm: bytes) -> None:
        """More audio of it."""
        self._waiting += pcm
        self.fed_to += len(pcm) // 2
        self._news.set()

    def skip(self, to: int) -> None:
        """Audio is missing in it."""
        self.began += to - self.fed_to
        self.heard_to += to - self.fed_to
        self.fed_to = to

    def end(self) -> None:
        """There is no more."""
        self._ended = True
        self._news.set()

    async def take(self) -> bytes:
        """Everything that waits; b"" at the end."""
        while not self._waiting and not self._ended:
            self._news.clear()
            await self._news.wait()
        pcm = bytes(self._waiting)
        self._waiting.clear()
        return pcm
