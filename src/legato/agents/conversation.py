"""From the items of a conversation to the messages of a language model.

Owns what models insist on: results of tools stand behind the call that asked for them, every call has one.
It must not know how anything was spoken or recognised.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from legato.agents.base import ToolCall
from legato.agents.stages.base import Image, Message
from legato.core.dialects.realtime import items

__all__ = ["NO_RESULT", "ToolUse", "messages_of"]

NO_RESULT = "There is no result yet."
"""What a model is told of a function that the caller has not answered (yet)."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool that was used, and what it answered."""

    call: ToolCall
    result: str


def messages_of(
    context: Sequence[items.Item],
    instructions: str,
    most: int,
    beside: Mapping[str, Sequence[ToolUse]] | None = None,
) -> list[Message]:
    """The instructions, then what was said and done, in order; beyond `most` messages the oldest are left
    out.

    `beside` holds, by the `call_id` of a caller's function, tools that were used in the same breath and are
    no items of the conversation.
    """
    written = _Messages(context, beside or {})
    for item in context:
        written.add(item)
    told = written.messages[-most:]
    while told and told[0].role == "tool":  # its call has been left out
        del told[0]
    return [*([Message("system", instructions)] if instructions else []), *told]


class _Messages:
    def __init__(self, context: Iterable[items.Item], beside: Mapping[str, Sequence[ToolUse]]) -> None:
        self.messages: list[Message] = []
        self._beside = beside
        self._results = {item.call_id: item.output for item in context if item.type == "function_call_output"}
        self._calls = {item.call_id for item in context if item.type == "function_call"}
        self._asked: list[ToolCall] = []

    def add(self, item: items.Item) -> None:
        if item.type == "message":
            images = tuple(_image(part) for part in item.content if isinstance(part, items.Image))
            self.messages.append(Message(item.role or "user", item.text, images=images))
        elif item.type == "function_call":
            self._use(item)
        elif item.call_id not in self._calls:
            self.messages.append(Message("system", f"A function answered: {item.output}"))

    def _use(self, item: items.Item) -> None:
        """A call and its result, in one message with the calls and words directly before it."""
        used = [
            ToolUse(
                ToolCall(item.call_id, item.name, item.arguments or "{}"),
                self._results.get(item.call_id, NO_RESULT),
            ),
            *self._beside.get(item.call_id, ()),
        ]
        place = len(self.messages)
        while place and self.messages[place - 1].role == "tool":
            place -= 1
        results = self.messages[place:]
        asking = Message("assistant", "")
        if place and self.messages[place - 1].role == "assistant":
            place -= 1
            asking = self.messages[place]
        calls = (*asking.tool_calls, *(use.call for use in used))
        self.messages[place:] = [
            Message("assistant", asking.content, tool_calls=calls),
            *results,
            *(Message("tool", use.result, tool_call_id=use.call.id) for use in used),
        ]


def _image(part: items.Image) -> Image:
    if part.detail == "low":
        return Image(part.url, "low")
    return Image(part.url, "high" if part.detail == "high" else "auto")
