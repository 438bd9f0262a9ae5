"""The settings written out for people: the reference page, and a file that sets what is set now.

Owns only the rendering; every word about a setting comes from `settings.py`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from legato.server.settings import CONFIG_VARIABLE, FLAGS, ServerSettings, variable

_INTRODUCTION = f"""# Settings of the server

`legato serve` takes each setting from the strongest source that gives it: a flag, an environment variable,
the TOML file named by `--config` or `{CONFIG_VARIABLE}`, the default. Unknown keys are mistakes, and the
server says so before it starts. `legato settings` prints what is in force, in the form of that file.

This page is written by `legato settings --reference`.
"""


def reference() -> str:
    """The whole reference as Markdown."""
    parts = [_INTRODUCTION]
    top = [(name, field) for name, field in ServerSettings.model_fields.items() if _group(field) is None]
    parts.append("## General\n\n" + _table((name, field) for name, field in top))
    for name, field in ServerSettings.model_fields.items():
        group = _group(field)
        if group is not None:
            summary = " ".join((group.__doc__ or "").split("\n\n")[0].split())
            rows = ((f"{name}.{key}", inner) for key, inner in group.model_fields.items())
            parts.append(f"## {name}\n\n{summary}\n\n{_table(rows)}")
            parts += [
                _entries(name, key, inner) for key, inner in group.model_fields.items() if _entry(inner)
            ]
    return "\n".join(parts)


def effective(settings: ServerSettings) -> str:
    """`settings` as a TOML file; what has no value, and every secret, becomes a comment."""
    lines = [_assignment(name, value) for name, value in settings if not isinstance(value, BaseModel)]
    for name, value in settings:
        if isinstance(value, BaseModel):
            tables = [(key, inner) for key, inner in value if _is_table(inner)]
            lines += [
                "",
                f"[{name}]",
                *(_assignment(key, inner) for key, inner in value if not _is_table(inner)),
            ]
            lines += [
                line for key, inner in tables for entry in inner for line in _written(f"{name}.{key}", entry)
            ]
    return "\n".join(lines) + "\n"


def _table(rows: Iterator[tuple[str, FieldInfo]]) -> str:
    lines = ["| Key | Default | Values | Meaning | Variable, flag |", "|---|---|---|---|---|"]
    for key, field in rows:
        names = f"`{variable(key)}`" + (f", `{FLAGS[key]}`" if key in FLAGS else "")
        lines.append(f"| `{key}` | {_default(field)} | {_values(field)} | {field.description} | {names} |")
    return "\n".join(lines) + "\n"


def _entries(group: str, key: str, field: FieldInfo) -> str:
    """The keys of one entry of a list of tables; they have no variables of their own."""
    entry = _entry(field)
    assert entry is not None
    lines = [f"The keys of a table `[[{group}.{key}]]`:", ""]
    for name, inner in entry.model_fields.items():
        within = _group(inner)
        nested = within.model_fields.items() if within is not None else ()
        for path, leaf in [(f"{name}.{k}", f) for k, f in nested] or [(name, inner)]:
            need = ", required" if leaf.is_required() else ""
            lines.append(f"- `{path}` ({_values(leaf)}{need}): {leaf.description}")
    return "\n".join(lines) + "\n"


def _entry(field: FieldInfo) -> type[BaseModel] | None:
    """What a list of tables holds, if `field` is one."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) is tuple else ()
    return kinds[0] if kinds and isinstance(kinds[0], type) and issubclass(kinds[0], BaseModel) else None


def _is_table(value: object) -> bool:
    return isinstance(value, tuple) and any(isinstance(entry, BaseModel) for entry in value)


def _written(name: str, entry: BaseModel) -> list[str]:
    """One entry of a list of tables; what has no value is left out."""
    lines = ["", f"[[{name}]]"]
    for key, value in entry:
        if isinstance(value, BaseModel):
            inner = [(f"{key}.{path}", leaf) for path, leaf in value if leaf is not None]
            lines += [_assignment(path, leaf) for path, leaf in inner]
        elif value is not None:
            lines.append(_assignment(key, value))
    return lines


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return "none" if value in (None, "", ()) or isinstance(value, SecretStr) else f"`{value}`"


def _values(field: FieldInfo) -> str:
    bounds: dict[str, Any] = {}
    for rule in field.metadata:
        for name, word, tightest in (("ge", "≥", max), ("gt", ">", max), ("le", "≤", min), ("lt", "<", min)):
            if hasattr(rule, name):
                bounds[word] = tightest(getattr(rule, name), bounds.get(word, getattr(rule, name)))
    return " ".join([_kind(field.annotation), *(f"{word} {bound}" for word, bound in bounds.items())])


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    inner = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) is tuple:
        return "tables" if issubclass(inner[0], BaseModel) else f"list of {_kind(inner[0])}"
    if inner:
        return _kind(inner[0])
    words = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", Path: "path"}
    return "secret text" if kind is SecretStr else words[kind]


def _assignment(key: str, value: object) -> str:
    if value is None:
        return f"# {key} is not set"
    if isinstance(value, SecretStr):
        return f"# {key} is set, and secret" if value.get_secret_value() else f"# {key} is not set"
    if isinstance(value, tuple) and any(isinstance(entry, SecretStr) for entry in value):
        return f"# {key} is set, and secret"
    if isinstance(value, str | Path):
        # A JSON string is a TOML basic string, but for DEL, which no setting has a use for.
        return f"{key} = {json.dumps(str(value))}"
    return f"{key} = {json.dumps(value)}"
