"""A caller who is loud or silent, and a listener with stages that do what the test says."""

import asyncio
from dataclasses import dataclass, field

import msgspec

from legato.agents.listener import (
    Heard,
    Listener,
    SpeechStarted,
    SpeechStopped,
)
from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import NO_HINTS, Detection, Hints, SpeechEvent, SpeechToTextCapabilities
from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.dialects.realtime.turn_detection import ServerVad, TurnDetection
from legato.testing.call import MemoryCall

RATE = 16_000
QUICK = ServerVad(silence_duration_ms=200)


class LoudIsSpeech:
    """Every block of 320 samples that begins with a loud one is speech; it ends with ten quiet ones (200 ms),
    whatever the settings say."""

    def __init__(self) -> None:
        self.position = 0
        self.speaking = False
        self.skipped = 0
        self._waiting = b""
        self._quiet = 0

    def open(self, detection: Detection) -> "LoudIsSpeech":
        self.detection = detection
        return self

    def adjust(self, detection: Detection) -> None:
        self.detection = detection

    async def close(self) -> None:
        pass

    def feed(self, pcm: bytes) -> list[SpeechEvent]:
        self._waiting += pcm
        events = []
        while len(self._waiting) >= 640:
            block, self._waiting = self._waiting[:640], self._waiting[640:]
            self.position += 320
            loud = block[1] != 0
            self._quiet = 0 if loud else self._quiet + 1
            if loud and not self.speaking:
                self.speaking = True
                events.append(SpeechEvent("started", max(0, self.position - 320 - 1_600)))
            elif self.speaking and self._quiet == 10:
                self.speaking = False
                events.append(SpeechEvent("stopped", self.position - 3_200))
        return events

    def skip(self, samples: int) -> list[SpeechEvent]:
        self.skipped += samples
        self.position += samples
        return []


@dataclass
class Remembers:
    """Recognition that keeps what it was fed; fails, at once (`broken`) or at the end, or waits if told."""

    capabilities = SpeechToTextCapabilities(partials=True)
    heard: list[bytearray] = field(default_factory=list)
    closed: int = 0
    error: Exception | None = None
    broken: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    partial: str = "so far"

    def open(self, caller: str = "", hints: Hints = NO_HINTS) -> "_Remembering":
        assert caller == "memory"
        self.hints = hints
        self.heard.append(bytearray())
        return _Remembering(self, len(self.heard) - 1)

    async def warm(self) -> None:
        pass

    async def close(self) -> None:
        pass


class _Remembering:
    def __init__(self, owner: Remembers, place: int) -> None:
        self.owner, self.place = owner, place

    async def feed(self, pcm: bytes) -> str | None:
        await self.owner.gate.wait()
        if self.owner.broken is not None:
            raise self.owner.broken
        self.owner.heard[self.place] += pcm
        return self.owner.partial

    async def finish(self) -> str:
        if self.owner.error is not None:
            raise self.owner.error
        return f"text {self.place + 1}"

    async def close(self) -> None:
        self.owner.closed += 1


class Scene:
    """A call, a listener on it, and what it told."""

    def __init__(
        self, form: AudioFormat | None = None, turns: TurnDetection | None = QUICK, **settings: int
    ) -> None:
        session = msgspec.structs.replace(SessionSettings.of(), turn_detection=turns)
        self.call = MemoryCall(form or AudioFormat("pcm16", RATE), settings=session)
        self.activity, self.recognition = LoudIsSpeech(), Remembers()
        self.recognition.gate.set()
        self.told: list[Heard] = []
        self._news = asyncio.Event()
        self.listener = Listener(
            self.call, (self.activity, self.recognition), AssistantSettings(**settings), self.tell
        )
        self.running = asyncio.create_task(self.listener.run())

    def tell(self, heard: Heard) -> None:
        self.told.append(heard)
        self._news.set()

    def of(self, kind: type) -> list:
        return [heard for heard in self.told if isinstance(heard, kind)]

    async def until(self, kind: type, count: int = 1) -> None:
        while len(self.of(kind)) < count:
            self._news.clear()
            await self._news.wait()

    async def settled(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def end(self) -> None:
        self.call.end()
        await self.running


def ms_of(heard: SpeechStarted | SpeechStopped, rate: int = RATE) -> float:
    return heard.position * 1000 / rate


def silence(ms: int) -> bytes:
    return bytes(2 * RATE * ms // 1000)


def voice(ms: int) -> bytes:
    return b"\x00\x11" * (RATE * ms // 1000)
