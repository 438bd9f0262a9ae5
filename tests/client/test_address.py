"""A URL becomes addresses, names and trust."""

from pathlib import Path

import pytest

from legato.client.address import resolve_target, token_for
from legato.client.settings import ClientSettings
from legato.core.errors import ConnectError, SettingsError
from legato.server.development_key import keep_development_key


async def test_a_bare_host_gets_port_and_path() -> None:
    target = await resolve_target("127.0.0.1", ClientSettings())
    assert list(target.addresses) == [("127.0.0.1", 4433)]
    assert (target.authority, target.path) == ("127.0.0.1:4433", "/legato/v1")


async def test_what_the_url_says_is_kept() -> None:
    target = await resolve_target("https://[::1]:99/voice?x=1", ClientSettings())
    assert (target.server_name, target.authority, target.path) == ("::1", "[::1]:99", "/voice?x=1")


async def test_pinned_hashes_replace_every_other_trust() -> None:
    target = await resolve_target("https://127.0.0.1", ClientSettings(certificate_hashes=(bytes(32),)))
    assert list(target.certificate_hashes) == [bytes(32)]


@pytest.mark.parametrize("url", ["http://localhost", "https://", "https://host:port", "wss://x"])
async def test_a_bad_url_says_what_is_wanted(url: str) -> None:
    with pytest.raises(SettingsError, match="https://host:port"):
        await resolve_target(url, ClientSettings())


async def test_an_unknown_host_is_named() -> None:
    with pytest.raises(ConnectError, match=r"nowhere\.invalid"):
        await resolve_target("https://nowhere.invalid", ClientSettings())


class TestToken:
    @pytest.fixture
    def key(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        return keep_development_key()

    @pytest.mark.parametrize(
        "url", ["localhost", "https://127.0.0.1:99/x", "https://[::1]:4433", "127.0.0.2:1"]
    )
    def test_the_development_key_is_shown_to_this_machine(self, key: str, url: str) -> None:
        assert token_for(url, ClientSettings()) == key

    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com",
            "https://localhost@example.com",
            "https://192.168.1.1",
            "https://[::1",
            "",
            "x:y:z",
        ],
    )
    def test_and_to_nobody_else(self, key: str, url: str) -> None:
        assert token_for(url, ClientSettings()) is None

    @pytest.mark.parametrize("url", ["https://localhost", "https://example.com"])
    def test_a_token_of_the_settings_comes_first(self, key: str, url: str) -> None:
        assert token_for(url, ClientSettings(token="mine")) == "mine"

    def test_there_may_be_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        assert token_for("https://localhost", ClientSettings()) is None
