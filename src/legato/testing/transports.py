"""The contract of transports as a suite that any transport can be put to.

Owns the cases; must not know any transport. `check_transport` takes a function that makes a connected pair
and raises `AssertionError` with the broken guarantee.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from legato.transports.base import CloseSource, Handler, Transport

__all__ = ["MakePair", "Recorder", "check_transport"]

WAIT_S = 10.0
"""How long a guarantee may take to show itself."""

MakePair: TypeAlias = Callable[
    [Callable[[Transport], Handler], Callable[[Transport], Handler]],
    Awaitable[tuple[Transport, Transport, Callable[[], Awaitable[None]]]],
]
"""Given the two handlers' makers (connecting side first): both ends, and a function that releases
everything."""


class Recorder:
    """A `Handler` that remembers everything it is told."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self.is_open = False
        self.streams: dict[int, bool] = {}
        self.received: dict[int, bytearray] = defaultdict(bytearray)
        self.finished: set[int] = set()
        self.resets: dict[int, int] = {}
        self.stops: dict[int, int] = {}
        self.writable: list[int] = []
        self.datagrams: list[bytes] = []
        self.drains = 0
        self.end: tuple[CloseSource, int, str] | None = None
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool], guarantee: str) -> None:
        """Wait until `condition` holds; raise `AssertionError` naming the broken `guarantee` otherwise."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"broken guarantee: {guarantee}") from None

    def opened(self) -> None:
        """Note the peer's consent."""
        self.is_open = True
        self._changed.set()

    def stream_opened(self, stream: int, bidirectional: bool) -> None:
        """Note a stream."""
        self.streams[stream] = bidirectional
        self._changed.set()

    def stream_data(self, stream: int, data: bytes, fin: bool) -> None:
        """Note data and the end."""
        assert self.end is None, "broken guarantee: nothing is delivered after closed"
        self.received[stream] += data
        if fin:
            self.finished.add(stream)
        self._changed.set()

    def stream_reset(self, stream: int, code: int) -> None:
        """Note a reset."""
        self.resets[stream] = code
        self._changed.set()

    def stream_stopped(self, stream: int, code: int) -> None:
        """Note a stop."""
        self.stops[stream] = code
        self._changed.set()

    def stream_writable(self, stream: int) -> None:
        """Note a drained buffer."""
        self.writable.append(stream)
        self._changed.set()

    def datagram(self, data: bytes) -> None:
        """Note a datagram."""
        self.datagrams.append(data)
        self._changed.set()

    def draining(self) -> None:
        """Note the wish to wind up."""
        self.drains += 1
        self._changed.set()

    def path_changed(self, remote: str) -> None:
        """Ignore: no case moves."""

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        """Note the end."""
        assert self.end is None, "broken guarantee: closed is reported once"
        self.end = (by, code, reason)
        self._changed.set()


class _Pair:
    def __init__(self, near: Transport, far: Transport, heard: tuple[Recorder, Recorder]) -> None:
        self.near, self.far = near, far
        self.at_near, self.at_far = heard

    async def accepted_stream(self, bidirectional: bool) -> tuple[int, int]:
        """Open a stream on the near side; return its number on both sides."""
        known = set(self.at_far.streams)
        stream = self.near.open_stream(bidirectional)
        self.near.send(stream, b"?")
        await self.at_far.until(lambda: bool(set(self.at_far.streams) - known), "a peer's stream is reported")
        number = (set(self.at_far.streams) - known).pop()
        await self.at_far.until(lambda: self.at_far.received[number][:1] == b"?", "data follows its stream")
        return stream, number


async def check_transport(make_pair: MakePair) -> None:
    """Put a transport to every case of the contract, each on a fresh pair."""
    for case in (_delivery, _both_ways, _reset, _stop, _pause, _datagrams, _draining, _close):
        heard = (Recorder(), Recorder())
        near, far, release = await make_pair(partial(_listener, heard[0]), partial(_listener, heard[1]))
        try:
            await case(_Pair(near, far, heard))
        finally:
            await release()


def _listener(recorder: Recorder, _: Transport) -> Handler:
    return recorder


