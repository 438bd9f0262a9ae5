"""What is said in a conversation: recordings, spoken in real time with silence around them.

Owns the pace of a microphone that is not there; must not know calls, turns or files' other uses.
"""

import asyncio
from array import array
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from legato.audio.resample import Resampler
from legato.audio.wav import read_wav

BLOCK_MS = 20
"""How much is captured at a time."""

VOICED = 0.02
"""A sample above this part of the recording's peak counts as voice; what follows the last one is silence."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Mono s16le, and where its voice ends, in samples."""

    name: str
    pcm: bytes
    voice_end: int


def load_recording(path: Path, rate: int) -> Recording:
    """Read a WAV file of any rate as `rate` samples per second. Raises `SettingsError` with one sentence."""
    wav = read_wav(path)
    resampler = Resampler(wav.rate, rate)
    pcm = resampler.process(wav.pcm) + resampler.flush()
    return Recording(path.name, pcm, voice_end(pcm))


def voice_end(pcm: bytes) -> int:
    """The number of samples up to and including the last that is louder than the silence around the voice."""
    samples = array("h", pcm)
    threshold = VOICED * max((abs(sample) for sample in samples), default=0)
    return next((at for at in range(len(samples), 0, -1) if abs(samples[at - 1]) > threshold), 0)


class Mouth:
    """Sends a block every `BLOCK_MS`, as a microphone would: what is to be said, otherwise silence.

    Late wake-ups are made up for at once; every block carries the moment at which its first sample would have
    been captured.
    """

    def __init__(
        self,
        send: Callable[[bytes, int], None],
        rate: int,
        now_us: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Be silent until `run`; `send` takes a block and its capture time in microseconds."""
        self._send = send
        self._rate = rate
        self._now_us = now_us
        self._sleep = sleep
        self._block = rate * BLOCK_MS // 1000
        self._start_us = now_us()
        self._position = 0
        self._queue: deque[tuple[Recording, asyncio.Future[int]]] = deque()
        self._said = 0

    @property
    def next_us(self) -> int:
        """When the next block's first sample is captured."""
        return self._moment(self._position)

    async def say(self, recording: Recording) -> int:
        """Say `recording` after what is being said; returns the moment at which its voice ended."""
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append((recording, ended))
        return await ended

    async def run(self) -> None:
        """Speak until cancelled; raises what `send` raises."""
        while True:
            while self._moment(self._position + self._block) <= self._now_us():
                self._send(self._next_block(), self.next_us)
                self._position += self._block
            due = self._moment(self._position + self._block) - self._now_us()
            await self._sleep(max(due, 0) / 1e6)

    def _next_block(self) -> bytes:
        size = 2 * self._block
        if not self._queue:
            return bytes(size)
        recording, ended = self._queue[0]
        at = 2 * self._said
        block = recording.pcm[at : at + size]
        self._said += self._block
        if at + size >= len(recording.pcm):
            self._queue.popleft()
            start = self._position - at // 2
            self._said = 0
            if not ended.done():
                ended.set_result(self._moment(start + recording.voice_end))
        return block.ljust(size, b"\0")

    def _moment(self, position: int) -> int:
        return self._start_us + position * 1_000_000 // self._rate
