"""What is said about a response, in which order, whatever ends it."""

from typing import Any

import pytest
from tests.core.dialects.realtime.event_orders import AUDIO_ENDS, CALL, MESSAGE_BEGINS, TEXT_ENDS
from tests.core.dialects.realtime.talk import Talk, kinds, text_message

from legato.core.dialects.realtime.response import EndStatus, Failure
from legato.core.dialects.realtime.spoken_text import SpokenText
from legato.core.dialects.realtime.usage import Usage
from legato.core.errors import LocalProtocolError


def test_a_spoken_response() -> None:
    talk = Talk()
    response = talk.begin()
    item = response.open_message()
    response.transcript("Good", 0)
    response.transcript("", 10)
    response.transcript("morning.", 100)
    response.end("completed", 0, usage=Usage(output_text_tokens=2))
    said = talk.drain()
    assert kinds(said) == [
        "response.created",
        *MESSAGE_BEGINS,
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.delta",
        *AUDIO_ENDS,
        "response.done",
    ]
    assert [event["delta"] for event in said if "delta" in event] == ["Good", " morning."]
    done = said[-1]["response"]
    assert (done["id"], done["status"], done["status_details"]) == (response.id, "completed", None)
    assert done["usage"]["output_tokens"] == 2
    assert [one["id"] for one in done["output"]] == [item]
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "Good morning."}]
    talk.judge()


