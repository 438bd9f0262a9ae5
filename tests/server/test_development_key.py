"""The development key: made once, kept private, replaced when it cannot be trusted."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from legato.core.errors import SettingsError
from legato.server.development_key import keep_development_key
from legato.trust import DEVELOPMENT_KEY, development_key, is_api_key, new_api_key


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_is_made_once_and_used_again(tmp_path: Path) -> None:
    place = tmp_path / "legato"
    key = keep_development_key(place)
    assert is_api_key(key)
    assert keep_development_key(place) == key
    assert development_key("localhost", place) == key


def test_belongs_to_its_user_alone(tmp_path: Path) -> None:
    place = tmp_path / "legato"
    before = os.umask(0)
    try:
        keep_development_key(place)
    finally:
        os.umask(before)
    assert mode(place / DEVELOPMENT_KEY) == 0o600
    assert mode(place) == 0o700


def test_servers_that_start_together_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(keep_development_key, [tmp_path] * 32))
    assert len(keys) == 1


def test_leaves_no_other_file_behind(tmp_path: Path) -> None:
    keep_development_key(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {DEVELOPMENT_KEY, "development-key.lock"}


@pytest.mark.parametrize("allowed", [0o640, 0o604, 0o620, 0o666])
def test_one_that_others_may_read_or_write_is_replaced(tmp_path: Path, allowed: int) -> None:
    path = tmp_path / DEVELOPMENT_KEY
    known = new_api_key()
    path.write_text(known)
    path.chmod(allowed)
    assert keep_development_key(tmp_path) != known
    assert mode(path) == 0o600


@pytest.mark.parametrize("content", [b"", b"secret", b"\xff" * 46, b"lg_" + b"a" * 200])
def test_what_is_no_key_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / DEVELOPMENT_KEY
    path.write_bytes(content)
    path.chmod(0o600)
    key = keep_development_key(tmp_path)
    assert is_api_key(key)
    assert path.read_text().strip() == key


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(new_api_key())
    elsewhere.chmod(0o600)
    path = tmp_path / DEVELOPMENT_KEY
    path.symlink_to(elsewhere)
    assert keep_development_key(tmp_path) != elsewhere.read_text()
    assert not path.is_symlink()


def test_something_else_that_reads_slowly_does_not_hold_the_server(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / DEVELOPMENT_KEY, 0o600)
    assert is_api_key(keep_development_key(tmp_path))
    assert (tmp_path / DEVELOPMENT_KEY).is_file()


def test_a_place_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    with pytest.raises(
        SettingsError, match=r"cannot keep the development key in .*file \(.*auth\.keys"
    ) as caught:
        keep_development_key(place)
    assert len(str(caught.value).splitlines()) == 1
