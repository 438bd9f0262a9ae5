"""The page about networks names every one of them, in the words of its file."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "bench" / "networks").glob("*.toml"))
PAGE = (ROOT / "docs" / "reference" / "networks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_network_stands_in_the_reference(file: Path) -> None:
    about = tomllib.loads(file.read_text(encoding="utf-8"))["about"]
    assert f"| `{file.stem}` | {about} |" in PAGE


def test_every_field_of_the_format_stands_in_the_reference() -> None:
    used = {key for file in FILES for key in _keys(tomllib.loads(file.read_text(encoding="utf-8")))}
    for field in used - {"both", "up", "down", "event"}:
        assert re.search(rf"\b{field}\b", PAGE), field


def _keys(table: object) -> set[str]:
    if isinstance(table, list):
        return set().union(*map(_keys, table))
    if isinstance(table, dict):
        return set(table).union(*map(_keys, table.values()))
    return set()
