"""The player's queue: order, positions, dry spells, flushes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.client import playback
from legato.client.playback import PlaybackBuffer, PlayedItem
from legato.core.errors import RemoteProtocolError

RATE = 24_000


def pcm(samples: int, value: int = 1) -> bytes:
    return value.to_bytes(2, "little") * samples


def test_nothing_to_play_is_silence() -> None:
    assert PlaybackBuffer(RATE).pull(10) == pcm(10, 0)


def test_items_are_played_in_order_without_a_seam() -> None:
    buffer = PlaybackBuffer(RATE)
    first, second = buffer.begin("a", 0, 1), buffer.begin("b", 0, 2)
    assert first is not None
    assert second is not None
    buffer.append(second, pcm(5, 2))
    buffer.append(first, pcm(5, 1))
    buffer.complete(first)
    assert buffer.pull(8) == pcm(5, 1) + pcm(3, 2)
    assert (first.state, first.played) == ("done", 5)
    assert (second.played, second.buffered) == (3, 2)


def test_an_item_is_not_overtaken_while_it_is_incomplete() -> None:
    buffer = PlaybackBuffer(RATE)
    first, second = buffer.begin("a", 0, 1), buffer.begin("b", 0, 2)
    assert first is not None
    assert second is not None
    buffer.append(first, pcm(2))
    buffer.append(second, pcm(5, 2))
    assert buffer.pull(5) == pcm(2) + pcm(3, 0)
    assert second.played == 0


def test_a_dry_spell_is_one_underrun() -> None:
    buffer = PlaybackBuffer(RATE)
    item = buffer.begin("a", 0, 1)
    assert item is not None
    buffer.pull(10)
    assert item.underruns == 0
    buffer.append(item, pcm(5))
    buffer.pull(10)
    buffer.pull(10)
    buffer.pull(10)
    assert item.underruns == 1
    buffer.append(item, pcm(5))
    buffer.pull(20)
    buffer.pull(20)
    assert item.underruns == 2
    buffer.complete(item)
    buffer.pull(20)
    assert item.underruns == 2


def test_a_flush_silences_at_the_very_next_sample_and_reports_where() -> None:
    buffer = PlaybackBuffer(RATE)
    first, second = buffer.begin("a", 0, 1), buffer.begin("b", 0, 2)
    assert first is not None
    assert second is not None
    buffer.append(first, pcm(10))
    buffer.append(second, pcm(10, 2))
    buffer.pull(4)
    buffer.changes()
    assert buffer.flush(1) == [first]
    assert (first.state, first.played, first.buffered) == ("stopped", 4, 0)
    assert buffer.changes() == [first]
    assert buffer.pull(3) == pcm(3, 2)
    buffer.append(first, pcm(10))
    assert first.buffered == 0


def test_a_flushed_generation_never_begins() -> None:
    buffer = PlaybackBuffer(RATE)
    buffer.flush(3)
    assert buffer.begin("late", 0, 3) is None
    assert buffer.begin("fresh", 0, 4) is not None


def test_flushing_one_of_several_leaves_the_others() -> None:
    buffer = PlaybackBuffer(RATE)
    items = [buffer.begin(str(number), 0, number) for number in (1, 2, 3)]
    for item in items:
        assert item is not None
        buffer.append(item, pcm(5, item.generation))
        buffer.complete(item)
    buffer.flush(2, 2)
    assert buffer.pull(10) == pcm(5, 1) + pcm(5, 3)


def test_a_cushion_is_waited_for_only_at_the_beginning() -> None:
    buffer = PlaybackBuffer(RATE, start_samples=10)
    item = buffer.begin("a", 0, 1)
    assert item is not None
    buffer.append(item, pcm(9))
    assert buffer.pull(5) == pcm(5, 0)
    buffer.append(item, pcm(1))
    assert buffer.pull(8) == pcm(8)
    assert buffer.pull(2) == pcm(2)
    short = buffer.begin("b", 0, 2)
    assert short is not None
    buffer.append(short, pcm(3, 2))
    buffer.complete(item)
    buffer.complete(short)
    assert buffer.pull(3) == pcm(3, 2)


def test_a_lead_that_was_asked_for_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback, "WAITING_MAX_S", 1)
    buffer = PlaybackBuffer(RATE, lead_ms=1_000)
    item = buffer.begin("a", 0, 1)
    assert item is not None
    buffer.append(item, bytes(2 * 2 * RATE))
    buffer.check_lead()
    buffer.append(item, bytes(2))
    with pytest.raises(RemoteProtocolError, match="too far ahead"):
        buffer.check_lead()
    buffer.pull(1)
    buffer.check_lead()


def test_a_paused_player_keeps_its_place() -> None:
    buffer = PlaybackBuffer(RATE)
    item = buffer.begin("a", 0, 1)
    assert item is not None
    buffer.append(item, pcm(10))
    buffer.pull(5)
    buffer.paused = True
    assert buffer.pull(5) == pcm(5, 0)
    buffer.paused = False
    assert buffer.pull(5) == pcm(5)
    assert item.played == 10


@given(
    chunks=st.lists(st.integers(0, 50), max_size=20),
    pulls=st.lists(st.integers(1, 60), min_size=1, max_size=40),
)
def test_every_sample_is_played_once_and_in_order(chunks: list[int], pulls: list[int]) -> None:
    buffer = PlaybackBuffer(RATE)
    item = buffer.begin("a", 0, 1)
    assert item is not None
    value, heard = 1, bytearray()
    pending = iter(chunks)
    for count in pulls:
        size = next(pending, 0)
        buffer.append(item, b"".join((value + i).to_bytes(2, "little") for i in range(size)))
        value += size
        out = buffer.pull(count)
        assert len(out) == 2 * count
        heard += out
    samples = [int.from_bytes(heard[i : i + 2], "little") for i in range(0, len(heard), 2)]
    assert [one for one in samples if one] == list(range(1, item.played + 1))
    assert item.played + item.buffered == value - 1


def behind(samples: int, bound_us: int | None = 1_000) -> tuple[PlaybackBuffer, PlayedItem]:
    """A buffer of which an item has run dry for so long; the bound is 24 samples."""
    buffer = PlaybackBuffer(RATE)
    buffer.keep_up(bound_us)
    item = buffer.begin("a", 0, 1)
    assert item is not None
    buffer.pull(500)
    buffer.append(item, pcm(10, 1))
    buffer.pull(10 + samples)
    assert (item.behind, item.played) == (samples, 10)
    return buffer, item


def test_what_comes_too_late_is_skipped_by_as_much_as_was_silent() -> None:
    buffer, item = behind(25)
    buffer.append(item, pcm(25, 2) + pcm(10, 3))
    buffer.changes()
    assert buffer.pull(10) == pcm(10, 3)
    assert (item.played, item.skipped, item.behind, item.buffered) == (45, 25, 0, 0)
    assert buffer.changes() == [item]


def test_a_backlog_that_comes_bit_by_bit_is_skipped_bit_by_bit() -> None:
    buffer, item = behind(30)
    buffer.append(item, pcm(15))
    assert buffer.pull(10) == pcm(10)
    assert (item.skipped, item.behind) == (5, 25)
    buffer.append(item, pcm(11))
    buffer.pull(10)
    assert (item.skipped, item.behind) == (6, 24), "as much as it may be behind"
    buffer.append(item, pcm(40))
    buffer.pull(10)
    assert item.skipped == 6


def backlog(silent: int, bound_us: int | None = 1_000) -> tuple[PlaybackBuffer, PlayedItem]:
    """The same, and more of the item is here than is played at once."""
    buffer, item = behind(silent, bound_us)
    buffer.append(item, pcm(40))
    return buffer, item


def test_what_is_here_whole_is_played_whole() -> None:
    buffer, item = backlog(1_000)
    buffer.complete(item)
    buffer.pull(10)
    assert (item.skipped, item.played) == (0, 20)


def test_without_a_bound_nothing_is_skipped() -> None:
    buffer, item = backlog(1_000, None)
    buffer.pull(10)
    assert item.skipped == 0


def test_a_held_reply_is_not_behind() -> None:
    buffer, item = backlog(0)
    buffer.hold()
    buffer.pull(1_000)
    buffer.go_on()
    buffer.pull(10)
    assert (item.behind, item.skipped) == (0, 0)
