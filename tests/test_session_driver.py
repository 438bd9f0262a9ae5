"""The loop between a session and a transport: order, deadlines, back pressure, and errors on either side."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import pytest

from legato.core.audio import AudioFormat
from legato.core.client_session import ClientSession
from legato.core.errors import TransportError
from legato.core.events import EventReceived, HelloReceived, SessionEnded, Welcomed
from legato.core.server_session import ServerSession
from legato.core.terms import Terms
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Hello, Limits
from legato.session_driver import HIGH_WATER_BYTES, Reactions, SessionDriver, monotonic_us
from legato.transports.base import Handler, Transport
from legato.transports.memory import MemoryTransport, memory_pair

PCM = AudioFormat("pcm16", 16_000)


class Sides:
    """A client and a server that accepts, joined in memory."""

    def __init__(self, **reactions: Callable[[Any], None]) -> None:
        self.heard: list[object] = []
        self.changed = asyncio.Event()
        self.client = ClientSession(Hello(input=PCM, output=(PCM,)), monotonic_us())
        self.server = ServerSession(monotonic_us())
        near: dict[type, Callable[[Any], None]] = dict.fromkeys(
            (EventReceived, SessionEnded, Welcomed), self.note
        )
        far: dict[type, Callable[[Any], None]] = {
            HelloReceived: self.accept,
            EventReceived: reactions.get("event", self.note),
            SessionEnded: self.note,
        }
        self.transports = memory_pair(self._bind(self.client, near), self._bind(self.server, far))
        self.near, self.far = (cast(SessionDriver, transport.handler) for transport in self.transports)
        self.near.settle()

    @staticmethod
    def _bind(session: ClientSession | ServerSession, reactions: Reactions) -> Callable[[Transport], Handler]:
        return lambda transport: SessionDriver(session, transport, reactions)

    def accept(self, _: HelloReceived) -> None:
        self.server.accept(Terms(session_id="s", output=PCM, profile="turn", lead_ms=1000), monotonic_us())

    def note(self, event: object) -> None:
        self.heard.append(event)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def kinds(self) -> list[type]:
        return [type(event) for event in self.heard]

    def ends(self) -> list[tuple[str, int]]:
        return [(event.by, event.code) for event in self.heard if isinstance(event, SessionEnded)]


async def test_a_call_is_taken_and_events_pass() -> None:
    sides = Sides()
    await sides.until(lambda: Welcomed in sides.kinds())
    sides.client.send_event({"type": "hi"}, 0)
    sides.near.settle()
    await sides.until(lambda: EventReceived({"type": "hi"}) in sides.heard)


async def test_a_deadline_is_kept() -> None:
    lonely: list[SessionEnded] = []
    ended = asyncio.Event()

    def over(event: SessionEnded) -> None:
        lonely.append(event)
        ended.set()

    memory_pair(
        lambda transport: SessionDriver(ServerSession(0), transport, {}, lambda: 0),
        lambda transport: _settled(
            SessionDriver(ServerSession(monotonic_us(), Limits(hello_ms=1)), transport, {SessionEnded: over})
        ),
    )
    await asyncio.wait_for(ended.wait(), 60)
    assert [event.code for event in lonely] == [SessionCode.HELLO_TIMEOUT]


def _settled(driver: SessionDriver) -> SessionDriver:
    driver.settle()
    return driver


async def test_an_owner_that_raises_ends_only_the_session(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: EventReceived) -> None:
        raise RuntimeError("a bug")

    sides = Sides(event=broken)
    await sides.until(lambda: Welcomed in sides.kinds())
    with caplog.at_level(logging.CRITICAL):
        sides.client.send_event({"type": "hi"}, 0)
        sides.near.settle()
        await sides.until(lambda: len(sides.ends()) == 2)
    assert sorted(sides.ends()) == [
        ("local", SessionCode.INTERNAL_ERROR),
        ("peer", SessionCode.INTERNAL_ERROR),
    ]
    assert sides.far.over


async def test_a_buffer_that_overflows_ends_the_session_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sides = Sides()
    await sides.until(lambda: Welcomed in sides.kinds())

    def full(_self: MemoryTransport, stream: int, data: bytes, fin: bool = False) -> int:
        raise TransportError("stream 1 has too many bytes unsent")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryTransport, "send", full)
        sides.server.send_event({"type": "one"}, 0)
        sides.server.send_event({"type": "two"}, 0)
        sides.far.settle()
    assert sides.far.over
    await sides.until(lambda: len(sides.ends()) == 2)
    assert ("peer", SessionCode.LIMIT_EXCEEDED) in sides.ends()


async def test_a_full_stream_holds_a_sender_until_it_drains_or_the_session_ends() -> None:
    sides = Sides()
    await sides.until(lambda: Welcomed in sides.kinds())
    for ends in (False, True):
        generation = sides.server.begin_reply("r", "i", PCM, 0)
        for _ in range(8):
            sides.server.send_audio(generation, bytes(HIGH_WATER_BYTES // 4), HIGH_WATER_BYTES // 8, 0)
        sides.far.carry_out()
        assert sides.far.congested
        waiting = asyncio.ensure_future(sides.far.writable())
        if ends:
            sides.server.close(0, "", 0)
            sides.far.settle()
        await asyncio.wait_for(waiting, 60)
        assert not sides.far.congested


async def test_waiting_for_delivery_ends_when_nothing_more_leaves() -> None:
    sides = Sides()
    await sides.until(lambda: Welcomed in sides.kinds())
    sides.server.send_event({"type": "last", "text": "x" * 100_000}, 0)
    sides.far.settle()
    await asyncio.wait_for(sides.far.delivered(), 60)
    assert [event.event["type"] for event in sides.heard if isinstance(event, EventReceived)] == ["last"]


async def test_the_end_is_reported_once_whoever_is_first() -> None:
    sides = Sides()
    await sides.until(lambda: Welcomed in sides.kinds())
    sides.client.close(0, "", 0)
    sides.near.settle()
    sides.server.close(0, "", 0)
    sides.far.settle()
    sides.near.closed("transport", 0, "late")
    await sides.until(lambda: len(sides.ends()) == 2)
    await asyncio.sleep(0)
    assert sides.ends() == [("local", 0), ("local", 0)]
