"""Synthesis by Debian's `flite` program, offline, one process for each sentence.

Owns running the program safely: no shell, the text is one argument, bounded in number and killed when
unwanted. It must not know who listens.
"""

import asyncio
import io
import shutil
import subprocess
import sys
import tempfile
import unicodedata
import wave
from array import array
from collections.abc import AsyncGenerator

from legato.agents.base import Speech
from legato.agents.settings import AssistantSettings
from legato.core.errors import AgentError, SettingsError

from . import programs
from .base import USUAL, Delivery, TextToSpeechCapabilities

__all__ = ["FliteTextToSpeech", "build"]

_AT_ONCE = 4
_LONGEST = 2_000
"""Characters given to one process; longer text is cut there into several."""
_PATIENCE_S = 20.0
_QUIET, _LEAD_MS = 100, 30
_SLOWEST, _FASTEST = 0.25, 4.0
_PIECE_BYTES = 16_000
"""Size of the pieces that a sentence is handed out in."""
_MISSING = "flite not found: apt-get install flite"
_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": ", ", "—": ", ", "…": "...", "−": " minus "}
)


class FliteTextToSpeech:
    """Speaks with one of flite's voices."""

    def __init__(self, program: str, voice: str, voices: tuple[str, ...]) -> None:
        self._program = program
        self._voice = voice
        self.capabilities = TextToSpeechCapabilities(voices=voices)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._closed = False

    async def speak(self, text: str, delivery: Delivery = USUAL) -> AsyncGenerator[Speech, None]:
        """`text` as speech."""
        label, manner = text, self._manner(delivery)
        plain = _pronounceable(text)
        while plain:
            cut = len(plain) if len(plain) <= _LONGEST else plain.rfind(" ", 1, _LONGEST)
            cut = cut if cut > 0 else _LONGEST
            pcm, rate = _samples(await self._run(plain[:cut], manner))
            pcm = _without_lead(pcm, rate)
            for start in range(0, len(pcm), _PIECE_BYTES):
                yield Speech(pcm[start : start + _PIECE_BYTES], rate, label)
                label = ""
            plain = plain[cut:].strip()

    async def close(self) -> None:
        """Start no more processes."""
        self._closed = True

    def _manner(self, delivery: Delivery) -> list[str]:
        """The options of flite. Only a listed name is passed on, because flite would also load a file or a
        URL as a voice."""
        voice = delivery.voice if delivery.voice in self.capabilities.voices else self._voice
        if delivery.speed == 1.0:
            return ["-voice", voice]
        stretch = 1.0 / min(max(delivery.speed, _SLOWEST), _FASTEST)
        return ["-voice", voice, "--setf", f"duration_stretch={stretch:.3f}"]

    async def _run(self, text: str, manner: list[str]) -> bytes:
        if self._closed:
            raise AgentError("speech synthesis has been closed")
        async with self._turns:
            # Not standard output: some event loops make that a socket, which flite cannot open by name.
            with tempfile.TemporaryFile(prefix="legato-") as output:
                await self._write(text, manner, output.fileno())
                output.seek(0)
                return output.read()

    async def _write(self, text: str, manner: list[str], descriptor: int) -> None:
        """Let one process write the WAV file of `text` to `descriptor`."""
        command = [self._program, *manner, "-t", text, "-o", f"/dev/fd/{descriptor}"]
        try:
            flite = await programs.start(command, pass_fds=(descriptor,))
        except FileNotFoundError as error:
            raise AgentError(_MISSING) from error
        except OSError as error:
            raise AgentError(f"flite cannot be started: {error}", retryable=True) from error
        try:
            async with asyncio.timeout(_PATIENCE_S):
                status = await flite.wait()
        except TimeoutError as error:
            raise AgentError("flite takes too long", retryable=True) from error
        finally:
            if flite.status is None:
                await asyncio.shield(flite.kill())
        if status != 0:
            raise AgentError(f"flite failed with status {status}", retryable=True)


def _pronounceable(text: str) -> str:
    """`text` in the characters that flite knows; "" if there is nothing to pronounce."""
    plain = unicodedata.normalize("NFKD", text.translate(_PLAIN)).encode("ascii", "ignore").decode()
    plain = " ".join("".join(char if char.isprintable() else " " for char in plain).split())
    return plain if any(char.isalnum() for char in plain) else ""


def _samples(sound: bytes) -> tuple[bytes, int]:
    try:
        with wave.open(io.BytesIO(sound)) as file:
            return file.readframes(file.getnframes()), file.getframerate()
    except (wave.Error, EOFError) as error:
        raise AgentError("flite gave no audio", retryable=True) from error


def _without_lead(pcm: bytes, rate: int) -> bytes:
    """`pcm` without the silence before its first sound, of which flite makes up to 230 ms: it only delays."""
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    first = next((place for place, value in enumerate(samples) if abs(value) > _QUIET), 0)
    return pcm[2 * max(0, first - rate * _LEAD_MS // 1000) :]


def list_voices(program: str) -> tuple[str, ...]:
    """The voices that the program has. Raises `SettingsError` if it cannot be asked."""
    try:
        listed = subprocess.run([program, "-lv"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingsError(f"flite cannot be run: {error}") from error
    return tuple(listed.stdout.partition(":")[2].split())


def build(settings: AssistantSettings) -> FliteTextToSpeech:
    """The stage for `settings`. Asks flite for its voices."""
    program = shutil.which("flite")
    if program is None:
        raise SettingsError(_MISSING)
    voices = list_voices(program)
    voice = settings.voice or ("rms" if "rms" in voices else "kal")
    if voices and voice not in voices:
        raise SettingsError(f"flite has no voice {voice!r}; it has: {', '.join(voices)}")
    return FliteTextToSpeech(program, voice, voices)
