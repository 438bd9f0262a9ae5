"""What the settings of every program here have in common: groups, files, flags, and what is logged.

Owns gathering values into one nested table. Must not know any program's settings, nor what is said of a
mistake in them.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from legato.core.errors import SettingsError

__all__ = ["Group", "Log", "merged", "nested", "read_toml"]


class Group(BaseModel):
    """Settings of one subject: frozen, keyword-only, and unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Log(Group):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity written."
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="`console` for people, `json` for machines; `auto` looks at the terminal."
    )


def nested(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Flags by dotted key as a nested table; None means not given."""
    table: dict[str, Any] = {}
    for key, value in flags.items():
        if value is not None:
            for part in reversed(key.split(".")):
                value = {part: value}
            table = merged(table, value)
    return table


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both tables in one; what `above` says counts."""
    table = dict(below)
    for key, value in above.items():
        under = table.get(key)
        table[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return table


def read_toml(path: Path) -> dict[str, Any]:
    """The settings file. Raises `SettingsError`."""
    try:
        # Some editors begin a file with a byte order mark.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the settings file {path} is not text in UTF-8") from None
    except (ValueError, RecursionError) as error:
        # Not every number and every depth that are TOML can be read.
        raise SettingsError(f"the settings file {path} is not valid TOML: {error}") from None
