from collections.abc import Callable
from typing import Any

import pytest
from tests.testing.realtime.recorded import event, session

from legato.core.wire.messages import JsonObject
from legato.testing.realtime import check_server_events, order_faults

Recording = list[JsonObject]
DELTA = "conversation.item.input_audio_transcription.delta"
BUFFER, ITEM, OUTPUT = "input_audio_buffer.", "conversation.item.", "response.output_item."
PART, AUDIO, WRITTEN = "response.content_part.", "response.output_audio.", "response.output_text."
ARGUMENTS = "response.function_call_arguments."

# Taking one of these away leaves a session that is still possible: they promise nothing by themselves.
FREE = {
    "session.updated",
    "error",
    "conversation.item.retrieved",
    "conversation.item.truncated",
    "conversation.item.deleted",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.failed",
    "input_audio_buffer.timeout_triggered",
    "input_audio_buffer.cleared",
    "input_audio_buffer.speech_stopped",
    "response.output_audio.delta",
}


def place(events: Recording, kind: str, nth: int = 0) -> int:
    return [number for number, one in enumerate(events) if one["type"] == kind][nth]


def one(events: Recording, kind: str, nth: int = 0) -> JsonObject:
    return events[place(events, kind, nth)]


def test_a_whole_session_is_in_order() -> None:
    check_server_events(session())


@pytest.mark.parametrize("number", range(len(session())))
def test_no_event_can_be_missing(number: int) -> None:
    events = session()
    missing = events.pop(number)
    last_speech = missing["type"] == BUFFER + "speech_started" and missing["item_id"] == "item_7"
    deleted_item = missing["type"] == ITEM + "done" and missing["item"]["id"] == "item_5"
    promises_nothing = missing["type"] in FREE or last_speech or deleted_item
    assert bool(order_faults(events)) != promises_nothing


@pytest.mark.parametrize("number", range(len(session())))
def test_no_event_can_be_said_twice(number: int) -> None:
    events = session()
    events.insert(number, events[number])
    assert any("was used before" in fault for fault in order_faults(events))


def test_a_session_may_be_cut_off_anywhere() -> None:
    events = session()
    for length in range(len(events)):
        assert order_faults(events[:length], ended=False) == []


def test_a_listener_may_come_at_any_time() -> None:
    events = session()
    for start in range(len(events)):
        assert order_faults(events[start:], from_start=False) == []


def test_an_empty_session() -> None:
    assert order_faults([]) == ["at the end: there is no event at all"]
    assert order_faults([], from_start=False) == order_faults([], ended=False) == []


def test_transcription_sessions_have_no_conversation_event() -> None:
    opened = event("session.created", session={"type": "transcription"}, event_id="e1")
    assert order_faults([opened]) == []
    created = event("conversation.created", conversation={}, event_id="e2")
    assert "second event of a realtime session" in order_faults([opened, created])[0]


def test_unfinished_business_shows_at_the_end() -> None:
    events = session()
    cut = events[: place(events, "response.output_item.done") + 1]
    assert order_faults(cut) == [
        "at the end: resp_1 is not done",
        "at the end: item_2 was added but is not done",
    ]
    stopped = place(events, "input_audio_buffer.speech_stopped")
    assert order_faults(events[: stopped + 1]) == [
        "at the end: speech of item_1 stopped but was not committed"
    ]
    committed = place(events, "input_audio_buffer.committed")
    assert "was committed but not added" in order_faults(events[: committed + 1])[0]
    timed_out = place(events, "input_audio_buffer.timeout_triggered")
    assert order_faults(events[: timed_out + 1]) == ["at the end: item_6 timed out but was not committed"]


Change = Callable[[Recording], Any]

