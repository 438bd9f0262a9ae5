"""WAV files: read as mono s16le at whatever rate they have, write the same. Must not resample.

Reads uncompressed 16-bit PCM with any number of channels, which are averaged.
"""

import sys
import wave
from array import array
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from legato.core.errors import SettingsError

__all__ = ["Wav", "read_wav", "write_wav"]


class Wav(NamedTuple):
    """A recording: mono s16le and its samples per second."""

    pcm: bytes
    rate: int

    @property
    def samples(self) -> int:
        """Length in samples."""
        return len(self.pcm) // 2

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.rate


def read_wav(source: str | Path | BinaryIO) -> Wav:
    """Read a WAV file, by path or open for reading. Raises `SettingsError`, in one line, if it cannot be
    used."""
    name = str(getattr(source, "name", "the input")) if not isinstance(source, str | Path) else str(source)
    try:
        with _opened(source, "rb") as opened, wave.open(opened, "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            if width != 2:
                raise SettingsError(f"{name} has {8 * width}-bit samples; convert it to 16-bit PCM")
            if rate < 1:
                raise SettingsError(f"{name} claims {rate} samples per second")
            data = file.readframes(file.getnframes())
    except FileNotFoundError:
        raise SettingsError(f"{name} does not exist") from None
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: {error.strerror or error}") from error
    except EOFError:
        raise SettingsError(f"{name} is not a WAV file: it is empty or ends in its header") from None
    except wave.Error as error:
        raise SettingsError(f"{name} is not a WAV file of 16-bit PCM: {error}") from error
    pcm = _mono(data[: len(data) - len(data) % (2 * channels)], channels)
    if not pcm:
        raise SettingsError(f"{name} holds no audio")
    return Wav(pcm, rate)


def write_wav(target: str | Path | BinaryIO, pcm: bytes, rate: int) -> None:
    """Write mono s16le as a WAV file. Raises `SettingsError` if the file cannot be written."""
    try:
        with _opened(target, "wb") as opened, wave.open(opened, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(pcm)
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror or error}") from error


def _opened(place: str | Path | BinaryIO, mode: Literal["rb", "wb"]) -> AbstractContextManager[BinaryIO]:
    return open(place, mode) if isinstance(place, str | Path) else nullcontext(place)


def _mono(data: bytes, channels: int) -> bytes:
    if channels == 1:
        return data
    samples = array("h", data)
    if sys.byteorder == "big":
        samples.byteswap()
    lanes = [samples[lane::channels] for lane in range(channels)]
    mixed = array("h", (sum(values) // channels for values in zip(*lanes, strict=True)))
    if sys.byteorder == "big":
        mixed.byteswap()
    return mixed.tobytes()
