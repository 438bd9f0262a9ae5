"""The flags of `legato talk`: what they mean, and one line for each that cannot be."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from legato.audio.wav import write_wav
from legato.cli import __main__ as program
from legato.cli.talk import client_settings, named
from legato.core.audio import AudioFormat
from legato.core.errors import SettingsError

HASH = bytes(range(32))


@pytest.fixture
def wav(tmp_path: Path) -> str:
    write_wav(tmp_path / "a.wav", b"\0\x10" * 1600, 16_000)
    return str(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "text", [HASH.hex(), HASH.hex().upper(), HASH.hex(":"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
)
def test_hashes_in_every_spelling(text: str) -> None:
    assert client_settings([text], None, None).certificate_hashes == (HASH,)


@pytest.mark.parametrize("text", ["", "xyz", "00", HASH.hex()[:-2]])
def test_what_is_no_hash(text: str) -> None:
    with pytest.raises(SettingsError, match="is no SHA-256 hash: 64 hexadecimal digits, or base64"):
        client_settings([text], None, None)


def test_formats() -> None:
    settings = client_settings([], "pcm16/16000", "pcm16/48000")
    assert settings.input == AudioFormat("pcm16", 16_000)
    assert [named(form) for form in settings.output] == ["pcm16/48000"]
    with pytest.raises(SettingsError, match=r"--output-format 'mp3' is no format: use one of pcm16/16000, "):
        client_settings([], None, "mp3")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["missing.wav"], "legato: missing.wav does not exist"),
        ([__file__], f"legato: {__file__} is not a WAV file"),
        (["{wav}", "--url", "ftp://x"], "legato: 'ftp://x' is no address of a voice server"),
        (["{wav}", "--save", "/no/where/a.wav"], "legato: --save /no/where/a.wav cannot be written"),
        (["{wav}", "--save", "/dev"], "legato: --save /dev cannot be written: it is a directory"),
        (["{wav}", "--cert-hash", "x"], "legato: --cert-hash 'x' is no SHA-256 hash"),
        (["{wav}", "--transport", "tcp"], "legato: transport must be one of auto, webtransport, websocket"),
        (["{wav}", "--patience", "0"], "legato: Invalid value for '--patience'"),
        (["{wav}", "--barge-in-after", "x", "{wav}"], "legato: Invalid value for '--barge-in-after'"),
        (["--barge-in-after", "2", "{wav}"], "legato: --barge-in-after needs a FILE"),
    ],
)
def test_mistakes_are_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], wav: str, words: list[str], sentence: str
) -> None:
    assert program.main(["talk", *(word.format(wav=wav) for word in words)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(sentence)
    assert len(printed.err.splitlines()) == 1


def test_a_server_that_is_not_there(wav: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "legato", "talk", wav, "--url", f"https://127.0.0.1:{port}"),
            *("--connect-timeout", "0.5"),
        ],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("legato: ")
    assert len(done.stderr.splitlines()) == 1
