"""Where settings come from, and what is said when one is wrong; must not know what a setting means.

`load_settings` gathers `ServerSettings` from four sources, the strongest first:

    command-line flags  >  environment (LEGATO_GROUP__KEY)  >  TOML file  >  the defaults of the model

A mistake in any of them is one `SettingsError` with one sentence: the key, the value, where it came from and
what would be accepted. What is secret, or may be a secret in the wrong place, is not repeated.
"""

import difflib
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from legato._settings import merged, nested, read_toml
from legato.core.errors import SettingsError
from legato.server.settings import CONFIG_VARIABLE, FLAGS, PREFIX, ServerSettings, variable

__all__ = ["load_settings"]

Layer = tuple[Literal["flags", "environment", "file"], dict[str, Any]]
"""What one source says, nested like the model."""


def load_settings(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> ServerSettings:
    """Gather the settings from `flags` (by dotted key, None meaning not given), the environment and `config`.

    Without `config` the TOML file named by LEGATO_CONFIG is read, if that is set. Raises `SettingsError`.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = config or (Path(named) if named else None)
    layers: list[Layer] = [("flags", nested(flags or {})), ("environment", _environment())]
    if path is not None:
        layers.append(("file", read_toml(path)))
    values: dict[str, Any] = {}
    for _, layer in reversed(layers):
        values = merged(values, layer)
    try:
        return ServerSettings.model_validate(values)
    except ValidationError as error:
        # A key that is missing is often one that was misspelt, which says more.
        first = min(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
        raise SettingsError(_sentence(first, layers, path)) from None


def _environment() -> dict[str, Any]:
    for name in os.environ:
        group = name.removeprefix(PREFIX).partition("__")[0].lower()
        if name.startswith(PREFIX) and "__" in name and group not in ServerSettings.model_fields:
            meant = _did_you_mean(group.upper(), [key.upper() for key in ServerSettings.model_fields], PREFIX)
            raise SettingsError(f"environment variable {name} names no group of settings{meant}")
    try:
        return EnvSettingsSource(ServerSettings)()
    except UnreadableVariable as error:
        raise SettingsError(f"a variable that sets a whole group must hold JSON: {error}") from None


def _sentence(error: ErrorDetails, layers: list[Layer], file: Path | None) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    source = _source(path, layers, file)
    if error["type"] == "extra_forbidden":
        model = _model_at(path[:-1])
        known = list(model.model_fields) if model else []
        prefix = key[: -len(path[-1])]
        return f"unknown setting {key} ({source}){_did_you_mean(path[-1], known, prefix)}"
    if error["type"] == "value_error":
        sentence = str(error["ctx"]["error"])
        if not path:
            # Several settings that contradict each other: the sentence names them.
            return sentence
        return f"{sentence} ({source})" if key in sentence else f"{key}: {sentence} ({source})"
    if error["type"] == "missing":
        return f"{key} is missing ({_source(path[:-1], layers, file)})"
    if error["type"] == "model_type":
        return f"{key} ({source}) is a group of settings: set its keys one by one"
    wish = error["msg"].replace("Input should be", "it must be", 1)
    value = "the given value (hidden)" if _is_secret(path) else repr(error["input"])
    return f"{key} = {value} ({source}) cannot be used: {wish[0].lower()}{wish[1:]}"


def _source(path: list[str], layers: list[Layer], file: Path | None) -> str:
    key = ".".join(path)
    for name, layer in layers:
        if _contains(layer, path):
            known = {"flags": FLAGS.get(key, "a flag"), "environment": variable(key), "file": f"in {file}"}
            return known[name]
    return "default"


def _contains(layer: Any, path: list[str]) -> bool:
    for part in path:
        known = dict(enumerate(layer)) if isinstance(layer, list) else layer
        place = int(part) if isinstance(layer, list) and part.isdigit() else part
        if not isinstance(known, dict) or place not in known:
            return False
        layer = known[place]
    return True


def _did_you_mean(word: str, known: list[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {prefix}{close[0]}?"
    return f"; known are {', '.join(f'{prefix}{name}' for name in sorted(known))}" if known else ""


def _model_at(path: list[str]) -> type[BaseModel] | None:
    model: type[BaseModel] = ServerSettings
    for part in path:
        if part.isdigit():
            # A place in a list of tables: the model of the list is that of its entries already.
            continue
        field = model.model_fields.get(part)
        kinds = (field.annotation, *typing.get_args(field.annotation)) if field is not None else ()
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return None
        model = inner[0]
    return model


def _is_secret(path: list[str]) -> bool:
    if path[0] == "auth" and path != ["auth", "required"]:
        # A key or a secret may stand where something else belongs.
        return True
    model = _model_at(path[:-1])
    field = model.model_fields.get(path[-1]) if model else None
    if field is None:
        return False
    return field.annotation is SecretStr or SecretStr in typing.get_args(field.annotation)
