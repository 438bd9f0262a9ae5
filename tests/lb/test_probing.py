"""The sockets of probes, whatever happens while they are opened."""

import asyncio

import pytest

from legato.fleet_keys import FleetKeys
from legato.lb.probing import ProbeSockets

WAIT_S = 20.0


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_whoever_is_interrupted_while_opening_can_close(loop: str, steps: int) -> None:
    """Such as by a signal: the loops differ in who then closes what was made."""

    async def scenario() -> None:
        sockets = ProbeSockets(FleetKeys.new().encapsulation, lambda _: None)
        opening = asyncio.create_task(sockets.open([("127.0.0.1", 0)]))
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        async with asyncio.timeout(WAIT_S):
            await sockets.close()

    if loop == "asyncio":
        asyncio.run(scenario())
    else:
        pytest.importorskip("uvloop").run(scenario())
