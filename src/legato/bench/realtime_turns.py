"""Turns of a spoken call: how long after the silence that ends a turn the server says so.

Owns the caller: speech and silence appended as they would be spoken, 20 ms at a time, and when each
`input_audio_buffer.speech_stopped` came. Must not know what is made of the figures. The words are spoken by
the offline voice that the assistant has.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect

from legato.agents.settings import AssistantSettings
from legato.agents.stages import tts_flite
from legato.audio.convert import OutgoingAudio
from legato.bench.processes import BenchError
from legato.core.dialects.realtime.formats import PCM

__all__ = ["SILENCE_MS", "Turns", "measure_turns"]

SILENCE_MS = 500
"""What the session is configured to take for the end of a turn; the API's default."""

_SENTENCES = ("What time is it now?", "Tell me a long story.", "Set a timer for two minutes.")
_FRAME_MS = 20
_FRAME_BYTES = PCM.rate * _FRAME_MS // 1000 * 2
_BEFORE_MS, _AFTER_MS = 300, 1200
_PATIENCE_S = 30.0

_SETUP = {
    "type": "session.update",
    "session": {
        "type": "realtime",
        "audio": {
            "input": {
                "turn_detection": {
                    "type": "server_vad",
                    "silence_duration_ms": SILENCE_MS,
                    "create_response": False,
                }
            }
        },
    },
}


@dataclass(slots=True)
class Turns:
    """What was seen, in milliseconds: for each turn how long after the append that completed the silence
    `speech_stopped` came, and how late the caller itself was with that append."""

    delays_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)


async def measure_turns(port: int, certificate: str, calls: int, turns: int) -> Turns:
    """Hold some calls at once with some turns each. Raises `BenchError` if a turn is not heard to end."""
    speech = [await _spoken(sentence) for sentence in _SENTENCES]
    context = ssl.create_default_context(cafile=certificate)
    seen = Turns()
    try:
        async with asyncio.timeout(_PATIENCE_S + turns * 6), asyncio.TaskGroup() as group:
            for number in range(calls):
                group.create_task(_call(port, context, _script(speech, number, turns), seen))
    except (TimeoutError, ExceptionGroup) as error:
        raise BenchError(f"a call broke off: {error}") from None
    if len(seen.delays_ms) < calls * turns:
        raise BenchError(f"{len(seen.delays_ms)} of {calls * turns} turns were heard to end")
    return seen


async def _spoken(sentence: str) -> bytes:
    """Return a sentence as PCM of whole frames."""
    coder, pcm = OutgoingAudio(PCM), bytearray()
    async for piece in tts_flite.build(AssistantSettings.model_validate({})).speak(sentence):
        for payload, _ in coder.convert(piece.pcm, piece.rate):
            pcm += payload
    for payload, _ in coder.flush():
        pcm += payload
    return bytes(pcm) + bytes(-len(pcm) % _FRAME_BYTES)


def _script(speech: list[bytes], number: int, turns: int) -> bytes:
    """Return everything one caller says; their turns do not coincide."""
    said = bytearray(_quiet(_BEFORE_MS + number * 130))
    for turn in range(turns):
        said += speech[(number + turn) % len(speech)] + _quiet(_AFTER_MS)
    return bytes(said)


def _quiet(milliseconds: int) -> bytes:
    return bytes(milliseconds // _FRAME_MS * _FRAME_BYTES)


async def _call(port: int, context: ssl.SSLContext, script: bytes, seen: Turns) -> None:
    url = f"wss://127.0.0.1:{port}/v1/realtime?model=bench"
    async with connect(url, ssl=context, compression=None, max_size=None, proxy=None) as connection:
        await connection.recv()
        await connection.send(json.dumps(_SETUP))
        sent_ns: list[tuple[int, int]] = []  # when each frame was sent, and was due
        listening = asyncio.create_task(_listen(connection, sent_ns, seen))
        start = time.monotonic_ns()
        for at in range(0, len(script), _FRAME_BYTES):
            due = start + at // _FRAME_BYTES * _FRAME_MS * 1_000_000
            await asyncio.sleep((due - time.monotonic_ns()) / 1e9)
            audio = base64.b64encode(script[at : at + _FRAME_BYTES]).decode()
            sent_ns.append((time.monotonic_ns(), due))
            await connection.send(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')
        await asyncio.sleep(SILENCE_MS / 1000)
    await listening


async def _listen(connection: ClientConnection, sent_ns: list[tuple[int, int]], seen: Turns) -> None:
    async for message in connection:
        now = time.monotonic_ns()
        event = json.loads(message)
        if event["type"] == "error":
            raise BenchError(f"the server refused: {event['error']['message']}")
        if event["type"] == "input_audio_buffer.speech_stopped":
            # The append that holds the last sample of the silence.
            sent, due = sent_ns[max(0, event["audio_end_ms"] - 1) // _FRAME_MS]
            seen.delays_ms.append((now - sent) / 1e6)
            seen.late_ms.append((sent - due) / 1e6)
