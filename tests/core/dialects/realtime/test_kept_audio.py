"""Audio is kept within a bound, whole or not at all."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from tests.core.dialects.realtime.talk import pcm

from legato.core.dialects.realtime.kept_audio import KeptAudio
from legato.core.dialects.realtime.recent_audio import RecentAudio


def test_audio_of_items() -> None:
    kept = KeptAudio(100)
    kept.add("a", b"one")
    kept.add("b", b"two")
    kept.add("a", b"more")
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (b"onemore", b"two", None)
    assert (kept.length("a"), kept.length("c"), kept.size) == (7, 0, 10)
    kept.cut("a", 2)
    kept.cut("a", 5)
    kept.cut("c", 1)
    assert (kept.get("a"), kept.size) == (b"on", 5)
    kept.drop("a")
    kept.drop("c")
    assert (kept.get("a"), kept.size) == (None, 3)


def test_the_oldest_item_loses_its_audio_and_gets_none_any_more() -> None:
    kept = KeptAudio(10)
    kept.add("a", b"12345")
    kept.add("b", b"12345")
    kept.add("c", b"1")
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (None, b"12345", b"1")
    kept.add("a", b"1")
    assert kept.get("a") is None
    kept.drop("a")
    kept.add("a", b"1")
    assert kept.get("a") == b"1"


def test_an_item_larger_than_the_bound_has_none() -> None:
    kept = KeptAudio(10)
    kept.add("a", b"12345678901")
    assert (kept.get("a"), kept.size) == (None, 0)


def test_recent_audio_is_cut_at_samples() -> None:
    recent = RecentAudio(1_000)
    assert recent.between(0, 0, 2) is None
    recent.add(100, pcm(0, 100))
    recent.add(150, pcm(100, 50))
    assert recent.between(0, 150, 2) == pcm(0, 150)
    assert recent.between(90, 110, 2) == pcm(90, 20)
    assert recent.between(120, 130, 2) == pcm(120, 10)
    assert recent.between(10, 20, 2) == pcm(10, 10)
    assert recent.between(10, 10, 2) == b""
    assert recent.between(0, 151, 2) is None


def test_recent_audio_lets_go_of_the_oldest() -> None:
    recent = RecentAudio(200)
    recent.add(100, pcm(0, 100))
    recent.add(150, pcm(100, 50))
    assert recent.size == 100
    assert recent.between(99, 150, 2) is None
    assert recent.between(100, 150, 2) == pcm(100, 50)
    recent.forget(149)
    assert recent.size == 100
    recent.forget(150)
    assert recent.size == 0
    recent.forget(200)


def test_nothing_before_lost_audio_counts() -> None:
    recent = RecentAudio(1_000)
    recent.add(100, pcm(0, 100))
    recent.add(120, b"")
    recent.add(150, pcm(120, 30))
    assert recent.between(90, 150, 2) is None
    assert recent.between(120, 150, 2) == pcm(120, 30)


@given(
    st.lists(st.integers(0, 40), max_size=12), st.integers(0, 500), st.integers(0, 300), st.integers(0, 300)
)
def test_recent_audio_is_what_was_heard_or_none(
    lengths: list[int], limit: int, start: int, stop: int
) -> None:
    recent, end = RecentAudio(limit), 0
    for length in lengths:
        recent.add(end + length, pcm(end, length))
        end += length
    assert recent.size <= limit
    audio = recent.between(start, stop, 2)
    assert audio in (None, pcm(start, max(0, stop - start)))


def test_recent_audio_in_small_pieces_takes_no_more_memory_than_in_large_ones() -> None:
    recent = RecentAudio(10_000)
    tracemalloc.start()
    for at in range(4_000):
        recent.add(at + 1, pcm(at, 1))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 30_000
    assert recent.size == 8_000
    assert recent.between(1_234, 2_345, 2) == pcm(1_234, 1_111)
    recent.forget(1_234)
    assert recent.between(1_234, 4_000, 2) == pcm(1_234, 2_766)
    recent.forget(4_000)
    assert recent.size == 0


def test_recent_audio_is_joined_only_with_what_it_follows() -> None:
    recent = RecentAudio(1_000)
    recent.add(10, pcm(0, 10))
    recent.add(20, b"")
    recent.add(30, pcm(20, 10))
    recent.add(40, pcm(30, 10))
    recent.forget(40)
    recent.add(50, pcm(40, 10))
    assert (recent.between(40, 50, 2), recent.between(30, 50, 2)) == (pcm(40, 10), None)
