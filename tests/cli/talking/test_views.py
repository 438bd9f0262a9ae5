"""The three views: one object per line, two lines per turn, a live screen; none lets a peer draw."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from legato.cli.talking.live_view import LiveView
from legato.cli.talking.turns import Part, Turn
from legato.cli.talking.view import (
    Ahead,
    Answered,
    Closed,
    Connected,
    JsonView,
    Leaving,
    News,
    PlainView,
    Reconnected,
    Speaking,
    TurnOver,
    Understood,
    View,
    shown,
)

CONNECTED = Connected("https://localhost:4433", "call_1", "opus/16000", "opus/24000", 2.44, "websocket")


def a_turn() -> Turn:
    turn = Turn(1, "question.wav", 0, 24_000, speech_end_us=1_000_000)
    turn.transcripts = ["What\x1b[2J time?"]
    turn.recognised_us = 1_400_000
    turn.answers = {"r1": "It is\nnoon. "}
    turn.statuses = {"r1": "completed"}
    turn.parts = {1: Part(1_500_000, 2_000_000, 48_000, 48_000, underruns=1, over=True)}
    turn.first_played_us = 1_520_000
    turn.interrupted_us = 3_000_000
    turn.lead_samples = 36_000
    return turn


def everything(turn: Turn) -> list[News]:
    return [
        CONNECTED,
        Speaking(turn),
        Understood(turn, final=True),
        Answered(turn, final=False),
        Ahead(turn, 24_000),
        TurnOver(turn),
        Leaving(3000),
        Reconnected(True, 2_500, 0),
        Reconnected(False, 2_500, 300),
        Closed("local", 0, "hung up", "reply.wav"),
    ]


def test_json_is_one_object_per_line() -> None:
    out = io.StringIO()
    view = JsonView(out.write)
    for news in everything(a_turn()):
        view.show(news)
    view.stop()
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.pop("type") for line in lines] == [
        "connected",
        "speaking",
        "transcript",
        "answer",
        "turn",
        "leaving",
        "reconnected",
        "reconnected",
        "closed",
    ]
    assert lines[0] == {
        "url": "https://localhost:4433",
        "session": "call_1",
        "input": "opus/16000",
        "output": "opus/24000",
        "connect_ms": 2.4,
        "transport": "websocket",
    }
    assert lines[2] == {"turn": 1, "text": "What\x1b[2J time?", "final": True}
    assert lines[4] == {
        "turn": 1,
        "said": "question.wav",
        "heard": "What\x1b[2J time?",
        "answer": "It is\nnoon.",
        "interrupted": True,
        "recognised_ms": 400.0,
        "reply_received_ms": 500.0,
        "reply_played_ms": 520.0,
        "reply_ms": 2000.0,
        "delivered_ms": 500.0,
        "lead_ms": 1500.0,
        "played_ms": 2000.0,
        "underruns": 1,
    }
    assert lines[7] == {"same_call": False, "gap_ms": 2500, "lost_ms": 300}
    assert lines[8] == {"by": "local", "code": 0, "reason": "hung up", "saved": "reply.wav"}


def test_a_pipe_gets_two_lines_per_turn() -> None:
    out = io.StringIO()
    view = PlainView(out.write)
    for news in everything(a_turn()):
        view.show(news)
    view.stop()
    assert out.getvalue() == "you: What [2J time?\nlegato: It is noon.\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_people_see_texts_and_figures(terminal: bool) -> None:
    out = io.StringIO()
    view: View = LiveView(Console(file=out, force_terminal=terminal, width=200, color_system=None))
    for news in everything(a_turn()):
        view.show(news)
    view.stop()
    view.stop()
    text = out.getvalue()
    for expected in (
        "connected to https://localhost:4433 in 2 ms",
        "websocket, opus/16000 up",
        "What [2J time?",
        "(question.wav)",
        "It is noon.",
        "reply received 500 ms after the end of speech",
        "played after 520 ms",
        "2.0 s of speech delivered in 0.5 s",
        "up to 1.5 s ahead of playback",
        "interrupted after 2.0 s",
        "1 gap",
        "the server ends the call in 3 s",
        "connected again after 2.5 s\n",
        "the call was lost; a new one goes on after 2.5 s, 0.3 s of speech lost",
        "replies saved in reply.wav",
    ):
        assert expected in text


def test_the_live_screen_shows_how_far_delivery_is_ahead() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, force_terminal=True, width=100, color_system=None))
    turn = a_turn()
    view.show(CONNECTED)
    view.show(Ahead(turn, 24_000))
    view.stop()
    assert "2.0 s played, 1.0 s ahead" in out.getvalue()


def test_a_turn_that_is_over_is_drawn_once() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, force_terminal=True, width=100, color_system=None))
    turn = a_turn()
    view.show(CONNECTED)
    view.show(Answered(turn, final=True))
    turn.reported = True
    view.show(TurnOver(turn))
    view.show(Ahead(turn, 24_000))
    view.stop()
    assert "noon" not in out.getvalue().rpartition("ahead of playback")[2]


def test_a_turn_without_answer_can_be_shown() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, width=100))
    view.show(TurnOver(Turn(1, "noise.wav", 0, 24_000)))
    assert "noise.wav" in out.getvalue()
    assert "legato" not in out.getvalue()


def test_what_a_peer_says_is_one_line_of_printable_text() -> None:
    assert shown("a\x1b[31m\r\nb\t c\u202e") == "a [31m b c"
