"""What the contract suites need: speech, and an endpoint for the stages that want one."""

import io
import subprocess
import wave

import pytest

from legato.agents.settings import AssistantSettings
from legato.testing.scripted_endpoint import ScriptedEndpoint

WORDS = "what is twelve times seven"


@pytest.fixture(scope="session")
def words() -> str:
    """What `speech` says."""
    return WORDS


@pytest.fixture(scope="session")
def speech() -> bytes:
    """The sentence `WORDS`, mono s16le at 16 kHz."""
    made = subprocess.run(
        ["flite", "-voice", "rms", "-t", WORDS, "-o", "/dev/stdout"], capture_output=True, check=True
    )
    with wave.open(io.BytesIO(made.stdout)) as file:
        assert file.getframerate() == 16_000
        return file.readframes(file.getnframes())


@pytest.fixture
async def endpoint():
    async with ScriptedEndpoint() as running:
        running.default_transcript = WORDS
        yield running


@pytest.fixture
def settings(endpoint: ScriptedEndpoint) -> AssistantSettings:
    """Settings with which every stage can be built, whichever it is."""
    return AssistantSettings(stt_url=endpoint.url, llm_url=endpoint.url, tts_url=endpoint.url)
