"""A model endpoint that answers from a script: the three HTTP interfaces of OpenAI that legato's stages use.

A real HTTP server on loopback. Each request takes the next step of its script; when the script is empty, the
default answers. Every request is recorded. It must not know the stages that it is used to test.

Function calling from end to end, without a model, an account or luck:

    async with ScriptedEndpoint() as endpoint:
        endpoint.answers += [
            [ToolCall("c1", "get_weather", '{"city": "Riga"}')],  # the model asks,
            ["In Riga ", "it is raining."],  # and speaks of the result
        ]
        settings = AssistantSettings(llm="openai", llm_url=endpoint.url)
        ...  # hold a conversation in which `get_weather` is offered
        assert endpoint.chats[0]["tools"][0]["function"]["name"] == "get_weather"
        assert endpoint.chats[1]["messages"][-1]["content"] == "rain"

What an endpoint of OpenAI's would not accept, such as a call whose result is missing from the conversation,
is refused with status 400 here too.
"""

import asyncio
import json
import math
import socket
import struct
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from legato._guest_uvicorn import GuestUvicorn
from legato.agents.base import ToolCall

__all__ = ["Break", "Fail", "Finish", "Hold", "Pause", "Refuse", "ScriptedEndpoint"]

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


@dataclass(frozen=True, slots=True)
class Pause:
    """Write nothing for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """Tell of an error in the middle of the stream, and end it."""

    message: str = "scripted failure"


@dataclass(frozen=True, slots=True)
class Finish:
    """End the answer here: for a `reason` of the interface ("length", "content_filter"), and with these
    token counts instead of the words that were read and written."""

    reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0


Step = str | ToolCall | Break | Hold | Pause | Fail | Finish
Answer = list[Step] | Refuse
Chat = dict[str, Any]
"""The JSON of a request for a chat completion."""


class ScriptedEndpoint:
    """`async with ScriptedEndpoint() as endpoint:` serves at `endpoint.url` (it ends in /v1).

    Scripts, one entry for each request: `transcripts` (a text or `Refuse`), `answers` (a list of steps, or
    `Refuse`), `speeches` ("pcm", "wav", `Break` after some sound, or `Refuse`). Speech is a tone of 60 ms for
    each character, at speed 1.

    The steps of an answer: pieces of text; tool calls, which are streamed in pieces; `Hold` until the test
    goes on, `Pause`, `Break`, `Fail`, `Finish`. `default_answer` may also be a function of the request.

    What was asked: `chats` (the JSON of each request), `heard` and `transcriptions` (audio to be transcribed,
    s16le at 16 kHz, and the fields beside it), `spoken` and `speech_requests` (text to be spoken, and the
    whole request), `keys`.
    """

    def __init__(self) -> None:
        self.transcripts: deque[str | Refuse] = deque()
        self.answers: deque[Answer] = deque()
        self.speeches: deque[str | Break | Refuse] = deque()
        self.default_transcript = "hello there"
        self.default_answer: Answer | Callable[[Chat], Answer] = ["Hello. ", "How are ", "you?"]
        self.chats: list[Chat] = []
        self.heard: list[bytes] = []
        self.transcriptions: list[dict[str, str]] = []
        self.spoken: list[str] = []
        self.speech_requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.url = ""
        self._server: GuestUvicorn | None = None
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
        self._server = GuestUvicorn(app, log_level="critical")
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
        self.transcriptions.append(_form_fields(request.headers.get("content-type", ""), body))
        step = self.transcripts.popleft() if self.transcripts else self.default_transcript
        return _refusal(step) if isinstance(step, Refuse) else JSONResponse({"text": step})

    async def _chat(self, request: Request) -> Response:
        self._note_key(request)
        chat: Chat = json.loads(await request.body())
        self.chats.append(chat)
        if complaint := _complaint(chat):
            return _refusal(Refuse(400, complaint))
        answer = self.answers.popleft() if self.answers else self.default_answer
        if callable(answer):
            answer = answer(chat)
        if isinstance(answer, Refuse):
            return _refusal(answer)
        return StreamingResponse(_Stream(chat).events(answer), media_type="text/event-stream")

    async def _speak(self, request: Request) -> Response:
        self._note_key(request)
        asked = json.loads(await request.body())
        text = str(asked["input"])
        self.speech_requests.append(asked)
        self.spoken.append(text)
        step = self.speeches.popleft() if self.speeches else "pcm"
        if isinstance(step, Refuse):
            return _refusal(step)
        head = b"" if step != "wav" else _streamed_wav_head()
        return StreamingResponse(
            _sound(head + _tone(text, float(asked.get("speed", 1.0))), breaks=isinstance(step, Break)),
            media_type="audio/wav" if head else "audio/pcm",
        )

    def _note_key(self, request: Request) -> None:
        self.keys.append(request.headers.get("authorization", "").removeprefix("Bearer "))


class _BrokenOffError(Exception):
    """Makes the server drop the connection in mid-answer."""


class _Stream:
    """One answer as server-sent events."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._calls = 0
        self._written = 0

    async def events(self, steps: list[Step]) -> AsyncIterator[str]:
        """The script, event by event."""
        ending = Finish()
        for step in steps:
            if isinstance(step, Break):
                raise _BrokenOffError
            if isinstance(step, Hold):
                step.reached.set()
                await step.released.wait()
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Fail):
                yield f"data: {json.dumps({'error': {'message': step.message, 'type': 'scripted'}})}\n\n"
                return
            elif isinstance(step, Finish):
                ending = step
                break
            else:
                for delta in self._deltas(step):
                    yield _event([_choice(delta)])
        yield _event([_choice({}, ending.reason or ("tool_calls" if self._calls else "stop"))])
        if (self._chat.get("stream_options") or {}).get("include_usage"):
            yield _event([], self._usage(ending))
        yield "data: [DONE]\n\n"

    def _deltas(self, step: str | ToolCall) -> Iterator[dict[str, Any]]:
        if isinstance(step, str):
            self._written += len(step.split())
            yield {"content": step}
            return
        self._written += len(step.arguments.split())
        for piece in _call_pieces(step, self._calls):
            yield {"tool_calls": [piece]}
        self._calls += 1

    def _usage(self, ending: Finish) -> dict[str, Any]:
        read = ending.prompt_tokens
        if read is None:
            read = sum(len(str(message.get("content") or "").split()) for message in self._chat["messages"])
        written = self._written if ending.completion_tokens is None else ending.completion_tokens
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": ending.cached_tokens},
        }


