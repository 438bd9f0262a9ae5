"""What a caller may choose is checked when it is chosen."""

import pytest

from legato.client.settings import ClientSettings
from legato.core.audio import AudioFormat
from legato.core.errors import SettingsError


def test_defaults_are_valid() -> None:
    assert ClientSettings().output[-1].codec == "pcm16"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"output": ()}, "at least one format"),
        ({"output": (AudioFormat("pcm16", 16_000), AudioFormat("pcm16", 24_000))}, "same sample rate"),
        ({"certificate_hashes": (b"short",)}, "32 bytes"),
        ({"connect_timeout_s": 0}, "above 0"),
        ({"connect_timeout_s": float("nan")}, "above 0"),
        ({"token": ""}, "an API key or a client secret"),
        ({"token": "lg_x\nlg_y"}, "on one line"),
        ({"token": "clé"}, "ASCII"),
    ],
)
def test_a_mistake_is_one_sentence(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        ClientSettings(**wrong)  # type: ignore[arg-type]


def test_a_token_is_not_shown() -> None:
    assert "mine" not in repr(ClientSettings(token="mine"))
