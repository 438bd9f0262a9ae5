"""Who carries a session: the first that the server consents to, and nothing is said twice or lost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from legato.client import race
from legato.client.race import Race, Start
from legato.core.errors import TransportError
from legato.testing.transports import Recorder
from legato.transports.base import Handler, Transport
from legato.transports.memory import memory_pair


class Contender:
    """One way to the server, which consents when the test says so."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.server = Recorder()

    def start(self, bind: Callable[[Transport], Handler]) -> Transport:
        self.runner: Handler

        def near(transport: Transport) -> Handler:
            self.runner = bind(transport)
            return _Unasked(self.runner)

        first, second = memory_pair(near, lambda _: self.server)
        self.near, self.far = first, second
        self.started.set()
        return first

    def consent(self) -> None:
        self.runner.opened()

    async def until(self, condition: Callable[[], bool]) -> None:
        await self.server.until(condition, "it arrives")


class _Unasked:
    """Passes everything on but the consent, which a pair in memory gives by itself."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def opened(self) -> None:
        """Wait for the test's word."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)


class Place:
    def __init__(self) -> None:
        self.webtransport, self.websocket = Contender(), Contender()
        self.caller = Recorder()
        self.race: Race

    def begin(self, webtransport: Start | None = None) -> "Place":
        self.race = Race(lambda _: self.caller, webtransport or self.webtransport.start, self.websocket.start)
        return self


@pytest.fixture
def place() -> Place:
    return Place()


async def test_webtransport_hears_everything_at_once(place: Place) -> None:
    place.begin()
    stream = place.race.open_stream(True)
    place.race.set_priority(stream, 2)
    place.race.send(stream, b"hello")
    await place.webtransport.until(lambda: b"hello" in place.webtransport.server.received.values())
    assert place.race.info.name == ""
    place.webtransport.consent()
    assert place.race.winner is place.webtransport.near
    assert place.caller.is_open
    assert not place.websocket.started.is_set()
    (number,) = place.webtransport.server.streams
    place.webtransport.far.send(number, b"welcome", True)
    await place.caller.until(lambda: stream in place.caller.finished, "the answer arrives")
    assert bytes(place.caller.received[stream]) == b"welcome"


async def test_the_websocket_says_nothing_before_it_has_won(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "HEAD_START_S", 0)
    place.begin()
    control = place.race.open_stream(True)
    place.race.send(control, b"hello")
    audio = place.race.open_stream(False)
    place.race.send(audio, b"a")
    await asyncio.wait_for(place.websocket.started.wait(), 60)
    place.race.send(audio, b"b", True)
    assert not place.websocket.server.streams
    place.websocket.consent()
    heard = place.websocket.server
    await place.websocket.until(lambda: len(heard.finished) == 1)
    assert sorted(bytes(data) for data in heard.received.values()) == [b"ab", b"hello"]
    assert sorted(heard.streams.values()) == [False, True]
    lost = place.webtransport.server
    await place.webtransport.until(lambda: lost.end is not None)
    # What is said from now on reaches the winner, by the race's numbers and by the winner's own.
    place.race.send(control, b", more")
    late = place.race.open_stream(False)
    place.race.send(late, b"late")
    await place.websocket.until(lambda: b"late" in heard.received.values())
    assert b"hello, more" in heard.received.values()
    number = next(stream for stream, both in heard.streams.items() if both)
    place.websocket.far.stop(number, 9)
    await place.caller.until(lambda: place.caller.stops == {control: 9}, "a stop arrives")
    place.race.reset(control, 3)
    await place.websocket.until(lambda: heard.resets == {number: 3})


async def test_the_websocket_starts_at_once_when_udp_fails(place: Place) -> None:
    place.begin()
    place.webtransport.runner.closed("transport", 0, "nobody listens")
    assert place.websocket.started.is_set()
    place.websocket.runner.closed("transport", 0, "refused")
    assert place.caller.end == ("transport", 0, "nobody listens; as a WebSocket: refused")


async def test_the_websocket_starts_at_once_without_a_socket_for_udp(place: Place) -> None:
    def impossible(_: Callable[[Transport], Handler]) -> Transport:
        raise TransportError("no socket")

    place.begin(impossible)
    assert place.websocket.started.is_set()
    place.websocket.consent()
    assert place.race.winner is place.websocket.near


async def test_an_answer_of_the_server_over_udp_is_final(place: Place) -> None:
    place.begin()
    place.webtransport.runner.closed("peer", 0, "the server answered 503")
    assert place.caller.end == ("peer", 0, "the server answered 503")
    assert not place.websocket.started.is_set()


async def test_an_answer_to_the_websocket_is_not(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "HEAD_START_S", 0)
    place.begin()
    await asyncio.wait_for(place.websocket.started.wait(), 60)
    place.websocket.runner.closed("peer", 0, "the server answered 403")
    assert place.caller.end is None
    place.webtransport.consent()
    assert place.race.winner is place.webtransport.near


async def test_giving_up(place: Place) -> None:
    place.begin()
    place.race.send(place.race.open_stream(True), b"hello")
    assert place.race.statistics() == place.webtransport.near.statistics()
    place.race.close(0, "never mind")
    await place.caller.until(lambda: place.caller.end is not None, "the end is reported")
    assert place.caller.end == ("local", 0, "never mind")
    server = place.webtransport.server
    await place.webtransport.until(lambda: server.end == ("peer", 0, "never mind"))
    place.webtransport.consent()
    assert place.race.winner is None


async def test_everything_of_the_winner_is_passed_on(place: Place) -> None:
    place.begin()
    place.webtransport.consent()
    caller, far = place.caller, place.webtransport.far
    far.drain()
    place.race.send_datagram(b"ping")
    far.send_datagram(b"pong")
    stream = far.open_stream(False)
    far.send(stream, b"a")
    await caller.until(lambda: caller.received[stream] == b"a", "data arrives")
    place.race.pause(stream)
    far.send(stream, b"b")
    place.race.resume(stream)
    await caller.until(lambda: caller.received[stream] == b"ab", "data arrives")
    place.race.stop(stream, 4)
    far.reset(stream, 4)
    await caller.until(lambda: caller.resets == {stream: 4}, "a reset arrives")
    large = place.race.open_stream(False)
    place.race.send(large, bytes(1 << 20))
    place.race.drain()
    await caller.until(lambda: caller.writable == [large], "a drained buffer is reported")
    server = place.webtransport.server
    await place.webtransport.until(lambda: server.drains == 1 and server.stops == {stream: 4})
    assert (server.datagrams, caller.datagrams, caller.drains) == ([b"ping"], [b"pong"], 1)
    assert place.race.info.name == "memory"
    assert place.race.statistics().bytes_sent == 1 << 20
    place.race.close(1, "done")
    await caller.until(lambda: caller.end == ("local", 1, "done"), "the end is reported")


async def test_the_end_of_the_winner_is_the_end(place: Place) -> None:
    place.begin()
    place.webtransport.consent()
    place.webtransport.far.close(5, "over")
    await place.caller.until(lambda: place.caller.end is not None, "the end is reported")
    assert place.caller.end == ("peer", 5, "over")
