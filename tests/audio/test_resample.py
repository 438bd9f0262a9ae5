import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.audio.resample import Resampler

PAIRS = [
    (48_000, 16_000),
    (16_000, 48_000),
    (24_000, 16_000),
    (16_000, 24_000),
    (8_000, 16_000),
    (16_000, 8_000),
    (44_100, 16_000),
    (22_050, 48_000),
    (44_100, 48_000),
    (11_025, 16_000),
]


def tone(rate: int, samples: int, hertz: float = 440.0) -> np.ndarray:
    return 9_000 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)


def converted(source: int, target: int, pcm: bytes, step: int = 1_001) -> bytes:
    resampler = Resampler(source, target)
    made = b"".join(resampler.process(pcm[start : start + step]) for start in range(0, len(pcm), step))
    return made + resampler.flush()


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_tone_stays_the_same_tone_at_the_same_place(source: int, target: int) -> None:
    samples = source + 17
    made = np.frombuffer(converted(source, target, tone(source, samples).astype("<i2").tobytes()), "<i2")
    assert len(made) == -(-samples * target // source)
    inner = slice(200, -200)
    assert np.abs(made[inner] - tone(target, len(made))[inner]).max() < 4


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_output_trails_by_a_few_milliseconds_at_most(source: int, target: int) -> None:
    resampler = Resampler(source, target)
    made = 0
    for fed in range(1, 51):
        made += len(resampler.process(bytes(2 * (source // 50)))) // 2
        assert fed * (source // 50) / source - made / target < 0.004


def test_what_the_target_cannot_hold_is_filtered_out() -> None:
    made = np.frombuffer(
        converted(48_000, 16_000, tone(48_000, 48_000, 9_500).astype("<i2").tobytes()), "<i2"
    )
    assert np.abs(made[500:-500]).max() < 9_000 * 10 ** (-60 / 20)


@given(st.sampled_from(PAIRS), st.lists(st.integers(min_value=1, max_value=700), max_size=12))
def test_pieces_do_not_matter(pair: tuple[int, int], sizes: list[int]) -> None:
    pcm = tone(pair[0], 1_500).astype("<i2").tobytes()
    resampler, place, made = Resampler(*pair), 0, b""
    for size in [*sizes, len(pcm)]:
        made += resampler.process(pcm[place : place + size])
        place += size
    assert made + resampler.flush() == converted(*pair, pcm, step=len(pcm))


def test_full_scale_does_not_overflow() -> None:
    square = np.where(np.arange(4_800) // 24 % 2, 32_767, -32_768).astype("<i2")
    made = np.frombuffer(converted(48_000, 16_000, square.tobytes()), "<i2")
    assert made.max() > 30_000
    assert made.min() < -30_000
    assert np.abs(np.diff(np.sign(made[20:-20]))).sum() // 2 == pytest.approx(195, abs=8)


def test_one_rate_passes_through() -> None:
    resampler = Resampler(16_000, 16_000)
    assert resampler.process(b"abc") + resampler.process(b"d") + resampler.flush() == b"abcd"


def test_after_a_flush_a_new_stream_begins() -> None:
    resampler = Resampler(24_000, 16_000)
    pcm = tone(24_000, 2_400).astype("<i2").tobytes()
    assert resampler.flush() == b""
    first = resampler.process(pcm) + resampler.flush()
    assert resampler.process(pcm) + resampler.flush() == first


@pytest.mark.parametrize("pair", [(0, 16_000), (16_000, -1)])
def test_rates_are_positive(pair: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Resampler(*pair)
