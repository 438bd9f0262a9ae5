"""The inbox: order, one reader, nothing lost on cancellation."""

import asyncio
import contextlib

import pytest

from legato._inbox import Inbox


async def test_items_come_in_order_and_iteration_ends_after_close() -> None:
    inbox: Inbox[int] = Inbox()
    for number in range(3):
        inbox.put(number)
    inbox.close()
    inbox.put(99)
    assert [item async for item in inbox] == [0, 1, 2]


async def test_a_waiting_reader_is_woken_by_an_item_and_by_the_end() -> None:
    inbox: Inbox[int] = Inbox()
    waiting = asyncio.create_task(anext(inbox))
    await asyncio.sleep(0)
    inbox.put(1)
    assert await waiting == 1
    waiting = asyncio.create_task(anext(inbox))
    await asyncio.sleep(0)
    inbox.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_cancelled_reader_loses_nothing() -> None:
    inbox: Inbox[int] = Inbox()
    waiting = asyncio.create_task(anext(inbox))
    await asyncio.sleep(0)
    inbox.put(1)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert await anext(inbox) == 1


async def test_a_second_reader_is_told_so() -> None:
    inbox: Inbox[int] = Inbox()
    waiting = asyncio.create_task(anext(inbox))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one reader"):
        await anext(inbox)
    waiting.cancel()


async def test_taking_is_reported() -> None:
    taken: list[int] = []
    inbox = Inbox(taken.append)
    inbox.put(5)
    assert len(inbox) == 1
    await anext(inbox)
    assert taken == [5]
