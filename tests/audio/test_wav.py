import io
import os
import resource
import signal
import struct
import wave
from pathlib import Path

import pytest

from legato.audio.wav import Wav, read_wav, write_wav
from legato.core.errors import SettingsError


def written(
    channels: int = 1, width: int = 2, rate: int = 16_000, data: bytes = b"\x01\x00\x02\x00"
) -> io.BytesIO:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(data)
    file.seek(0)
    return file


def chunk(kind: bytes, content: bytes, claimed: int | None = None) -> bytes:
    return kind + struct.pack("<I", len(content) if claimed is None else claimed) + content


def form(tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16) -> bytes:
    return struct.pack("<HHIIHH", tag, channels, rate, 0, 0, bits)


def extensible(tag: int, **fields: int) -> bytes:
    guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
    return form(0xFFFE, **fields) + struct.pack("<HHI", 22, 16, 0) + guid


def riff(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


FMT, DATA = chunk(b"fmt ", form()), chunk(b"data", b"\x01\x00\x02\x00")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, b"\x01\x00" * 22_050, 44_100)
    wav = read_wav(path)
    assert wav == Wav(b"\x01\x00" * 22_050, 44_100)
    assert (wav.samples, wav.seconds) == (22_050, 0.5)
    assert read_wav(str(path)) == wav


def test_stereo_is_averaged() -> None:
    data = struct.pack("<6h", 100, 300, -5, -6, 32_767, 32_767)
    assert read_wav(written(channels=2, data=data)).pcm == struct.pack("<3h", 200, -6, 32_767)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"RIFF", "ends in its header"),
        (b"This is text, and quite a lot of it.", "not a WAV file"),
        (written(width=1).getvalue(), "8-bit samples; convert it to 16-bit"),
        (written(width=3, data=b"123456").getvalue(), "24-bit samples; convert it to 16-bit"),
        (written(data=b"").getvalue(), "holds no audio"),
        (riff(chunk(b"fmt ", form(3, bits=32)), DATA), "holds floating-point samples; convert it to 16-bit"),
        (riff(chunk(b"fmt ", extensible(3, bits=32)), DATA), "holds floating-point samples; convert it"),
        (riff(chunk(b"fmt ", extensible(1, bits=24)), DATA), "24-bit samples; convert it to 16-bit"),
        (riff(chunk(b"fmt ", form(7, bits=8)), DATA), "holds µ-law; convert it to 16-bit"),
        (riff(chunk(b"fmt ", form(0x1234)), DATA), "holds format 4660; convert it to 16-bit"),
        (riff(chunk(b"fmt ", form(rate=0)), DATA), "claims 1 channels with 0 samples per second"),
        (riff(chunk(b"fmt ", form(rate=1)), DATA), "claims 1 channels with 1 samples per second"),
        (
            riff(chunk(b"fmt ", form(rate=2**32 - 1)), DATA),
            "with 4294967295 samples per second: it is damaged",
        ),
        (riff(chunk(b"fmt ", form(channels=0)), DATA), "claims 0 channels"),
        (riff(chunk(b"fmt ", form()[:14]), DATA), "its format is cut off"),
        (riff(DATA, FMT), "ends in its header"),
        (riff(FMT, chunk(b"LIST", b"INFO", 2**31 - 1), DATA), "ends in its header"),
        (riff(FMT) + b"data", "ends in its header"),
        (b"RF64" + riff(FMT, DATA)[4:], "is not a WAV file"),
        (b"ID3\x03" + bytes(100), "is not a WAV file; convert it to one with 16-bit PCM"),
    ],
)
def test_complaints_are_one_clear_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=complaint) as caught:
        read_wav(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_wav(tmp_path)
    with pytest.raises(SettingsError, match="cannot be written"):
        write_wav(tmp_path / "no" / "such.wav", b"", 8_000)


def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(written(data=b"\x01\x00" * 100).getvalue()[:-51])
    assert read_wav(path).pcm == b"\x01\x00" * 74


@pytest.mark.parametrize(
    "content",
    [
        riff(chunk(b"fmt ", extensible(1)), DATA),
        riff(chunk(b"LIST", b"odd\0", 3), FMT, chunk(b"fact", bytes(4)), DATA, chunk(b"id3 ", b"x")),
        # Without a length, as programs leave it that write to a pipe.
        chunk(b"RIFF", b"WAVE" + FMT + chunk(b"data", b"\x01\x00\x02\x00", 2**32 - 1), 0),
        riff(FMT, chunk(b"data", b"\x01\x00\x02\x00\x03", 5)),
    ],
)
def test_every_form_of_16_bit_pcm_is_read(content: bytes) -> None:
    assert read_wav(io.BytesIO(content)) == Wav(b"\x01\x00\x02\x00", 16_000)


def test_six_channels_are_averaged() -> None:
    content = riff(
        chunk(b"fmt ", extensible(1, channels=6, rate=96_000)), chunk(b"data", bytes(10) + b"\6\0")
    )
    assert read_wav(io.BytesIO(content)) == Wav(b"\1\0", 96_000)


def test_a_pipe_can_be_read() -> None:
    reader, writer = os.pipe()
    os.write(writer, riff(chunk(b"LIST", bytes(100)), FMT, DATA))
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert read_wav(pipe).pcm == b"\x01\x00\x02\x00"


def test_no_half_written_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "half.wav"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(SettingsError, match=r"half\.wav cannot be written: File too large"):
            write_wav(path, bytes(10_000), 16_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert not path.exists()
