"""Sessions: how they begin, change, fall silent, and what they refuse."""

from typing import Any

import msgspec
import pytest
from tests.core.dialects.realtime.talk import RATE, SECOND, Talk, kinds

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.dialogue_events import (
    ResponseWanted,
    SettingsChanged,
    SpeechCommitted,
)
from legato.core.dialects.realtime.session_settings import SessionSettings


def test_a_session_begins() -> None:
    talk = Talk(expires_at=1_800_000_000)
    created, conversation = talk.said
    assert (created["type"], created["session"]["id"]) == ("session.created", "sess_1")
    assert created["session"]["expires_at"] == 1_800_000_000
    assert conversation["conversation"]["object"] == "realtime.conversation"
    assert talk.asked == []
    talk.judge()


def test_every_event_has_an_id_of_its_own() -> None:
    talk = Talk()
    talk.turn("Hello.")
    talk.answer("Hello.")
    ids = [event["event_id"] for event in talk.said]
    assert len(set(ids)) == len(ids)


def test_outputs_and_events_are_handed_out_once() -> None:
    talk = Talk()
    talk.dialogue.receive({"type": "session.update", "session": {"type": "realtime"}}, 0)
    outputs, events = talk.dialogue.outputs(), talk.dialogue.events()
    assert kinds(outputs) == ["session.updated"]
    assert [type(event) for event in events] == [SettingsChanged]
    assert talk.dialogue.outputs() == []
    assert talk.dialogue.events() == []
    assert len(outputs) == len(events) == 1


# Refusals


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({}, "missing_required_parameter"),
        ({"type": 7}, "invalid_type"),
        ({"type": "session.forget"}, "invalid_value"),
        ({"type": "conversation.item.create"}, "missing_required_parameter"),
        ({"type": "response.cancel", "why": "so"}, "unknown_parameter"),
        ({"type": "output_audio_buffer.clear"}, "unsupported_event"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "unsupported_event"),
        ({"type": "input_audio_buffer.append", "audio": "?"}, "invalid_value"),
        ({"type": "session.update", "session": {"type": "transcription"}}, "invalid_value"),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_session_lives_on(event: dict[str, Any], code: str) -> None:
    talk = Talk()
    (said,) = talk.send(event.pop("type", None), **event) if "type" in event else receive(talk, event)
    assert (said["type"], said["error"]["code"]) == ("error", code)
    assert said["error"]["event_id"] is None
    assert kinds(talk.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    talk.judge()


def receive(talk: Talk, event: dict[str, Any]) -> list[dict[str, Any]]:
    talk.dialogue.receive(event, 0)
    return talk.drain()


@pytest.mark.parametrize("event_id", [7, None, "x" * 600, ["x"]])
def test_an_error_names_the_event_only_if_that_has_a_name(event_id: object) -> None:
    talk = Talk()
    (said,) = receive(talk, {"type": "response.cancel", "event_id": event_id})
    assert said["error"]["event_id"] is None
    talk.judge()


def test_permissions_come_before_everything() -> None:
    talk = Talk()
    allowed = frozenset({"input_audio_buffer.clear"})
    for kind in ("response.create", "session.forget", ["response.create"]):
        talk.dialogue.receive({"type": kind, "event_id": "mine"}, 0, allowed)
        (said,) = talk.drain()
        assert (said["error"]["code"], said["error"]["event_id"]) == ("event_not_allowed", "mine")
    talk.dialogue.receive({"type": "input_audio_buffer.clear"}, 0, allowed)
    assert kinds(talk.drain()) == ["input_audio_buffer.cleared"]
    talk.judge()


# Settings


def test_settings_change() -> None:
    talk = Talk()
    said = talk.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
    assert kinds(said) == ["session.updated"]
    assert said[0]["session"]["instructions"] == "Be brief."
    assert talk.asked == [SettingsChanged(talk.dialogue.settings)]
    assert talk.dialogue.settings.instructions == "Be brief."
    talk.judge()


def change(talk: Talk, **audio: Any) -> str | None:
    """Ask for other audio settings; returns the code of the refusal."""
    (said,) = talk.send("session.update", session={"type": "realtime", "audio": audio})
    code: str | None = said.get("error", {}).get("code")
    return code


def test_formats_are_locked_once_audio_went_that_way() -> None:
    talk = Talk()
    pcmu = {"format": {"type": "audio/pcmu"}}
    pcma = {"format": {"type": "audio/pcma"}}
    assert change(talk, input=pcmu, output=pcmu) is None
    talk.dialogue.hear(b"\xff" * 800, 800)
    assert change(talk, output=pcma) is None
    assert change(talk, input=pcma) == "cannot_update_format"
    talk.answer("Hello.")
    assert change(talk, output=pcmu) == "cannot_update_format"
    said = talk.send("input_audio_buffer.commit")
    assert kinds(said)[0] == "input_audio_buffer.committed"
    talk.judge()


def test_positions_follow_the_format() -> None:
    talk = Talk({"audio": {"input": {"format": {"type": "audio/pcma"}}}})
    talk.dialogue.hear(b"\xd5" * 8_000, 8_000)
    talk.dialogue.speech_started(4_000, 0)
    (started,) = talk.drain()
    assert started["audio_start_ms"] == 500


def test_voice_and_speed_are_locked_by_what_is_said() -> None:
    talk = Talk()
    assert change(talk, output={"voice": "awb", "speed": 1.25}) is None
    response = talk.begin()
    talk.drain()
    assert change(talk, output={"speed": 1.0}) == "cannot_update_speed"
    assert change(talk, output={"voice": "rms"}) is None
    talk.speak(response, "Hello.")
    talk.drain()
    assert change(talk, output={"voice": "awb"}) == "cannot_update_voice"
    response.end("completed", 0)
    talk.drain()
    assert change(talk, output={"voice": "awb"}) == "cannot_update_voice"
    assert change(talk, output={"speed": 1.0}) is None
    assert talk.refusal("response.create", response={"audio": {"output": {"voice": "awb"}}})["code"] == (
        "cannot_update_voice"
    )


def test_the_line_may_have_formats_of_its_own() -> None:
    opus, pcm16 = AudioFormat("opus", 48_000), AudioFormat("pcm16", 16_000)
    talk = Talk(formats=(opus, pcm16))
    talk.dialogue.hear(b"\x08\x01\x02", 48_000)
    talk.dialogue.speech_started(24_000, 0)
    (started,) = talk.drain()
    assert started["audio_start_ms"] == 500
    item = talk.answer("One two.", 16_000)
    talk.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=500)
    assert talk.spoken(item).length == 8_000


