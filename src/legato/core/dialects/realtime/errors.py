"""How a client event is refused: one exception, worded like the Realtime API words its errors.

Owns the `code`, `message` and `param` of every refusal that is not tied to the state of a conversation;
must not know which event is being read. Codes are those of the Realtime API, so that a client which looks
at them finds what it knows: `unknown_parameter`, `missing_required_parameter`, `invalid_type`,
`invalid_value`, `unsupported_value`, `unsupported_parameter`, `string_above_max_length`, ...
"""

from collections.abc import Collection
from typing import Literal

from legato.core.wire.messages import JsonObject

ErrorType = Literal["invalid_request_error", "server_error"]
"""Whose fault it is: the request's, or ours."""

_SHOWN_CHARACTERS = 64
_SHOWN_BITS = 64


class EventRefused(Exception):  # noqa: N818 - named after what happened
    """A client event was not carried out; the session lives on.

    `param` is the path of the member that is wrong ("session.audio.input.format.rate"), or None; `event_id`
    is the identifier that the client gave to the event, as far as it could be read.
    """

    def __init__(
        self,
        code: str,
        message: str,
        param: str | None = None,
        type: ErrorType = "invalid_request_error",  # noqa: A002 - as the API calls it
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.type: ErrorType = type
        self.event_id: str | None = None

    def as_error(self, event_id: str | None = None) -> JsonObject:
        """The `error` member of an `error` event; `event_id` names the offending event, if not known here."""
        return {
            "type": self.type,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": self.event_id if event_id is None else event_id,
        }


def unknown(param: str, known: Collection[str]) -> EventRefused:
    """A member that this event does not have."""
    return EventRefused(
        "unknown_parameter", f"Unknown parameter: '{param}'. Known here: {_listed(known)}.", param
    )


def missing(param: str, hint: str = "") -> EventRefused:
    """A member that this event needs; `hint` is a sentence on what to put there."""
    return EventRefused(
        "missing_required_parameter", f"Missing required parameter: '{param}'.{_after(hint)}", param
    )


def mistyped(param: str, expected: str, value: object) -> EventRefused:
    """A member of the wrong JSON type; `expected` is a noun phrase ("a string")."""
    return EventRefused(
        "invalid_type",
        f"Invalid type for '{param}': expected {expected}, but got {json_type(value)} instead.",
        param,
    )


def not_among(param: str, value: object, options: Collection[str]) -> EventRefused:
    """A string that is none of the values defined for it."""
    return EventRefused(
        "invalid_value", f"Invalid value: {shown(value)}. Supported values are: {_listed(options)}.", param
    )


def invalid(param: str, sentence: str) -> EventRefused:
    """A value that cannot be; `sentence` says why and what to send instead."""
    return EventRefused("invalid_value", f"Invalid value for '{param}': {sentence}", param)


def unsupported(param: str, sentence: str, code: str = "unsupported_parameter") -> EventRefused:
    """Something of the Realtime API that this server does not offer; `sentence` says what to do instead."""
    return EventRefused(code, f"Unsupported here: '{param}'. {sentence}", param)


def out_of_range(param: str, value: float, low: float, high: float) -> EventRefused:
    """A number below `low` or above `high`."""
    kind = "integer" if isinstance(value, int) else "decimal"
    expected = f"{low}" if low == high else f"a number from {low} to {high}"
    code = f"{kind}_below_min_value" if value < low else f"{kind}_above_max_value"
    return EventRefused(
        code,
        f"Invalid value for '{param}': expected {expected}, but got {shown(value)}.",
        param,
    )


def too_long(param: str, length: int, limit: int, unit: Literal["string", "array", "object"]) -> EventRefused:
    """More characters, elements or members than this server takes."""
    thing = {"string": "characters", "array": "elements", "object": "members"}[unit]
    return EventRefused(
        f"{unit}_above_max_length",
        f"Invalid value for '{param}': {length} {thing} are too many, send at most {limit}.",
        param,
    )


def json_type(value: object) -> str:
    """What JSON calls the type of `value`, with its article."""
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a string", int: "an integer", float: "a number", list: "an array"}
    return names.get(type(value), "an object")


def shown(value: object) -> str:
    """`value` as it may stand in a message: quoted and cut."""
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a number of more than 64 bits"
    return f"'{cut(str(value))}'"


def cut(name: str) -> str:
    """The beginning of what a client may make as long as it likes."""
    return name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…"


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def _after(hint: str) -> str:
    return f" {hint}" if hint else ""
