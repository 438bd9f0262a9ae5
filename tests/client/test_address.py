"""A URL becomes addresses, names and trust."""

import pytest

from legato.client.address import resolve_target
from legato.client.settings import ClientSettings
from legato.core.errors import ConnectError, SettingsError


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
