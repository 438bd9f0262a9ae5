"""A responder that follows rules: it needs no model, no network and no luck.

Owns what it can answer: time, date, timers, arithmetic, a long story, greetings, help, and otherwise what it
understood. It must not know how its answers are spoken.
"""

import re
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import datetime

from legato.agents.base import Outcome, ToolCall
from legato.agents.settings import AssistantSettings
from legato.agents.spoken_numbers import duration_seconds, in_words, result
from legato.core.dialects.realtime.usage import Usage

from .base import Message, ReplyOptions, Thought, ToolSchema

__all__ = ["RulesLanguageModel", "build"]

STORY = (
    "Once upon a time a lighthouse keeper lived alone at the edge of a wide grey sea.",
    "Every evening she climbed two hundred steps, cleaned the great lamp, and lit it for the ships.",
    "One winter night the fog came in so thick that the light could not pass through it.",
    "So she carried an old brass horn to the balcony and blew one long note into the dark.",
    "Far away a fishing boat heard it, turned its bow, and answered with a small bell.",
    "Note by note and ring by ring they spoke to each other, until the boat found the harbour.",
    "In the morning the fishermen knocked at her door and brought her bread, coffee and a young dog.",
    "From that day on the dog sat beside the lamp every evening and listened to the sea with her.",
    "And when the fog came back, there were two voices on the balcony, and no ship was ever lost again.",
)
GREETING = "Hello. What can I do for you?"
HELP = (
    "You can ask me for the time or the date, give me a sum, or have me set a timer. "
    "I can also tell you a long story, and you may interrupt me at any time."
)
_WORD = re.compile(r"[a-z']+")


class RulesLanguageModel:
    """Answers by rules; `now` tells the local time."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    async def reply(
        self, messages: Sequence[Message], tools: Iterable[ToolSchema], options: ReplyOptions
    ) -> AsyncGenerator[Thought, None]:
        """The answer to the last message, sentence by sentence. A token is a word."""
        written = 0
        for thought in self._thoughts(messages, {tool.name for tool in tools}, options):
            if isinstance(thought, str):
                words = thought.split()
                left = len(words) if options.max_tokens is None else options.max_tokens - written
                if left < len(words):
                    yield " ".join(words[:left])
                    yield Outcome("incomplete", "max_output_tokens", _usage(messages, written + left))
                    return
                written += len(words)
            yield thought
        yield Outcome(usage=_usage(messages, written))

    async def close(self) -> None:
        """Nothing is held."""

    def _thoughts(self, messages: Sequence[Message], tools: set[str], options: ReplyOptions) -> list[Thought]:
        results = _last_results(messages)
        if results:
            return [results]
        if options.tool_name in tools:
            return [_call(options.tool_name)]
        if options.tool_choice == "none":
            tools = set()
        if messages and messages[-1].role == "system" and "silent" in messages[-1].content:
            return ["Are you still there?"]
        said = [message.content for message in messages if message.role == "user"]
        if not said:
            return [GREETING]
        answer = self._answer(said[-1].lower(), messages[:-1], tools)
        if options.tool_choice == "required" and tools and not any(isinstance(t, ToolCall) for t in answer):
            return [_call(min(tools))]
        return answer

    def _answer(self, said: str, before: Sequence[Message], tools: set[str]) -> list[Thought]:
        words = set(_WORD.findall(said))
        for rule in (_asked_to_repeat, _timers):
            answer = rule(said, words, before, tools)
            if answer:
                return answer
        try:
            value = result(said)
        except ZeroDivisionError:
            return ["Nothing can be divided by zero."]
        if value is not None:
            return [f"That is {in_words(value)}."]
        if "story" in words:
            return [sentence + " " for sentence in STORY]
        return [self._short_answer(said, words)]

    def _short_answer(self, said: str, words: set[str]) -> str:
        now = self._now()
        if "time" in words:
            return f"It is {now.hour % 12 or 12}:{now:%M} {'a m' if now.hour < 12 else 'p m'}."
        if words & {"date", "today", "day"}:
            return f"Today is {now:%A}, {now:%B} {now.day}, {now.year}."
        if "help" in words or "what can you do" in said:
            return HELP
        if words & {"stop", "quiet", "enough"}:
            return "All right."
        if words & {"thanks", "thank"}:
            return "You are welcome."
        if words & {"bye", "goodbye"}:
            return "Goodbye. It was nice to talk to you."
        if words & {"hello", "hi", "hey"} or words >= {"good", "morning"} or words >= {"good", "evening"}:
            return GREETING
        if "who are you" in said or "your name" in said:
            return "I am the built in assistant of legato."
        return f"I understood: {said}." if said else "I did not understand that."


def _asked_to_repeat(
    said: str, words: set[str], before: Sequence[Message], _tools: set[str]
) -> list[Thought] | None:
    if "repeat" not in words and "did you say" not in said and "say that again" not in said:
        return None
    for message in reversed(before):
        if message.role == "assistant" and message.content:
            return ["You heard me say: ", message.content]
    return ["I have not said anything yet."]


def _timers(said: str, words: set[str], _before: Sequence[Message], tools: set[str]) -> list[Thought] | None:
    if not words & {"timer", "timers", "remind", "alarm"}:
        return None
    if words & {"cancel", "stop", "delete"} and "cancel_timers" in tools:
        return [_call("cancel_timers")]
    seconds = duration_seconds(said)
    if seconds is None or "set_timer" not in tools:
        return ["For how long? Say, for example: set a timer for ten seconds."]
    return [_call("set_timer", f'{{"seconds": {seconds}}}')]


def _call(name: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(f"call_{uuid.uuid4().hex}", name, arguments)


def _last_results(messages: Sequence[Message]) -> str:
    """What the tools answered that were used last; "" if something was said since."""
    results: list[str] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        results.insert(0, message.content)
    return " ".join(results)


def _usage(messages: Sequence[Message], written: int) -> Usage:
    heard = sum(len(message.content.split()) for message in messages)
    return Usage(input_text_tokens=heard, output_text_tokens=written)


def build(settings: AssistantSettings) -> RulesLanguageModel:
    """The stage; nothing in `settings` changes it."""
    return RulesLanguageModel(now=lambda: datetime.now().astimezone())
