"""The near end of a measured call: speaks in real time, asks for replies, listens, interrupts.

Owns what is known at the client: what was captured, when each tick and each sound of a reply came, where the
loudspeaker had nothing to play. It must not know the network. Runs as a process in the client's place,
several calls at once; prints one JSON object per line: "up" when all are connected, then "result".

    python -m legato.bench.networks.caller TRACKS CALLS TRANSPORT URL CERTIFICATE_SHA256 CONGESTION LATE_MS

The key to show is in EAR_KEY, so that no list of processes has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from legato.bench.networks.congestion import choose
from legato.bench.networks.ear import DONE, FOR_NAME, OVER, REPLY, TICK
from legato.bench.networks.track import BLOCK, RATE, Track
from legato.client.devices import BLOCK_MS, VirtualSpeaker
from legato.client.events import PlaybackChanged, Resumed, ServerEvent
from legato.client.session import RealtimeSession, connect
from legato.client.settings import ClientSettings
from legato.core.audio import AudioFormat
from legato.core.errors import LegatoError

__all__ = ["REPLY_AT_S", "REPLY_S", "main"]

Carrier: TypeAlias = Literal["webtransport", "websocket"]

KEY = "EAR_KEY"
REPLY_AT_S = 1.95
"""When the reply is asked for; it begins to sound at about 2 s of the story."""
REPLY_S = 8.0
INTERRUPT_AFTER_S = 1.5
"""How much of the last reply is heard before it is interrupted."""
QUIET_S = 0.6
"""How long is listened for stale sound after an interruption."""
PATIENCE_S = 90.0
CONNECT_S = 60.0
STAGGER_S = 0.037
"""Between the calls' clocks, so that their frames do not leave together."""


def _now_us() -> int:
    return time.monotonic_ns() // 1000


@dataclass(slots=True)
class Heard:
    """What the loudspeaker played of one reply, by the client's clock (microseconds)."""

    asked_us: int
    first_us: int | None = None
    last_us: int | None = None
    silent_ms: float = 0.0
    """Silence between its first and its last sound."""
    sound_ms: float = 0.0
    interrupted_us: int | None = None
    stale_blocks: int = 0
    """Blocks with sound that were handed to the loudspeaker after the interruption."""
    played_ms: float | None = None
    """By the client's own player, of an interrupted reply."""
    skipped_ms: float = 0.0
    """What the player left out of it because it came too late."""
    gaps: list[tuple[int, float]] = field(default_factory=list)
    _pending: float = 0.0

    def play(self, pcm: bytes, rate: int, now: int) -> None:
        """Take a block as played at `now`."""
        silent = (len(pcm) - len(pcm.rstrip(b"\0"))) // 2 * 1000 / rate
        sounding = len(pcm) // 2 * 1000 / rate - silent
        if sounding:
            if self.interrupted_us is not None:
                self.stale_blocks += 1
            self.first_us = self.first_us or now
            if self._pending:
                self.gaps.append((now, self._pending))
            self.silent_ms += self._pending
            self.last_us, self._pending = now, 0.0
            self.sound_ms += sounding
        if self.first_us is not None:
            self._pending += silent

    def account(self) -> dict[str, Any]:
        """Return it for the result."""
        return {name: getattr(self, name) for name in self.__slots__ if not name.startswith("_")}


