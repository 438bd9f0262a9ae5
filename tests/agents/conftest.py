"""What the tests of this room are handed: speech, and stages behind an endpoint.

Sentences are spoken by flite; the recordings of people are those of Debian's alsa-utils.
"""

import io
import subprocess
import wave
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path

import pytest
from tests.agents.openai_endpoint import settings_for

from legato.agents.stages import llm_openai, stt_openai, tts_openai
from legato.audio.resample import Resampler
from legato.audio.wav import read_wav
from legato.testing.scripted_endpoint import ScriptedEndpoint

RECORDINGS = Path("/usr/share/sounds/alsa")


@lru_cache(maxsize=200)
def flite(text: str, voice: str) -> bytes:
    made = subprocess.run(
        ["flite", "-voice", voice, "-t", text, "-o", "/dev/stdout"], capture_output=True, check=True
    )
    with wave.open(io.BytesIO(made.stdout)) as file:
        assert file.getframerate() == 16_000
        return file.readframes(file.getnframes())


@pytest.fixture(scope="session")
def speak() -> Callable[..., bytes]:
    """`speak(text, voice="rms")`: mono s16le at 16 kHz."""
    return lambda text, voice="rms": flite(text, voice)


@pytest.fixture(scope="session")
def recordings() -> dict[str, bytes]:
    """What people said, by their words: mono s16le at 16 kHz."""
    found = {}
    for path in sorted(RECORDINGS.glob("*_*.wav")):
        wav, resampler = read_wav(path), Resampler(48_000, 16_000)
        assert wav.rate == 48_000
        found[path.stem.replace("_", " ").lower()] = resampler.process(wav.pcm) + resampler.flush()
    return found


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    """An OpenAI-compatible endpoint that answers as the test says."""
    async with ScriptedEndpoint() as running:
        yield running


@pytest.fixture
async def model(endpoint: ScriptedEndpoint):
    """A language model there."""
    made = llm_openai.build(settings_for(endpoint.url, llm_model="tiny"))
    yield made
    await made.close()


@pytest.fixture
async def voice(endpoint: ScriptedEndpoint):
    """A voice there."""
    made = tts_openai.build(settings_for(endpoint.url, voice="nova"))
    yield made
    await made.close()


@pytest.fixture
async def recognition(endpoint: ScriptedEndpoint):
    """Recognition there."""
    made = stt_openai.build(settings_for(endpoint.url, language="de"))
    yield made
    await made.close()
