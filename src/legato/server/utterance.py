"""One thing the agent says, from `say` to the last sample heard; implements `agents.base.Utterance`.

Owns what was made, what was heard of it and when it is settled. It must not know how it is sent.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from legato.core.errors import AgentError

__all__ = ["SpokenUtterance"]


@dataclass(frozen=True, slots=True)
class _Span:
    """A text whose sound begins at sample `start`."""

    start: int
    text: str


class SpokenUtterance:
    """The state of one utterance; the speaker feeds it, the playback reports settle it."""

    def __init__(
        self, utterance_id: str, response_id: str, on_cancel: Callable[[SpokenUtterance], None]
    ) -> None:
        """Make an utterance that has not begun; `on_cancel` flushes it when the agent cancels it."""
        self.id = utterance_id
        self.response_id = response_id
        self.generation: int | None = None
        """The downlink generation that carries it; None until its first audio."""
        self.sent = 0
        """Samples handed to the session, at the output rate."""
        self.rate = 0
        self.complete = False
        """Whether all of its audio has been handed over."""
        self.error: AgentError | None = None
        self._heard = 0
        self._interrupted = False
        self._cancelled = False
        self._spans: list[_Span] = []
        self._on_cancel = on_cancel
        self._settled = asyncio.get_running_loop().create_future()

    @property
    def text(self) -> str:
        """Return the text given so far."""
        return " ".join(span.text for span in self._spans)

    @property
    def heard_ms(self) -> int:
        """Return the milliseconds that the caller's player reported as played."""
        return self._heard * 1000 // self.rate if self.rate else 0

    @property
    def heard_text(self) -> str:
        """Return the beginning of `text` that was heard, cut at a word."""
        if self.complete and self._heard >= self.sent:
            return self.text
        count = bisect_right(self._spans, self._heard, key=lambda span: span.start)
        if count == 0 or self._heard == 0:
            return ""
        last = self._spans[count - 1]
        end = self._spans[count].start if count < len(self._spans) else max(self.sent, last.start + 1)
        words = last.text.split()
        heard_words = len(words) * (self._heard - last.start) // (end - last.start)
        whole = [span.text for span in self._spans[: count - 1]]
        return " ".join([*whole, *words[:heard_words]])

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

    def note_text(self, text: str) -> None:
        """Record that the sound of `text` begins at the next sample."""
        self._spans.append(_Span(self.sent, text))

    def note_heard(self, samples: int) -> bool:
        """Record the player's position, which never goes back; return whether it moved."""
        before, self._heard = self._heard, max(self._heard, min(samples, self.sent))
        return self._heard > before

    def note_interrupted(self) -> None:
        """Record that the rest will not be heard."""
        self._interrupted = True

    def settle(self) -> None:
        """Make everything final. Idempotent."""
        if not self._settled.done():
            if not self.complete or self._heard < self.sent:
                self._interrupted = True
            self._settled.set_result(None)
