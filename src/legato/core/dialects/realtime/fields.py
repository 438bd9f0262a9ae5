"""One JSON object of a client, read member by member.

Owns presence, types, ranges and the path of every member ("session.tools[0].name"); must not know any
event. A wrong member raises `EventRefused`; members nobody asked for are refused by `end`.

`null` stands for "not given": every reader answers None for it. Where clearing something has a meaning, the
owner asks `cleared`.
"""

import binascii
from collections.abc import Sequence
from typing import Any, TypeVar

from legato.core.dialects.realtime.errors import (
    cut,
    invalid,
    missing,
    mistyped,
    not_among,
    out_of_range,
    too_long,
    unknown,
)
from legato.core.wire.messages import JsonObject

Choice = TypeVar("Choice", bound=str)
Value = TypeVar("Value")


class Fields:
    """A JSON object being read; raises `EventRefused` if `value` is not one."""

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise mistyped(path or "event", "an object", value)
        self._members: dict[str, Any] = value
        self._asked: dict[str, None] = {}
        self.path = path

    def param(self, name: str) -> str:
        """The path of member `name`."""
        return f"{self.path}.{name}" if self.path else name

    def value(self, name: str) -> Any:
        """Member `name` as it stands there; None if it is absent or null."""
        self._asked[name] = None
        return self._members.get(name)

    def cleared(self, name: str) -> bool:
        """Whether member `name` is there and null."""
        self._asked[name] = None
        return name in self._members and self._members[name] is None

    def needed(self, name: str, value: Value | None, hint: str = "") -> Value:
        """`value` as read from member `name`, which has to be there; `hint` is a sentence on what to send."""
        if value is None:
            raise missing(self.param(name), hint)
        return value

    def text(self, name: str, limit: int | None = None) -> str | None:
        """A string of at most `limit` characters."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise mistyped(self.param(name), "a string", value)
        if limit is not None and len(value) > limit:
            raise too_long(self.param(name), len(value), limit, "string")
        return value

    def required_text(self, name: str, limit: int | None = None) -> str:
        """A string that has to be there and not be empty."""
        value = self.needed(name, self.text(name, limit))
        if not value:
            raise invalid(self.param(name), "the string is empty.")
        return value

    def choice(self, name: str, options: Sequence[Choice]) -> Choice | None:
        """One of `options`."""
        value = self.value(name)
        return None if value is None else _option(value, options, self.param(name))

    def flag(self, name: str) -> bool | None:
        """true or false."""
        value = self.value(name)
        if value is None or isinstance(value, bool):
            return value
        raise mistyped(self.param(name), "a boolean", value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        """A whole number from `low` to `high`."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise mistyped(self.param(name), "an integer", value)
        if not low <= value <= high:
            raise out_of_range(self.param(name), value, low, high)
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number from `low` to `high`."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise mistyped(self.param(name), "a number", value)
        if not low <= value <= high:
            raise out_of_range(self.param(name), value, low, high)
        return float(value)

    def base64(self, name: str, limit: int) -> bytes | None:
        """Bytes written as base64 of at most `limit` characters (RFC 4648 section 4, padded)."""
        value = self.text(name, limit)
        if value is None:
            return None
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except ValueError as error:
            raise invalid(self.param(name), f"it is not base64 (RFC 4648, with padding): {error}.") from error

    def json_object(self, name: str, limit: int | None = None) -> JsonObject | None:
        """An object of at most `limit` members that is kept as it is."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise mistyped(self.param(name), "an object", value)
        if limit is not None and len(value) > limit:
            raise too_long(self.param(name), len(value), limit, "object")
        return value

    def within(self, name: str) -> "Fields | None":
        """An object that is read member by member."""
        value = self.value(name)
        return None if value is None else Fields(value, self.param(name))

    def array(self, name: str, limit: int) -> list[Any] | None:
        """An array of at most `limit` elements."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise mistyped(self.param(name), "an array", value)
        if len(value) > limit:
            raise too_long(self.param(name), len(value), limit, "array")
        return value

    def each_within(self, name: str, limit: int) -> list["Fields"] | None:
        """An array of objects that are read member by member."""
        values = self.array(name, limit)
        if values is None:
            return None
        return [Fields(value, f"{self.param(name)}[{index}]") for index, value in enumerate(values)]

    def choices(self, name: str, options: Sequence[Choice], limit: int) -> tuple[Choice, ...] | None:
        """An array of strings, each one of `options`."""
        values = self.array(name, limit)
        if values is None:
            return None
        return tuple(
            _option(value, options, f"{self.param(name)}[{index}]") for index, value in enumerate(values)
        )

    def end(self) -> None:
        """Refuse members that nobody asked for."""
        for name in self._members:
            if name not in self._asked:
                raise unknown(self.param(cut(name)), self._asked)


def _option(value: object, options: Sequence[Choice], param: str) -> Choice:
    if not isinstance(value, str):
        raise mistyped(param, "a string", value)
    for option in options:
        if option == value:
            return option
    raise not_among(param, value, options)
