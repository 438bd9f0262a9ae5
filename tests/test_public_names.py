"""The public door: what `import legato` offers is listed, sorted, documented, and nothing else is there."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import legato


def listed_for_type_checkers() -> set[str]:
    """The names that the door imports where only type checkers look."""
    tree = ast.parse(Path(legato.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.name
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_list_is_sorted_and_complete() -> None:
    assert list(legato.__all__) == sorted(legato.__all__)
    assert listed_for_type_checkers() == set(legato.__all__)
    assert set(legato.__all__) <= set(dir(legato))


def test_every_public_name_exists_and_is_documented() -> None:
    for name in legato.__all__:
        value = getattr(legato, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value), f"legato.{name} has no docstring"


def test_errors_share_one_root() -> None:
    public = (getattr(legato, name) for name in legato.__all__)
    errors = [value for value in public if inspect.isclass(value) and issubclass(value, Exception)]
    assert legato.LegatoError in errors
    assert all(issubclass(error, legato.LegatoError) for error in errors)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(legato, "nothing_of_this_name")


def test_importing_legato_loads_neither_server_nor_engine() -> None:
    code = "import legato, sys; print([m for m in sys.modules if m.startswith('legato.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
