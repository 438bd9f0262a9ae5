"""What one client said and heard, verbatim, and what is true of every conversation.

Taps a connection of the `openai` package at the two methods through which everything goes; what a test does
with the connection stays the package's own code.
"""

import asyncio
import base64
import json
from collections.abc import Iterable
from typing import Any

from legato.core.dialects.realtime.vocabulary import SERVER_EVENTS
from legato.testing.realtime import check_server_events

Event = dict[str, Any]

LIMIT_S = 90
"""Longest wait for an event."""


class Recording:
    """Client events and server events of one conversation, each in order."""

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.events: list[Event] = []

    def of(self, kind: str) -> list[Event]:
        """All server events of a type."""
        return [event for event in self.events if event["type"] == kind]

    def the(self, kind: str) -> Event:
        """The only server event of a type."""
        (event,) = self.of(kind)
        return event

    @property
    def audio(self) -> bytes:
        """All audio that came."""
        return b"".join(base64.b64decode(event["delta"]) for event in self.of("response.output_audio.delta"))

    def joined(self, kind: str) -> str:
        """The text of all deltas of a type."""
        return "".join(event["delta"] for event in self.of(kind))

    def kinds(self) -> set[str]:
        """Every type of server event that came."""
        return {event["type"] for event in self.events}

    def sent_kinds(self) -> set[str]:
        """Every type of client event that was sent."""
        return {event["type"] for event in self.sent}

    def check(self, errors: int = 0, ended: bool = True) -> None:
        """Judge members and order, and that there were as many errors as there should be."""
        check_server_events(self.events, ended=ended)
        told = self.of("error")
        assert len(told) == errors, told
        assert self.kinds() <= {name for name, entry in SERVER_EVENTS.items() if entry.treatment == "handled"}


class Tapped(Recording):
    """The recording of a connection of the asynchronous `openai` client, and ways to wait for what comes."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self.connection = connection
        receive, send = connection.recv_bytes, connection.send

        async def recv_bytes() -> bytes:
            data: bytes = await receive()
            self.events.append(json.loads(data))
            return data

        async def tapped_send(event: Any) -> None:
            self.sent.append(dict(event))
            await send(event)

        connection.recv_bytes, connection.send = recv_bytes, tapped_send

    async def until(self, *kinds: str) -> Any:
        """Receive until an event of one of these types comes, and return it as the package reads it."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                event = await self.connection.recv()
                if event.type in kinds:
                    return event

    async def append(self, pcm: bytes, piece: int = 9600) -> None:
        """Send audio, in pieces of 200 ms unless told otherwise."""
        for part in pieces(pcm, piece):
            await self.connection.input_audio_buffer.append(audio=part)


def pieces(pcm: bytes, piece: int = 9600) -> Iterable[str]:
    """Audio in base64, in pieces."""
    for start in range(0, len(pcm), piece):
        yield base64.b64encode(pcm[start : start + piece]).decode()