def test_a_written_response() -> None:
    talk = Talk({"output_modalities": ["text"]})
    response = talk.begin()
    response.open_message()
    for delta in ("Good", "", " morning."):
        response.text(delta)
    response.end("completed", 0)
    said = talk.drain()
    assert kinds(said)[1:] == [
        *MESSAGE_BEGINS,
        *["response.output_text.delta"] * 2,
        *TEXT_ENDS,
        "response.done",
    ]
    assert said[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Good morning."}]
    assert said[-1]["response"]["usage"] is None
    assert talk.seen() == ["assistant: Good morning."]
    talk.judge()


def test_a_message_and_two_function_calls() -> None:
    talk = Talk()
    response = talk.begin()
    message = response.open_message()
    assert (response.output_index, response.item_id) == (0, message)
    response.transcript("Let me see.", 0)
    calls = []
    for name in ("look", "listen"):
        calls.append(response.function_call(f"call_{name}", name))
        for delta in ('{"at"', "", ": 1}"):
            response.arguments(delta)
    response.end("completed", 0)
    said = talk.drain()
    delta = ["response.output_audio_transcript.delta"]
    assert kinds(said)[1:] == [*MESSAGE_BEGINS, *delta, *AUDIO_ENDS, *CALL, *CALL, "response.done"]
    assert [event["output_index"] for event in said if event["type"] == "response.output_item.done"] == [
        0,
        1,
        2,
    ]
    assert [one["id"] for one in said[-1]["response"]["output"]] == [message, *calls] == talk.order()
    assert said[-1]["response"]["output"][1]["arguments"] == '{"at": 1}'
    items = talk.dialogue.context(talk.begin(conversation="none").request)
    assert [item.type for item in items] == ["message", "function_call", "function_call"]
    assert items[2].arguments == '{"at": 1}'
    talk.judge(ended=False)


def test_a_response_without_content() -> None:
    talk = Talk()
    talk.begin().end("completed", 0)
    assert kinds(talk.drain()) == ["response.created", "response.done"]
    talk.judge()


def test_an_item_can_be_ended_before_the_next_one() -> None:
    talk = Talk()
    response = talk.begin()
    response.end_item()
    response.open_message()
    response.end_item()
    response.end_item()
    response.end("incomplete", 0)
    done = talk.drain()[-1]["response"]
    assert done["output"][0]["status"] == "completed"
    assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    talk.judge()


@pytest.mark.parametrize("content", ["spoken", "written", "call", "none"])
@pytest.mark.parametrize(
    ("status", "ended", "details"),
    [
        ("cancelled", {"reason": "turn_detected"}, {"reason": "turn_detected"}),
        ("cancelled", {}, {"reason": "client_cancelled"}),
        ("incomplete", {"reason": "content_filter"}, {"reason": "content_filter"}),
        (
            "failed",
            {"error": Failure("the model is away")},
            {"error": {"message": "the model is away", "code": "agent_error", "type": "server_error"}},
        ),
        ("failed", {}, {}),
    ],
)
def test_everything_is_done_whatever_ends_the_response(
    content: str, status: EndStatus, ended: dict[str, Any], details: dict[str, Any]
) -> None:
    talk = Talk({"output_modalities": ["text" if content == "written" else "audio"]})
    response = talk.begin()
    if content == "spoken":
        talk.speak(response, "Hello.", 100)
    elif content == "written":
        response.open_message()
        response.text("Hello.")
    elif content == "call":
        response.function_call("c", "look")
        response.arguments("{")
    talk.drain()
    response.end(status, 0, **ended)
    ends = {"spoken": AUDIO_ENDS, "written": TEXT_ENDS, "call": CALL[-3:], "none": []}[content]
    said = talk.drain()
    assert kinds(said) == [*ends, "response.done"]
    done = said[-1]["response"]
    assert (done["status"], done["status_details"]) == (status, {"type": status, **details})
    assert all(item["status"] == "incomplete" for item in done["output"])
    talk.judge()


def test_a_function_call_that_broke_off_is_not_seen() -> None:
    talk = Talk()
    response = talk.begin()
    response.function_call("c", "look")
    response.end("cancelled", 0)
    assert talk.seen() == []


def test_nothing_follows_the_end() -> None:
    talk = Talk()
    response = talk.begin()
    response.open_message()
    response.end("completed", 0)
    talk.drain()
    assert response.over
    response.transcript("late", 0)
    response.text("late")
    response.arguments("late")
    response.end_item()
    response.end("failed", 0)
    assert response.open_message("mine") == "mine"
    assert response.function_call("c", "f").startswith("item_")
    assert response.output_index == 0
    assert talk.drain() == []


def test_content_at_the_wrong_place_is_a_mistake_of_ours() -> None:
    response = Talk().begin()
    for wrong in (response.text, response.arguments, lambda text: response.transcript(text, 0)):
        with pytest.raises(LocalProtocolError, match=r"first|response of modality"):
            wrong("Hello.")
    assert response.item_id is None


def test_an_item_takes_over_a_name_and_a_spoken_text() -> None:
    talk = Talk()
    spoken = SpokenText()
    response = talk.begin()
    assert response.open_message("item_of_utterance", spoken) == "item_of_utterance"
    response.transcript("One two.", 0)
    spoken.note_sent(100)
    spoken.note_heard(50)
    response.end("cancelled", 0)
    assert talk.seen() == ["assistant: One"]
    assert (spoken.complete, spoken.stopped) == (False, True)


def test_an_item_has_a_name_of_its_own() -> None:
    talk = Talk()
    inside, outside = talk.begin(), talk.begin(conversation="none")
    for response in (inside, outside):
        response.open_message("mine" if response is inside else "yours")
        with pytest.raises(LocalProtocolError, match="already"):
            response.open_message(response.item_id)
        response.transcript("Still open.", 0)
        response.end("completed", 0)
    talk.judge()


def test_a_client_that_guesses_a_name_does_not_get_it() -> None:
    talk = Talk()
    created = talk.said[-1]["event_id"]
    number = int(created.removeprefix("event_"))
    # Each item takes two ids for its events; the ids behind those are the next ones.
    for guess in range(number + 41, number + 61):
        talk.send("conversation.item.create", item=text_message("x", id=f"item_{guess}"))
    guessed = talk.order()
    names = [talk.turn("Hello."), talk.answer("Hello.")]
    assert talk.order() == [*guessed, *names]
    talk.judge()


def test_an_answer_that_plays_on_is_seen_as_a_whole() -> None:
    talk = Talk()
    item = talk.answer("One two.", 100)
    assert talk.spoken(item).heard == 0
    assert talk.seen() == ["assistant: One two."]
