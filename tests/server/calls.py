"""A caller and a server's live calls joined in memory: what the tests of this room share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from legato.agents.base import Agent, Call, Speech
from legato.client.playback import PlaybackBuffer, PlayedItem
from legato.core.audio import AudioFormat
from legato.core.client_session import ClientSession
from legato.core.events import (
    Draining,
    EventReceived,
    Flushed,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SessionEnded,
    Welcomed,
)
from legato.core.wire.messages import Capabilities, Hello, Playback
from legato.server.auth import Authority
from legato.server.native_door import NativeDoor
from legato.server.sessions import CallTerms, LiveCalls
from legato.server.settings import ServerSettings
from legato.session_driver import SessionDriver, monotonic_us
from legato.transports.base import Handler, Transport
from legato.transports.memory import memory_pair

OF_INTEREST = (Draining, EventReceived, Flushed, ReplyAudio, ReplyEnded, ReplyStarted, SessionEnded, Welcomed)
PCM = AudioFormat("pcm16", 24_000)
SECOND = (bytes(range(256)) * 188)[: 2 * PCM.rate]
INPUT = AudioFormat("pcm16", 16_000)
ANYONE = Authority(ServerSettings.model_validate({"auth": {"required": False}}))


@dataclass
class Incoming:
    """What a listener would hand to the server."""

    path: str = "/legato/v1"
    authority: str = "localhost"
    origin: str | None = None
    remote: str = "caller"
    headers: tuple[tuple[str, str], ...] = ()
    status: int | None = None
    make: Callable[[Transport], Handler] | None = None

    def accept(self, handler: Callable[[Transport], Handler]) -> Transport:
        self.make = handler
        return None  # type: ignore[return-value]

    def reject(self, status: int, headers: object = ()) -> None:
        self.status = status


@dataclass
class Caller:
    """A client session whose player is pulled by hand."""

    session: ClientSession
    driver: SessionDriver[ClientSession] = None  # type: ignore[assignment]
    events: list[object] = field(default_factory=list)
    dialect: list[dict[str, object]] = field(default_factory=list)
    playback: PlaybackBuffer = field(default_factory=lambda: PlaybackBuffer(PCM.rate))
    items: dict[int, PlayedItem] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def types(self) -> list[str]:
        return [str(event["type"]) for event in self.dialect]

    @property
    def whole(self) -> int:
        """How many replies have arrived to their end."""
        return sum(isinstance(event, ReplyEnded) for event in self.events)

    @property
    def ended(self) -> SessionEnded | None:
        return next((event for event in self.events if isinstance(event, SessionEnded)), None)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def react(self, event: object) -> None:
        self.events.append(event)
        if isinstance(event, EventReceived):
            self.dialect.append(event.event)
        elif isinstance(event, ReplyStarted):
            header = event.header
            item = self.playback.begin(header.item_id, header.content_index, header.generation)
            if item is not None:
                self.items[header.generation] = item
        elif isinstance(event, ReplyAudio) and event.generation in self.items:
            self.playback.append(self.items[event.generation], event.payload)
        elif isinstance(event, ReplyEnded) and event.generation in self.items:
            self.playback.complete(self.items[event.generation])
        elif isinstance(event, Flushed):
            self.playback.flush(event.generation, event.first)
            self.report()
        self.changed.set()

    def play(self, milliseconds: int) -> bytes:
        """Let the loudspeaker run and report."""
        pcm = self.playback.pull(PCM.rate * milliseconds // 1000)
        self.report()
        self.driver.settle()
        return pcm

    def report(self) -> None:
        current = self.playback.current
        due = self.playback.changes()
        for item in [*due, *([current] if current is not None and current not in due else [])]:
            self.session.report_playback(
                Playback(
                    item_id=item.item_id,
                    content_index=item.content_index,
                    generation=item.generation,
                    played=item.played,
                    buffered=item.buffered,
                    underruns=item.underruns,
                    state=item.state,
                ),
                self.driver.clock(),
            )

    def speak(self, pcm: bytes) -> None:
        self.session.send_audio(pcm, self.driver.clock(), self.driver.clock())
        self.driver.settle()


def hello(**changes: object) -> Hello:
    words: dict[str, object] = {
        "input": INPUT,
        "output": (PCM,),
        "capabilities": Capabilities(playback_reports=True, resume=True),
    }
    return Hello(**{**words, **changes})  # type: ignore[arg-type]


async def speech(*texts: str, seconds: int = 1) -> AsyncIterator[Speech]:
    """Each text as sound of that length."""
    for text in texts:
        yield Speech(SECOND * seconds, PCM.rate, text)


async def dial(
    agent: Agent,
    greeting: Hello | None = None,
    lead_ms: int = 10_000,
    authority: Authority | None = None,
) -> tuple[Caller, LiveCalls]:
    """Start a call with `agent`; its limits are the defaults."""
    calls = LiveCalls(CallTerms(agent, lead_ms=lead_ms))
    incoming = Incoming()
    NativeDoor(calls, authority or ANYONE).open(incoming)
    assert incoming.make is not None
    caller = Caller(ClientSession(greeting or hello(), monotonic_us()))

    def bind(transport: Transport) -> Handler:
        caller.driver = SessionDriver(caller.session, transport, dict.fromkeys(OF_INTEREST, caller.react))
        return caller.driver

    memory_pair(bind, incoming.make)
    caller.driver.settle()
    return caller, calls


class Held:
    """An agent that hands its call to the test and waits until told to return."""

    call: asyncio.Future[Call]

    def __init__(self) -> None:
        self.await_another()
        self.release = asyncio.Event()

    def await_another(self) -> None:
        """The next call is another one."""
        self.call = asyncio.get_running_loop().create_future()

    async def __call__(self, call: Call) -> None:
        self.call.set_result(call)
        await self.release.wait()
