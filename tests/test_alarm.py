"""Being woken once, at the moment set last."""

import asyncio

from legato._alarm import Alarm


class Scene:
    """An alarm on a clock that the test moves, and what it has done."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.rung: list[int | None] = []
        self.heard = asyncio.Event()
        self.alarm = Alarm(lambda: self.now, self.ring)

    def ring(self) -> None:
        self.rung.append(self.alarm.at)
        self.heard.set()


async def test_a_moment_that_has_come_rings_once_and_is_not_set_any_more() -> None:
    scene = Scene()
    scene.alarm.set(scene.now - 5)
    assert scene.alarm.at == scene.now - 5
    await asyncio.wait_for(scene.heard.wait(), 60)
    assert scene.rung == [None]


async def test_the_moment_set_last_counts() -> None:
    scene = Scene()
    scene.alarm.set(scene.now)
    scene.alarm.set(scene.now + 3_600_000_000)
    for _ in range(5):
        await asyncio.sleep(0)
    assert scene.rung == []
    scene.alarm.set(scene.now)
    await asyncio.wait_for(scene.heard.wait(), 60)
    assert scene.rung == [None]


async def test_an_alarm_that_is_taken_back_is_silent() -> None:
    scene = Scene()
    scene.alarm.set(scene.now)
    scene.alarm.set(None)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (scene.rung, scene.alarm.at) == ([], None)
