"""Every stage keeps the contract of its step; a new file in the folder is found by itself."""

import pytest

from legato._plugins import names, resolve
from legato.testing import stages


def of_step(step: str) -> list[str]:
    return [name for name in names("agents.stages") if name.startswith(f"{step}_")]


@pytest.mark.parametrize("name", of_step("vad"))
async def test_voice_activity(name, settings, speech) -> None:
    await stages.check_voice_activity(lambda: resolve("agents.stages", name)(settings), speech)


@pytest.mark.parametrize("name", of_step("stt"))
async def test_speech_to_text(name, settings, speech, words) -> None:
    await stages.check_speech_to_text(lambda: resolve("agents.stages", name)(settings), speech, words)


@pytest.mark.parametrize("name", of_step("llm"))
async def test_language_model(name, settings) -> None:
    await stages.check_language_model(lambda: resolve("agents.stages", name)(settings))


@pytest.mark.parametrize("name", of_step("tts"))
async def test_text_to_speech(name, settings) -> None:
    await stages.check_text_to_speech(lambda: resolve("agents.stages", name)(settings))


def test_every_step_has_a_stage_that_needs_no_network_and_one_that_speaks_openai() -> None:
    for step in ("stt", "llm", "tts"):
        assert len(of_step(step)) >= 2
        assert f"{step}_openai" in of_step(step)
