"""What has been said in one call, as a language model should know it: of an answer, only what was heard.

Owns the messages and their bound; must not know how they are spoken or recognised.
"""

from collections.abc import Sequence

from legato.agents.base import ToolCall
from legato.agents.stages.base import Message

__all__ = ["Conversation"]


class Conversation:
    """The messages of one call. Beyond `most` the oldest are forgotten, the instructions never."""

    def __init__(self, instructions: str, most: int) -> None:
        self._system = [Message("system", instructions)] if instructions else []
        self._messages: list[Message] = []
        self._most = most

    @property
    def messages(self) -> list[Message]:
        """A copy: the instructions, then what was said, in order."""
        return [*self._system, *self._messages]

    def person_said(self, text: str) -> None:
        """The caller said `text`."""
        self._add(Message("user", text))

    def person_heard(self, text: str) -> None:
        """The caller heard `text` from the assistant; "" leaves no trace."""
        if text:
            self._add(Message("assistant", text))

    def used_tools(self, text: str, calls: Sequence[ToolCall], results: Sequence[str]) -> None:
        """The model asked for tools, after writing `text`, and got `results`."""
        self._add(Message("assistant", text, tool_calls=tuple(calls)))
        for call, result in zip(calls, results, strict=True):
            self._add(Message("tool", result, tool_call_id=call.id))

    def _add(self, message: Message) -> None:
        self._messages.append(message)
        if len(self._messages) > self._most:
            del self._messages[: len(self._messages) - self._most]
            while self._messages and self._messages[0].role == "tool":  # its question has been forgotten
                del self._messages[0]
