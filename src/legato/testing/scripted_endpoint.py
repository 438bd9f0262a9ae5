"""A model endpoint that answers from a script: the three HTTP interfaces of OpenAI that legato's stages use.

A real HTTP server on loopback. Each request takes the next step of its script; when the script is empty, the
default answers. Every request is recorded. It must not know the stages that it is used to test.
"""

import asyncio
import contextlib
import json
import math
import socket
import struct
from array import array
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from legato.agents.base import ToolCall

__all__ = ["Break", "Hold", "Refuse", "ScriptedEndpoint"]

SPEECH_RATE = 24_000
MS_PER_CHARACTER = 60


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error status."""

    status: int
    message: str = "scripted refusal"


@dataclass(frozen=True, slots=True)
class Break:
    """Break the connection off here."""


@dataclass(slots=True)
class Hold:
    """Wait here until the test calls `release`."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Go on."""
        self.released.set()


Step = str | ToolCall | Break | Hold


class ScriptedEndpoint:
    """`async with ScriptedEndpoint() as endpoint:` serves at `endpoint.url` (it ends in /v1).

    Scripts, one entry for each request: `transcripts` (a text or `Refuse`), `answers` (a list of pieces of
    text, tool calls, `Hold`, `Break`; or `Refuse`), `speeches` ("pcm", "wav", `Break` after some sound, or
    `Refuse`). Speech is a tone of 60 ms for each character.
    """

    def __init__(self) -> None:
        self.transcripts: deque[str | Refuse] = deque()
        self.answers: deque[list[Step] | Refuse] = deque()
        self.speeches: deque[str | Break | Refuse] = deque()
        self.default_transcript = "hello there"
        self.default_answer: list[Step] = ["Hello. ", "How are ", "you?"]
        self.chats: list[dict[str, Any]] = []
        self.heard: list[bytes] = []
        self.spoken: list[str] = []
        self.keys: list[str] = []
        self.url = ""
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        app = Starlette(
            routes=[
                Route("/v1/audio/transcriptions", self._transcribe, methods=["POST"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/audio/speech", self._speak, methods=["POST"]),
            ]
        )
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        await self._server.listening.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        assert self._serving is not None
        self._server.should_exit = True
        await self._serving

    async def _transcribe(self, request: Request) -> Response:
        self._note_key(request)
        body = await request.body()
        start = body.find(b"RIFF")
        self.heard.append(_wav_samples(body[start:]) if start >= 0 else b"")
        step = self.transcripts.popleft() if self.transcripts else self.default_transcript
        return _refusal(step) if isinstance(step, Refuse) else JSONResponse({"text": step})

    async def _chat(self, request: Request) -> Response:
        self._note_key(request)
        self.chats.append(json.loads(await request.body()))
        step = self.answers.popleft() if self.answers else self.default_answer
        if isinstance(step, Refuse):
            return _refusal(step)
        return StreamingResponse(_events(step), media_type="text/event-stream")

    async def _speak(self, request: Request) -> Response:
        self._note_key(request)
        text = str(json.loads(await request.body())["input"])
        self.spoken.append(text)
        step = self.speeches.popleft() if self.speeches else "pcm"
        if isinstance(step, Refuse):
            return _refusal(step)
        head = b"" if step != "wav" else _streamed_wav_head()
        return StreamingResponse(
            _sound(head + _tone(text), breaks=isinstance(step, Break)),
            media_type="audio/wav" if head else "audio/pcm",
        )

    def _note_key(self, request: Request) -> None:
        self.keys.append(request.headers.get("authorization", "").removeprefix("Bearer "))


class _Server(uvicorn.Server):
    """uvicorn that leaves signals alone and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class _BrokenOffError(Exception):
    """Makes the server drop the connection in mid-answer."""


async def _events(steps: list[Step]) -> AsyncIterator[str]:
    calls = 0
    for step in steps:
        if isinstance(step, Break):
            raise _BrokenOffError
        if isinstance(step, Hold):
            step.reached.set()
            await step.released.wait()
        elif isinstance(step, ToolCall):
            for piece in _call_pieces(step, calls):
                yield _event({"tool_calls": [piece]})
            calls += 1
        else:
            yield _event({"content": step})
    yield _event({}, "tool_calls" if calls else "stop")
    yield "data: [DONE]\n\n"


def _call_pieces(call: ToolCall, index: int) -> Iterator[dict[str, Any]]:
    """A tool call as endpoints stream it: first its name, then its arguments in two halves."""
    middle = len(call.arguments) // 2
    yield {
        "index": index,
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": ""},
    }
    for part in (call.arguments[:middle], call.arguments[middle:]):
        yield {"index": index, "function": {"arguments": part}}


def _event(delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"


async def _sound(data: bytes, breaks: bool) -> AsyncIterator[bytes]:
    step = 4_801  # odd on purpose: samples are split between pieces
    for start in range(0, len(data), step):
        if breaks and start:
            raise _BrokenOffError
        yield data[start : start + step]


def _tone(text: str) -> bytes:
    samples = SPEECH_RATE * MS_PER_CHARACTER * len(text) // 1000
    turn = 2 * math.pi * 440 / SPEECH_RATE
    return array("h", (int(8_000 * math.sin(turn * place)) for place in range(samples))).tobytes()


def _streamed_wav_head() -> bytes:
    """A WAV header as endpoints write it that do not know the length yet."""
    rate = SPEECH_RATE
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF\xff\xff\xff\xffWAVE" + fmt + b"data\xff\xff\xff\xff"


def _wav_samples(wav: bytes) -> bytes:
    place = wav.find(b"data")
    size = int.from_bytes(wav[place + 4 : place + 8], "little")
    return wav[place + 8 : place + 8 + size]


def _refusal(step: Refuse) -> Response:
    return JSONResponse({"error": {"message": step.message, "type": "scripted"}}, status_code=step.status)
