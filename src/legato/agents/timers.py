"""Timers that ring in the call, and the tools by which a language model sets them.

Owns waiting; must not know how a ring is spoken.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from legato.agents.base import Tool
from legato.core.errors import AgentError

__all__ = ["Timers"]

_LONGEST_S = 24 * 3_600
_MOST = 20


class Timers:
    """The timers of one call. `ring` is awaited with what to say when one is up; `sleep` waits in seconds."""

    def __init__(
        self,
        ring: Callable[[str], Awaitable[None]],
        start: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ring = ring
        self._start = start
        self._sleep = sleep
        self._running: set[asyncio.Task[None]] = set()

    @property
    def tools(self) -> list[Tool]:
        """What a language model may do with timers."""
        return [
            Tool(
                "set_timer",
                "Rings after some time.",
                {
                    "type": "object",
                    "properties": {
                        "seconds": {"type": "number", "description": "Time until it rings."},
                        "label": {"type": "string", "description": "What it is for; may be omitted."},
                    },
                    "required": ["seconds"],
                },
                self._set,
            ),
            Tool("cancel_timers", "Stops all timers.", {"type": "object", "properties": {}}, self._cancel),
        ]

    async def _set(self, arguments: Mapping[str, Any]) -> str:
        seconds = arguments.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_S:
            raise AgentError("a timer takes between one second and one day")
        if len(self._running) >= _MOST:
            raise AgentError(f"there are {_MOST} timers already")
        label = str(arguments.get("label") or "")
        task = self._start(self._wait(float(seconds), label))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return f"The timer is set for {_spoken(seconds)}."

    async def _cancel(self, _arguments: Mapping[str, Any]) -> str:
        count = len(self._running)
        for task in list(self._running):
            task.cancel()
        return "All timers are off." if count else "There is no timer."

    async def _wait(self, seconds: float, label: str) -> None:
        await self._sleep(seconds)
        await self._ring(f"Your timer for {label or _spoken(seconds)} is up.")


def _spoken(seconds: float) -> str:
    """A length of time in words, for example "1 minute and 30 seconds"."""
    whole = max(1, round(seconds))
    parts = []
    for name, size in (("hour", 3_600), ("minute", 60), ("second", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {name}" + ("s" if count > 1 else ""))
    return " and ".join(parts)
