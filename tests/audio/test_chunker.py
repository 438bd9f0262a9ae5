import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.audio import Chunker


@given(st.lists(st.binary(max_size=50)), st.integers(min_value=1, max_value=20))
def test_blocks_have_one_size_and_nothing_is_lost(pieces: list[bytes], size: int) -> None:
    chunker = Chunker(size)
    blocks = [block for piece in pieces for block in chunker.feed(piece)]
    assert all(len(block) == size for block in blocks)
    assert chunker.waiting < size
    assert b"".join(blocks) + chunker.flush() == b"".join(pieces)
    assert chunker.waiting == 0


def test_a_block_has_at_least_one_byte() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        Chunker(0)
