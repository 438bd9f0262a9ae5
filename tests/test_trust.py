"""What a client believes and shows by itself, and to whom."""

from pathlib import Path

import pytest

from legato.trust import DEVELOPMENT_KEY, development_key, is_api_key, is_loopback_address, new_api_key


class TestDevelopmentKey:
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]", "LOCALHOST."])
    def test_is_shown_to_this_machine(self, tmp_path: Path, host: str) -> None:
        key = new_api_key()
        (tmp_path / DEVELOPMENT_KEY).write_text(f"{key}\n")
        assert development_key(host, tmp_path) == key

    @pytest.mark.parametrize(
        "host", ["", "example.com", "192.168.1.1", "0.0.0.0", "::", "localhost.example.com"]
    )
    def test_is_shown_to_nobody_else(self, tmp_path: Path, host: str) -> None:
        (tmp_path / DEVELOPMENT_KEY).write_text(new_api_key())
        assert development_key(host, tmp_path) is None

    @pytest.mark.parametrize(
        "content", [None, b"", b"lg_", b"\xff\xfe", b"lg_" + b"x" * 42, b"lg_" + b"x" * 44]
    )
    def test_is_none_when_there_is_none(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / DEVELOPMENT_KEY).write_bytes(content)
        assert development_key("localhost", tmp_path) is None


def test_keys_have_256_random_bits() -> None:
    keys = {new_api_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(is_api_key(key) and len(key) == 46 for key in keys)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.0.1", "::1", "[::1]"])
def test_a_loopback_address_reaches_this_machine_only(host: str) -> None:
    assert is_loopback_address(host)


@pytest.mark.parametrize(
    "host", ["", "*", "Localhost.", "my.localhost", "10.0.0.1", "::", "127.0.0.1.example.com"]
)
def test_any_other_may_reach_further(host: str) -> None:
    assert not is_loopback_address(host)
