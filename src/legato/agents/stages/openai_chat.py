"""The stream of `POST /chat/completions`: from its events to pieces of an answer.

Owns the order of tool calls, which an endpoint may mix, and how an answer ended. It must not know HTTP.
"""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from legato.agents.base import Outcome, ToolCall
from legato.agents.whole_text import WholeText, whole
from legato.core.dialects.realtime.usage import Usage
from legato.core.errors import AgentError

from .base import Thought

__all__ = ["ChatStream"]

_CUT: dict[str, Literal["max_output_tokens", "content_filter"]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}


class ChatStream:
    """One answer: `read` each event's data, then `end`."""

    def __init__(self) -> None:
        self._words = WholeText()
        self._calls = _Calls()
        self._usage: Usage | None = None
        self._reason: str | None = None
        self.done = False

    def read(self, data: str) -> list[Thought]:
        """What one event adds. Raises `AgentError` for a failure it tells of, and for nonsense."""
        if data == "[DONE]":
            self.done = True
            return []
        try:
            return self._read(json.loads(data))
        except (ValueError, AttributeError, LookupError, TypeError) as error:
            raise AgentError("the model's answer cannot be understood", retryable=True) from error

    def end(self) -> list[Thought]:
        """What is left to say when the stream is over. Raises `AgentError` if it broke off."""
        if self._reason is None and not self.done:
            raise AgentError("the model's answer broke off", retryable=True)
        cut = _CUT.get(self._reason or "")
        outcome = Outcome("incomplete" if cut else "completed", cut, self._usage)
        return [*self._calls.rest(), outcome]

    def _read(self, event: dict[str, Any]) -> list[Thought]:
        if event.get("error"):
            error = event["error"]
            message = error.get("message") if isinstance(error, dict) else error
            raise AgentError(f"the model failed: {whole(str(message))[:300]}", retryable=True)
        if usage := event.get("usage"):
            self._usage = _usage(usage)
        found: list[Thought] = []
        for choice in (event.get("choices") or [])[:1]:
            delta = choice.get("delta") or {}
            if text := self._words.take(str(delta.get("content") or "")):
                found.append(text)
            for piece in delta.get("tool_calls") or []:
                found += self._calls.add(piece)
            self._reason = choice.get("finish_reason") or self._reason
        return found


@dataclass(slots=True, eq=False)
class _Call:
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex}")
    name: str = ""
    arguments: str = ""
    pieces: WholeText = field(default_factory=WholeText)
    given: int = 0
    """How many characters of the arguments have been handed out."""

    def take(self) -> list[Thought]:
        """What can be handed out now."""
        if not self.name or self.given == len(self.arguments):
            return []
        piece, self.given = self.arguments[self.given :], len(self.arguments)
        return [ToolCall(self.id, self.name, piece)]

    @property
    def complete(self) -> bool:
        """Whether the arguments are a whole value: nothing can follow."""
        try:
            json.loads(self.arguments)
        except ValueError:
            return False
        return True


class _Calls:
    """Calls that arrive in pieces, by their index; handed out one after the other.

    Endpoints finish one call before they begin the next, as a rule. If they mix them, a later call waits
    until the one before is complete.
    """

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._over = 0

    def add(self, piece: dict[str, Any]) -> list[Thought]:
        function = piece.get("function") or {}
        index = int(piece.get("index", len(self._calls)))
        call = self._calls.setdefault(index, _Call())
        call.id = whole(str(piece.get("id") or call.id))
        call.name += whole(str(function.get("name") or ""))
        call.arguments += call.pieces.take(str(function.get("arguments") or ""))
        calls = list(self._calls.values())
        if call in calls[: self._over]:
            raise ValueError("a call goes on that was complete")
        found: list[Thought] = []
        while self._over + 1 < len(calls) and calls[self._over].complete:
            found += calls[self._over].take()
            self._over += 1
        return found + calls[self._over].take()

    def rest(self) -> list[Thought]:
        """What has been held back."""
        found: list[Thought] = []
        for call in list(self._calls.values())[self._over :]:
            if not call.arguments:
                call.arguments = "{}"
            found += call.take()
        return found


def _usage(usage: dict[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    images = int(details.get("image_tokens") or 0)
    return Usage(
        input_text_tokens=int(usage.get("prompt_tokens") or 0) - images,
        input_image_tokens=images,
        cached_tokens=int(details.get("cached_tokens") or 0),
        output_text_tokens=int(usage.get("completion_tokens") or 0),
    )
