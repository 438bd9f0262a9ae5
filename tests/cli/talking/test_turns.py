"""Which event belongs to which turn, and what the figures mean."""

from typing import Any

import pytest

from legato.cli.talking.turns import Turn, TurnLog
from legato.cli.talking.view import (
    Ahead,
    Answered,
    Leaving,
    News,
    Reconnected,
    Speaking,
    TurnOver,
    Understood,
)
from legato.client.events import (
    Interrupted,
    PlaybackChanged,
    ReplyArrived,
    ReplyBegan,
    Resumed,
    ServerEvent,
    ServerLeaving,
)
from legato.core import AudioFormat, Limits, Welcome

RATE = 24_000
MS = 1000


class Remembering:
    def __init__(self) -> None:
        self.news: list[News] = []

    def show(self, news: News) -> None:
        self.news.append(news)

    def stop(self) -> None:
        pass

    def over(self) -> list[Turn]:
        return [news.turn for news in self.news if isinstance(news, TurnOver)]


@pytest.fixture
def view() -> Remembering:
    return Remembering()


@pytest.fixture
def log(view: Remembering) -> TurnLog:
    return TurnLog(view, RATE)


def server(kind: str, at_ms: int = 0, **fields: Any) -> ServerEvent:
    return ServerEvent({"type": kind, **fields}, at_ms * MS)


def transcript(text: str, at_ms: int) -> ServerEvent:
    return server("conversation.item.input_audio_transcription.completed", at_ms, transcript=text)


def created(response: str) -> ServerEvent:
    return server("response.created", response={"id": response, "status": "in_progress"})


def words(response: str, text: str) -> ServerEvent:
    return server("response.output_audio_transcript.delta", response_id=response, delta=text)


def done(response: str, status: str = "completed") -> ServerEvent:
    return server("response.done", response={"id": response, "status": status})


def began(response: str, generation: int, at_ms: int) -> ReplyBegan:
    return ReplyBegan(response, f"item_{generation}", generation, at_ms * MS)


def arrived(generation: int, seconds: float, at_ms: int) -> ReplyArrived:
    return ReplyArrived(f"item_{generation}", generation, round(seconds * RATE), at_ms * MS)


def playback(generation: int, played_s: float, buffered_s: float, state: Any, at_ms: int) -> PlaybackChanged:
    played, buffered = round(played_s * RATE), round(buffered_s * RATE)
    return PlaybackChanged(f"item_{generation}", generation, played, buffered, 0, state, at_ms * MS)


def test_a_whole_turn(log: TurnLog, view: Remembering) -> None:
    turn = log.begin("question.wav", 1000 * MS)
    log.speech_ended(3000 * MS)
    for event in (
        server("conversation.item.input_audio_transcription.delta", delta="what "),
        server("conversation.item.input_audio_transcription.delta", delta="time"),
        transcript("What time is it?", 3600),
        created("r1"),
        words("r1", "It is noon. "),
        began("r1", 1, 3700),
        playback(1, 0, 1.5, "playing", 3720),
        words("r1", "Goodbye. "),
        arrived(1, 8, 4700),
        playback(1, 1.0, 7.0, "playing", 4720),
        server("response.output_audio_transcript.done", response_id="r1", transcript="It is noon. Goodbye."),
        done("r1"),
    ):
        log.feed(event)
        assert not turn.settled
    log.feed(playback(1, 8, 0, "done", 11_700))
    assert turn.settled
    assert (turn.heard, turn.answer) == ("What time is it?", "It is noon. Goodbye.")
    assert turn.since_speech_ms(turn.recognised_us) == 600
    assert turn.since_speech_ms(turn.began_us) == 700
    assert turn.since_speech_ms(turn.first_played_us) == 720
    assert (turn.reply_ms, turn.played_ms, turn.delivered_ms, turn.lead_ms) == (8000, 8000, 1000, 7000)
    assert turn.interrupted_us is None
    assert view.over() == []
    log.finish()
    log.finish()
    assert view.over() == [turn]
    kinds = [type(news) for news in view.news]
    assert kinds == [Speaking, *[Understood] * 3, *[Answered] * 3, TurnOver]


def test_a_barge_in_belongs_to_two_turns(log: TurnLog, view: Remembering) -> None:
    first = log.begin("story.wav", 0)
    log.speech_ended(1000 * MS)
    for event in (
        created("r1"),
        words("r1", "Once "),
        began("r1", 1, 1500),
        playback(1, 0, 9, "playing", 1500),
    ):
        log.feed(event)
    second = log.begin("stop.wav", 4000 * MS)
    log.feed(words("r1", "upon "))
    log.feed(playback(1, 2.6, 6.4, "stopped", 4300))
    log.feed(Interrupted(1, 1, 4300 * MS))
    log.feed(done("r1", "cancelled"))
    assert view.over() == [first]
    assert first.answer == "Once upon"
    assert first.interrupted_us == 4300 * MS
    assert (first.played_ms, first.reply_ms) == (2600, 9000)
    log.feed(transcript("Stop.", 5000))
    log.feed(created("r2"))
    log.feed(began("r2", 2, 5100))
    assert (second.heard, list(second.parts), first.heard) == ("Stop.", [2], "")


