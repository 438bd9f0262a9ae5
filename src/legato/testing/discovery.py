"""The contract of discovery as a suite that any source of servers can be put to.

Owns the cases; must not know any source. `check_discovery` takes a stage, which is a source under a test's
control, and raises `AssertionError` with the broken guarantee.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from legato.lb.discovery.base import Discovery
from legato.lb.servers import Address, Snapshot

__all__ = ["DiscoveryStage", "check_discovery"]

WAIT_S = 20.0
"""How long a guarantee may take to show itself."""

A, B, C, D = (("192.0.2.1", 4434), ("192.0.2.2", 4434), ("192.0.2.3", 4434), ("192.0.2.4", 4434))


class DiscoveryStage(Protocol):
    """A source whose lists a test writes. It begins with an empty list."""

    def discovery(self) -> Discovery:
        """A new reader of the source, which looks for changes at short intervals."""
        ...

    async def publish(self, servers: Sequence[Address]) -> None:
        """Make the source list these, duplicates included where it has such a thing. Mends it if broken."""
        ...

    async def damage(self) -> None:
        """Make the source unreadable until something is published."""
        ...


async def check_discovery(stage: DiscoveryStage) -> None:
    """Put a source to the contract of `Discovery`."""
    await stage.publish([A, B])
    async with aclosing(stage.discovery().watch()) as snapshots:
        reader = _Reader(snapshots)
        await reader.expect([A, B], "the first snapshot is whole")
        await stage.publish([A, B, C])
        await reader.expect([A, B, C], "a snapshot has everything, not what is new")
        await stage.publish([C])
        await reader.expect([C], "who is not listed any more is in no snapshot")
        await stage.publish([C])
        await stage.publish([D, C])
        await reader.expect([C, D], "a list that did not change stops nothing")
        await stage.damage()
        await reader.expect([C, D], "what was known stays while the source is unreadable", broken=True)
        await stage.publish([A, D])
        await reader.expect([A, D], "reading goes on when the source is mended")
        await stage.publish([B, A, B])
        await reader.expect([A, B], "a duplicate is no second server")
        await stage.publish([])
        await reader.expect([], "an empty list is told as it is")
        for round_ in range(5):
            await stage.publish([A] if round_ % 2 else [A, B])
        await stage.publish([A, C])
        await reader.expect([A, C], "the last list of many is told")
    await _check_restart(stage)


async def _check_restart(stage: DiscoveryStage) -> None:
    async with aclosing(stage.discovery().watch()) as snapshots:
        reader = _Reader(snapshots)
        await reader.expect([A, C], "a new reader begins with everything")
        waiting = asyncio.create_task(anext(snapshots))
        await _yield_to_loop()
        waiting.cancel()
        done, _ = await asyncio.wait([waiting], timeout=WAIT_S)
        assert done, "broken guarantee: cancelling who waits ends the watch"
    await stage.damage()
    async with aclosing(stage.discovery().watch()) as snapshots:
        await _Reader(snapshots).expect([], "an unreadable source is told from the beginning", broken=True)


async def _yield_to_loop() -> None:
    """Let other tasks of the loop begin to wait."""
    for _ in range(3):
        await asyncio.sleep(0)


class _Reader:
    """Reads snapshots with a bound of time."""

    def __init__(self, snapshots: AsyncGenerator[Snapshot, None]) -> None:
        self._snapshots = snapshots
        self._last: Snapshot | None = None

    async def expect(self, servers: Sequence[Address], guarantee: str, *, broken: bool = False) -> None:
        """A snapshot comes that lists exactly these.

        Others may come before: a source that consists of several objects shows them one after the other.
        """
        wanted = sorted(servers)
        try:
            async with asyncio.timeout(WAIT_S):
                while (
                    self._last is None
                    or _addresses(self._last) != wanted
                    or bool(self._last.problems) != broken
                ):
                    snapshot = await anext(self._snapshots)
                    assert snapshot != self._last, (
                        f"broken guarantee: nothing is yielded twice in a row ({snapshot})"
                    )
                    self._last = snapshot
        except TimeoutError:
            raise AssertionError(f"broken guarantee: {guarantee}; the last was {self._last}") from None


def _addresses(snapshot: Snapshot) -> list[Address]:
    return sorted(server.address for server in set(snapshot.servers))
