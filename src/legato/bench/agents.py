"""Agents that answer a benchmark's question from within the server.

Owns what the server's side of `connect` and `stream` says; must not know how it is measured. Named on the
command line as `legato.bench.agents:first_audio` and `legato.bench.agents:bulk`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from legato.agents.base import Agent, Call
from legato.agents.settings import AssistantSettings
from legato.core.audio import AudioFormat, AudioFrame

__all__ = ["BULK_BYTES", "BULK_FORMAT", "FIRST_AUDIO", "bulk", "first_audio"]

FIRST_AUDIO = "bench.first_audio"
"""Type of the event that tells when the first audio came: `at_ns` on CLOCK_MONOTONIC."""

BULK_BYTES = 20_000_000
BULK_FORMAT = AudioFormat("pcm16", 24_000)
_PIECE = bytes(48_000)
"""One second of speech."""


def first_audio(settings: AssistantSettings) -> Agent:
    """Build an agent that says when a call's first audio reached it."""

    async def agent(call: Call) -> None:
        async for _ in call.audio:
            call.send({"type": FIRST_AUDIO, "at_ns": time.monotonic_ns()})
            break
        async for _ in call.audio:
            pass

    return agent


def bulk(settings: AssistantSettings) -> Agent:
    """Build an agent that says 20 MB of PCM each time the caller sends a `bench.more` event."""

    async def speech() -> AsyncIterator[AudioFrame]:
        for start in range(0, BULK_BYTES, len(_PIECE)):
            piece = _PIECE[: BULK_BYTES - start]
            yield AudioFrame.of(start // 2, 0, piece, BULK_FORMAT)

    async def agent(call: Call) -> None:
        async for event in call.events:
            if event["type"] == "bench.more":
                call.say(speech())

    return agent
