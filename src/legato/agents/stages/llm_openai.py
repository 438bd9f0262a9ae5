"""A language model behind any endpoint with OpenAI's `POST /chat/completions`, streamed, with tools."""

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from legato.agents.base import ToolCall, ToolSet
from legato.agents.settings import AssistantSettings
from legato.core.errors import AgentError

from .base import Message, Thought
from .openai_http import Endpoint

__all__ = ["OpenAILanguageModel", "build"]


class OpenAILanguageModel:
    """Asks for the answer as server-sent events and hands it on as it comes."""

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self._endpoint = endpoint
        self._model = model

    async def reply(self, messages: Sequence[Message], tools: ToolSet) -> AsyncGenerator[Thought, None]:
        """The answer to `messages`: text as it comes, then the tool calls."""
        request: dict[str, Any] = {
            "model": self._model,
            "stream": True,
            "messages": [_message(message) for message in messages],
        }
        if len(tools):
            request["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": dict(tool.parameters),
                    },
                }
                for tool in tools
            ]
        calls = _Calls()
        finished = False
        async with self._endpoint.post("chat/completions", json=request) as response:
            async for line in response.aiter_lines():
                if not line.startswith("data:"):
                    continue
                data = line[5:].strip()
                if data == "[DONE]":
                    finished = True
                    break
                text, ended = _chunk(data, calls)
                finished = finished or ended
                if text:
                    yield text
        if not finished:
            raise AgentError("the model's answer broke off", retryable=True)
        for call in calls.complete():
            yield call

    async def close(self) -> None:
        """Close all connections."""
        await self._endpoint.close()


class _Calls:
    """Tool calls that arrive in pieces, by their index."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[str, str]] = {}

    def add(self, piece: dict[str, Any]) -> None:
        function = piece.get("function") or {}
        part = self._parts.setdefault(int(piece.get("index", 0)), {"id": "", "name": "", "arguments": ""})
        part["id"] = part["id"] or str(piece.get("id") or "")
        part["name"] += str(function.get("name") or "")
        part["arguments"] += str(function.get("arguments") or "")

    def complete(self) -> list[ToolCall]:
        return [
            ToolCall(part["id"] or f"call_{index}", part["name"], part["arguments"] or "{}")
            for index, part in sorted(self._parts.items())
        ]


def _chunk(data: str, calls: _Calls) -> tuple[str, bool]:
    """The text in one event, and whether the answer ends with it. Raises `AgentError`."""
    try:
        event = json.loads(data)
        if event.get("error"):
            error = event["error"]
            message = error.get("message") if isinstance(error, dict) else error
            raise AgentError(f"the model failed: {str(message)[:300]}", retryable=True)
        choices = event.get("choices") or []
        if not choices:
            return "", False
        delta = choices[0].get("delta") or {}
        for piece in delta.get("tool_calls") or []:
            calls.add(piece)
        return str(delta.get("content") or ""), choices[0].get("finish_reason") is not None
    except (ValueError, AttributeError, LookupError, TypeError) as error:
        raise AgentError("the model's answer cannot be understood", retryable=True) from error


def _message(message: Message) -> dict[str, Any]:
    entry: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        entry["content"] = message.content or None
        entry["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        entry["tool_call_id"] = message.tool_call_id
    return entry


def build(settings: AssistantSettings) -> OpenAILanguageModel:
    """The stage for `settings`."""
    endpoint = Endpoint(settings.llm_url, settings.llm_key, settings.endpoint_timeout_s)
    return OpenAILanguageModel(endpoint, settings.llm_model)
