"""A bounded-by-its-owner queue with one reader: what arrives in callbacks, read with ``async for``.

Owns order and wake-ups, nothing else. Unlike `asyncio.Queue` it can be closed, costs one future only when the
reader really waits, and loses nothing when the waiting reader is cancelled: an item stays until it is
returned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Inbox"]

T = TypeVar("T")


class Inbox(Generic[T]):
    """Items in the order in which they were put; iteration ends after `close` once everything is read.

    `on_take` is called with every item as it is handed to the reader.
    """

    __slots__ = ("_closed", "_items", "_loop", "_on_take", "_waiter")

    def __init__(self, on_take: Callable[[T], None] | None = None) -> None:
        """Make an empty inbox."""
        self._items: deque[T] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_take = on_take
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._items)

    def put(self, item: T) -> int:
        """Add an item and wake the reader; ignored once closed. Return how many items wait."""
        items = self._items
        if not self._closed:
            items.append(item)
            waiter = self._waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        return len(items)

    @property
    def oldest(self) -> T | None:
        """The item that has waited longest."""
        return self._items[0] if self._items else None

    def drop_oldest(self) -> None:
        """Discard the item that has waited longest."""
        self._items.popleft()

    def close(self) -> None:
        """Let iteration end after what is already here. Idempotent."""
        self._closed = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Inbox[T]:
        """Return itself: there is one reader."""
        return self

    async def __anext__(self) -> T:
        """Return the next item, waiting for it; cancelling the wait loses nothing."""
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("another task reads this already; one reader at a time")
            if self._loop is None:
                # Asked for once: before Python 3.12 every look for the running loop is a system call.
                self._loop = asyncio.get_running_loop()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        item = self._items.popleft()
        if self._on_take is not None:
            self._on_take(item)
        return item
