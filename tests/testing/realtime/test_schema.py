import copy
from typing import Any

import pytest
from tests.testing.realtime.recorded import SESSION, event, session

from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.testing.realtime import (
    check_server_event,
    check_server_events,
    schema_faults,
    server_event_faults,
)


def an_event(kind: str) -> dict[str, Any]:
    return copy.deepcopy(next(one for one in session() if one["type"] == kind))


def test_every_event_of_a_session_has_its_members() -> None:
    for one in session():
        check_server_event(one)


@pytest.mark.parametrize("kind", ["realtime", "transcription"])
@pytest.mark.parametrize("detector", ["server_vad", "semantic_vad", None])
def test_our_sessions_have_the_members_of_the_api(kind: Any, detector: str | None) -> None:
    wanted = None if detector is None else {"type": detector}
    settings = SessionSettings.of(kind).updated(
        {
            "type": kind,
            "audio": {"input": {"turn_detection": wanted, "noise_reduction": {"type": "far_field"}}},
        }
    )
    check_server_event(event("session.updated", event_id="e", session=settings.as_json("s", 1_700_000_000)))


@pytest.mark.parametrize(
    ("kind", "change", "fault"),
    [
        ("session.created", {"event_id": None}, "it has no event_id"),
        ("session.created", {"x": 1}, "it has the unknown member 'x'"),
        ("session.created", {"session": {**SESSION, "x": 1}}, "it has the unknown member 'session.x'"),
        (
            "session.created",
            {"session": {**SESSION, "model": 5}},
            "model.str: Input should be a valid string",
        ),
        ("session.created", {"session": {**SESSION, "id": None}}, "id: Input should be a valid string"),
        ("session.created", {"session": {**SESSION, "object": "session"}}, "object: Input should be"),
        ("session.created", {"session": {"type": "live"}}, "Input should be 'realtime'"),
        ("input_audio_buffer.speech_started", {"audio_start_ms": "5"}, "should be a valid integer, not '5'"),
        ("input_audio_buffer.speech_started", {"audio_start_ms": 5.5}, "audio_start_ms"),
        ("response.output_audio.delta", {"delta": None}, "delta: Input should be a valid string"),
        ("response.content_part.added", {"part": {"type": "output_audio"}}, "part.type: Input should be"),
        ("response.content_part.added", {"part": {"type": "audio", "x": 1}}, "member 'part.x'"),
        ("response.done", {"response": {"output": [{"id": "i"}]}}, "response.output.0"),
        ("response.done", {"response": {"object": "realtime.response", "x": 1}}, "member 'response.x'"),
        ("error", {"error": "No."}, "error: Input should be"),
    ],
)
def test_members_that_are_wrong(kind: str, change: dict[str, Any], fault: str) -> None:
    faults = schema_faults({**an_event(kind), **change})
    assert any(fault in one for one in faults), faults
    with pytest.raises(AssertionError, match="not what the Realtime API says"):
        check_server_event({**an_event(kind), **change})


def test_unknown_members_are_found_at_any_depth() -> None:
    done = an_event("response.output_item.done")
    done["item"]["content"][0]["speaker"] = "x"
    assert schema_faults(done) == ["it has the unknown member 'item.content[0].speaker'"]


@pytest.mark.parametrize("kind", ["legato.flush", "session.update", None])
def test_events_that_no_server_says(kind: str | None) -> None:
    assert schema_faults({"type": kind, "event_id": "e"}) == [f"{kind!r} is no server event of the API"]


def test_a_recording_is_judged_by_members_and_order() -> None:
    events = session()
    del events[1]
    events[5]["x"] = 1
    faults = server_event_faults(events)
    assert faults[0] == "event 5 (input_audio_buffer.committed): it has the unknown member 'x'"
    assert "conversation.created is the second event" in faults[1]
    with pytest.raises(AssertionError, match="second event"):
        check_server_events(events)
