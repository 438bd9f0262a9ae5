"""What `legato demo` keeps and prints."""

import array
from pathlib import Path

import pytest
from rich.console import Console

from legato.audio.wav import read_wav
from legato.cli.__main__ import main
from legato.cli.showing.account import Account, Recorder
from legato.cli.talking.turns import Part, Turn
from legato.cli.talking.view import TurnOver

RATE = 24_000


def sound(*samples: int) -> bytes:
    """A few samples."""
    return array.array("h", samples).tobytes()


def answered(number: int) -> Turn:
    """A turn with an answer of two seconds, delivered in 100 ms, first heard 700 ms after the question."""
    turn = Turn(number, "What is one plus one?", 0, RATE, speech_end_us=1_000_000)
    turn.transcripts.append("what is one plus one")
    turn.answers["resp"] = "That is two."
    turn.parts[1] = Part(began_us=1_700_000, arrived_us=1_800_000, samples=2 * RATE, played=RATE // 2)
    turn.lead_samples = RATE
    return turn


def test_a_block_belongs_to_the_turn_whose_reply_began_last() -> None:
    recorder = Recorder()
    first, second = answered(1), answered(2)
    recorder.record(sound(9, 9))
    recorder.turns = [first]
    recorder.record(sound(0, 0, 5, 0))
    recorder.turns = [first, second]
    recorder.record(sound(7, 0))
    assert recorder.reply(first) == sound(5)
    assert recorder.reply(second) == sound(7)


def test_silence_is_kept_within_a_reply_only() -> None:
    recorder = Recorder()
    turn = answered(1)
    recorder.turns = [turn]
    for block in (sound(0, 1), sound(0, 0), sound(2, 0)):
        recorder.record(block)
    assert recorder.reply(turn) == sound(1, 0, 0, 2)
    assert recorder.reply(answered(2)) == b""


def test_a_turn_is_printed_and_its_reply_saved(tmp_path: Path) -> None:
    console = Console(width=300, record=True, force_terminal=False)
    recorder = Recorder()
    account = Account(console, recorder, tmp_path)
    turn = answered(1)
    turn.interrupted_us = 2_500_000
    recorder.turns = [turn]
    recorder.record(sound(*[1000] * RATE))
    account.show(TurnOver(turn))
    assert account.sum_up(1)
    text = console.export_text()
    for part in (
        "What is one plus one?",
        "what is one plus one",
        "That is two.",
        "700 ms after the end of speech",
        "2.0 s of speech in 0.10 s",
        "up to 1.0 s ahead of playback",
        "0.50 s of it had been heard: That ...",
        "1.0 s as heard",
        "every question was answered",
    ):
        assert part in text, part
    assert read_wav(tmp_path / "reply-1.wav").rate == RATE


def test_a_turn_without_answer_fails_the_demonstration(tmp_path: Path) -> None:
    console = Console(width=300, record=True, force_terminal=False)
    account = Account(console, Recorder(), tmp_path)
    account.show(TurnOver(Turn(1, "Hello?", 0, RATE)))
    assert not account.sum_up(1)
    assert "1 of 1 got no answer" in console.export_text()
    assert list(tmp_path.iterdir()) == []


def test_a_demonstration_needs_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "--output", str(tmp_path / "file")]) == 2
    assert "cannot be made a directory: File exists" in capsys.readouterr().err
