"""The page of all settings is what the code says, and what is in force can be read back."""

import tomllib
from pathlib import Path
from typing import Any

from legato.agents.settings import AssistantSettings
from legato.server.auth_settings import ApiKey, AuthSettings, LimitsOfKey
from legato.server.settings import FLAGS, Listen, ServerSettings, Tls, variable
from legato.server.settings_reference import effective, reference
from legato.server.settings_sources import load_settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "write it again: legato settings --reference"


def test_every_key_has_a_meaning_a_variable_and_a_row() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    keys = [row.split("`")[1] for row in rows]
    for key, row in zip(keys, rows, strict=True):
        assert variable(key) in row
        assert "None |" not in row
    assert set(FLAGS) <= set(keys)
    assert len(keys) == len(set(keys))


def test_what_is_in_force_can_be_read_back(config: Path) -> None:
    settings = ServerSettings(
        agent='say "hi"', listen=Listen(port=1), tls=Tls(cert=Path("c.pem"), key=Path("k.pem"))
    )
    config.write_text(effective(settings))
    assert load_settings(config=config) == settings
    private = AssistantSettings.model_validate({"stt_key": "sk-1"})
    assert "sk-1" not in effective(ServerSettings(assistant=private))
    parsed: dict[str, Any] = tomllib.loads(effective(ServerSettings()))
    assert "cert" not in parsed["tls"]


def test_keys_in_force_can_be_read_back(config: Path) -> None:
    keys = (
        ApiKey(name="web", hash=f"sha256:{'0' * 64}", permissions=("response.create", "response.cancel")),
        ApiKey(name="batch", hash=f"sha256:{'1' * 64}", limits=LimitsOfKey(calls=3, session_seconds=60)),
    )
    settings = ServerSettings(auth=AuthSettings(keys=keys))
    config.write_text(effective(settings))
    assert load_settings(config=config) == settings


def test_signing_secrets_are_not_written_out() -> None:
    auth = AuthSettings.model_validate({"secrets": ["s" * 32]})
    text = effective(ServerSettings(auth=auth))
    assert "# secrets is set, and secret" in text
    assert "sss" not in text


def test_every_key_of_a_list_of_tables_is_described() -> None:
    for path in ("name", "hash", "permissions", "limits.calls", "limits.session_seconds"):
        assert f"\n- `{path}` (" in reference()
