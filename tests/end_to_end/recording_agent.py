"""An agent for servers that are processes of their own: it writes down what it hears, and talks once.

Must not know tests. What it hears goes into the directory of the variable HEARD, one file for each process:
records of position, length and payload, written as they come, so that nothing is lost when the process dies.
"""

import os
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path

from legato import AudioFrame, Call, Speech

REPLY_SECONDS = 5
REPLY = random.Random(7).randbytes(2 * 24_000 * REPLY_SECONDS)
"""Sounds like nothing else."""

HEAD = struct.Struct("<QI")


async def speech() -> AsyncIterator[Speech]:
    """The reply, in tenths of a second."""
    for start in range(0, len(REPLY), 4_800):
        yield Speech(REPLY[start : start + 4_800], 24_000)


def build(_settings: object) -> object:
    """What `legato serve --agent` asks for."""
    place = Path(os.environ["HEARD"]) / f"{os.getpid()}"

    async def agent(call: Call) -> None:
        if not call.rebuilt:
            call.say(speech())
        with place.open("ab", buffering=0) as heard:
            async for piece in call.audio:
                payload = piece.payload if isinstance(piece, AudioFrame) else b""
                start = piece.offset if isinstance(piece, AudioFrame) else piece.start
                heard.write(HEAD.pack(start, len(payload)) + payload)

    return agent


def read(place: Path) -> list[tuple[int, bytes]]:
    """What a process has written: positions and payloads. A record that was cut off is left out."""
    data, found, at = place.read_bytes(), [], 0
    while at + HEAD.size <= len(data):
        start, size = HEAD.unpack_from(data, at)
        at += HEAD.size + size
        if at <= len(data):
            found.append((start, data[at - size : at]))
    return found
