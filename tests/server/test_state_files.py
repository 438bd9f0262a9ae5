"""Files that several processes share: whole or not at all, one writer at a time."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from legato.server.state_files import exclusive, write_atomically


def test_one_holds_the_lock_at_a_time(tmp_path: Path) -> None:
    place = tmp_path / "made" / "lock"
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count(_: int) -> None:
        with exclusive(place):
            counter.write_text(str(int(counter.read_text()) + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(64)))
    assert counter.read_text() == "64"


def test_the_lock_is_free_again_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock"):
        1 / 0  # noqa: B018 - it is the failure
    with exclusive(tmp_path / "lock"):
        pass


def test_a_file_is_replaced_with_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o666)
    write_atomically(path, b"new", 0o600)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.mkdir()
    (path / "full").touch()
    with pytest.raises(OSError):
        write_atomically(path, b"new", 0o600)
    assert os.listdir(tmp_path) == ["directory"]
