"""The stock `openai` package, asynchronous, against `legato serve`: every scene, checked event by event."""

from collections.abc import Awaitable, Callable

import pytest
from tests.interop.realtime.recording import Recording
from tests.interop.realtime.scenes_items import ITEMS
from tests.interop.realtime.scenes_sessions import SESSIONS
from tests.interop.realtime.scenes_turns import TURNS
from tests.interop.realtime.stage import Stage

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scene", [*TURNS, *ITEMS, *SESSIONS], ids=lambda scene: scene.__name__)
async def test_scene(server: Stage, scene: Callable[[Stage], Awaitable[Recording]]) -> None:
    await server.play(scene)
