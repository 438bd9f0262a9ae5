"""Writes one response with a language model: rounds of text and tools, until there is nothing to add.

Owns which tools the model is offered, the use of those that run here, the limit of the whole response and
what it took. It must not know how an answer is spoken, nor whose turn it is.
"""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from legato.agents.base import Call, Outcome, ToolCall, ToolSet
from legato.agents.conversation import ToolUse, messages_of
from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import LanguageModel, Message, ReplyOptions, Thought, ToolSchema
from legato.core.dialects.realtime.response import ResponseRequest
from legato.core.dialects.realtime.session_settings import ResponseSettings
from legato.core.dialects.realtime.tools import FunctionChoice, FunctionTool
from legato.core.dialects.realtime.usage import Usage
from legato.core.errors import AgentError

__all__ = ["Composer"]

log = logging.getLogger(__name__)

SILENT = "The person has been silent for a while. Ask in a few words whether they are still there."
_MOST_ROUNDS = 5
_MOST_BESIDE = 64


@dataclass(frozen=True, slots=True)
class _Schema:
    """A function of the caller, as a model is told of it."""

    name: str
    description: str
    parameters: dict[str, Any]

    @classmethod
    def of(cls, tool: FunctionTool) -> "_Schema":
        return cls(tool.name, tool.description or "", tool.parameters or {"type": "object", "properties": {}})


@dataclass(slots=True)
class _Round:
    """What a model wrote at a stretch."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)

    def add(self, thought: str | ToolCall) -> None:
        if isinstance(thought, str):
            self.text += thought
        elif self.calls and self.calls[-1].id == thought.id:
            self.calls[-1] = replace(self.calls[-1], arguments=self.calls[-1].arguments + thought.arguments)
        else:
            self.calls.append(thought)

    def usage(self, messages: Sequence[Message]) -> Usage:
        """As the model says, or the words that were read and written."""
        if self.outcome.usage is not None:
            return self.outcome.usage
        read = sum(len(message.content.split()) for message in messages)
        written = sum(len(text.split()) for text in (self.text, *(call.arguments for call in self.calls)))
        return Usage(input_text_tokens=read, output_text_tokens=written)


class Composer:
    """Writes the responses of one call. `own` are the tools that run here."""

    def __init__(self, call: Call, model: LanguageModel, own: ToolSet, settings: AssistantSettings) -> None:
        self._call = call
        self._model = model
        self._own = own
        self._most = settings.max_messages
        self._beside: dict[str, list[ToolUse]] = {}

    async def write(self, request: ResponseRequest) -> AsyncGenerator[Thought, None]:
        """The response: text and calls of the caller's functions as they are written, an outcome at the end.

        What it answers is looked at when it begins. Raises `AgentError`.
        """
        wishes = request.settings
        context = self._call.dialogue.context(request)
        messages = messages_of(context, wishes.instructions, self._most, self._beside)
        if request.trigger == "idle":
            messages.append(Message("system", SILENT))
        theirs = {tool.name for tool in wishes.tools}
        options = _options(wishes)
        tools = self._offered(wishes, options)
        spent = Usage()
        for _ in range(_MOST_ROUNDS):
            written = _Round()
            async with aclosing(self._model.reply(messages, tools, options)) as thoughts:
                async for thought in thoughts:
                    if isinstance(thought, Outcome):
                        written.outcome = thought
                        continue
                    written.add(thought)
                    if _is_content(thought, written, theirs):
                        yield thought
            spent = _sum(spent, written.usage(messages))
            if written.outcome.status == "incomplete":
                yield replace(written.outcome, usage=spent)
                return
            used = [await self._use(call) for call in written.calls if call.name not in theirs]
            asked = [call for call in written.calls if call.name in theirs]
            if asked or not used:
                self._keep_beside(asked, used)
                yield Outcome(usage=spent)
                return
            messages += _told(written.text, used)
            options = _next(options, spent, wishes.max_output_tokens)
            if options.max_tokens == 0:
                yield Outcome("incomplete", "max_output_tokens", spent)
                return
        raise AgentError("the model asks for one tool after the other")

    def _offered(self, wishes: ResponseSettings, options: ReplyOptions) -> list[ToolSchema]:
        """The caller's functions, and those that run here unless the caller wants one of theirs."""
        theirs: list[ToolSchema] = [_Schema.of(tool) for tool in wishes.tools]
        if (
            options.tool_name
            or options.tool_choice == "none"
            or (options.tool_choice == "required" and theirs)
        ):
            return theirs
        names = {tool.name for tool in theirs}
        return [*theirs, *(tool for tool in self._own if tool.name not in names)]

    async def _use(self, call: ToolCall) -> ToolUse:
        try:
            return ToolUse(call, await self._own.run(call))
        except AgentError as error:
            log.warning("%s", error)
            return ToolUse(call, f"That did not work: {error}.")

    def _keep_beside(self, asked: Sequence[ToolCall], used: Sequence[ToolUse]) -> None:
        """The caller answers first; then the model learns what the tools here said."""
        if asked and used:
            self._beside[asked[0].id] = list(used)
            if len(self._beside) > _MOST_BESIDE:
                del self._beside[next(iter(self._beside))]


def _is_content(thought: str | ToolCall, written: _Round, theirs: set[str]) -> bool:
    """Whether the caller is to get this. Words behind a call of theirs are not said: a response ends with its
    calls, and the model speaks of the results in the next one."""
    if isinstance(thought, ToolCall):
        return thought.name in theirs
    return not any(call.name in theirs for call in written.calls)


def _options(wishes: ResponseSettings) -> ReplyOptions:
    choice = wishes.tool_choice
    return ReplyOptions(
        tool_choice="auto" if isinstance(choice, FunctionChoice) else choice,
        tool_name=choice.name if isinstance(choice, FunctionChoice) else "",
        max_tokens=wishes.max_output_tokens,
        parallel_tool_calls=None if wishes.parallel_tool_calls else False,
        effort=wishes.reasoning_effort or "",
    )


def _next(options: ReplyOptions, spent: Usage, limit: int | None) -> ReplyOptions:
    """The options of the round after one with tools: none must be used again."""
    left = None if limit is None else max(0, limit - spent.output_text_tokens)
    choice = "auto" if options.tool_choice == "required" else options.tool_choice
    return replace(options, tool_choice=choice, tool_name="", max_tokens=left)


def _told(text: str, used: Sequence[ToolUse]) -> list[Message]:
    """The messages of a round with tools."""
    return [
        Message("assistant", text, tool_calls=tuple(use.call for use in used)),
        *(Message("tool", use.result, tool_call_id=use.call.id) for use in used),
    ]


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_text_tokens=one.input_text_tokens + other.input_text_tokens,
        input_audio_tokens=one.input_audio_tokens + other.input_audio_tokens,
        input_image_tokens=one.input_image_tokens + other.input_image_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        output_text_tokens=one.output_text_tokens + other.output_text_tokens,
        output_audio_tokens=one.output_audio_tokens + other.output_audio_tokens,
    )
