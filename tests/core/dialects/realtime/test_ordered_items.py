"""Order, places and bounds of items; the same work however many there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.dialects.realtime.entry import Entry, Written
from legato.core.dialects.realtime.ordered_items import ROOT, OrderedItems


def an_item(name: str, text: str = "") -> Entry:
    entry = Entry(name, "message", "user")
    entry.content.append(Written("input_text", text))
    return entry


def names(items: OrderedItems) -> list[str]:
    return [entry.id for entry in items]


def test_items_are_appended_inserted_and_put_in_front() -> None:
    items = OrderedItems(10, 10_000)
    items.insert(an_item("a"), None)
    items.insert(an_item("b"), None)
    items.insert(an_item("c"), "a")
    items.insert(an_item("d"), ROOT)
    assert names(items) == ["d", "a", "c", "b"]
    assert [items.before(name) for name in names(items)] == [None, "d", "a", "c"]
    assert (items.last(), len(items), "c" in items, "x" in items) == ("b", 4, True, False)
    items.remove("a")
    items.remove("b")
    assert (names(items), items.last(), items.get("a")) == (["d", "c"], "c", None)


def test_an_empty_conversation_has_no_last_item() -> None:
    assert OrderedItems(1, 1).last() is None


def test_unknown_places_and_items() -> None:
    items = OrderedItems(10, 10_000)
    for wrong in (
        lambda: items.insert(an_item("a"), "x"),
        lambda: items.remove("x"),
        lambda: items.before("x"),
    ):
        with pytest.raises(KeyError):
            wrong()
    assert names(items) == []


def test_the_oldest_goes_wherever_it_stands() -> None:
    items = OrderedItems(2, 10_000)
    entries = {name: an_item(name) for name in "abc"}
    items.insert(entries["a"], None)
    items.insert(entries["b"], ROOT)
    assert items.surplus(entries["b"]) is None
    items.insert(entries["c"], ROOT)
    assert items.surplus(entries["c"]) == "a"


def test_what_is_in_progress_and_what_came_last_stay() -> None:
    items = OrderedItems(0, 10_000)
    old, new = an_item("a"), an_item("b")
    old.status = "in_progress"
    items.insert(old, None)
    items.insert(new, None)
    assert items.surplus(new) is None
    old.status = "completed"
    assert items.surplus(new) == "a"


def test_items_that_grow_are_weighed_anew() -> None:
    items = OrderedItems(10, 500)
    first, second = an_item("a"), an_item("b")
    items.insert(first, None)
    items.insert(second, None)
    assert items.surplus(second) is None
    part = second.content[0]
    assert isinstance(part, Written)
    part.add("x" * 400)
    items.weigh(second)
    assert items.surplus(second) == "a"
    items.remove("a")
    assert items.surplus(first) == "b"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-2, 9), st.booleans()), max_size=60))
def test_it_behaves_like_a_list(steps: list[tuple[int, int, bool]]) -> None:
    items, model = OrderedItems(1_000, 1 << 30), list[str]()
    for number, place, deletes in steps:
        name, after = f"item_{number}", f"item_{place}"
        if name in model:
            if deletes:
                items.remove(name)
                model.remove(name)
        elif place < 0:
            items.insert(an_item(name), ROOT if place == -1 else None)
            model.insert(0 if place == -1 else len(model), name)
        elif after in model:
            items.insert(an_item(name), after)
            model.insert(model.index(after) + 1, name)
        assert names(items) == model
        assert items.last() == (model[-1] if model else None)
        assert [items.before(one) for one in model] == [None, *model[:-1]][: len(model)]
