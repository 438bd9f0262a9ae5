"""The joint of a message session and its connection, where the connection is one in memory."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from legato.core.dialects.realtime.compat_session import CompatSession
from legato.core.dialects.realtime.formats import PCM
from legato.core.events import AudioReceived, EventReceived, SessionEnded
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Limits
from legato.server.realtime_line import CLOSE_CODES, CompatLine


class Connection:
    """Takes what it is given."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.closed_with: tuple[int, str] | None = None
        self.congested = False
        self.paused = False
        self.resumed = asyncio.Event()

    def send_text(self, text: bytes) -> None:
        assert self.closed_with is None
        self.said.append(json.loads(text))

    def close(self, code: int, reason: str) -> None:
        self.closed_with = (code, reason)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self.resumed.set()


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.us = 0

    def __call__(self) -> int:
        return self.us


def line(limits: Limits | None = None) -> tuple[CompatLine, Connection, Clock]:
    connection, clock = Connection(), Clock()
    made = CompatLine(CompatSession(PCM, limits or Limits(), "tag"), clock)
    made.bind(connection)  # type: ignore[arg-type]
    return made, connection, clock


def append(size: int) -> str:
    audio = base64.b64encode(bytes(size)).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


async def test_what_is_said_before_the_connection_opens_waits() -> None:
    session = CompatSession(PCM, Limits(), "tag")
    early = CompatLine(session)
    session.send_event({"type": "session.created"}, 0)
    early.settle()
    connection = Connection()
    assert not early.congested
    early.bind(connection)  # type: ignore[arg-type]
    assert [event["type"] for event in connection.said] == ["session.created"]


async def test_events_reach_their_owner_and_answers_leave_in_order() -> None:
    one, connection, _ = line()

    def answer(event: EventReceived) -> None:
        one.session.send_event({"type": "session.updated"}, 0)
        one.settle()  # asked from within: the round under way does it

    one.reactions = {EventReceived: answer}
    one.message('{"type":"session.update"}')
    one.message("{")
    assert [event["type"] for event in connection.said] == ["session.updated", "error"]


async def test_an_owner_that_fails_ends_the_call() -> None:
    one, connection, _ = line()
    ends: list[SessionEnded] = []

    def fails(event: EventReceived) -> None:
        raise ValueError("a mistake")

    one.reactions = {EventReceived: fails, SessionEnded: ends.append}
    one.message('{"type":"response.create"}')
    assert connection.closed_with == (1011, "an internal error")
    assert connection.said[-1]["error"]["code"] == "internal_error"
    assert ends == [SessionEnded("local", SessionCode.INTERNAL_ERROR, "an internal error")]
    assert one.over


async def test_every_end_has_a_close_code() -> None:
    assert set(CLOSE_CODES) | {
        SessionCode.UNSUPPORTED_VERSION,
        SessionCode.UNSUPPORTED_FORMAT,
        SessionCode.HELLO_TIMEOUT,
    } == set(SessionCode)
    for code, told in CLOSE_CODES.items():
        one, connection, _ = line()
        one.session.close(code, "why", 0)
        one.settle()
        assert connection.closed_with == (told, "why")


async def test_a_call_that_ends_with_the_server_may_be_made_again() -> None:
    one, connection, _ = line()
    one.session.going_away(1000, 0)
    one.session.close(SessionCode.GOING_AWAY, "the server stops", 0)
    one.settle()
    assert connection.closed_with == (1012, "the server stops")


async def test_the_end_of_the_connection_ends_the_session() -> None:
    for told, code in ((1000, 0), (1001, 0), (1005, 0), (1006, 1006), (4000, 4000)):
        one, _, _ = line()
        ends: list[SessionEnded] = []
        one.reactions = {SessionEnded: ends.append}
        one.closed("peer", told, "")
        one.closed("transport", 1006, "again")
        assert ends == [SessionEnded("peer", code, "")]


async def test_senders_wait_while_the_connection_is_full() -> None:
    one, connection, _ = line()
    await one.writable()
    connection.congested = True
    assert one.congested
    waiting = [asyncio.create_task(one.writable()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    connection.congested = False
    one.drained()
    await waiting[0]
    # The end wakes them too.
    connection.congested = True
    last = asyncio.create_task(one.writable())
    await asyncio.sleep(0)
    one.closed("peer", 1000, "")
    await last
    await one.delivered()


async def test_a_client_that_is_too_fast_is_held_and_let_go_in_time() -> None:
    one, connection, clock = line(Limits(audio_rate=1, audio_burst_ms=10))
    one.reactions = {AudioReceived: lambda event: one.session.consumed(event.frame.samples, 960)}
    one.message(append(960))
    assert connection.paused
    # Its deadline is 10 ms away by the clock of the loop; this clock runs ahead of it.
    clock.us = 10_000
    async with asyncio.timeout(60):
        await connection.resumed.wait()
    assert not connection.paused


async def test_an_earlier_deadline_comes_first() -> None:
    one, connection, clock = line(Limits(audio_rate=1, audio_burst_ms=10))
    one.session.going_away(60_000, 0)
    one.settle()
    one.message(append(960))
    assert connection.paused
    clock.us = 10_000
    async with asyncio.timeout(60):
        await connection.resumed.wait()
    assert not connection.paused
    one.session.close(SessionCode.NO_ERROR, "", 0)
    one.settle()
    assert connection.closed_with == (1000, "")
