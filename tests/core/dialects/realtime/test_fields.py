from collections.abc import Callable
from typing import Any

import pytest

from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.fields import Fields

Read = Callable[[Fields], Any]
OPTIONS = ("low", "high")


def refusal(read: Read, value: Any, path: str = "a") -> EventRefused:
    with pytest.raises(EventRefused) as refused:
        read(Fields(value, path))
    return refused.value


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (lambda fields: fields.value("x"), [1], [1]),
        (lambda fields: fields.text("x"), "é", "é"),
        (lambda fields: fields.text("x", 1), "é", "é"),
        (lambda fields: fields.required_text("x"), "é", "é"),
        (lambda fields: fields.choice("x", OPTIONS), "high", "high"),
        (lambda fields: fields.choices("x", OPTIONS, 2), ["high", "low"], ("high", "low")),
        (lambda fields: fields.flag("x"), False, False),
        (lambda fields: fields.integer("x", 0, 5), 5, 5),
        (lambda fields: fields.number("x", 0, 5), 0, 0.0),
        (lambda fields: fields.number("x", 0, 5), 0.5, 0.5),
        (lambda fields: fields.base64("x", 4), "AAE=", b"\0\1"),
        (lambda fields: fields.json_object("x"), {"y": 1}, {"y": 1}),
        (lambda fields: fields.json_object("x", 1), {"y": 1}, {"y": 1}),
        (lambda fields: fields.within("x").text("y"), {"y": "z"}, "z"),
        (lambda fields: fields.array("x", 2), [1, 2], [1, 2]),
        (lambda fields: [one.path for one in fields.each_within("x", 2)], [{}, {}], ["a.x[0]", "a.x[1]"]),
        (lambda fields: fields.needed("x", fields.flag("x")), True, True),
    ],
)
def test_members_of_the_right_type(read: Read, value: Any, expected: Any) -> None:
    fields = Fields({"x": value}, "a")
    assert read(fields) == expected
    fields.end()


@pytest.mark.parametrize(
    "read",
    [
        lambda fields: fields.value("x"),
        lambda fields: fields.text("x"),
        lambda fields: fields.choice("x", OPTIONS),
        lambda fields: fields.choices("x", OPTIONS, 2),
        lambda fields: fields.flag("x"),
        lambda fields: fields.integer("x", 1, 5),
        lambda fields: fields.number("x", 1, 5),
        lambda fields: fields.base64("x", 4),
        lambda fields: fields.json_object("x"),
        lambda fields: fields.within("x"),
        lambda fields: fields.array("x", 2),
        lambda fields: fields.each_within("x", 2),
    ],
)
def test_null_and_absent_are_not_given(read: Read) -> None:
    assert read(Fields({"x": None})) is None
    assert read(Fields({})) is None


@pytest.mark.parametrize(
    ("read", "value", "code", "message"),
    [
        (lambda fields: fields.text("x"), 5, "invalid_type", "expected a string, but got an integer"),
        (lambda fields: fields.text("x", 2), "abc", "string_above_max_length", "3 characters are too many"),
        (lambda fields: fields.required_text("x"), "", "invalid_value", "empty"),
        (lambda fields: fields.required_text("x"), None, "missing_required_parameter", "Missing"),
        (
            lambda fields: fields.choice("x", OPTIONS),
            "mid",
            "invalid_value",
            "'mid'. Supported.*'low', 'high'",
        ),
        (lambda fields: fields.choice("x", OPTIONS), [], "invalid_type", "got an array"),
        (lambda fields: fields.flag("x"), "yes", "invalid_type", "expected a boolean"),
        (lambda fields: fields.integer("x", 0, 5), True, "invalid_type", "an integer, but got a boolean"),
        (lambda fields: fields.integer("x", 0, 5), 1.0, "invalid_type", "an integer, but got a number"),
        (lambda fields: fields.integer("x", 0, 5), -1, "integer_below_min_value", "0 to 5, but got '-1'"),
        (lambda fields: fields.integer("x", 0, 5), 6, "integer_above_max_value", "0 to 5"),
        (lambda fields: fields.number("x", 0.25, 1.5), 0.2, "decimal_below_min_value", "0.25 to 1.5"),
        (lambda fields: fields.number("x", 0.25, 1.5), 1.6, "decimal_above_max_value", "0.25 to 1.5"),
        (lambda fields: fields.number("x", 0, 1), float("nan"), "decimal_above_max_value", "nan"),
        (lambda fields: fields.number("x", 0, 1), True, "invalid_type", "a number, but got a boolean"),
        (lambda fields: fields.number("x", 0, 1), {}, "invalid_type", "got an object"),
        (lambda fields: fields.base64("x", 9), "AA", "invalid_value", "not base64"),
        (lambda fields: fields.base64("x", 9), "é", "invalid_value", "not base64"),
        (lambda fields: fields.base64("x", 4), "AAAAAAAA", "string_above_max_length", "at most 4"),
        (lambda fields: fields.json_object("x"), [], "invalid_type", "expected an object"),
        (lambda fields: fields.json_object("x", 1), {"a": 1, "b": 2}, "object_above_max_length", "2 members"),
        (lambda fields: fields.within("x"), "y", "invalid_type", "expected an object"),
        (lambda fields: fields.array("x", 1), {}, "invalid_type", "expected an array"),
        (lambda fields: fields.array("x", 1), [1, 2], "array_above_max_length", "2 elements are too many"),
        (
            lambda fields: fields.needed("x", fields.flag("x"), "Say so."),
            None,
            "missing_required_parameter",
            "so",
        ),
    ],
)
def test_members_of_the_wrong_type(read: Read, value: Any, code: str, message: str) -> None:
    refused = refusal(read, {"x": value})
    assert (refused.code, refused.param) == (code, "a.x")
    with pytest.raises(EventRefused, match=message):
        raise refused


def test_elements_are_named_by_their_place() -> None:
    assert refusal(lambda fields: fields.each_within("x", 2), {"x": [{}, 5]}).param == "a.x[1]"
    assert refusal(lambda fields: fields.choices("x", OPTIONS, 2), {"x": ["low", None]}).param == "a.x[1]"


def test_what_is_no_object() -> None:
    assert refusal(lambda fields: fields, [], "").param == "event"
    assert refusal(lambda fields: fields, "x", "session.audio").param == "session.audio"


def test_cleared_is_null_but_not_absent() -> None:
    fields = Fields({"x": None, "y": 1})
    assert [fields.cleared(name) for name in ("x", "y", "z")] == [True, False, False]
    fields.end()


def test_members_that_nobody_asked_for() -> None:
    fields = Fields({"x": 1, "y": 2}, "session")
    fields.value("x")
    with pytest.raises(EventRefused, match=r"'session\.y'\. Known here: 'x'\.") as refused:
        fields.end()
    assert (refused.value.code, refused.value.param) == ("unknown_parameter", "session.y")
    assert refusal(Fields.end, {"z": 1}, "").message.endswith("Known here: none.")
    assert refusal(Fields.end, {"z" * 1_000_000: 1}, "").param == "z" * 64 + "…"
