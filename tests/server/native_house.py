"""A server's native door in memory, and callers who come to it, are cut off and come back."""

import asyncio
from typing import Any

import msgspec
from tests.server.calls import ANYONE, OF_INTEREST, Caller, Incoming, hello

from legato.agents.base import Agent
from legato.core.client_session import ClientSession
from legato.core.events import ConnectionLost, Welcomed
from legato.core.wire.messages import Hello, Welcome
from legato.server.auth import Authority
from legato.server.native_door import NativeDoor
from legato.server.resuming import Resuming
from legato.server.sessions import CallTerms, LiveCalls
from legato.session_driver import SessionDriver, monotonic_us
from legato.transports.base import Handler, Transport
from legato.transports.memory import MemoryTransport, memory_pair


class House:
    """A server's native door, and those who come to it."""

    def __init__(self, agent: Agent, authority: Authority = ANYONE, **options: Any) -> None:
        self.calls = LiveCalls(CallTerms(agent))
        most = options.pop("most_calls", None)
        self.door = NativeDoor(self.calls, authority, Resuming(**options), most)
        self.ends: dict[int, tuple[MemoryTransport, MemoryTransport]] = {}

    def call(self, session: ClientSession) -> Caller:
        incoming = Incoming()
        self.door.open(incoming)
        assert incoming.make is not None
        caller = Caller(session)

        def bind(transport: Transport) -> Handler:
            reactions = dict.fromkeys((*OF_INTEREST, ConnectionLost), caller.react)
            caller.driver = SessionDriver(caller.session, transport, reactions)
            return caller.driver

        self.ends[id(caller)] = memory_pair(bind, incoming.make)
        caller.driver.settle()
        return caller

    async def dial(self, greeting: Hello | None = None) -> Caller:
        caller = self.call(ClientSession(greeting or hello(), monotonic_us()))
        await caller.until(lambda: "session.created" in caller.types)
        return caller

    def lose(self, caller: Caller) -> None:
        """Cut the caller's connection without a word."""
        for end in self.ends.pop(id(caller)):
            end._end("transport", 0, "gone")

    def redial(self, before: Caller, **changes: Any) -> Caller:
        """Come back; `changes` are members of the hello."""
        resume = before.session.resume_request()
        greeting = msgspec.structs.replace(before.session.hello, **({"resume": resume} | changes))
        after = self.call(ClientSession(greeting, monotonic_us(), continues=before.session))
        after.playback, after.items = before.playback, before.items
        return after


def welcome(caller: Caller) -> Welcome:
    return next(event.welcome for event in caller.events if isinstance(event, Welcomed))


async def turns() -> None:
    """Let the loop deliver what is on its way between two ends in memory."""
    for _ in range(30):
        await asyncio.sleep(0)


async def welcomed(caller: Caller) -> Welcome:
    await caller.until(lambda: any(isinstance(event, Welcomed) for event in caller.events))
    return welcome(caller)
