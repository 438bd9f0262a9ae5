"""A microphone in a quiet room: silence without end, and speech when somebody speaks.

Owns the pace of capture, 20 ms at a time; must not know what is said or who listens.
"""

from __future__ import annotations

import array
import asyncio
import sys

from legato.client.session import RealtimeSession

__all__ = ["QUIET", "Microphone", "voiced_samples"]

BLOCK_MS = 20
QUIET = 300
"""A sample that is no louder than this, of 32,767, is not speech."""


def voiced_samples(pcm: bytes) -> int:
    """Return how many samples of mono s16le there are up to the last that is louder than `QUIET`."""
    samples = array.array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    for index in range(len(samples) - 1, -1, -1):
        if abs(samples[index]) > QUIET:
            return index + 1
    return 0


class Microphone:
    """Captures in real time for one call; `run` is its task."""

    def __init__(self, session: RealtimeSession) -> None:
        """Listen to nothing yet."""
        self._session = session
        self._rate = session.settings.input.rate
        self._pending = b""
        self._start_us = session.now_us()
        self._captured = 0
        self._silent = asyncio.Event()
        self._silent.set()

    async def run(self) -> None:
        """Capture until cancelled."""
        block = self._rate * BLOCK_MS // 1000
        while True:
            while self._time_us(self._captured + block) <= self._session.now_us():
                pcm, self._pending = self._pending[: 2 * block], self._pending[2 * block :]
                self._session.send_audio(pcm.ljust(2 * block, b"\0"), self._time_us(self._captured))
                self._captured += block
                if not self._pending:
                    self._silent.set()
            wait_us = self._time_us(self._captured + block) - self._session.now_us()
            await asyncio.sleep(max(0, wait_us) / 1e6)

    async def speak(self, pcm: bytes) -> int:
        """Speak mono s16le at the input rate; returns the moment of its last voiced sample (us)."""
        end_us = self._time_us(self._captured + voiced_samples(pcm))
        self._pending += pcm
        self._silent.clear()
        await self._silent.wait()
        return end_us

    def _time_us(self, samples: int) -> int:
        return self._start_us + samples * 1_000_000 // self._rate