class Caller:
    """One call."""

    def __init__(self, number: int, track: Track, url: str, settings: ClientSettings) -> None:
        self.name = f"call-{number}"
        self._track = track
        self._rate = settings.output[0].rate
        self._replies: list[Heard] = []
        self._ticks: list[tuple[int, int]] = []
        self._resumed: list[dict[str, Any]] = []
        self._late_us: list[int] = []
        self._heard_out = False
        self._done = asyncio.Event()
        self._dialled_us = self._started_us = _now_us()
        self._session: RealtimeSession = connect(url, settings, VirtualSpeaker(self._played))
        self._session.send({"type": FOR_NAME, "name": self.name})
        # Said before there is a connection, to see when it arrives.
        self._session.send_audio(track.pcm[: 2 * BLOCK], self._dialled_us)
        self._tasks = [asyncio.create_task(self._read())]

    async def ready(self) -> None:
        """Wait until the call is up."""
        await self._session.ready()

    async def converse(self) -> dict[str, Any]:
        """Hold the conversation; returns the account of it, with "failed" if it came to nothing."""
        failed = ""
        self._started_us = _now_us()
        speaking = asyncio.create_task(self._speak())
        self._tasks.append(speaking)
        try:
            async with asyncio.timeout(len(self._track.pcm) / 2 / RATE + PATIENCE_S):
                await asyncio.sleep(REPLY_AT_S)
                self._ask()
                await speaking
                await self._until(lambda: self._heard_out)
                await self._interrupt()
                self._session.send({"type": OVER, "samples": self._session.captured_samples})
                await self._done.wait()
        except (LegatoError, TimeoutError) as error:
            failed = str(error) or "it took too long"
        for task in self._tasks:
            task.cancel()
        captured = self._session.captured_samples
        with contextlib.suppress(LegatoError):
            await self._session.close()
        return {
            "name": self.name,
            "failed": failed,
            "dialled_us": self._dialled_us,
            "started_us": self._started_us,
            "captured": captured,
            "replies": [reply.account() for reply in self._replies],
            "ticks": self._ticks,
            "resumed": self._resumed,
            "late_us": self._late_us,
            "transport": self._session.transport,
        }

    def _ask(self) -> None:
        self._replies.append(Heard(_now_us()))
        self._session.send({"type": REPLY, "seconds": REPLY_S})

    async def _interrupt(self) -> None:
        self._ask()
        await self._until(lambda: self._replies[1].sound_ms >= 1000 * INTERRUPT_AFTER_S)
        reply = self._replies[1]
        reply.interrupted_us = _now_us()
        self._session.interrupt()
        await asyncio.sleep(QUIET_S)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._session.ended is not None:
                raise self._session.ended
            await asyncio.sleep(BLOCK_MS / 1000)

    async def _speak(self) -> None:
        """Say the track in real time, behind the block that was said at the very beginning."""
        start = self._started_us
        for at in range(2 * BLOCK, len(self._track.pcm), 2 * BLOCK):
            captured = start + at // 2 * 1_000_000 // RATE
            due = captured + BLOCK_MS * 1000 - _now_us()
            if due > 0:
                await asyncio.sleep(due / 1e6)
            # A process that woke late was not late to capture: a microphone has a thread of its own.
            now = _now_us()
            self._late_us.append(now - captured - BLOCK_MS * 1000)
            self._session.send_audio(self._track.pcm[at : at + 2 * BLOCK], now - BLOCK_MS * 1000)

    async def _read(self) -> None:
        async for event in self._session.events:
            if isinstance(event, ServerEvent) and event.type == TICK:
                self._ticks.append((event.event["at_us"], event.at_us))
            elif isinstance(event, ServerEvent) and event.type == DONE:
                self._done.set()
            elif isinstance(event, Resumed):
                self._resumed.append(
                    {
                        "at_us": event.at_us,
                        "same": event.welcome.resumed,
                        "gap_ms": event.gap_ms,
                        "lost_samples": event.lost_samples,
                    }
                )
            elif isinstance(event, PlaybackChanged):
                self._note(event)

    def _note(self, event: PlaybackChanged) -> None:
        reply = self._replies[-1]
        reply.skipped_ms = event.skipped * 1000 / self._rate
        if event.state == "done":
            self._heard_out = True
        elif event.state == "stopped":
            reply.played_ms = event.played * 1000 / self._rate

    def _played(self, pcm: bytes) -> None:
        if self._replies:
            self._replies[-1].play(pcm, self._rate, _now_us())


async def _calls(
    tracks: Path, count: int, transport: Carrier, url: str, sha256: str, late_ms: int | None
) -> None:
    settings = ClientSettings(
        profile="turn" if late_ms is None else "duplex",
        late_ms=late_ms,
        input=AudioFormat("opus", RATE),
        output=(AudioFormat("opus", 24_000),),
        transport=transport,
        certificate_hashes=(bytes.fromhex(sha256),),
        token=os.environ[KEY],
        connect_timeout_s=CONNECT_S,
    )
    callers: list[Caller] = []
    for number in range(count):
        callers.append(Caller(number, Track.load(tracks, f"call-{number}"), url, settings))
        await asyncio.sleep(STAGGER_S)
    await asyncio.gather(*(caller.ready() for caller in callers))
    print(json.dumps({"step": "up"}), flush=True)
    accounts = await asyncio.gather(*(caller.converse() for caller in callers))
    print(json.dumps({"step": "result", "calls": accounts}), flush=True)


def main(tracks: str, calls: str, transport: Carrier, url: str, sha256: str, late_ms: str) -> None:
    """Hold the calls."""
    late = None if late_ms == "-" else int(late_ms)
    try:
        asyncio.run(_calls(Path(tracks), int(calls), transport, url, sha256, late))
    except LegatoError as error:
        print(json.dumps({"step": "failed", "why": str(error)}), flush=True)


if __name__ == "__main__":
    if sys.argv[6] != "-":
        choose(sys.argv[6])
    carrier: Carrier = "webtransport" if sys.argv[3] == "webtransport" else "websocket"
    main(sys.argv[1], sys.argv[2], carrier, sys.argv[4], sys.argv[5], sys.argv[7])
