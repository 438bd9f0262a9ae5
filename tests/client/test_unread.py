"""What an application does not read takes a bounded amount of memory."""

import pytest

from legato.client import unread
from legato.client.events import Interrupted, ServerEvent
from legato.client.unread import UnreadEvents


def said(number: int, size: int) -> ServerEvent:
    return ServerEvent({"type": "x", "number": number, "text": "." * size}, number)


async def numbers(events: UnreadEvents) -> list[int]:
    events.close()
    return [event.at_us async for event in events]


async def test_the_oldest_go_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "UNREAD_EVENTS", 3)
    events = UnreadEvents()
    for number in range(5):
        events.put(Interrupted(1, 1, number))
    assert await numbers(events) == [2, 3, 4]


async def test_the_oldest_go_when_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "UNREAD_BYTES", 1000)
    events = UnreadEvents()
    for number in range(10):
        events.put(said(number, 250))
    assert await numbers(events) == [7, 8, 9]


async def test_one_that_is_larger_than_all_of_it_is_kept_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "UNREAD_BYTES", 1000)
    events = UnreadEvents()
    for number in range(3):
        events.put(said(number, 5000))
    assert await numbers(events) == [2]


async def test_one_that_is_nested_too_deeply_to_be_measured_counts_as_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unread, "UNREAD_BYTES", 2 * unread.NESTED_BYTES)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    events = UnreadEvents()
    for number in range(4):
        events.put(ServerEvent({"type": "x", "deep": deep}, number))
    assert await numbers(events) == [2, 3]


async def test_what_is_read_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "UNREAD_BYTES", 1000)
    events = UnreadEvents()
    for number in range(10):
        events.put(said(number, 600))
        assert (await anext(events)).at_us == number
    events.put(said(10, 100))
    events.put(said(11, 600))
    assert await numbers(events) == [10, 11]
