"""Finding agents, stages and codecs by name."""

import sys

import pytest

from legato._plugins import built, names, resolve
from legato.agents import echo
from legato.agents.assistant import build
from legato.agents.settings import AssistantSettings
from legato.core.errors import SettingsError


def test_bare_names_are_files() -> None:
    assert resolve("agents", "echo") is echo.build
    assert {"assistant", "echo"} <= set(names("agents"))
    assert "base" not in names("audio.codecs")


def test_the_long_form_is_an_import() -> None:
    assert resolve("agents", "legato.agents.echo:echo") is echo.echo
    assert resolve("agents", "collections:OrderedDict.fromkeys")("a") == {"a": None}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nonsense", "'nonsense' is not in legato.agents"),
        ("../echo", "is not in legato.agents"),
        ("", "is not in legato.agents"),
        ("no.such.module:thing", "there is no module 'no'"),
        ("legato.agents.echo:nothing", "has no attribute 'nothing'"),
        (":build", "is not of the form package.module:attribute"),
        ("./agent:build", "is not of the form package.module:attribute"),
    ],
)
def test_names_of_nothing(name: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        resolve("agents", name)


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("raise RuntimeError('no GPU')", "'own_code:build' cannot be used: RuntimeError: no GPU"),
        ("def build(:", "'own_code:build' cannot be used: SyntaxError: "),
        ("import nowhere", "there is no module 'nowhere'"),
        ("build = 5", "'own_code:build' cannot be used: TypeError: 'int' object is not callable"),
        ("def build(settings): open('')", "'own_code:build' cannot be used: FileNotFoundError: "),
        (
            "def build(settings): raise ValueError('a\\nb')",
            "'own_code:build' cannot be used: ValueError: a b",
        ),
    ],
)
def test_code_that_fails_is_named(tmp_path, monkeypatch, code: str, complaint: str) -> None:
    (tmp_path / "own_code.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    with pytest.raises(SettingsError, match=f"^{complaint}" if complaint[0] == "'" else complaint):
        built("agents", "own_code:build", None)


def test_a_missing_dependency_names_the_extra_that_brings_it(monkeypatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["httpx>=0.28", "av>=16; extra == 'opus'"])
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "legato.audio.codecs.opus", raising=False)
    with pytest.raises(SettingsError, match=r"av is not installed: pip install 'legato\[opus\]'"):
        resolve("audio.codecs", "opus")


def test_an_assistant_says_what_it_lacks(monkeypatch) -> None:
    with pytest.raises(SettingsError, match="'tts_nobody' is not in legato"):
        build(AssistantSettings(tts="nobody"))
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SettingsError, match="flite not found: apt-get install flite"):
        build(AssistantSettings())


@pytest.mark.parametrize(
    "wrong",
    [
        {"llm": "openai"},
        {"stt": "openai", "stt_url": "localhost:8000"},
        {"silence_ms": 10},
        {"vad_threshold": 1.5},
        {"unknown": 1},
        {"max_messages": 0},
    ],
)
def test_settings_are_validated(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AssistantSettings(**wrong)


def test_keys_are_not_shown() -> None:
    settings = AssistantSettings(llm_key="sk-secret")
    assert "sk-secret" not in repr(settings)
    assert settings.llm_key.get_secret_value() == "sk-secret"
