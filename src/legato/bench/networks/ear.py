"""The agent at the far end of a measured call: writes down what it hears and when, and talks when asked.

Owns what is known at the server: the moment of every frame, the audio itself, and what the ledger says was
heard of each reply. Kept in files, because the network that is measured must not carry the account as well.
It must not know which network or transport it is.

Served by `legato serve --agent legato.bench.networks.ear:build`; `EAR_FOLDER` is where the files go.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import time
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from legato.agents.base import Agent, Call, Speech
from legato.agents.settings import AssistantSettings
from legato.audio.convert import IncomingAudio
from legato.audio.wav import write_wav
from legato.bench.networks.track import RATE
from legato.core.audio import AudioGap

__all__ = ["DONE", "FOLDER", "FOR_NAME", "OVER", "REPLY", "TICK", "TICK_S", "build"]

FOLDER = "EAR_FOLDER"
"""The variable of the environment that names the folder."""

FOR_NAME = "bench.name"
REPLY = "bench.reply"
"""From the client: say something for `seconds`."""
OVER = "bench.over"
"""From the client: the last of `samples` was captured; keep the account when it has come."""
TICK = "bench.tick"
"""To the client, every `TICK_S`: `at_us` on CLOCK_MONOTONIC, which both places share."""
DONE = "bench.done"
"""To the client: the account is written."""

TICK_S = 0.04
REPLY_RATE = 24_000
PIECE_MS = 100
SPEED = 4
"""How much faster than it is spoken a reply is made, as synthesisers of today do."""


def build(settings: AssistantSettings) -> Agent:
    """Build the agent."""
    folder = Path(os.environ[FOLDER])

    async def agent(call: Call) -> None:
        await _Ear(call, folder).attend()

    return agent


class _Ear:
    """One call."""

    def __init__(self, call: Call, folder: Path) -> None:
        self._call = call
        self._folder = folder
        self._name = ""
        self._frames: list[tuple[int, int, int]] = []
        self._gaps: list[tuple[int, int]] = []
        self._pcm = bytearray()
        self._payloads = hashlib.sha256()
        self._replies: list[dict[str, Any]] = []
        self._received = 0
        self._following: set[asyncio.Task[None]] = set()
        self._target: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._progress = asyncio.Event()

    async def attend(self) -> None:
        tasks = [asyncio.create_task(work()) for work in (self._listen, self._obey, self._tick)]
        try:
            target = await self._target
            while self._received < target:
                self._progress.clear()
                await self._progress.wait()
            self._write()
            self._call.send({"type": DONE})
            # Until the caller hangs up.
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()

    async def _listen(self) -> None:
        incoming = IncomingAudio(self._call.input_format, RATE)
        async for piece in self._call.audio:
            now = time.monotonic_ns() // 1000
            self._pcm += incoming.take(piece)
            if isinstance(piece, AudioGap):
                self._gaps.append((piece.start, piece.samples))
                self._received = piece.start + piece.samples
            else:
                self._frames.append((piece.offset, piece.captured_us, now))
                self._payloads.update(piece.payload)
                self._received = piece.offset + piece.samples
            self._progress.set()

    async def _obey(self) -> None:
        async for event in self._call.events:
            if event["type"] == FOR_NAME:
                self._name = event["name"]
            elif event["type"] == REPLY:
                self._reply(event["seconds"])
            elif event["type"] == OVER and not self._target.done():
                self._target.set_result(event["samples"])

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._call.send({"type": TICK, "at_us": time.monotonic_ns() // 1000})

    def _reply(self, seconds: float) -> None:
        utterance = self._call.say(_noise(seconds))
        account = {"asked_us": time.monotonic_ns() // 1000, "heard_ms": 0, "settled": False}
        self._replies.append(account)

        async def follow() -> None:
            await utterance.finished
            account.update(heard_ms=utterance.heard_ms, settled=True, interrupted=utterance.interrupted)

        following = asyncio.get_running_loop().create_task(follow())
        self._following.add(following)
        following.add_done_callback(self._following.discard)

    def _write(self) -> None:
        write_wav(self._folder / f"{self._name}.wav", bytes(self._pcm), RATE)
        account = {
            "frames": self._frames,
            "gaps": self._gaps,
            "received": self._received,
            "sha256": self._payloads.hexdigest(),
            "replies": self._replies,
        }
        (self._folder / f"{self._name}.json").write_text(json.dumps(account))


async def _noise(seconds: float) -> AsyncIterator[Speech]:
    """Something that is never silent, made `SPEED` times as fast as it sounds."""
    chance = random.Random(1)
    piece = array(
        "h", (chance.choice((-1, 1)) * chance.randint(2_000, 6_000) for _ in range(REPLY_RATE // 10))
    )
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(round(seconds * 1000 / PIECE_MS)):
        await asyncio.sleep(started + number * PIECE_MS / 1000 / SPEED - loop.time())
        yield Speech(piece.tobytes(), REPLY_RATE)
