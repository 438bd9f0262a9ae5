"""What is heard becomes items: by a detector's finding, by the client's commit, or by silence."""

from base64 import b64decode
from typing import Any

import pytest
from tests.core.dialects.realtime.talk import RATE, Talk, kinds, pcm, text_message

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.dialogue_events import (
    InputCleared,
    InputCommitted,
    Interrupted,
    SettingsChanged,
    SpeechCommitted,
    TurnEnded,
)

MANUAL: dict[str, Any] = {"audio": {"input": {"turn_detection": None}}}
COMMITTED = ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]


def delta(talk: Talk, item: str, text: str) -> list[dict[str, Any]]:
    talk.dialogue.transcript_delta(item, text, talk.now)
    return talk.drain()


# A detector


def test_speech_becomes_an_item_when_it_stops() -> None:
    talk = Talk()
    talk.hear(RATE)
    item = talk.dialogue.speech_started(RATE // 2, 0)
    (started,) = talk.drain()
    assert (started["type"], started["item_id"]) == ("input_audio_buffer.speech_started", item)
    assert started["audio_start_ms"] == 500
    talk.hear(RATE)
    talk.dialogue.speech_stopped(3 * RATE // 2, 0)
    stopped, committed, added, done = talk.drain()
    assert (stopped["item_id"], stopped["audio_end_ms"]) == (item, 1_500)
    assert kinds([committed, added, done]) == COMMITTED
    assert (committed["item_id"], committed["previous_item_id"]) == (item, None)
    assert done["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert talk.asked == [
        Interrupted(),
        SpeechCommitted(item, RATE // 2, 3 * RATE // 2),
        TurnEnded(item),
    ]
    talk.judge()


def test_the_next_item_stands_behind_it() -> None:
    talk = Talk()
    first = talk.turn("One.")
    talk.turn("Two.")
    committed = [event for event in talk.said if event["type"] == "input_audio_buffer.committed"]
    assert committed[1]["previous_item_id"] == first
    talk.judge()


def test_speech_that_goes_on_is_told_once() -> None:
    talk = Talk()
    talk.hear(RATE)
    item = talk.dialogue.speech_started(0, 0)
    talk.drain()
    assert talk.dialogue.speech_started(500, 0) == item
    talk.dialogue.speech_stopped(RATE, 0)
    assert kinds(talk.drain()) == ["input_audio_buffer.speech_stopped", *COMMITTED]
    talk.dialogue.speech_stopped(RATE, 0)
    assert talk.drain() == []
    assert talk.dialogue.speech_started(RATE, 0) != item


def test_positions_are_held_to_what_was_heard_and_not_committed() -> None:
    talk = Talk()
    talk.hear(RATE)
    talk.dialogue.speech_started(-500, 0)
    talk.dialogue.speech_stopped(9 * RATE, 0)
    talk.dialogue.speech_started(0, 0)
    talk.dialogue.speech_stopped(0, 0)
    talk.drain()
    spans = [(event.start, event.stop) for event in talk.asked if isinstance(event, SpeechCommitted)]
    assert spans == [(0, RATE), (RATE, RATE)]
    talk.judge()


@pytest.mark.parametrize(
    ("detection", "events"),
    [
        ({"create_response": False}, [Interrupted, SpeechCommitted]),
        ({"interrupt_response": False}, [SpeechCommitted, TurnEnded]),
        ({"type": "semantic_vad"}, [Interrupted, SpeechCommitted, TurnEnded]),
        ({"type": "semantic_vad", "create_response": False}, [Interrupted, SpeechCommitted]),
    ],
)
def test_what_follows_from_speech(detection: dict[str, Any], events: list[type]) -> None:
    talk = Talk({"audio": {"input": {"turn_detection": detection}}})
    talk.turn("Hello.")
    assert [type(event) for event in talk.asked] == events
    talk.judge()


def test_an_agent_that_takes_no_requests_is_not_told_of_turns() -> None:
    talk = Talk(answers=False)
    talk.turn("Hello.")
    assert [type(event) for event in talk.asked] == [Interrupted, SpeechCommitted]


# Transcripts


def test_words_are_told_while_somebody_speaks_and_afterwards() -> None:
    talk = Talk()
    talk.hear(RATE)
    item = talk.dialogue.speech_started(0, 0)
    talk.drain()
    (told,) = delta(talk, item, "Good")
    assert (told["item_id"], told["content_index"], told["delta"]) == (item, 0, "Good")
    assert delta(talk, item, "") == []
    assert delta(talk, "item_of_nobody", "What?") == []
    talk.dialogue.speech_stopped(RATE, 0)
    talk.drain()
    assert len(delta(talk, item, " morning.")) == 1
    talk.dialogue.transcript_done(item, "Good morning.", 1.0, 0)
    (done,) = talk.drain()
    assert (done["transcript"], done["usage"]) == ("Good morning.", {"type": "duration", "seconds": 1.0})
    assert talk.seen() == ["user: Good morning."]
    assert talk.retrieved(item)["content"][0]["transcript"] == "Good morning."
    talk.judge()


def test_nothing_follows_the_end_of_a_transcript() -> None:
    talk = Talk()
    done, failed = talk.turn("Hello."), talk.turn_unheard()
    talk.dialogue.transcript_failed(failed, "deaf", "no ears", 0)
    (told,) = talk.drain()
    assert told["error"] == {"type": "server_error", "code": "deaf", "message": "no ears", "param": None}
    for item in (done, failed):
        delta(talk, item, "late")
        talk.dialogue.transcript_done(item, "late", 1.0, 0)
        talk.dialogue.transcript_failed(item, "late", "late", 0)
    assert talk.drain() == []
    assert talk.seen() == ["user: Hello."]
    talk.judge()


def test_what_is_no_committed_speech_has_no_transcript() -> None:
    talk = Talk()
    spoken, written = talk.answer("Hello."), "given"
    talk.send("conversation.item.create", item=text_message("Hello.", id=written))
    speaking = talk.dialogue.speech_started(0, 0)
    talk.drain()
    for item in (spoken, written, speaking, "item_of_nobody"):
        if item != speaking:
            assert delta(talk, item, "x") == []
        talk.dialogue.transcript_done(item, "x", 1.0, 0)
        talk.dialogue.transcript_failed(item, "deaf", "no ears", 0)
    assert talk.drain() == []


def test_without_transcription_the_words_are_for_the_model_only() -> None:
    talk = Talk({"audio": {"input": {"transcription": None}}})
    item = talk.turn_unheard()
    assert delta(talk, item, "Hello.") == []
    talk.dialogue.transcript_done(item, "Hello.", 1.0, 0)
    other = talk.turn_unheard()
    talk.drain()
    talk.dialogue.transcript_failed(other, "deaf", "no ears", 0)
    assert talk.drain() == []
    assert talk.seen() == ["user: Hello."]
    assert talk.retrieved(item)["content"][0]["transcript"] is None


def test_a_client_cannot_take_the_name_of_speech_that_goes_on() -> None:
    talk = Talk()
    talk.hear(RATE)
    item = talk.dialogue.speech_started(0, 0)
    talk.drain()
    error = talk.refusal("conversation.item.create", item=text_message("Hello.", id=item))
    assert error["code"] == "item_create_duplicate_item_id"
    talk.dialogue.speech_stopped(RATE, 0)
    talk.drain()
    assert talk.order() == [item]
    talk.judge()


# The client


def test_the_client_commits() -> None:
    talk = Talk(MANUAL, keeps_audio=True)
    talk.hear(RATE)
    said = talk.send("input_audio_buffer.commit")
    assert kinds(said) == COMMITTED
    item = said[0]["item_id"]
    assert talk.asked == [InputCommitted(item, 0, RATE)]
    assert b64decode(talk.retrieved(item)["content"][0]["audio"]) == pcm(0, RATE)
    talk.hear(RATE // 2)
    said = talk.send("input_audio_buffer.commit")
    assert talk.asked[1] == InputCommitted(said[0]["item_id"], RATE, 3 * RATE // 2)
    assert b64decode(talk.retrieved(said[0]["item_id"])["content"][0]["audio"]) == pcm(RATE, RATE // 2)
    talk.judge()


def test_there_has_to_be_something_to_commit() -> None:
    talk = Talk(MANUAL)
    assert talk.refusal("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty"
    talk.hear(RATE // 10 - 1)
    error = talk.refusal("input_audio_buffer.commit")
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert "99.96 ms" in error["message"]
    talk.hear(1)
    assert kinds(talk.send("input_audio_buffer.commit")) == COMMITTED
    assert talk.refusal("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty"


def test_in_manual_mode_a_detector_tells_nobody() -> None:
    talk = Talk(MANUAL)
    talk.hear(RATE)
    item = talk.dialogue.speech_started(0, 0)
    assert talk.dialogue.speech_started(500, 0) == item
    talk.dialogue.speech_stopped(1_000, 0)
    assert delta(talk, item, "Hello.") == []
    assert talk.asked == []
    assert talk.send("input_audio_buffer.commit")[0]["item_id"] == item
    assert talk.dialogue.speech_started(500, 0) != item


def test_the_client_commits_while_somebody_speaks() -> None:
    talk = Talk(keeps_audio=True)
    talk.hear(RATE)
    item = talk.dialogue.speech_started(RATE // 2, 0)
    talk.hear(RATE)
    talk.drain()
    said = talk.send("input_audio_buffer.commit")
    assert kinds(said) == COMMITTED
    assert talk.asked[-1] == InputCommitted(item, RATE // 2, 2 * RATE)
    talk.dialogue.speech_stopped(2 * RATE, 0)
    assert talk.drain() == []
    talk.dialogue.speech_started(2 * RATE, 0)
    assert kinds(talk.drain()) == ["input_audio_buffer.speech_started"]
    assert b64decode(talk.retrieved(item)["content"][0]["audio"]) == pcm(RATE // 2, 3 * RATE // 2)
    talk.judge(ended=False)


@pytest.mark.parametrize("keeps_audio", [True, False])
def test_the_client_clears(keeps_audio: bool) -> None:
    talk = Talk(MANUAL, keeps_audio=keeps_audio)
    talk.hear(RATE)
    assert kinds(talk.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert talk.asked == [InputCleared(RATE)]
    assert talk.refusal("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty"


def test_clearing_ends_the_speech() -> None:
    talk = Talk()
    talk.hear(RATE)
    item = talk.dialogue.speech_started(0, 0)
    talk.drain()
    talk.send("input_audio_buffer.clear")
    assert delta(talk, item, "Hello.") == []
    talk.dialogue.transcript_done(item, "Hello.", 1.0, 0)
    talk.dialogue.speech_stopped(RATE, 0)
    assert talk.drain() == []
    assert talk.order() == []
    assert talk.dialogue.speech_started(RATE, 0) != item
    talk.judge(ended=False)


def test_manual_mode_may_begin_in_mid_speech() -> None:
    talk = Talk()
    talk.hear(RATE)
    item = talk.dialogue.speech_started(0, 0)
    talk.drain()
    talk.send("session.update", session={"type": "realtime", **MANUAL})
    assert isinstance(talk.asked[-1], SettingsChanged)
    talk.dialogue.speech_stopped(RATE, 0)
    assert talk.drain() == []
    assert talk.send("input_audio_buffer.commit")[0]["item_id"] == item
    talk.judge()


# Kept audio


def test_audio_before_a_detector_speaks_up_is_kept_for_as_long_as_that_takes() -> None:
    talk = Talk(keeps_audio=True)
    recent = talk.dialogue._parts.buffer._recent
    assert recent is not None
    for _ in range(100):
        talk.hear(RATE // 5)
    kept = (0.3 + 3) * RATE * 2
    assert kept <= recent.size <= kept + RATE // 5 * 2
    talk.dialogue.speech_started(talk.dialogue.position - 3 * RATE, 0)
    for _ in range(100):
        talk.hear(RATE // 5)
    talk.dialogue.speech_stopped(talk.dialogue.position, 0)
    talk.drain()
    item = talk.order()[0]
    assert len(b64decode(talk.retrieved(item)["content"][0]["audio"])) == 23 * RATE * 2


def test_audio_that_was_lost_is_not_made_up() -> None:
    talk = Talk(keeps_audio=True)
    talk.hear(RATE)
    talk.dialogue.hear(b"", 100)
    item = talk.turn("Hello.", 1_000)
    assert "audio" in talk.retrieved(item)["content"][0]
    talk.dialogue.speech_started(talk.dialogue.position, 0)
    talk.dialogue.hear(b"", 100)
    talk.dialogue.speech_stopped(talk.dialogue.position, 0)
    talk.drain()
    assert "audio" not in talk.retrieved(talk.order()[-1])["content"][0]


def test_audio_that_cannot_be_cut_is_not_kept() -> None:
    opus = AudioFormat("opus", 16_000)
    talk = Talk(keeps_audio=True, formats=(opus, opus))
    talk.dialogue.hear(b"\x08\x01\x02", 16_000)
    item = talk.dialogue.speech_started(0, 0)
    talk.dialogue.speech_stopped(16_000, 0)
    stopped = talk.drain()[1]
    assert stopped["audio_end_ms"] == 1_000
    assert "audio" not in talk.retrieved(item)["content"][0]