def _complaint(chat: Chat) -> str:
    """What is wrong with the conversation in a request; "" if nothing is."""
    open_calls: set[str] = set()
    for message in chat["messages"]:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_calls:
                return f"a tool answers {message.get('tool_call_id')!r}, which nobody asked just before"
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            return f"tool calls without a result: {', '.join(sorted(open_calls))}"
        open_calls = {call["id"] for call in message.get("tool_calls") or []}
    return f"tool calls without a result: {', '.join(sorted(open_calls))}" if open_calls else ""


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


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def _event(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> str:
    event: dict[str, Any] = {"object": "chat.completion.chunk", "choices": choices}
    if usage is not None:
        event["usage"] = usage
    return f"data: {json.dumps(event)}\n\n"


async def _sound(data: bytes, breaks: bool) -> AsyncIterator[bytes]:
    step = 4_801  # odd on purpose: samples are split between pieces
    for start in range(0, len(data), step):
        if breaks and start:
            raise _BrokenOffError
        yield data[start : start + step]


def _tone(text: str, speed: float) -> bytes:
    samples = int(SPEECH_RATE * MS_PER_CHARACTER * len(text) / (1000 * speed))
    turn = 2 * math.pi * 440 / SPEECH_RATE
    return array("h", (int(8_000 * math.sin(turn * place)) for place in range(samples))).tobytes()


def _streamed_wav_head() -> bytes:
    """A WAV header as endpoints write it that do not know the length yet."""
    rate = SPEECH_RATE
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF\xff\xff\xff\xffWAVE" + fmt + b"data\xff\xff\xff\xff"


def _form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """The text fields of a multipart form (RFC 7578)."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    fields: dict[str, str] = {}
    for part in message.iter_parts():
        value = part.get_payload(decode=True)
        if part.get_filename() is None and isinstance(value, bytes):
            fields[str(part.get_param("name", header="content-disposition"))] = value.decode()
    return fields


def _wav_samples(wav: bytes) -> bytes:
    place = wav.find(b"data")
    size = int.from_bytes(wav[place + 4 : place + 8], "little")
    return wav[place + 8 : place + 8 + size]


def _refusal(step: Refuse) -> Response:
    return JSONResponse({"error": {"message": step.message, "type": "scripted"}}, status_code=step.status)
