"""The examples do what their first lines say."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import Message, ReplyOptions
from legato.audio.wav import read_wav
from legato.testing.stages import check_language_model

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def load(name: str) -> ModuleType:
    """Import an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ask_prints_both_sides_and_keeps_the_answer(server: str, state: Path, tmp_path: Path) -> None:
    question, answer = tmp_path / "question.wav", tmp_path / "answer.wav"
    subprocess.run(["flite", "-voice", "rms", "-t", "what is three plus four", "-o", question], check=True)
    done = subprocess.run(
        [sys.executable, EXAMPLES / "ask.py", question, answer, server],
        env={**os.environ, "XDG_STATE_HOME": str(state)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "asked:    what is three plus four" in done.stdout
    assert "answered: That is 7." in done.stdout
    assert read_wav(answer).seconds > 0.5


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_realtime_openai_prints_both_sides_and_keeps_the_answer(
    server: str, state: Path, tmp_path: Path
) -> None:
    question, answer = tmp_path / "question.wav", tmp_path / "answer.wav"
    subprocess.run(["flite", "-voice", "rms", "-t", "what is three plus four", "-o", question], check=True)
    done = subprocess.run(
        [sys.executable, EXAMPLES / "realtime_openai.py", question, answer, f"{server}/v1"],
        env={
            **os.environ,
            "OPENAI_API_KEY": (state / "legato" / "development-key").read_text().strip(),
            "SSL_CERT_FILE": str(state / "legato" / "development-certificate.pem"),
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "asked:    what is three plus four" in done.stdout
    assert "answered: That is 7." in done.stdout
    assert read_wav(answer).seconds > 0.5


async def test_hotel_is_a_language_model() -> None:
    hotel = load("hotel")
    settings = AssistantSettings.model_validate({})
    await check_language_model(lambda: hotel.build(settings))
    messages = [Message("user", "when is breakfast and can I have a key")]
    answer = "".join(
        [str(piece) async for piece in hotel.build(settings).reply(messages, [], ReplyOptions())]
    )
    assert "from seven to ten" in answer
    assert "new key" in answer


def test_every_example_has_a_test() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert path.stem in tested, f"{path.name} has no test"
