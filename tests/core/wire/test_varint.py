import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.errors import LocalProtocolError
from legato.core.wire import varint
from legato.core.wire.codes import VARINT_MAX


@given(value=st.integers(0, VARINT_MAX), before=st.binary(max_size=3), after=st.binary(max_size=3))
def test_what_is_written_is_read(value: int, before: bytes, after: bytes) -> None:
    data = varint.encode(value)
    assert varint.decode(before + data + after, len(before)) == (value, len(before) + len(data))
    assert all(varint.decode(data[:end], 0) is None for end in range(len(data)))


@pytest.mark.parametrize(
    ("value", "size"), [(63, 1), (64, 2), (16_383, 2), (16_384, 4), ((1 << 30) - 1, 4), (1 << 30, 8)]
)
def test_the_shortest_length_is_used(value: int, size: int) -> None:
    assert len(varint.encode(value)) == size


@pytest.mark.parametrize("value", [-1, VARINT_MAX + 1])
def test_numbers_out_of_range(value: int) -> None:
    with pytest.raises(LocalProtocolError, match="between 0 and"):
        varint.encode(value)
