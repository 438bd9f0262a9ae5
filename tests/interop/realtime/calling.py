"""Calls of the stock `openai` package, recorded. Must not know what is said in them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI
from tests.interop.realtime.recording import Tapped
from tests.interop.realtime.stage import Stage

from legato import Server, ServerSettings
from legato.testing.scripted_endpoint import ScriptedEndpoint

TEXT = {"type": "realtime", "output_modalities": ["text"]}
"""A session that answers in writing."""


@dataclass
class Scripted:
    """A server of which even hearing and speaking are scripted."""

    url: str


def message(text: str) -> Any:
    """A written message of the caller."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def user(stage: Stage | Scripted, **options: Any) -> AsyncOpenAI:
    """A client as people make it: the key is in the environment."""
    return AsyncOpenAI(base_url=stage.url, **options)


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[ScriptedEndpoint, Scripted]]:
    """Run one in this process."""
    async with ScriptedEndpoint() as endpoint:
        stages = dict.fromkeys(("stt", "llm", "tts"), "openai")
        urls = {f"{name}_url": endpoint.url for name in stages}
        settings = ServerSettings.model_validate({"listen": {"port": 0}, "assistant": stages | urls})
        async with Server(settings) as server:
            yield endpoint, Scripted(f"https://localhost:{server.port}/v1")


@asynccontextmanager
async def calling(
    stage: Stage | Scripted, session: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Tapped]:
    """A call; `session` is set before anything else is done."""
    async with user(stage) as client, client.realtime.connect(**{"model": "legato", **options}) as connection:
        talk = Tapped(connection)
        await talk.until("session.created")
        if session is not None:
            await connection.session.update(session={"type": "realtime", **session})
            await talk.until("session.updated")
        yield talk


async def ask(talk: Tapped, text: str, response: dict[str, Any] | None = None) -> Any:
    """Write a message and wait for the whole answer."""
    await talk.connection.conversation.item.create(item=message(text))
    await talk.connection.response.create(**({} if response is None else {"response": response}))
    return (await talk.until("response.done")).response
