"""The line of a native call, which outlives its connections: implements `Line`.

Owns which session driver is at work for the call. It must not know hellos, tickets or agents.
"""

from __future__ import annotations

import asyncio

from legato.core.server_session import ServerSession
from legato.core.state import SessionState
from legato.session_driver import SessionDriver

__all__ = ["CallLine"]


class CallLine:
    """Passes on to the driver of the moment."""

    __slots__ = ("_driver", "_news", "carry_out", "clock", "session", "settle")

    def __init__(self, driver: SessionDriver[ServerSession]) -> None:
        """Begin on `driver`'s connection."""
        self._news = asyncio.Event()
        self.clock = driver.clock
        self.attach(driver)

    def attach(self, driver: SessionDriver[ServerSession]) -> None:
        """Go on over another connection."""
        self._driver = driver
        self.session = driver.session
        # Bound once: they are called for every frame.
        self.settle = driver.settle
        self.carry_out = driver.carry_out
        self.wake()

    @property
    def driver(self) -> SessionDriver[ServerSession]:
        """The driver of the moment."""
        return self._driver

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self._driver.over

    @property
    def parked(self) -> bool:
        """Whether the call waits for a connection."""
        return self.session.state is SessionState.PARKED

    @property
    def congested(self) -> bool:
        """Whether so much waits to be sent that a sender should wait in `writable`."""
        return self._driver.congested

    async def writable(self) -> None:
        """Wait until the line is not congested, or over."""
        while self._driver.congested:
            await self._driver.writable()

    async def delivered(self) -> None:
        """Wait until what was sent last must have arrived; for the next connection, where there is none."""
        while self.parked:
            self._news.clear()
            await self._news.wait()
        await self._driver.delivered()

    def wake(self) -> None:
        """Let those look again who wait for a connection: there is one, or there will be none."""
        self._news.set()
