"""WAV files: read as mono s16le at whatever rate they have, write the same. Must not resample.

Reads uncompressed 16-bit PCM with any number of channels, which are averaged; in the plain form and in the
extensible one (WAVE_FORMAT_EXTENSIBLE), which many programs write for six channels or for 96 kHz. Newer
versions of Python only would read that by themselves.
"""

import contextlib
import struct
import sys
import wave
from array import array
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from legato.core.errors import SettingsError

__all__ = ["Wav", "read_wav", "write_wav"]


RATES = range(1_000, 384_001)
"""Samples per second that a recording may have; what claims others is damaged."""

_PCM, _EXTENSIBLE = 0x0001, 0xFFFE
_OTHERS = {0x0002: "ADPCM", 0x0003: "floating-point samples", 0x0006: "A-law", 0x0007: "µ-law", 0x0055: "MP3"}
"""What else files hold, by the tag of their format (RFC 2361)."""

_PIECE = 1 << 20


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
        with _opened(source, "rb") as file:
            channels, rate, data = _read(file, name)
    except FileNotFoundError:
        raise SettingsError(f"{name} does not exist") from None
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: {error.strerror or error}") from error
    pcm = _mono(data[: len(data) - len(data) % (2 * channels)], channels)
    if not pcm:
        raise SettingsError(f"{name} holds no audio")
    return Wav(pcm, rate)


def write_wav(target: str | Path | BinaryIO, pcm: bytes, rate: int) -> None:
    """Write mono s16le as a WAV file. Raises `SettingsError`, and leaves no file, if that cannot be done."""
    begun = False
    try:
        with _opened(target, "wb") as opened:
            begun = True
            with wave.open(opened, "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(rate)
                file.writeframes(pcm)
    except OSError as error:
        if begun and isinstance(target, str | Path) and Path(target).is_file():
            with contextlib.suppress(OSError):
                Path(target).unlink()
        raise SettingsError(f"{target} cannot be written: {error.strerror or error}") from error


def _read(file: BinaryIO, name: str) -> tuple[int, int, bytes]:
    """Channels, samples per second, and the samples as they stand in the file. Works on pipes, too."""
    head = file.read(12)
    if len(head) == 12 and (head[:4] != b"RIFF" or head[8:] != b"WAVE"):
        raise SettingsError(f"{name} is not a WAV file; convert it to one with 16-bit PCM")
    channels = rate = 0
    while len(header := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", header)
        if kind == b"data" and channels:
            # There may be less than that: who writes to a pipe does not know the length.
            return channels, rate, b"".join(_pieces(file, size))
        content = _pieces(file, size + size % 2)
        if kind == b"fmt ":
            channels, rate = _format(next(content, b""), name)
        for _ in content:
            pass
    raise SettingsError(f"{name} is not a WAV file: it is empty or ends in its header")


def _format(chunk: bytes, name: str) -> tuple[int, int]:
    """Channels and samples per second, of 16-bit PCM."""
    if len(chunk) < 16:
        raise SettingsError(f"{name} is not a WAV file: its format is cut off")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        # The tag stands at the beginning of a GUID here.
        (tag,) = struct.unpack_from("<H", chunk, 24)
    if tag != _PCM:
        raise SettingsError(f"{name} holds {_OTHERS.get(tag, f'format {tag}')}; convert it to 16-bit PCM")
    if (bits + 7) // 8 != 2:
        raise SettingsError(f"{name} has {bits}-bit samples; convert it to 16-bit PCM")
    if not channels or rate not in RATES:
        raise SettingsError(
            f"{name} claims {channels} channels with {rate} samples per second: it is damaged"
        )
    return channels, rate


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The next `size` bytes, or as many as there are; a length that lies asks for no memory."""
    while size > 0 and (piece := file.read(min(size, _PIECE))):
        size -= len(piece)
        yield piece


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
