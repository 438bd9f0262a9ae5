"""The scene in which the network dies, twice: in the middle of a question, and of the answer.

Owns what happens when, and what is printed of it; must not know how a call survives.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from legato.cli.showing.path import BreakablePath
from legato.cli.talking.conversation import Conversation, Line, Plan
from legato.cli.talking.speech import Recording
from legato.cli.talking.turns import Turn, TurnLog
from legato.cli.talking.view import News, Reconnected, shown
from legato.client.devices import VirtualSpeaker
from legato.client.session import RealtimeSession, connect
from legato.client.settings import ClientSettings
from legato.core.errors import LegatoError

__all__ = ["LONG_QUESTION", "survive"]

LONG_QUESTION = "I would like to hear a very long story about the sea."

DEAD_S = 3.0
INTO_THE_QUESTION_S = 1.0
INTO_THE_ANSWER_S = 1.0
LEAD_S = DEAD_S + 1.0
"""How much of the answer must wait at the client before the network dies a second time: that is what carries
a reply over, and a machine without time to spare may take a while to make it."""
AFTERWARDS_S = 1.5
PATIENCE_S = 45.0
LOOK_S = 0.02


@dataclass(slots=True)
class _Outage:
    """One death of the network, as it happened."""

    lost: int
    before: list[int]
    after: list[int]


class _Witness:
    """A view that keeps what the account needs."""

    def __init__(self) -> None:
        self.reconnected: list[Reconnected] = []

    def show(self, news: News) -> None:
        """Keep that a connection was replaced."""
        if isinstance(news, Reconnected):
            self.reconnected.append(news)

    def stop(self) -> None:
        """Do nothing: nothing is drawn."""


async def survive(console: Console, port: int, settings: ClientSettings, question: Recording) -> bool:
    """Hold the scene with the server at `port`, and print it. Returns whether every word was understood and
    the answer had no gap."""
    witness = _Witness()
    log = TurnLog(witness, settings.output[0].rate)
    path = BreakablePath(port)
    session = connect(path.url, replace(settings, transport="webtransport"), VirtualSpeaker())
    outages: list[_Outage] = []
    try:
        async with session, asyncio.timeout(PATIENCE_S):
            talking = asyncio.create_task(Conversation(session, log).hold(Plan((Line(question),))))
            try:
                await _play(session, log, path, outages)
            finally:
                talking.cancel()
                await asyncio.gather(talking, return_exceptions=True)
    except (LegatoError, TimeoutError) as error:
        console.print(Text(str(error) or "the scene took too long", "red"))
    finally:
        path.close()
    turn = log.current
    return turn is not None and _account(console, turn, outages, witness.reconnected)


async def _play(session: RealtimeSession, log: TurnLog, path: BreakablePath, outages: list[_Outage]) -> None:
    await _until(lambda: log.current is not None)
    turn = log.current
    assert turn is not None
    started = turn.started_us
    await _until(lambda: session.now_us() - started >= INTO_THE_QUESTION_S * 1e6)
    outages.append(await _die(path))

    def far_enough() -> bool:
        item = session.playback.current
        if item is None:
            return False
        enough = item.played >= INTO_THE_ANSWER_S * turn.rate
        return enough and item.buffered >= LEAD_S * turn.rate

    await _until(far_enough)
    outages.append(await _die(path))
    await asyncio.sleep(AFTERWARDS_S)


async def _die(path: BreakablePath) -> _Outage:
    """Let nothing pass for `DEAD_S`, then everything, from another address."""
    outage = _Outage(path.lost, path.seen_at, [])
    path.dead = True
    await asyncio.sleep(DEAD_S)
    path.move()
    path.dead = False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DEAD_S):
            await _until(lambda: bool(path.seen_at))
    outage.lost, outage.after = path.lost - outage.lost, path.seen_at
    return outage


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - of several unlike things, one of them a clock
        await asyncio.sleep(LOOK_S)


def _account(console: Console, turn: Turn, outages: list[_Outage], replaced: list[Reconnected]) -> bool:
    exact = _words(turn.heard) == _words(turn.said)
    given_up_ms = sum(news.lost_ms for news in replaced)
    whole = len(outages) == 2 and turn.underruns == 0 and turn.played_ms > 1000 * DEAD_S
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(ratio=1)
    names = (f"network, {INTO_THE_QUESTION_S:g} s into it", "network, into the answer")
    rows = [("said", turn.said)]
    rows += [(name, _told(outage)) for name, outage in zip(names, outages, strict=False)]
    rows += [
        ("recognised", shown(turn.heard) or "nothing"),
        ("word for word", "yes" if exact else "no"),
        ("audio given up", f"{given_up_ms} ms"),
        ("connections replaced", ", ".join(f"after {news.gap_ms} ms" for news in replaced) or "none"),
        ("answer heard", f"{turn.played_ms / 1000:.1f} s, up to {turn.lead_ms / 1000:.1f} s ahead"),
        ("gaps in it", str(turn.underruns)),
    ]
    for name, value in rows:
        facts.add_row(name, Text(value))
    console.print()
    console.print(Text("The network dies, twice", "bold"))
    console.print(facts)
    return exact and whole and given_up_ms == 0


def _told(outage: _Outage) -> str:
    ports = " to ".join(", ".join(map(str, seen)) or "none" for seen in (outage.before, outage.after))
    return f"dead for {DEAD_S:g} s, {outage.lost} packets lost; the caller's port changes from {ports}"


def _words(text: str) -> list[str]:
    return "".join(letter for letter in text.lower() if letter.isalnum() or letter == " ").split()
