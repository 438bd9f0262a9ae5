"""The view for people: what is being said, understood and answered, while it happens (Rich).

Owns the drawing. The newest turn is redrawn in place; turns that are over scroll away above it.
"""

from __future__ import annotations

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from legato.cli.talking.turns import Turn
from legato.cli.talking.view import (
    Ahead,
    Answered,
    Closed,
    Connected,
    Leaving,
    News,
    Reconnected,
    Speaking,
    TurnOver,
    Understood,
    figures,
    shown,
)

REDRAWS_PER_SECOND = 12


class LiveView:
    """Draws on `console`."""

    def __init__(self, console: Console) -> None:
        """Draw nothing until the call is connected."""
        self._console = console
        self._live: Live | None = None
        self._turn: Turn | None = None
        self._ahead = 0

    def show(self, news: News) -> None:
        """Draw."""
        match news:
            case Connected():
                self._connected(news)
            case Speaking(turn) | Understood(turn) | Answered(turn):
                self._draw(turn)
            case Ahead(turn, samples):
                self._ahead = samples
                if not turn.reported and self._turn in (turn, None):
                    self._draw(turn)
            case TurnOver(turn):
                self._over(turn)
            case Leaving(in_ms):
                self._console.print(Text(f"the server ends the call in {in_ms / 1000:.0f} s", "yellow"))
            case Reconnected(same_call, gap_ms, lost_ms):
                what = "connected again" if same_call else "the call was lost; a new one goes on"
                lost = f", {lost_ms / 1000:.1f} s of speech lost" if lost_ms else ""
                self._console.print(Text(f"{what} after {gap_ms / 1000:.1f} s{lost}", "yellow"))
            case Closed():
                self.stop()
                if news.saved is not None:
                    self._console.print(Text(f"replies saved in {news.saved}", "dim"))

    def stop(self) -> None:
        """Stop redrawing; what is over stays on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _connected(self, news: Connected) -> None:
        self._console.print(
            Text.assemble(
                ("connected", "bold green"),
                f" to {shown(news.url)} in {news.connect_ms:.0f} ms",
                (f"  {news.transport}, {news.input} up, {news.output} down", "dim"),
            )
        )
        self._live = Live(console=self._console, refresh_per_second=REDRAWS_PER_SECOND, transient=True)
        self._live.start()

    def _over(self, turn: Turn) -> None:
        if self._turn is turn:
            self._turn = None
            self._ahead = 0
            if self._live is not None:
                self._live.update(Text(""), refresh=True)
        self._console.print(_finished(turn))

    def _draw(self, turn: Turn) -> None:
        self._turn = turn
        if self._live is not None:
            self._live.update(_drawing(turn, self._ahead))


def _drawing(turn: Turn, ahead: int) -> Table:
    rows = _texts(turn)
    if turn.parts:
        played, waiting = turn.played_ms / 1000, ahead / turn.rate
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=max(played + waiting, 0.1), completed=played, width=30),
            Text(f"{played:.1f} s played, {waiting:.1f} s ahead", "dim"),
        )
        rows.add_row("", bar)
    return rows


def _finished(turn: Turn) -> Table:
    rows = _texts(turn)
    rows.add_row("", Text(", ".join(figures(turn)), "dim"))
    return rows


def _texts(turn: Turn) -> Table:
    heard = Text(shown(turn.heard) or "…", "default" if turn.recognised_us is not None else "italic dim")
    if turn.said:
        heard.append(f"  ({shown(turn.said)})", "dim")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_row(Text("you", "bold cyan"), heard)
    if turn.answer or turn.parts:
        table.add_row(Text("legato", "bold magenta"), Text(shown(turn.answer) or "…"))
    return table
