"""What a source of servers has to do.

Owns the contract, and what sources share. Must not know any source.

A source is a module of this folder, or anything at `package.module:attribute`, with a function
`build(settings: DiscoverySettings) -> Discovery`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from legato.lb.servers import Snapshot

__all__ = ["Discovery", "Pause", "Retrying"]

Pause = Callable[[float], Awaitable[None]]
"""Waits for so many seconds; `asyncio.sleep`, or a test's clock."""


class Discovery(Protocol):
    """A source of servers."""

    def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Yield everything that is listed, first at once and then whenever it has changed.

        - Each snapshot is whole; it never depends on an earlier one.
        - The same list is not yielded twice in a row.
        - It never ends and never raises for what happens outside. While the source cannot be read, what was
          last read is yielded once more, with the reason among its problems, and reading is tried again.
        - What is wrong with one entry is one of the snapshot's problems, and harms no other.
        - Closing the generator, or cancelling who waits for it, ends it within a moment.
        """
        ...


class Retrying:
    """Remembers what was read last, and how long to wait before another try."""

    def __init__(self, first_s: float = 1.0, longest_s: float = 30.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._wait_s = first_s
        self._read = Snapshot(servers=())
        self._yielded: Snapshot | None = None

    def read(self, snapshot: Snapshot) -> Snapshot | None:
        """The source was read; what to yield, if anything is new."""
        self._wait_s = self._first_s
        self._read = snapshot
        return self._new(snapshot)

    def failed(self, reason: str) -> Snapshot | None:
        """The source could not be read; what to yield, if that is new."""
        return self._new(replace(self._read, problems=(reason,)))

    def wait_s(self) -> float:
        """How long to wait before the next try: twice as long each time, until one succeeds."""
        wait_s, self._wait_s = self._wait_s, min(2 * self._wait_s, self._longest_s)
        return wait_s

    def _new(self, snapshot: Snapshot) -> Snapshot | None:
        if snapshot == self._yielded:
            return None
        self._yielded = snapshot
        return snapshot
