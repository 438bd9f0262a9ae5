"""The public door: what `import legato` offers is listed, sorted, documented, and nothing else is there."""

import inspect
import types

import legato


def test_the_list_is_sorted_and_complete() -> None:
    assert list(legato.__all__) == sorted(legato.__all__, key=str)
    offered = {
        name
        for name, value in vars(legato).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    offered -= {"annotations"}
    assert offered <= set(legato.__all__)


def test_every_public_name_exists_and_is_documented() -> None:
    for name in legato.__all__:
        value = getattr(legato, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value), f"legato.{name} has no docstring"


def test_errors_share_one_root() -> None:
    errors = [
        value
        for name in legato.__all__
        if inspect.isclass(value := getattr(legato, name)) and issubclass(value, Exception)
    ]
    assert legato.LegatoError in errors
    assert all(issubclass(error, legato.LegatoError) for error in errors)
