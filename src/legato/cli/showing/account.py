"""The account of a demonstration: what is printed about each turn, and the replies as WAV files.

Owns words, layout and file names; must not know how a conversation is held.
"""

from __future__ import annotations

import array
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from legato.audio.wav import write_wav
from legato.cli.talking.turns import Turn
from legato.cli.talking.view import Connected, News, TurnOver, shown

__all__ = ["Account", "Recorder"]


class Recorder:
    """Keeps what the loudspeaker played, by turn."""

    def __init__(self) -> None:
        """Start without anything; `turns` are those of the conversation."""
        self.turns: Sequence[Turn] = ()
        self._heard: dict[int, bytearray] = {}

    def record(self, pcm: bytes) -> None:
        """Take one block as heard; it belongs to the turn whose reply began last."""
        turn = next((turn for turn in reversed(self.turns) if turn.parts), None)
        if turn is not None:
            self._heard.setdefault(turn.number, bytearray()).extend(pcm)

    def reply(self, turn: Turn) -> bytes:
        """Return what was heard of a turn's reply, without the silence around it."""
        samples = array.array("h", bytes(self._heard.get(turn.number, b"")))
        first = next((i for i, sample in enumerate(samples) if sample), len(samples))
        last = next((i for i in range(len(samples) - 1, first - 1, -1) if samples[i]), first - 1)
        return samples[first : last + 1].tobytes()


class Account:
    """Prints each turn once it is over; a `View`."""

    def __init__(self, console: Console, recorder: Recorder, folder: Path) -> None:
        """Save replies in `folder`."""
        self._console = console
        self._recorder = recorder
        self._folder = folder
        self._answered = 0

    def show(self, news: News) -> None:
        """Print the connection and finished turns."""
        if isinstance(news, Connected):
            formats = f"{news.input} up, {news.output} down"
            self._console.print(f"connected to {shown(news.url)} in {news.connect_ms:.1f} ms: {formats}")
        elif isinstance(news, TurnOver):
            self._print(news.turn)

    def stop(self) -> None:
        """Do nothing: nothing is drawn in place."""

    def sum_up(self, questions: int) -> bool:
        """Print the last line; returns whether every question was understood and answered aloud."""
        self._console.print()
        if self._answered == questions:
            self._console.print(f"[green]every question was answered[/]; replies are in {self._folder}/")
        else:
            self._console.print(f"[red]{questions - self._answered} of {questions} got no answer[/]")
        return self._answered == questions

    def _print(self, turn: Turn) -> None:
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(ratio=1)
        for name, value in _facts(turn):
            facts.add_row(name, Text(value))
        pcm = self._recorder.reply(turn)
        if pcm and turn.heard and turn.answer:
            self._answered += 1
        if pcm:
            path = self._folder / f"reply-{turn.number}.wav"
            write_wav(path, pcm, turn.rate)
            facts.add_row("saved", Text(f"{path}, {len(pcm) / 2 / turn.rate:.1f} s as heard"))
        self._console.print()
        self._console.print(Text(f"Turn {turn.number}", "bold"))
        self._console.print(facts)


def _facts(turn: Turn) -> list[tuple[str, str]]:
    facts = [
        ("said", turn.said),
        ("recognised", shown(turn.heard) or "nothing"),
        ("answer", shown(turn.answer) or "none"),
    ]
    received = turn.since_speech_ms(turn.began_us)
    if received is not None:
        facts.append(("first sample", f"{received:.0f} ms after the end of speech"))
    if turn.delivered_ms is not None:
        facts.append(
            ("delivery", f"{turn.reply_ms / 1000:.1f} s of speech in {turn.delivered_ms / 1000:.2f} s")
        )
    if turn.parts:
        facts.append(("lead", f"up to {turn.lead_ms / 1000:.1f} s ahead of playback"))
    if turn.interrupted_us is not None:
        facts.append(
            ("interrupted", f"{turn.played_ms / 1000:.2f} s of it had been heard: {_heard(turn)} ...")
        )
    if turn.underruns:
        facts.append(("gaps", str(turn.underruns)))
    return facts


def _heard(turn: Turn) -> str:
    """Return about what was heard of the answer: as much of its words as of its sound."""
    words = shown(turn.answer).split()
    received_ms = turn.played_ms + turn.lead_ms
    return " ".join(words[: round(len(words) * turn.played_ms / received_ms)]) if received_ms else ""
