"""Calls through a balancer whose processes all are real: programs, and callers who notice what is lost.

Owns what the tests of both planes have in common. Must not know how packets are forwarded.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.end_to_end.fleet import PATIENCE_S, ROOT, FleetServer

from legato import ClientSettings, RealtimeSession, connect
from legato.client.events import Resumed, ServerEvent

IDLE_MS = 120_000
"""Longer than any program needs to start on a machine that has no time for it."""

RESUMING = ClientSettings(
    transport="webtransport", connect_timeout_s=PATIENCE_S, resume_s=PATIENCE_S, max_idle_ms=IDLE_MS
)
STAYING = replace(RESUMING, resume_s=0)
"""One connection is all that a call has: if that is lost, the call is, and the test says so."""
AGENT = "tests.end_to_end.process_agent:build"


@contextmanager
def program(folder: Path, *words: str, network: Sequence[str] = ()) -> Iterator[FleetServer]:
    """A command of legato as a process with its state in a folder; `network` is what runs it elsewhere."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LEGATO_")}
    process = subprocess.Popen(
        [*network, sys.executable, "-m", "legato", *words, "--log-format", "json"],
        env=own | {"XDG_STATE_HOME": str(folder), "LEGATO_ENGINE__MAX_IDLE_MS": str(IDLE_MS)},
        cwd=ROOT,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    running = FleetServer(process)
    try:
        yield running
    finally:
        running.end()


def status_of(balancer: FleetServer) -> dict[str, Any]:
    """What `legato balance status --json` says."""
    operators = next(line["address"] for line in balancer.log if line["event"] == "operators")
    words = ["balance", "status", "--json", "--admin", operators]
    done = subprocess.run(
        [sys.executable, "-m", "legato", *words], capture_output=True, timeout=PATIENCE_S, check=True
    )
    status: dict[str, Any] = json.loads(done.stdout)
    return status


class Caller:
    """A call that asks which process it is in."""

    def __init__(self, url: str, settings: ClientSettings = STAYING) -> None:
        self.session: RealtimeSession = connect(url, settings)
        self.resumed = 0
        self._asked = 0

    async def process(self) -> int:
        """The process that answers now."""
        self._asked += 1
        self.session.send({"type": "test.ask", "number": self._asked})
        async with asyncio.timeout(PATIENCE_S):
            async for event in self.session.events:
                if isinstance(event, Resumed):
                    self.resumed += 1
                elif isinstance(event, ServerEvent) and event.event.get("number") == self._asked:
                    number: int = event.event["process"]
                    return number
        raise AssertionError(f"the call ended: {self.session.ended}")


@asynccontextmanager
async def calls(urls: Sequence[str], settings: ClientSettings = STAYING) -> AsyncIterator[list[Caller]]:
    """Calls that are all up."""
    async with AsyncExitStack() as stack:
        callers = [Caller(url, settings) for url in urls]
        await asyncio.gather(*(stack.enter_async_context(caller.session) for caller in callers))
        yield callers


async def homes(callers: Sequence[Caller]) -> list[int]:
    """The process of each call."""
    return list(await asyncio.gather(*(caller.process() for caller in callers)))


async def all_stay(callers: Sequence[Caller], before: list[int]) -> None:
    assert await homes(callers) == before
    assert [caller.resumed for caller in callers] == [0] * len(callers)
