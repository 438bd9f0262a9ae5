"""Whose turn it is: priorities, pieces, and that nothing is lost or reordered within a stream."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.errors import TransportError
from legato.transports.stream_queue import HIGH_WATER_BYTES, PIECE_BYTES, SEND_LIMIT_BYTES, StreamQueue


def everything(queue: StreamQueue) -> list[tuple[int, bytes, bool]]:
    found = []
    while queue:
        stream, payload, fin, _ = queue.next()
        found.append((stream, payload, fin))
    return found


def test_small_chunks_travel_together() -> None:
    queue = StreamQueue()
    for chunk in (b"a", b"b", bytes(PIECE_BYTES)):
        queue.add(1, chunk, False)
    queue.add(1, b"", True)
    assert everything(queue) == [(1, b"ab", False), (1, bytes(PIECE_BYTES), True)]
    assert not queue


def test_streams_of_one_priority_take_turns() -> None:
    queue = StreamQueue()
    queue.add(1, bytes(2 * PIECE_BYTES + 1), True)
    queue.add(2, bytes(PIECE_BYTES + 1), False)
    assert [(stream, len(payload)) for stream, payload, _ in everything(queue)] == [
        (1, PIECE_BYTES),
        (2, PIECE_BYTES),
        (1, PIECE_BYTES),
        (2, 1),
        (1, 1),
    ]


def test_the_urgent_go_first() -> None:
    queue = StreamQueue()
    queue.set_priority(2, 1)
    queue.add(1, b"later", False)
    queue.add(2, b"now", False)
    queue.add(3, b"at once", False)
    queue.set_priority(3, 2)
    assert [stream for stream, _, _ in everything(queue)] == [3, 2, 1]


def test_what_is_dropped_never_leaves() -> None:
    queue = StreamQueue()
    queue.add(1, b"a", True)
    queue.add(2, b"b", False)
    assert queue.ends(1)
    assert not queue.ends(2)
    queue.drop(1)
    queue.drop(1)
    assert (queue.buffered(1), queue.ends(1)) == (0, False)
    assert everything(queue) == [(2, b"b", False)]


def test_a_drained_stream_is_told_once() -> None:
    queue = StreamQueue()
    queue.add(1, bytes(HIGH_WATER_BYTES + 1), False)
    told = []
    while queue:
        *_, drained = queue.next()
        if drained:
            told.append(queue.buffered(1))
    assert len(told) == 1
    assert HIGH_WATER_BYTES // 2 - PIECE_BYTES <= told[0] < HIGH_WATER_BYTES // 2


def test_the_limit_of_a_stream() -> None:
    queue = StreamQueue()
    queue.add(1, bytes(SEND_LIMIT_BYTES), False)
    with pytest.raises(TransportError, match="wait until writable"):
        queue.add(1, b"!", False)
    queue.add(2, b"!", False)


CHUNKS = st.binary(max_size=40).map(lambda data: data * 1000)


@given(st.lists(st.tuples(st.integers(0, 3), CHUNKS, st.integers(0, 2)), max_size=30))
def test_nothing_is_lost_and_pieces_are_small(steps: list[tuple[int, bytes, int]]) -> None:
    queue = StreamQueue()
    said: dict[int, bytes] = defaultdict(bytes)
    left: dict[int, bytes] = defaultdict(bytes)
    for stream, chunk, priority in steps:
        queue.set_priority(stream, priority)
        queue.add(stream, chunk, False)
        said[stream] += chunk
        if queue:
            number, payload, _, _ = queue.next()
            left[number] += payload
    for stream in said:
        queue.add(stream, b"", True)
    ends = []
    for number, payload, fin in everything(queue):
        assert len(payload) <= PIECE_BYTES
        assert number not in ends
        left[number] += payload
        if fin:
            ends.append(number)
    assert sorted(ends) == sorted(said)
    assert {stream: left[stream] for stream in said} == dict(said)
