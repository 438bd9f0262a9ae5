"""A language model behind any endpoint with OpenAI's `POST /chat/completions`, streamed, with tools.

Owns the request; must not know what is done with the answer.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from legato.agents.settings import AssistantSettings

from .base import Message, ReplyOptions, Thought, ToolSchema
from .openai_chat import ChatStream
from .openai_http import Endpoint

__all__ = ["OpenAILanguageModel", "build"]

_UNSEEN = "(Here was an image, which you cannot see.)"


class OpenAILanguageModel:
    """Asks for the answer as server-sent events and hands it on as it comes."""

    def __init__(self, endpoint: Endpoint, settings: AssistantSettings) -> None:
        self._endpoint = endpoint
        self._settings = settings

    async def reply(
        self, messages: Sequence[Message], tools: Iterable[ToolSchema], options: ReplyOptions
    ) -> AsyncGenerator[Thought, None]:
        """The answer to `messages`: text and tool calls as they come, and how it ended."""
        stream = ChatStream()
        request = self._request(messages, list(tools), options)
        async with (
            self._endpoint.post("chat/completions", json=request) as response,
            aclosing(self._endpoint.lines(response)) as lines,
        ):
            async for line in lines:
                if line.startswith("data:"):
                    for thought in stream.read(line[5:].strip()):
                        yield thought
                    if stream.done:
                        break
        for thought in stream.end():
            yield thought

    async def close(self) -> None:
        """Close all connections."""
        await self._endpoint.close()

    def _request(
        self, messages: Sequence[Message], tools: list[ToolSchema], options: ReplyOptions
    ) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._settings.llm_model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [self._message(message) for message in messages],
        }
        if options.max_tokens is not None:
            request[self._settings.llm_token_limit] = options.max_tokens
        if options.effort:
            request["reasoning_effort"] = options.effort
        if tools:
            request["tools"] = [_function(tool) for tool in tools]
            if options.tool_name:
                request["tool_choice"] = {"type": "function", "function": {"name": options.tool_name}}
            elif options.tool_choice != "auto":
                request["tool_choice"] = options.tool_choice
            if options.parallel_tool_calls is not None:
                request["parallel_tool_calls"] = options.parallel_tool_calls
        return request

    def _message(self, message: Message) -> dict[str, Any]:
        entry: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.images:
            entry["content"] = self._with_images(message)
        if message.tool_calls:
            entry["content"] = message.content or None
            entry["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in message.tool_calls
            ]
        if message.role == "tool":
            entry["tool_call_id"] = message.tool_call_id
        return entry

    def _with_images(self, message: Message) -> str | list[dict[str, Any]]:
        """The words and, if the endpoint takes them, the images; else the model learns that there were
        some."""
        if not self._settings.llm_images:
            return " ".join(
                [*([message.content] if message.content else []), *[_UNSEEN] * len(message.images)]
            )
        words = [{"type": "text", "text": message.content}] if message.content else []
        return [
            *words,
            *(
                {"type": "image_url", "image_url": {"url": image.url, "detail": image.detail}}
                for image in message.images
            ),
        ]


def _function(tool: ToolSchema) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def build(settings: AssistantSettings) -> OpenAILanguageModel:
    """The stage for `settings`."""
    return OpenAILanguageModel(
        Endpoint("the language model", settings.llm_url, settings.llm_key, settings.endpoint_timeout_s),
        settings,
    )
