"""What is told of the machine's addresses; the change itself is tried in tests/networks."""

import asyncio

import pytest

from legato.transports import network_watch
from legato.transports.network_watch import NetworkWatch, is_here


def test_addresses_of_this_machine_are_told_from_others() -> None:
    assert is_here("127.0.0.1")
    assert not is_here("192.0.2.1"), "set aside for documents, RFC 5737"
    assert not is_here("2001:db8::1")


async def test_where_the_kernel_tells_nothing_one_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_watch, "_subscribed", lambda: None)
    monkeypatch.setattr(network_watch, "LOOK_S", 0.001)
    looks = asyncio.Semaphore(0)
    watch = NetworkWatch(looks.release)
    async with asyncio.timeout(20):
        for _ in range(3):
            await looks.acquire()
    watch.close()
    watch.close()


async def test_after_the_end_nothing_is_told() -> None:
    told: list[None] = []
    watch = NetworkWatch(lambda: told.append(None))
    watch.close()
    before = len(told)
    await asyncio.sleep(0)
    assert len(told) == before
