"""What a conversation looks like: the news, one object per line, and a few plain lines.

Owns words and layout; must not know where events come from. People at a terminal get `live_view.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from legato.cli.talking.turns import Turn


@dataclass(frozen=True, slots=True)
class Connected:
    """The server has taken the call."""

    url: str
    session: str
    input: str
    output: str
    connect_ms: float
    transport: str


@dataclass(frozen=True, slots=True)
class Speaking:
    """The caller begins to speak."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Understood:
    """More of what the caller said was understood: `turn.heard`."""

    turn: Turn
    final: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """More of the answer's text is known: `turn.answer`."""

    turn: Turn
    final: bool


@dataclass(frozen=True, slots=True)
class Ahead:
    """`samples` of the reply are here and not played yet; told many times a second."""

    turn: Turn
    samples: int


@dataclass(frozen=True, slots=True)
class TurnOver:
    """Nothing more happens in a turn; every turn is told once."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Leaving:
    """The server is going to end the call."""

    in_ms: int


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The connection was lost for `gap_ms`; the call, or else a new one, goes on over another one."""

    same_call: bool
    gap_ms: int
    lost_ms: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The call is over; `saved` is the file that holds the replies."""

    by: str
    code: int
    reason: str
    saved: str | None = None


News: TypeAlias = (
    Connected | Speaking | Understood | Answered | Ahead | TurnOver | Leaving | Reconnected | Closed
)
"""Everything that can be shown."""


class View(Protocol):
    """Is told all news as it happens, and shows what it likes."""

    def show(self, news: News) -> None:
        """Show `news`, or not."""

    def stop(self) -> None:
        """Leave the terminal as it was. Idempotent."""


class JsonView:
    """One JSON object per line."""

    def __init__(self, write: Callable[[str], object]) -> None:
        """Write lines, each with its newline, with `write`."""
        self._write = write

    def show(self, news: News) -> None:
        """Write a line for all news but `Ahead`, which every turn sums up."""
        match news:
            case Connected() | Leaving() | Reconnected() | Closed():
                fields = asdict(news)
                if isinstance(news, Connected):
                    fields["connect_ms"] = _ms(news.connect_ms)
                self._line(type(news).__name__.lower(), **fields)
            case Speaking(turn):
                self._line("speaking", turn=turn.number, said=turn.said)
            case Understood(turn, final):
                self._line("transcript", turn=turn.number, text=turn.heard, final=final)
            case Answered(turn, final):
                self._line("answer", turn=turn.number, text=turn.answer, final=final)
            case TurnOver(turn):
                self._line("turn", **summary(turn))
            case Ahead():
                pass

    def stop(self) -> None:
        """Do nothing: no line is left half written."""

    def _line(self, kind: str, **fields: Any) -> None:
        self._write(json.dumps({"type": kind, **fields}, ensure_ascii=False) + "\n")


class PlainView:
    """For pipes: what was understood and what was answered, nothing else."""

    def __init__(self, write: Callable[[str], object]) -> None:
        """Write lines, each with its newline, with `write`."""
        self._write = write

    def show(self, news: News) -> None:
        """Write two lines for each turn."""
        if isinstance(news, TurnOver):
            self._write(f"you: {shown(news.turn.heard)}\nlegato: {shown(news.turn.answer)}\n")

    def stop(self) -> None:
        """Do nothing: no line is left half written."""


def summary(turn: Turn) -> dict[str, Any]:
    """A turn as fields of a JSON object; times in milliseconds, None where something did not happen."""
    return {
        "turn": turn.number,
        "said": turn.said,
        "heard": turn.heard,
        "answer": turn.answer,
        "interrupted": turn.interrupted_us is not None,
        "recognised_ms": _ms(turn.since_speech_ms(turn.recognised_us)),
        "reply_received_ms": _ms(turn.since_speech_ms(turn.began_us)),
        "reply_played_ms": _ms(turn.since_speech_ms(turn.first_played_us)),
        "reply_ms": _ms(turn.reply_ms),
        "delivered_ms": _ms(turn.delivered_ms),
        "lead_ms": _ms(turn.lead_ms),
        "played_ms": _ms(turn.played_ms),
        "underruns": turn.underruns,
    }


def shown(text: str) -> str:
    """`text` of a peer on one line, without anything that could draw on a terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def figures(turn: Turn) -> list[str]:
    """The figures of a turn, each as a phrase for people."""
    phrases = []
    received, played = turn.since_speech_ms(turn.began_us), turn.since_speech_ms(turn.first_played_us)
    if received is not None:
        phrases.append(f"reply received {received:.0f} ms after the end of speech")
    if played is not None:
        phrases.append(f"played after {played:.0f} ms")
    if turn.delivered_ms is not None:
        phrases.append(
            f"{turn.reply_ms / 1000:.1f} s of speech delivered in {turn.delivered_ms / 1000:.1f} s"
        )
    if turn.parts:
        phrases.append(f"up to {turn.lead_ms / 1000:.1f} s ahead of playback")
    if turn.interrupted_us is not None:
        phrases.append(f"interrupted after {turn.played_ms / 1000:.1f} s")
    if turn.underruns:
        phrases.append("1 gap" if turn.underruns == 1 else f"{turn.underruns} gaps")
    return phrases


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
