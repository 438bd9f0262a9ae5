"""A brain of one's own for the built-in assistant: hearing and speaking stay as they are.

LEGATO_ASSISTANT__LLM=hotel:build PYTHONPATH=examples legato serve
"""

from collections.abc import AsyncGenerator, Iterable, Sequence

from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import Message, ReplyOptions, Thought, ToolSchema

ANSWERS = {
    "breakfast": "Breakfast is from seven to ten, in the garden room.",
    "key": "I will have a new key made for you at once.",
    "check": "Check out is at eleven. Would you like a later time?",
}


class Desk:
    """The desk of a small hotel; a language model as far as the assistant can tell."""

    async def reply(
        self, messages: Sequence[Message], tools: Iterable[ToolSchema], options: ReplyOptions
    ) -> AsyncGenerator[Thought, None]:
        """Answer the last thing said, piece by piece."""
        said = messages[-1].content.lower() if messages else ""
        known = [answer for word, answer in ANSWERS.items() if word in said]
        for answer in known or ["I am afraid I can only help with breakfast, keys and checking out."]:
            yield answer + " "

    async def close(self) -> None:
        """Nothing is held."""


def build(settings: AssistantSettings) -> Desk:
    """Make the stage."""
    return Desk()