def test_a_flush_ends_parts_that_the_player_never_reported(log: TurnLog) -> None:
    turn = log.begin("a.wav", 0)
    log.feed(created("r1"))
    for generation in (1, 2, 3):
        log.feed(began("r1", generation, 10))
    log.feed(done("r1", "cancelled"))
    log.feed(Interrupted(1, 2, 20 * MS))
    assert [part.over for part in turn.parts.values()] == [True, True, False]
    assert not turn.settled
    log.feed(Interrupted(3, 3, 30 * MS))
    assert turn.settled
    assert turn.interrupted_us == 20 * MS


def test_several_responses_are_one_answer(log: TurnLog) -> None:
    turn = log.begin("a.wav", 0)
    for event in (
        created("r1"),
        words("r1", "One moment. "),
        done("r1"),
        created("r2"),
        words("r2", "Twelve. "),
    ):
        log.feed(event)
    assert turn.answer == "One moment. Twelve."
    assert not turn.settled
    log.feed(done("r2", "failed"))
    assert turn.settled
    assert turn.statuses == {"r1": "completed", "r2": "failed"}


def test_an_unfinished_delivery_has_no_duration(log: TurnLog) -> None:
    turn = log.begin("a.wav", 0)
    log.feed(created("r1"))
    log.feed(began("r1", 1, 100))
    assert turn.delivered_ms is None
    assert turn.since_speech_ms(turn.began_us) is None
    assert turn.wordless


def test_the_lead_is_that_of_the_newest_answered_turn(log: TurnLog, view: Remembering) -> None:
    log.note_lead(5)
    first = log.begin("a.wav", 0)
    log.feed(began("r1", 1, 10))
    log.begin("b.wav", 100)
    log.note_lead(2 * RATE)
    log.note_lead(RATE)
    assert first.lead_ms == 2000
    assert [news.samples for news in view.news if isinstance(news, Ahead)] == [2 * RATE, RATE]


def test_an_answer_to_nothing_is_a_turn_of_its_own(log: TurnLog) -> None:
    log.feed(created("r1"))
    log.feed(words("r1", "Hello! "))
    log.feed(began("r1", 1, 10))
    (turn,) = log.turns
    assert (turn.said, turn.answer, list(turn.parts)) == ("", "Hello!", [1])


def test_with_a_microphone_the_server_tells_where_turns_begin(view: Remembering) -> None:
    log = TurnLog(view, RATE, automatic=True, stream_start_us=500 * MS)
    log.feed(server("input_audio_buffer.speech_started", 900, audio_start_ms=300))
    log.feed(server("input_audio_buffer.speech_stopped", 2500, audio_end_ms=1500))
    (turn,) = log.turns
    assert turn.speech_end_us == 2000 * MS
    log.feed(server("input_audio_buffer.speech_started", 2600))
    assert log.turns == [turn]
    log.feed(server("input_audio_buffer.speech_stopped", 3000))
    assert turn.speech_end_us == 3000 * MS
    for event in (
        transcript("Hi.", 3100),
        created("r1"),
        began("r1", 1, 3200),
        playback(1, 1, 0, "done", 4300),
    ):
        log.feed(event)
    assert view.over() == []
    log.feed(done("r1"))
    assert view.over() == [turn]
    log.feed(server("input_audio_buffer.speech_started", 5000))
    assert len(log.turns) == 2


def test_a_plan_ignores_voice_activity(log: TurnLog) -> None:
    log.feed(server("input_audio_buffer.speech_started", 10))
    assert log.turns == []


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.created"},
        {"type": "response.created", "response": "r1"},
        {"type": "response.done", "response": {"id": 4, "status": None}},
        {"type": "response.output_audio_transcript.delta", "delta": 7},
        {"type": "conversation.item.input_audio_transcription.completed"},
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": "soon"},
        {"type": "something.else"},
        {},
    ],
)
@pytest.mark.parametrize("automatic", [True, False])
def test_odd_events_of_a_server_harm_nothing(
    view: Remembering, event: dict[str, Any], automatic: bool
) -> None:
    log = TurnLog(view, RATE, automatic=automatic)
    log.feed(ServerEvent(event, 5))
    log.finish()


def test_figures_for_unknown_generations_are_left_out(log: TurnLog) -> None:
    log.begin("a.wav", 0)
    log.feed(playback(9, 1, 1, "playing", 5))
    log.feed(arrived(9, 1, 5))
    log.feed(Interrupted(1, 9, 5))
    assert log.turns[0].parts == {}


def test_a_server_that_leaves_is_shown(log: TurnLog, view: Remembering) -> None:
    log.feed(ServerLeaving(3000, 0))
    assert view.news == [Leaving(3000)]


def test_a_new_connection_is_shown(log: TurnLog, view: Remembering) -> None:
    form = AudioFormat("pcm16", 16_000)
    welcome = Welcome(
        session_id="call_1",
        input=form,
        output=form,
        profile="turn",
        lead_ms=1,
        server_time_us=0,
        limits=Limits(),
        resumed=True,
    )
    log.feed(Resumed(welcome, 2_500, 1_600, 0))
    assert view.news == [Reconnected(True, 2_500, 100)]
