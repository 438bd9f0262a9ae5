"""Keeps what is played, as it was heard, to be written to a file; must not know calls."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

from legato.audio.wav import write_wav
from legato.client.devices import Device
from legato.client.playback import PlaybackBuffer

PAUSE_MS = 500
"""Longer silences between replies are shortened to this."""


class Recorder:
    """A device that plays on another one and keeps what that one played."""

    def __init__(self, device: Device) -> None:
        """Record what `device` will play."""
        self._device = device
        self._tap: _Tap | None = None

    def start(self, buffer: PlaybackBuffer, on_pull: Callable[[], None]) -> None:
        """Begin to play; see `Device`."""
        self._tap = _Tap(buffer)
        self._device.start(cast(PlaybackBuffer, self._tap), on_pull)

    def stop(self) -> None:
        """Stop playing; what was played is kept."""
        self._device.stop()

    def save(self, path: Path) -> bool:
        """Write what was heard as a WAV file; false, and no file, if there was no reply."""
        if self._tap is None or not self._tap.heard:
            return False
        write_wav(path, bytes(self._tap.heard), self._tap.rate)
        return True


class _Tap:
    """Stands between a buffer and the device that pulls from it."""

    def __init__(self, buffer: PlaybackBuffer) -> None:
        self._buffer = buffer
        self.rate = buffer.rate
        self.heard = bytearray()
        self._silence = 0

    def pull(self, samples: int) -> bytes:
        pcm = self._buffer.pull(samples)
        if pcm.count(0) == len(pcm):
            self._silence += samples
            return pcm
        if self.heard:
            self.heard += bytes(2 * min(self._silence, PAUSE_MS * self.rate // 1000))
        self._silence = 0
        self.heard += pcm
        return pcm