def test_audio_of_an_item_cannot_be_opus() -> None:
    opus = AudioFormat("opus", 48_000)
    settings = SessionSettings.of()
    talk = Talk(settings=msgspec.structs.replace(settings, input_format=opus, output_format=opus))
    content = [{"type": "input_audio", "audio": "AAAA"}]
    error = talk.refusal(
        "conversation.item.create", item={"type": "message", "role": "user", "content": content}
    )
    assert (error["code"], error["param"]) == ("unsupported_parameter", "item.content")


# Transcription sessions


def test_a_transcription_session_listens() -> None:
    talk = Talk(type="transcription")
    assert kinds(talk.said) == ["session.created"]
    item = talk.turn("Hello.")
    assert kinds(talk.said)[-1] == "conversation.item.input_audio_transcription.completed"
    assert talk.asked == [SpeechCommitted(item, 0, RATE)]
    assert talk.refusal("response.create")["code"] == "invalid_session_type"
    assert talk.dialogue.begin_response("turn", 0) is None
    assert talk.dialogue.next_deadline() is None
    talk.judge()


# Silence

PATIENT: dict[str, Any] = {"audio": {"input": {"turn_detection": {"idle_timeout_ms": 5_000}}}}


def test_silence_after_an_answer_is_answered() -> None:
    talk = Talk(PATIENT, keeps_audio=True)
    talk.hear(3 * RATE)
    assert talk.dialogue.next_deadline() is None
    talk.now = 10 * SECOND
    talk.answer("Hello.")
    assert talk.dialogue.next_deadline() == 15 * SECOND
    talk.dialogue.playback_ends(12 * SECOND, talk.now)
    assert talk.dialogue.next_deadline() == 17 * SECOND
    talk.hear(6 * RATE)
    talk.dialogue.on_deadline(17 * SECOND - 1)
    assert talk.drain() == []
    talk.dialogue.on_deadline(17 * SECOND)
    said = talk.drain()
    assert kinds(said) == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    assert (said[0]["audio_start_ms"], said[0]["audio_end_ms"]) == (4_000, 9_000)
    (wanted,) = talk.asked
    assert isinstance(wanted, ResponseWanted)
    assert wanted.response.request.trigger == "idle"
    assert talk.dialogue.next_deadline() is None
    talk.dialogue.on_deadline(40 * SECOND)
    wanted.response.end("completed", 20 * SECOND)
    assert talk.dialogue.next_deadline() == 25 * SECOND
    talk.judge()


