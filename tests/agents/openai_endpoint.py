"""What stages behind an OpenAI-compatible endpoint are asked, and an endpoint that answers nonsense."""

import asyncio
from dataclasses import replace

from legato.agents.base import Outcome, ToolCall
from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import NO_HINTS, Hints, Message, ReplyOptions

HELLO = [Message("user", "hello")]
FREELY = ReplyOptions()


def settings_for(url: str, **more) -> AssistantSettings:
    return AssistantSettings(
        stt_url=url,
        stt_key="k-stt",
        llm_url=url + "/",
        llm_key="k-llm",
        tts_url=url,
        endpoint_timeout_s=60,
        **more,
    )


async def thoughts(model, messages=HELLO, tools=(), options=FREELY) -> list:
    """The answer, with the pieces of each call joined."""
    joined: list = []
    async for thought in model.reply(messages, tools, options):
        if isinstance(thought, ToolCall) and joined and getattr(joined[-1], "id", None) == thought.id:
            joined[-1] = replace(joined[-1], arguments=joined[-1].arguments + thought.arguments)
        else:
            joined.append(thought)
    return joined


def words(thoughts: list) -> list:
    return [thought for thought in thoughts if not isinstance(thought, Outcome)]


async def spoken(voice, text: str) -> list:
    return [piece async for piece in voice.speak(text)]


async def recognised(recognition, pcm: bytes, hints: Hints = NO_HINTS) -> str:
    recogniser = recognition.open(hints=hints)
    await recogniser.feed(pcm)
    try:
        return await recogniser.finish()
    finally:
        await recogniser.close()


class FixedAnswer:
    """An HTTP server that answers every request with the same bytes, a few at a time."""

    def __init__(self, kind: bytes, body: bytes) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nConnection: close\r\n\r\n%b" % (kind, body)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        await reader.readexactly(length)
        for start in range(0, len(self.answer), 97):
            writer.write(self.answer[start : start + 97])
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def __aenter__(self) -> str:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()
