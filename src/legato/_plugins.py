"""From a name to the thing it names: agents, stages and codecs are found here, nothing is registered.

Owns the rule that a bare name is a file of a room and `package.module:attribute` is an import. It must not
know any room's contents.
"""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
from typing import Any

from legato.core.errors import LegatoError, SettingsError

__all__ = ["built", "names", "resolve"]


def names(room: str) -> list[str]:
    """The bare names that `resolve` can look for in `room` (such as "agents"), sorted."""
    package = importlib.import_module(f"legato.{room}")
    found = (module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg)
    return sorted(name for name in found if name != "base" and not name.startswith("_"))


def resolve(room: str, name: str) -> Any:
    """What `name` stands for: attribute `build` of `legato.<room>.<name>`, or the object at `pkg.mod:attr`.

    Raises `SettingsError`, with what to do about it, if there is no such thing, a dependency is missing or
    the module fails while it is imported.
    """
    path, colon, attribute = name.partition(":")
    wellformed = all(part.isidentifier() for part in path.split("."))
    if not wellformed or (not colon and importlib.util.find_spec(f"legato.{room}.{path}") is None):
        raise SettingsError(
            f"{name!r} is not in legato.{room} and is not of the form package.module:attribute"
        )
    if not colon:
        path, attribute = f"legato.{room}.{path}", "build"
    try:
        found: Any = importlib.import_module(path)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise SettingsError(f"{name!r} cannot be used: {_advice(error.name or path)}") from error
    except AttributeError as error:
        raise SettingsError(f"{name!r} cannot be used: {error}") from error
    except Exception as error:
        raise SettingsError(_failed(name, error)) from error
    return found


def built(room: str, name: str, settings: object) -> Any:
    """What the thing of that name makes of `settings`.

    Raises `SettingsError` as `resolve` does, and for whatever else goes wrong in code that is not ours.
    """
    build = resolve(room, name)
    try:
        return build(settings)
    except LegatoError:
        raise
    except Exception as error:
        raise SettingsError(_failed(name, error)) from error


def _failed(name: str, error: Exception) -> str:
    return f"{name!r} cannot be used: {' '.join(f'{type(error).__name__}: {error}'.split())}"


def _advice(module: str) -> str:
    """How to get `module`: by the extra of this distribution that brings it, if one does."""
    try:
        requirements = importlib.metadata.requires("legato") or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    for requirement in requirements:
        match = re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", requirement)
        if match and match[1].lower() == module.partition(".")[0].lower():
            return f"{module} is not installed: pip install 'legato[{match[2]}]'"
    return f"there is no module {module!r}"