def test_playback_that_ended_for_real_is_what_counts() -> None:
    talk = Talk(PATIENT)
    talk.answer("Hello.")
    talk.dialogue.playback_ends(60 * SECOND, 0)
    talk.dialogue.playback_ends(None, 2 * SECOND)
    assert talk.dialogue.next_deadline() == 7 * SECOND


def test_speech_stops_the_clock_and_its_end_starts_it_anew() -> None:
    talk = Talk(PATIENT)
    talk.turn("Hello.")
    assert talk.dialogue.next_deadline() is None
    talk.answer("Hello.")
    talk.dialogue.playback_ends(100 * SECOND, 0)
    talk.dialogue.speech_started(RATE, SECOND)
    assert talk.dialogue.next_deadline() is None
    talk.dialogue.speech_stopped(RATE, 2 * SECOND)
    assert talk.dialogue.next_deadline() == 7 * SECOND
    response = talk.begin()
    assert talk.dialogue.next_deadline() is None
    response.end("completed", 3 * SECOND)
    assert talk.dialogue.next_deadline() == 8 * SECOND


@pytest.mark.parametrize("kind", ["input_audio_buffer.commit", "input_audio_buffer.clear"])
def test_a_client_that_ends_the_speech_starts_the_clock_anew(kind: str) -> None:
    talk = Talk(PATIENT)
    talk.answer("Hello.")
    talk.hear(RATE)
    talk.dialogue.speech_started(0, 0)
    talk.drain()
    talk.now = SECOND
    talk.send(kind)
    assert talk.dialogue.next_deadline() == 6 * SECOND
    talk.now = 2 * SECOND
    talk.hear(RATE)
    talk.send(kind)
    assert talk.dialogue.next_deadline() == 6 * SECOND


def test_out_of_band_responses_do_not_move_the_clock() -> None:
    talk = Talk(PATIENT)
    talk.begin(conversation="none").end("completed", 0)
    assert talk.dialogue.next_deadline() is None


@pytest.mark.parametrize("detection", [None, {"type": "semantic_vad"}, {"idle_timeout_ms": None}])
def test_not_everybody_minds_silence(detection: dict[str, Any] | None) -> None:
    talk = Talk(PATIENT)
    talk.answer("Hello.")
    assert talk.dialogue.next_deadline() == 5 * SECOND
    change(talk, input={"turn_detection": detection})
    assert talk.dialogue.next_deadline() is None
    talk.dialogue.on_deadline(10 * SECOND)
    assert talk.drain() == []


def test_an_agent_that_takes_no_requests_may_be_silent() -> None:
    talk = Talk(PATIENT, answers=False)
    talk.answer("Hello.")
    assert talk.dialogue.next_deadline() is None


def test_silence_is_answered_even_if_nothing_was_sent_and_much_goes_on_out_of_band() -> None:
    talk = Talk(PATIENT, responses=1)
    talk.answer("Hello.")
    talk.begin(conversation="none")
    talk.dialogue.on_deadline(5 * SECOND)
    said = talk.drain()
    assert (said[1]["audio_start_ms"], said[1]["audio_end_ms"]) == (0, 0)
    assert talk.dialogue.writing
