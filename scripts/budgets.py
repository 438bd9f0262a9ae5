"""Hold files and functions to the size budgets of CONTRIBUTING.md.

Owns the counting. What may be larger, and why, stands in `scripts/budgets.toml`; an exception that is no
longer needed is an error too, so the list only shrinks by itself.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PYTHON_FILE_LINES = 400
CORE_FILE_LINES = 300
RUST_FILE_LINES = 600
FUNCTION_LINES = 60
PARAMETERS = 6


class Finding(NamedTuple):
    """One thing over its budget; `key` is what an exception has to name."""

    key: str
    amount: int
    budget: int
    unit: str


def python_files() -> Iterator[Path]:
    """Every Python file that is shipped or run by a command; tests are held to lint only."""
    for room in ("src", "scripts", "examples"):
        yield from sorted((ROOT / room).rglob("*.py"))


def python_findings(path: Path) -> Iterator[Finding]:
    """The file's length, then each function's length and number of parameters."""
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    budget = CORE_FILE_LINES if name.startswith("src/legato/core/") else PYTHON_FILE_LINES
    yield Finding(name, len(text.splitlines()), budget, "lines")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = node.args
        named = [a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
        parameters = sum(argument not in ("self", "cls") for argument in named)
        key = f"{name}:{node.name}"
        yield Finding(key, (node.end_lineno or node.lineno) - node.lineno + 1, FUNCTION_LINES, "lines")
        if not is_command_line(name, node):
            yield Finding(key, parameters, PARAMETERS, "parameters")


def is_command_line(file: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the parameters of this function are the flags of a command."""
    decorated = any("command" in ast.unparse(decorator) for decorator in node.decorator_list)
    return file.startswith("src/legato/cli/") and (decorated or node.name == "command")


def rust_findings(path: Path) -> Iterator[Finding]:
    """The file's length up to its inline tests; clippy counts the functions."""
    lines = path.read_text(encoding="utf-8").splitlines()
    length = next((i for i, line in enumerate(lines) if line.strip() == "#[cfg(test)]"), len(lines))
    yield Finding(path.relative_to(ROOT).as_posix(), length, RUST_FILE_LINES, "lines")


def findings() -> Iterator[Finding]:
    """Everything over its budget, before exceptions."""
    counted = [f for path in python_files() for f in python_findings(path)]
    counted += [f for path in sorted((ROOT / "crates").rglob("src/**/*.rs")) for f in rust_findings(path)]
    yield from (finding for finding in counted if finding.amount > finding.budget)


def main() -> int:
    """Print what is over its budget and not excepted; 1 if there is any."""
    with (ROOT / "scripts/budgets.toml").open("rb") as file:
        excepted: dict[str, str] = tomllib.load(file)["exceptions"]
    over = list(findings())
    complaints = [
        f"{f.key}: {f.amount} {f.unit}, budget {f.budget}"
        for f in over
        if not excepted.get(f.key, "").strip()
    ]
    needed = {finding.key for finding in over}
    complaints += [f"{key}: this exception is not needed any more" for key in excepted if key not in needed]
    print("\n".join(complaints), end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
