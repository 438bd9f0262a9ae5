"""Write docs/reference from the code: settings, commands, Python.

Owns their layout. With `--check` it writes nothing, and fails if a page is not what it would write.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

import legato
import legato.client.events
from legato.cli.__main__ import application
from legato.lb.settings import BalancerSettings
from legato.server import settings_reference

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"

_HOME = re.compile(r"\b(?:legato|typing|collections|builtins)\.(?:[a-z_]+\.)*")
"""Where a type is defined, which a reader of its name need not know."""

GROUPS: dict[str, tuple[str, list[str]]] = {
    "Calling a server": (
        "What an application needs that talks to a voice server.",
        ["connect", "RealtimeSession", "ClientSettings", "AudioFormat"],
    ),
    "Answering calls": (
        "What an agent needs. A function that takes a `Call` and returns when it is done is an agent.",
        ["Agent", "Call", "Utterance", "Speech", "AudioFrame", "AudioGap", "Tool", "ToolSet"],
    ),
    "Serving": ("What a program needs that runs the server itself.", ["Server", "ServerSettings"]),
    "Errors": (
        "Everything legato raises on purpose is a `LegatoError`.",
        [
            "LegatoError",
            "AgentError",
            "ConnectError",
            "LocalProtocolError",
            "ProtocolError",
            "RemoteProtocolError",
            "SessionClosed",
            "SettingsError",
            "StreamReset",
            "TransportError",
        ],
    ),
}


def python_page() -> str:
    """The public names with their signatures and docstrings."""
    lines = [
        "# Python",
        "",
        "What `import legato` offers, and the events of a call. Samples are mono s16le, times are",
        "microseconds unless a name says otherwise.",
        "",
        "This page is written by `scripts/reference.py`.",
    ]
    for title, (introduction, names) in GROUPS.items():
        lines += ["", f"## {title}", "", introduction]
        for name in names:
            lines += _entry(f"legato.{name}", getattr(legato, name), 3)
    lines += [
        "",
        "## Events of a call",
        "",
        "What `RealtimeSession.events` yields; from `legato.client.events`.",
    ]
    for name in legato.client.events.__all__:
        value = getattr(legato.client.events, name)
        if inspect.isclass(value):
            lines += _entry(name, value, 3)
    return "\n".join(lines) + "\n"


def _entry(title: str, value: Any, level: int) -> Iterator[str]:
    yield from ("", f"{'#' * level} `{title}`", "")
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        yield f"`{_plain(value)}`"
        return
    if inspect.isfunction(value) or dataclasses.is_dataclass(value) or hasattr(value, "__struct_fields__"):
        yield from ("```text", _signature(title.rpartition(".")[2], value), "```", "")
    yield inspect.cleandoc(value.__doc__ or "")
    if inspect.isclass(value) and not issubclass(value, Exception) and value is not legato.ServerSettings:
        for name, member in _members(value):
            yield from _member(name, member)


def _members(owner: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(owner).items():
        if not name.startswith("_") and (isinstance(member, property) or inspect.isroutine(member)):
            yield name, member


def _member(name: str, member: Any) -> Iterator[str]:
    text = " ".join(inspect.cleandoc(inspect.getdoc(member) or "").split())
    if isinstance(member, property):
        kind = typing.get_type_hints(member.fget).get("return") if _resolvable(member.fget) else None
        yield from ("", f"- `{name}`{f': `{_plain(kind)}`' if kind else ''}. {text}")
    else:
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        prefix = "await " if inspect.iscoroutinefunction(function) else ""
        yield from ("", f"- `{prefix}{_signature(name, function)}`. {text}")


def _resolvable(function: Callable[..., Any] | None) -> bool:
    try:
        typing.get_type_hints(function)
    except NameError:
        return False
    return function is not None


def _signature(name: str, value: Any) -> str:
    signature = inspect.signature(value)
    kept = [parameter for parameter in signature.parameters.values() if parameter.name not in ("self", "cls")]
    shown = [_parameter(parameter) for parameter in kept]
    if any(parameter.kind is parameter.KEYWORD_ONLY for parameter in kept):
        shown.insert(next(i for i, p in enumerate(kept) if p.kind is p.KEYWORD_ONLY), "*")
    result = "" if inspect.isclass(value) else _annotation(signature.return_annotation, " -> ")
    one_line = f"{name}({', '.join(shown)}){result}"
    if len(one_line) <= 100 or not inspect.isclass(value):
        return one_line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in shown) + f"){result}"


def _parameter(parameter: inspect.Parameter) -> str:
    default = parameter.default
    if default is parameter.empty:
        value = ""
    elif type(default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS":
        value = " = ..."
    else:
        value = f" = {default!r}"
    return f"{parameter.name}{_annotation(parameter.annotation, ': ')}{value}"


def _annotation(annotation: Any, before: str) -> str:
    return "" if annotation is inspect.Parameter.empty else before + _plain(annotation)


def _plain(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _HOME.sub("", text)


def commands_page() -> str:
    """Every command with its flags."""
    program: Any = typer.main.get_command(application())
    lines = [
        "# Commands",
        "",
        "Exit codes: 0 done, 1 it failed, 2 it was asked wrongly, 130 interrupted. Errors are one line on",
        "standard error; `--debug` before the command, or `LEGATO_DEBUG=1`, shows the traceback.",
        "",
        "This page is written by `scripts/reference.py`.",
    ]
    for name, command in sorted(program.commands.items()):
        lines += _command(f"legato {name}", command)
    return "\n".join(lines) + "\n"


def _command(path: str, command: Any) -> Iterator[str]:
    if getattr(command, "commands", None):
        yield from ("", f"## `{path}`", "", inspect.cleandoc(command.help or ""))
        yield from _flags(command)
        for name, inner in command.commands.items():
            yield from _command(f"{path} {name}", inner)
        return
    arguments = " ".join(
        (p.metavar or p.name).upper() for p in command.params if p.param_type_name == "argument"
    )
    yield from ("", f"## `{f'{path} {arguments}'.strip()}`", "", inspect.cleandoc(command.help or ""))
    yield from _flags(command)


def _flags(command: Any) -> Iterator[str]:
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    options = [option for option in options if option.name != "help"]
    if options:
        yield from ("", "| Flag | Default | Meaning |", "|---|---|---|")
    for option in options:
        flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
        default = (
            ""
            if option.default in (None, False, True, ()) or callable(option.default)
            else f"`{option.default}`"
        )
        yield f"| {flags} | {default} | {' '.join((option.help or '').split())} |"


def balancer_page() -> str:
    """The settings of a balancer's TOML file."""
    lines = [
        "# Settings of a balancer",
        "",
        "For `legato balance --config FILE`, a TOML file; flags come before it. Groups are tables:",
        "`routing.allowed` is `allowed` under `[routing]`.",
        "",
        "This page is written by `scripts/reference.py`.",
        "",
        "| Setting | Default | Meaning |",
        "|---|---|---|",
        *_settings(BalancerSettings, ""),
    ]
    return "\n".join(lines) + "\n"


def _settings(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, f"{prefix}{name}.")
        else:
            default = "" if field.default in (None, ()) else f"`{_toml(field.default)}`"
            yield f"| `{prefix}{name}` | {default} | {field.description} |"


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(one) for one in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_reference.reference,
    "balancer.md": balancer_page,
    "commands.md": commands_page,
    "python.md": python_page,
}


def main(check: bool) -> int:
    """Write the pages, or with `check` compare them; 1 if one differs."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    stale = 0
    for name, page in PAGES.items():
        path, text = FOLDER / name, page()
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if not check:
            path.write_text(text, encoding="utf-8")
        elif old != text:
            stale = 1
            print(f"docs/reference/{name} is stale: run scripts/reference.py")
            print(
                "\n".join(list(difflib.unified_diff(old.splitlines(), text.splitlines(), lineterm=""))[:20])
            )
    return stale


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
