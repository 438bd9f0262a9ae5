import io
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
        (
            written().getvalue().replace(b"\x01\x00\x01\x00\x80>", b"\x03\x00\x01\x00\x80>"),
            "unknown format: 3",
        ),
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