CHANGES: list[tuple[Change, str]] = [
    # Input buffer
    (lambda e: one(e, BUFFER + "speech_stopped").update(item_id="x"), "that goes on is item_1"),
    (lambda e: one(e, BUFFER + "speech_stopped").update(audio_end_ms=99), "ends before it started"),
    (lambda e: one(e, BUFFER + "speech_started", 1).update(audio_start_ms=9), "starts before the"),
    (lambda e: one(e, BUFFER + "speech_started", 1).update(item_id="item_1"), "is an item already"),
    (lambda e: repeat(e, BUFFER + "speech_started", BUFFER + "speech_stopped"), "goes on already"),
    (lambda e: one(e, BUFFER + "timeout_triggered").update(audio_end_ms=0), "ends before it started"),
    (lambda e: e.insert(4, one(e, BUFFER + "timeout_triggered")), "somebody speaks"),
    (lambda e: one(e, BUFFER + "committed").update(item_id="x"), "what was announced is item_1"),
    (lambda e: one(e, BUFFER + "committed", 1).update(item_id="x"), "what was announced is item_6"),
    (lambda e: one(e, BUFFER + "committed", 1).update(previous_item_id=None), "committed behind None"),
    # Items
    (lambda e: one(e, ITEM + "added").update(previous_item_id="x"), "x is not in the conversation"),
    (lambda e: one(e, ITEM + "added", 1).update(previous_item_id=None), "instead of at the end"),
    (lambda e: one(e, ITEM + "added", 3)["item"].update(id="item_1"), "item_1 was added before"),
    (lambda e: one(e, ITEM + "added", 3)["item"].pop("id"), "the item has no id"),
    (lambda e: one(e, ITEM + "added", 1).update(item={"id": "item_2"}), "output_item.added said"),
    (lambda e: one(e, ITEM + "done")["item"].update(id="x"), "x was not added"),
    (lambda e: one(e, ITEM + "done", 1)["item"].update(status="incomplete"), "output_item.done said"),
    (lambda e: one(e, ITEM + "done", 1)["item"].update(id="item_1"), "item_1 was done before"),
    (lambda e: one(e, ITEM + "retrieved")["item"].update(id="x"), "x was not added"),
    (lambda e: one(e, ITEM + "truncated").update(item_id="item_1"), "only messages of the assistant"),
    (lambda e: one(e, ITEM + "deleted").update(item_id="x"), "x was not added"),
    (lambda e: e.append(event(ITEM + "deleted", item_id="item_5")), "item_5 was deleted"),
    # Transcription
    (lambda e: one(e, DELTA, 1).update(delta="!"), "its deltas say 'What is!'"),
    (lambda e: one(e, DELTA).update(item_id="x"), "x was not added"),
    (lambda e: e.append({**one(e, DELTA), "event_id": "x"}), "its transcription was over"),
    # Responses
    (lambda e: one(e, "response.created")["response"].update(status="completed"), "begins in_progress"),
    (lambda e: one(e, "response.created")["response"].pop("id"), "the response has no id"),
    (lambda e: one(e, "response.created", 1)["response"].update(id="resp_1"), "resp_1 was created before"),
    (lambda e: e.insert(place(e, "response.done"), two_writers(e)), "resp_1 still writes"),
    (lambda e: one(e, "response.done")["response"].update(id="x"), "x is not in progress"),
    (lambda e: one(e, "response.done")["response"].update(status="in_progress"), "does not end in_progress"),
    (lambda e: one(e, "response.done")["response"].update(output=[]), "its output is not what"),
    (lambda e: one(e, "response.done", 1)["response"]["status_details"].update(type="failed"), "say failed"),
    (lambda e: one(e, "response.done", 1)["response"]["status_details"].pop("reason"), "gives a reason"),
    (
        lambda e: one(e, "response.done", 1)["response"].update(status="completed"),
        "it is completed, but item_4",
    ),
    (lambda e: e.append({**one(e, WRITTEN + "delta"), "event_id": "x"}), "resp_2 is over"),
    # Their items
    (lambda e: one(e, OUTPUT + "added").update(output_index=1), "the next is 0"),
    (lambda e: one(e, OUTPUT + "added")["item"].update(status="completed"), "begins in_progress"),
    (lambda e: one(e, OUTPUT + "added")["item"].pop("id"), "the item has no id"),
    (lambda e: one(e, OUTPUT + "done").update(output_index=5), "item_2 has 0"),
    (lambda e: one(e, OUTPUT + "done")["item"].update(id="x"), "x is no item of this response"),
    (lambda e: one(e, OUTPUT + "done")["item"].update(status="new"), "an item does not end new"),
    (lambda e: one(e, OUTPUT + "done")["item"].update(content=[]), "content_part.done said"),
    (lambda e: one(e, OUTPUT + "done", 1)["item"].update(arguments=""), "arguments.done said"),
    (lambda e: repeat(e, OUTPUT + "done", "response.done"), "item_2 is done already"),
    # Their parts
    (lambda e: one(e, PART + "added").update(content_index=1), "the next is 0"),
    (lambda e: one(e, PART + "added").update(item_id="x"), "x is no item of this response"),
    (lambda e: one(e, PART + "added")["part"].update(type="text"), "part 0 is text"),
    (lambda e: e.insert(place(e, PART + "done"), second_part(e)), "before it is not done"),
    (lambda e: e.insert(place(e, ARGUMENTS + "done"), part_of_call(e)), "only messages have"),
    (lambda e: one(e, PART + "done")["part"].update(transcript="x"), "its deltas said"),
    (lambda e: one(e, PART + "done").update(item_id="x"), "x is no item of this response"),
    (lambda e: repeat(e, PART + "done", OUTPUT + "done"), "done already"),
    (lambda e: one(e, AUDIO + "delta").update(delta="?"), "the delta is not base64"),
    (lambda e: one(e, AUDIO + "delta").update(content_index=3), "part 3 was not added"),
    (lambda e: one(e, AUDIO + "done").update(content_index=3), "part 3 was not added"),
    (lambda e: one(e, WRITTEN + "delta").update(content_index=3), "part 3 was not added"),
    (lambda e: one(e, WRITTEN + "done").update(content_index=3), "part 3 was not added"),
    (lambda e: one(e, WRITTEN + "done").update(text="x"), "it says 'x'"),
    (lambda e: repeat(e, AUDIO + "delta", PART + "done"), "audio was done"),
    (lambda e: repeat(e, AUDIO + "done", PART + "done"), "audio was done"),
    (lambda e: repeat(e, WRITTEN + "delta", PART + "done", 1), "words were"),
    (lambda e: repeat(e, WRITTEN + "done", PART + "done", 1), "words were"),
    # Their function calls
    (lambda e: one(e, ARGUMENTS + "done").update(arguments="{}"), "it says '{}'"),
    (lambda e: one(e, ARGUMENTS + "done").update(name="x"), "the item calls look"),
    (lambda e: one(e, ARGUMENTS + "done").update(item_id="x"), "x is no item"),
    (lambda e: one(e, ARGUMENTS + "delta").update(item_id="x"), "x is no item"),
    (lambda e: one(e, ARGUMENTS + "delta").update(item_id="item_2"), "is no function call"),
    (lambda e: one(e, ARGUMENTS + "delta").update(call_id="x"), "the call_id call_1"),
    (lambda e: again(e, ARGUMENTS + "delta"), "the arguments were done"),
    (lambda e: again(e, ARGUMENTS + "done"), "the arguments were done before"),
]


def repeat(events: Recording, kind: str, before: str, nth: int = 0) -> None:
    events.insert(place(events, before, nth), one(events, kind))


def two_writers(events: Recording) -> JsonObject:
    created = one(events, "response.created")
    return {"type": "response.created", "response": {**created["response"], "id": "resp_9"}}


def second_part(events: Recording) -> JsonObject:
    return {**one(events, "response.content_part.added"), "content_index": 1}


def part_of_call(events: Recording) -> JsonObject:
    return {**one(events, "response.content_part.added"), "item_id": "item_3", "output_index": 1}


def again(events: Recording, kind: str) -> None:
    events.insert(place(events, "response.output_item.done", 1), one(events, kind))


@pytest.mark.parametrize(("change", "fault"), CHANGES)
def test_what_is_out_of_order(change: Change, fault: str) -> None:
    events = session()
    change(events)
    found = order_faults(events)
    assert any(fault in one for one in found), found


def test_items_deleted_while_they_are_made_need_not_be_done() -> None:
    events = session()
    gone = event("conversation.item.deleted", item_id="item_3", event_id="gone")
    events[place(events, "conversation.item.done", 2)] = gone
    events = events[: place(events, "response.done") + 1]
    assert order_faults(events) == []
