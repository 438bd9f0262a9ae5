"""The real microphone and loudspeaker, by PortAudio (extra `audio`). Knows no sessions.

PortAudio calls back in threads of its own: blocks cross to the event loop by `call_soon_threadsafe`, and the
loudspeaker pulls from the buffer directly, which is made for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from legato.client.devices import BLOCK_MS
from legato.client.playback import PlaybackBuffer
from legato.core.errors import SettingsError

__all__ = ["Loudspeaker", "Microphone"]


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise SettingsError("the microphone needs an extra: pip install 'legato[audio]'") from None
    except OSError as error:
        raise SettingsError(f"PortAudio cannot be used ({error}): apt-get install libportaudio2") from None
    return sounddevice


def _open(kind: str, **options: Any) -> Any:
    sounddevice = _sounddevice()
    try:
        stream = getattr(sounddevice, kind)(channels=1, dtype="int16", **options)
        stream.start()
    except sounddevice.PortAudioError as error:
        name = "microphone" if kind == "RawInputStream" else "loudspeaker"
        raise SettingsError(f"no {name} can be opened: {error}") from None
    return stream


class Microphone:
    """Captures mono s16le at `rate` and hands every block to `on_block` with its capture time in
    microseconds."""

    def __init__(self, rate: int, on_block: Callable[[bytes, int], None]) -> None:
        """Open the default input; raises `SettingsError` when there is none."""
        loop = asyncio.get_running_loop()

        def captured(data: Any, _frames: int, _time: Any, _status: Any) -> None:
            loop.call_soon_threadsafe(on_block, bytes(data), time.monotonic_ns() // 1000 - BLOCK_MS * 1000)

        self._stream = _open(
            "RawInputStream", samplerate=rate, blocksize=rate * BLOCK_MS // 1000, callback=captured
        )

    def stop(self) -> None:
        """Stop capturing. Idempotent."""
        self._stream.close()


class Loudspeaker:
    """Plays on the default output; implements `devices.Device`."""

    def __init__(self) -> None:
        """Prepare; the device is opened by `start`."""
        self._stream: Any = None

    def start(self, buffer: PlaybackBuffer, on_pull: Callable[[], None]) -> None:
        """Open the default output and begin to pull; raises `SettingsError` when there is none."""
        loop = asyncio.get_running_loop()

        def wanted(out: Any, frames: int, _time: Any, _status: Any) -> None:
            out[:] = buffer.pull(frames)
            loop.call_soon_threadsafe(on_pull)

        self._stream = _open(
            "RawOutputStream",
            samplerate=buffer.rate,
            blocksize=buffer.rate * BLOCK_MS // 1000,
            callback=wanted,
        )

    def stop(self) -> None:
        """Stop playing. Idempotent."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
