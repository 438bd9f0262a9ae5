from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.errors import RemoteProtocolError
from legato.core.wire import varint
from legato.core.wire.codes import VARINT_MAX
from legato.core.wire.records import (
    AudioReader,
    ControlReader,
    control_record,
    downlink_record,
    uplink_record,
)

LIMIT = 200
Found = list[tuple[Any, ...]]
numbers = st.one_of(
    st.integers(0, 100), st.integers(16_000, 1 << 20), st.integers(1 << 30, VARINT_MAX), st.just(VARINT_MAX)
)
payloads = st.one_of(st.binary(max_size=20), st.integers(50, 180).map(bytes))


def control(found: Found) -> ControlReader:
    return ControlReader(LIMIT, lambda *record: found.append(record))


def uplink(found: Found) -> AudioReader:
    return AudioReader(LIMIT, True, lambda *record: found.append(record))


def downlink(found: Found) -> AudioReader:
    return AudioReader(LIMIT, False, lambda *record: found.append(record))


READERS = [control, uplink, downlink]
Make = Callable[[Found], ControlReader | AudioReader]


def read(make: Make, chunks: list[bytes]) -> tuple[Found, int | None, bool]:
    """What a reader makes of the chunks: records, close code, whether it ends within a record."""
    found: Found = []
    reader = make(found)
    try:
        for chunk in chunks:
            reader.feed(chunk, 7)
    except RemoteProtocolError as violation:
        return found, violation.code, False
    return found, None, reader.within_record


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(at % (len(data) + 1) for at in cuts), len(data)]
    return [data[start:stop] for start, stop in pairwise(marks)]


@given(records=st.lists(st.tuples(numbers, numbers, payloads)), cuts=st.lists(st.integers(0, 5_000)))
def test_audio_is_read_as_it_was_written_however_it_is_cut(
    records: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    up = b"".join(uplink_record(*record) for record in records)
    assert read(uplink, cut(up, cuts)) == ([(*record, 7) for record in records], None, False)
    down = b"".join(downlink_record(offset, payload) for offset, _, payload in records)
    expected = [(offset, 0, payload, 7) for offset, _, payload in records]
    assert read(downlink, cut(down, cuts)) == (expected, None, False)


@given(payloads=st.lists(payloads), cuts=st.lists(st.integers(0, 5_000)))
def test_events_are_read_as_they_were_written_however_they_are_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(control_record(payload) for payload in payloads)
    assert read(control, cut(data, cuts)) == ([(0, payload, 7) for payload in payloads], None, False)


@pytest.mark.parametrize("make", READERS)
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 400)))
def test_any_bytes_give_the_same_whatever_the_cut(make: Make, data: bytes, cuts: list[int]) -> None:
    whole = read(make, [data])
    assert read(make, cut(data, cuts)) == whole
    assert read(make, cut(data, list(range(len(data))))) == whole


@pytest.mark.parametrize("make", READERS)
@given(chunks=st.lists(st.binary(max_size=100), max_size=20))
def test_a_reader_holds_one_record_at_most(make: Make, chunks: list[bytes]) -> None:
    reader = make([])
    try:
        for chunk in chunks:
            reader.feed(chunk, 0)
            assert len(reader._partial) <= LIMIT + 16
    except RemoteProtocolError:
        pass


@pytest.mark.parametrize(
    ("value", "size"), [(5, 1), (100, 2), (100_000, 4), (1 << 40, 8), (16_384, 4), (16_383, 2)]
)
def test_numbers_are_written_in_the_shortest_form(value: int, size: int) -> None:
    for payload in (bytes(3), bytes(100)):
        length = len(varint.encode(size + len(payload)))
        assert len(downlink_record(value, payload)) == length + size + len(payload)


def test_the_length_decides_before_the_bytes_are_there() -> None:
    assert read(control, [b"\x00" + varint.encode(LIMIT + 1)]) == ([], 6, False)
    assert read(uplink, [varint.encode(LIMIT + 1)]) == ([], 6, False)
    assert read(uplink, [varint.encode(LIMIT)]) == ([], None, True)


@pytest.mark.parametrize("data", [b"\x00", b"\x01\x80", b"\x01\x05", b"\x03\x05\xc0\x00", b"\x02\x40\x05"])
def test_records_that_end_within_their_numbers(data: bytes) -> None:
    assert read(uplink, [data]) == ([], 2, False)


def test_a_long_record_in_many_chunks_costs_no_more_than_its_bytes() -> None:
    """Twenty megabytes in packets of 1200 bytes: each byte is copied a fixed number of times."""
    record = uplink_record(0, 0, bytes(65_000))
    data = record * 300
    lengths: list[int] = []
    reader = AudioReader(1 << 16, True, lambda _offset, _time, payload, _now: lengths.append(len(payload)))
    for at in range(0, len(data), 1_200):
        reader.feed(data[at : at + 1_200], 0)
        assert len(reader._partial) < len(record)
    assert lengths == [65_000] * 300
