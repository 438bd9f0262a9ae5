"""Sentences, tracks and word errors; the recogniser itself is tried in tests/agents."""

from pathlib import Path

import pytest
from tests.bench.networks.test_measures import BEGUN, CLEAN, call, cell

from legato.audio.wav import write_wav
from legato.bench.networks import recognition
from legato.bench.networks.recognition import Hearing, Words, heard_of, recognise, word_errors
from legato.bench.networks.track import (
    BLOCK,
    RATE,
    Sentence,
    Track,
    as_coded,
    compose,
    speak_sentences,
    without_end,
)
from legato.core.errors import AgentError

SPOKEN = [("one two", b"\x01\x00" * RATE), ("three", b"\x02\x00" * (RATE // 2))]


@pytest.mark.parametrize(
    ("said", "understood", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "", 3),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a b c", "a b x c d", 2),
        ("", "a", 1),
    ],
)
def test_words_are_replaced_added_or_left_out(said: str, understood: str, errors: int) -> None:
    assert word_errors(said, understood) == errors


def test_a_track_has_whole_sentences_and_the_length_that_was_asked(tmp_path: Path) -> None:
    track = compose(SPOKEN, 1, 4)
    assert [sentence.text for sentence in track.sentences] == ["three", "one two", "three"]
    assert len(track.pcm) == 2 * 4 * RATE
    assert len(track.pcm) % (2 * BLOCK) == 0
    for sentence in track.sentences:
        sound = dict(SPOKEN)[sentence.text]
        assert track.pcm[2 * sentence.start : 2 * sentence.end] == sound
    track.save(tmp_path, "track")
    assert Track.load(tmp_path, "track") == track


def test_a_sound_without_its_silence_ends_with_a_whole_sample() -> None:
    assert without_end(b"\x01\x02" + b"\x00\x03" + b"\x00\x00" * 9) == b"\x01\x02\x00\x03"
    assert without_end(b"\x01\x02" + b"\x03\x00" + b"\x00\x00" * 9) == b"\x01\x02\x03\x00"


async def test_all_that_is_spoken_are_whole_samples() -> None:
    spoken = await speak_sentences()
    assert [text for text, pcm in spoken if not pcm or len(pcm) % 2] == []


def test_what_was_said_is_as_long_as_the_track_but_for_the_delay_of_the_codec() -> None:
    pcm = b"\x00\x10\x00\xf0" * RATE
    coded = as_coded(pcm)
    assert len(pcm) - 2 * BLOCK < len(coded.pcm) <= len(pcm)
    assert coded.sha256 != as_coded(pcm[: len(pcm) // 2]).sha256


def test_what_comes_late_is_not_heard_in_time(tmp_path: Path) -> None:
    track = Track(b"\x05\x00" * (2 * RATE), (Sentence("five", 0, RATE),))
    write_wav(tmp_path / "call-0.wav", track.pcm, RATE)
    seen = call(CLEAN, started_us=BEGUN)
    (heard,) = heard_of(CLEAN, cell(CLEAN, seen), seen, track, tmp_path)
    assert heard.on_time == heard.whole
    # From the 30th frame on everything comes a second late.
    for frame in seen["ear"]["frames"][30:]:
        frame[2] += 1_000_000
    (heard,) = heard_of(CLEAN, cell(CLEAN, seen), seen, track, tmp_path)
    assert heard.on_time == heard.whole[: 2 * 30 * BLOCK]
    (missing,) = heard_of(CLEAN, cell(CLEAN, seen), {**seen, "name": "nobody"}, track, tmp_path)
    assert (missing.whole, missing.on_time) == (b"", b"")


class Stage:
    """A recogniser that fails so many times, and then understands two words."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked = 0

    def open(self) -> "Stage":
        return self

    async def feed(self, pcm: bytes) -> None:
        self.asked += 1
        if self.asked <= self.failures:
            raise AgentError("the recogniser has stopped", retryable=True)

    async def finish(self) -> str:
        return "one three"

    async def close(self) -> None:
        """Nothing to give back."""


@pytest.mark.parametrize(
    ("failures", "words"),
    [(0, Words(2, 50.0, 50.0, 100.0)), (2, Words(2, 50.0, 50.0, 100.0)), (9, Words(2, None, None, 100.0))],
)
async def test_a_recogniser_that_fails_is_asked_again_and_then_left_out(
    failures: int, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognition.stt_pocketsphinx, "build", lambda settings: Stage(failures))
    shares: list[float] = []
    assert await recognise([[Hearing("one two", b"sound", b"sound", b"")]], shares.append) == [words]
    assert shares == [0.5, 1.0]
