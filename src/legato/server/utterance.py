"""One thing the agent says, from `say` to the last sample heard; implements `agents.base.Utterance`.

Owns when it is settled and why. It must not know how it is sent; what was heard of it is its `SpokenText`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from legato.core.dialects.realtime.response import Response
from legato.core.dialects.realtime.spoken_text import SpokenText
from legato.core.errors import AgentError

__all__ = ["SpokenUtterance"]


class SpokenUtterance:
    """The state of one utterance; the speaker feeds it, the playback reports settle it."""

    __slots__ = (
        "_cancelled", "_interrupted", "_on_cancel", "_settled", "error", "generation", "id",
        "making", "rate", "response", "spoken",
    )  # fmt: skip

    def __init__(self, utterance_id: str, rate: int, on_cancel: Callable[[SpokenUtterance], None]) -> None:
        """Make an utterance of `rate` samples a second that has not begun; `on_cancel` flushes it when the
        agent cancels it."""
        self.id = utterance_id
        self.rate = rate
        self.spoken = SpokenText()
        """What was sent, and what of it was heard."""
        self.response: Response | None = None
        """The response it belongs to, once that has begun."""
        self.generation: int | None = None
        """The downlink generation that carries it; None until its first audio."""
        self.making = True
        """Whether more of it may come."""
        self.error: AgentError | None = None
        self._interrupted = False
        self._cancelled = False
        self._on_cancel = on_cancel
        self._settled = asyncio.get_running_loop().create_future()

    @property
    def text(self) -> str:
        """Return the text given so far."""
        return self.spoken.text

    @property
    def heard_ms(self) -> int:
        """Return the milliseconds that the caller's player reported as played."""
        return self.spoken.heard * 1000 // self.rate

    @property
    def heard_text(self) -> str:
        """Return the beginning of `text` that was heard, cut at a word."""
        return self.spoken.heard_text()

    @property
    def interrupted(self) -> bool:
        """Return whether anything of it was, or will be, left unheard."""
        return self._interrupted

    @property
    def settled(self) -> bool:
        """Return whether nothing about it changes any more."""
        return self._settled.done()

    @property
    def finished(self) -> Awaitable[None]:
        """Return something to await until it is settled; never raises, survives cancellation of the
        awaiter."""
        return asyncio.shield(self._settled)

    def cancel(self) -> None:
        """Stop this utterance and flush what is unplayed at the caller."""
        if not self.settled and not self._cancelled:
            self._cancelled = True
            self._on_cancel(self)

    def note_interrupted(self) -> None:
        """Record that the rest will not be heard."""
        self._interrupted = self.spoken.stopped = True

    def settle(self) -> None:
        """Make everything final. Idempotent."""
        if not self._settled.done():
            if not self.spoken.complete or self.spoken.heard < self.spoken.sent:
                self.note_interrupted()
            self._settled.set_result(None)