async def _delivery(pair: _Pair) -> None:
    stream = pair.near.open_stream(False)
    content = bytes(range(256)) * 4000
    for start in range(0, len(content), 65_000):
        pair.near.send(stream, content[start : start + 65_000])
    pair.near.send(stream, b"", True)
    await pair.at_far.until(lambda: len(pair.at_far.finished) == 1, "the end of a stream is reported")
    number = pair.at_far.finished.pop()
    assert bytes(pair.at_far.received[number]) == content, (
        "broken guarantee: streams are reliable and ordered"
    )
    assert pair.at_far.streams[number] is False, "broken guarantee: the kind of a stream is reported"


async def _both_ways(pair: _Pair) -> None:
    stream, number = await pair.accepted_stream(True)
    assert pair.at_far.streams[number] is True, "broken guarantee: the kind of a stream is reported"
    pair.far.send(number, b"answer", True)
    await pair.at_near.until(lambda: stream in pair.at_near.finished, "bidirectional streams answer")
    assert bytes(pair.at_near.received[stream]) == b"answer"
    pair.near.send(stream, b"!", True)
    await pair.at_far.until(lambda: number in pair.at_far.finished, "directions end independently")


async def _reset(pair: _Pair) -> None:
    stream, number = await pair.accepted_stream(False)
    pair.near.reset(stream, 7)
    await pair.at_far.until(lambda: pair.at_far.resets.get(number) == 7, "a reset carries its code")
    assert number not in pair.at_far.finished, "broken guarantee: a reset stream has no end"


async def _stop(pair: _Pair) -> None:
    stream, number = await pair.accepted_stream(False)
    pair.far.stop(number, 3)
    await pair.at_near.until(lambda: pair.at_near.stops.get(stream) == 3, "a stop carries its code")


async def _pause(pair: _Pair) -> None:
    stream, number = await pair.accepted_stream(False)
    pair.far.pause(number)
    block, blocks = bytes(100_000), 200
    buffered = 0
    for _ in range(blocks):
        buffered = max(buffered, pair.near.send(stream, block))
    assert buffered > len(block), "broken guarantee: send tells what is buffered"
    pair.near.send(stream, b"", True)
    other, elsewhere = await pair.accepted_stream(False)
    assert other != stream, "broken guarantee: stream numbers are unique"
    assert elsewhere != number
    assert number not in pair.at_far.finished, "broken guarantee: a paused stream is held back"
    pair.far.resume(number)
    total = 1 + blocks * len(block)
    await pair.at_far.until(lambda: number in pair.at_far.finished, "a resumed stream is delivered")
    assert len(pair.at_far.received[number]) == total, "broken guarantee: pausing loses nothing"
    await pair.at_near.until(lambda: stream in pair.at_near.writable, "a drained buffer is reported")


async def _datagrams(pair: _Pair) -> None:
    await pair.accepted_stream(False)
    pair.near.send_datagram(bytes(100_000))
    for _ in range(20):
        pair.near.send_datagram(b"hint")
    await pair.at_far.until(lambda: b"hint" in pair.at_far.datagrams, "small datagrams arrive on a good path")
    assert set(pair.at_far.datagrams) == {b"hint"}, "broken guarantee: oversize datagrams are dropped whole"


async def _draining(pair: _Pair) -> None:
    await pair.accepted_stream(False)
    pair.far.drain()
    await pair.at_near.until(lambda: pair.at_near.drains > 0, "the wish to wind up is reported")


async def _close(pair: _Pair) -> None:
    stream, number = await pair.accepted_stream(True)
    pair.far.close(42, "enough")
    await pair.at_near.until(lambda: pair.at_near.end is not None, "the end is reported")
    assert pair.at_near.end == ("peer", 42, "enough"), (
        f"broken guarantee: code and reason: {pair.at_near.end}"
    )
    await pair.at_far.until(lambda: pair.at_far.end is not None, "the end is reported to who asked for it")
    assert pair.at_far.end is not None
    assert pair.at_far.end[0] == "local"
    pair.near.send(stream, b"late")
    pair.near.reset(stream, 1)
    pair.far.send(number, b"late")
    pair.far.close(1, "again")
