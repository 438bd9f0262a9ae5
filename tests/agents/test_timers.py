import asyncio

import pytest

from legato.agents.base import ToolCall, ToolSet
from legato.agents.timers import Timers
from legato.core.errors import AgentError


class Clock:
    """Lets timers wait until the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.up = asyncio.Event()
        self.rung: list[str] = []
        self.timers = Timers(self.ring, asyncio.create_task, self.sleep)
        self.tools = ToolSet(self.timers.tools)

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.up.wait()

    async def ring(self, text: str) -> None:
        self.rung.append(text)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_timer_rings() -> None:
    clock = Clock()
    said = await clock.tools.run(ToolCall("1", "set_timer", '{"seconds": 3690}'))
    assert said == "The timer is set for 1 hour and 1 minute and 30 seconds."
    await clock.tools.run(ToolCall("2", "set_timer", '{"seconds": 2.5, "label": "tea"}'))
    await settled()
    assert clock.asked == [3690.0, 2.5]
    assert clock.rung == []
    clock.up.set()
    await settled()
    assert clock.rung == [
        "Your timer for 1 hour and 1 minute and 30 seconds is up.",
        "Your timer for tea is up.",
    ]


async def test_timers_are_cancelled() -> None:
    clock = Clock()
    assert await clock.tools.run(ToolCall("1", "cancel_timers")) == "There is no timer."
    await clock.tools.run(ToolCall("1", "set_timer", '{"seconds": 1}'))
    await settled()
    assert await clock.tools.run(ToolCall("1", "cancel_timers")) == "All timers are off."
    clock.up.set()
    await settled()
    assert clock.rung == []


@pytest.mark.parametrize("seconds", ["0", "-1", "1e9", '"ten"', "true", "null", "NaN"])
async def test_lengths_that_make_no_sense(seconds: str) -> None:
    with pytest.raises(AgentError, match="between one second and one day"):
        await Clock().tools.run(ToolCall("1", "set_timer", f'{{"seconds": {seconds}}}'))


async def test_there_is_a_bound() -> None:
    clock = Clock()
    for _ in range(20):
        await clock.tools.run(ToolCall("1", "set_timer", '{"seconds": 5}'))
    with pytest.raises(AgentError, match="20 timers"):
        await clock.tools.run(ToolCall("1", "set_timer", '{"seconds": 5}'))
    await clock.tools.run(ToolCall("1", "cancel_timers"))
    await settled()
