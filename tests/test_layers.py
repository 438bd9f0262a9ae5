"""Who imports what, where import-linter cannot look: the extension and the standard library."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "legato"
FILES = sorted(SOURCE.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every absolute module name that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ["legato", *path.relative_to(SOURCE).parts][: -node.level] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """The first part of a file's place under legato: its package, or the module itself."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_only_transports_server_and_bench_touch_the_packet_engine() -> None:
    users = {
        room(path) for path in FILES if any(name.startswith("legato._native") for name in imported(path))
    }
    assert users <= {"bench", "fleet_keys", "lb", "server", "testing", "transports"}


def test_the_core_imports_the_standard_library_msgspec_and_itself() -> None:
    for path in (path for path in FILES if room(path) == "core"):
        for name in imported(path):
            top = name.partition(".")[0]
            assert top in sys.stdlib_module_names or top == "msgspec" or name.startswith("legato.core"), (
                f"{path.relative_to(SOURCE)} imports {name}"
            )


def test_nothing_that_is_shipped_imports_the_test_suites() -> None:
    for path in (path for path in FILES if room(path) not in ("testing", "bench")):
        assert not any(name.startswith("legato.testing") for name in imported(path)), path


def test_every_file_says_what_it_owns() -> None:
    silent = [path for path in FILES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []
