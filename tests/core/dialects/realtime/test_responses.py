"""What is said about a response, in which order, whatever ends it."""

from typing import Any

import pytest
from tests.core.dialects.realtime.talk import RATE, Talk, kinds, text_message

from legato.core.dialects.realtime.dialogue_events import (
    AudioItemCreated,
    Interrupted,
    ResponseCancelled,
    ResponseWanted,
)
from legato.core.dialects.realtime.response import EndStatus, Failure, Response
from legato.core.dialects.realtime.spoken_text import SpokenText
from legato.core.dialects.realtime.usage import Usage
from legato.core.errors import LocalProtocolError

MESSAGE_BEGINS = ["response.output_item.added", "conversation.item.added", "response.content_part.added"]
AUDIO_ENDS = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
]
TEXT_ENDS = ["response.output_text.done", *AUDIO_ENDS[2:]]
CALL = [
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "conversation.item.done",
]


def wanted(talk: Talk, **members: Any) -> Response:
    """A response that the client asked for."""
    talk.asked.clear()
    talk.send("response.create", **({"response": members} if members else {}))
    (event,) = talk.asked
    assert isinstance(event, ResponseWanted)
    return event.response


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


# The client


def test_the_client_wants_a_response() -> None:
    talk = Talk()
    response = wanted(talk)
    assert response.request.trigger == "client"
    assert talk.dialogue.writing
    assert kinds(talk.said)[-1] == "response.created"
    error = talk.refusal("response.create")
    assert error["code"] == "conversation_already_has_active_response"
    assert response.id in error["message"]
    assert talk.dialogue.begin_response("turn", 0) is None
    response.end("completed", 0)
    assert not talk.dialogue.writing
    wanted(talk).end("completed", 0)
    talk.judge()


def test_overrides_hold_for_one_response() -> None:
    talk = Talk()
    response = wanted(talk, output_modalities=["text"], instructions="Be brief.", metadata={"a": "b"})
    settings = response.request.settings
    assert (settings.instructions, response.request.metadata) == ("Be brief.", {"a": "b"})
    response.open_message()
    response.text("Hi.")
    response.end("completed", 0)
    done = talk.drain()[-1]["response"]
    assert (done["metadata"], done["output_modalities"]) == ({"a": "b"}, ["text"])
    assert talk.dialogue.settings.output_modalities == ("audio",)
    talk.judge()


def test_a_wrong_override_is_refused() -> None:
    error = Talk().refusal("response.create", response={"output_modalities": ["smell"]})
    assert error["param"] == "response.output_modalities[0]"


def test_the_client_cancels() -> None:
    talk = Talk()
    error = talk.refusal("response.cancel")
    assert error["code"] == "response_cancel_not_active"
    response = wanted(talk)
    talk.speak(response, "One two.", 100)
    talk.drain()
    talk.asked.clear()
    said = talk.send("response.cancel")
    assert kinds(said) == [*AUDIO_ENDS, "response.done"]
    assert said[-1]["response"]["status_details"]["reason"] == "client_cancelled"
    assert talk.asked == [ResponseCancelled(response.id, "client_cancelled")]
    assert talk.refusal("response.cancel", response_id=response.id)["code"] == "response_cancel_not_active"
    assert talk.seen() == []
    talk.judge()


def test_the_client_cancels_one_of_several() -> None:
    talk = Talk()
    talk.send("response.create")
    talk.send("response.create", response={"conversation": "none"})
    inside, outside = (event.response for event in talk.asked if isinstance(event, ResponseWanted))
    talk.send("response.cancel", response_id=outside.id)
    assert (inside.over, outside.over) == (False, True)
    talk.send("response.cancel", response_id=inside.id)
    assert inside.over
    talk.judge()


def test_an_agent_that_takes_no_requests_is_not_asked() -> None:
    talk = Talk(answers=False)
    assert talk.send("response.create") == []
    assert talk.refusal("response.create", response={"tools": 1})["param"] == "response.tools"
    talk.turn("Hello.")
    talk.drain()
    assert not any(isinstance(event, ResponseWanted) for event in talk.asked)
    response = talk.begin()
    talk.send("response.cancel")
    assert response.over


# Out of band


def test_out_of_band_responses_leave_no_trace() -> None:
    talk = Talk()
    writer = wanted(talk)
    response = wanted(talk, conversation="none", output_modalities=["text"])
    response.open_message()
    response.text("Psst.")
    response.function_call("c", "f")
    response.end("completed", 0)
    writer.end("completed", 0)
    talk.drain()
    assert talk.order() == []
    assert talk.said[-2]["response"]["conversation_id"] is None
    assert talk.said[-1]["response"]["conversation_id"] == talk.said[1]["conversation"]["id"]
    talk.judge()


def test_out_of_band_responses_have_a_bound() -> None:
    talk = Talk(responses=2)
    talk.send("response.create", response={"conversation": "none"})
    talk.send("response.create")
    talk.send("response.create", response={"conversation": "none"})
    error = talk.refusal("response.create", response={"conversation": "none"})
    assert error["code"] == "too_many_active_responses"
    with pytest.raises(LocalProtocolError, match="out of band"):
        talk.begin(conversation="none")


def test_a_response_may_have_an_input_of_its_own() -> None:
    talk = Talk()
    talk.send("conversation.item.create", item=text_message("Inside.", id="inside"))
    audio = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAA="}]}
    reference = {"type": "item_reference", "id": "inside"}
    given = [text_message("First."), reference, audio]
    talk.send("response.create", response={"conversation": "none", "input": given})
    created, event = talk.asked
    assert isinstance(created, AudioItemCreated)
    assert isinstance(event, ResponseWanted)
    request = event.response.request
    assert [item.text for item in talk.dialogue.context(request)] == ["First.", "Inside."]
    talk.dialogue.transcript_delta(created.item_id, "Ding.", 0)
    talk.dialogue.transcript_done(created.item_id, "Ding.", 0.1, 0)
    assert [item.text for item in talk.dialogue.context(request)] == ["First.", "Inside.", "Ding."]
    assert talk.drain() == []
    event.response.end("completed", 0)
    talk.dialogue.transcript_failed(created.item_id, "late", "late", 0)
    talk.judge()


def test_a_transcript_of_such_an_input_may_fail() -> None:
    talk = Talk()
    audio = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAA="}]}
    for conversation in ("none", "auto"):
        given = {"conversation": conversation, "input": [text_message("First."), audio]}
        talk.send("response.create", response=given)
    created = talk.asked[2]
    assert isinstance(created, AudioItemCreated)
    talk.dialogue.transcript_failed(created.item_id, "deaf", "no ears", 0)
    assert talk.drain() == []


def test_the_inputs_of_responses_are_bounded_together() -> None:
    talk = Talk(item_bytes=1_000)
    talk.send("conversation.item.create", item=text_message("x" * 300, id="inside"))
    reference = {"type": "item_reference", "id": "inside"}
    first = wanted(talk, conversation="none", input=[reference, text_message("x" * 200)])
    error = talk.refusal("response.create", response={"input": [text_message("x" * 200)]})
    assert (error["code"], error["param"]) == ("input_too_large", "response.input")
    first.end("completed", 0)
    talk.drain()
    wanted(talk, input=[text_message("x" * 200)])


def test_an_empty_input_is_an_empty_context() -> None:
    talk = Talk()
    talk.send("conversation.item.create", item=text_message("Inside."))
    assert talk.dialogue.context(wanted(talk, input=[]).request) == []


def test_a_response_cannot_take_in_what_is_not_there() -> None:
    talk = Talk()
    error = talk.refusal("response.create", response={"input": [{"type": "item_reference", "id": "x"}]})
    assert (error["code"], error["param"]) == ("invalid_item_reference", "response.input[0]")
    odd = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AA=="}]}
    error = talk.refusal("response.create", response={"input": [text_message("x"), odd]})
    assert (error["code"], error["param"]) == ("invalid_value", "response.input[1]")
    assert talk.asked == []
    assert not talk.dialogue.writing


def test_where_the_sound_of_a_message_belongs() -> None:
    talk = Talk()
    assert talk.dialogue.output_place("item_x") == (0, 0)
    talk.begin(conversation="none")
    response = talk.begin()
    response.function_call("c", "f")
    item = response.open_message()
    assert talk.dialogue.output_place(item) == (1, 0)
    assert talk.dialogue.output_place("item_x") == (0, 0)


def test_a_mistake_in_the_agents_overrides_is_ours() -> None:
    with pytest.raises(LocalProtocolError, match=r"response\.tools"):
        Talk().dialogue.begin_response("agent", 0, {"tools": 1})


# The caller


def test_speech_interrupts_the_response() -> None:
    talk = Talk()
    outside = talk.begin(conversation="none")
    earlier = talk.answer("Zero.", 100)
    response = talk.begin()
    item = talk.speak(response, "One two.", 100)
    talk.spoken(item).note_heard(50)
    talk.drain()
    talk.dialogue.speech_started(0, 0)
    said = talk.drain()
    assert kinds(said) == ["input_audio_buffer.speech_started", *AUDIO_ENDS, "response.done"]
    assert said[-1]["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert talk.asked == [ResponseCancelled(response.id, "turn_detected"), Interrupted()]
    assert (response.over, outside.over) == (True, False)
    assert talk.seen() == ["assistant: One"]
    assert talk.spoken(earlier).stopped
    talk.judge(ended=False)


def test_speech_silences_an_answer_that_is_only_being_played() -> None:
    talk = Talk()
    item = talk.answer("One two.", 100)
    talk.dialogue.speech_started(0, 0)
    talk.drain()
    assert talk.asked == [Interrupted()]
    assert talk.seen() == []
    talk.spoken(item).note_heard(50)
    assert talk.seen() == ["assistant: One"]


def test_speech_need_not_interrupt() -> None:
    talk = Talk({"audio": {"input": {"turn_detection": {"interrupt_response": False}}}})
    response = talk.begin()
    talk.speak(response, "One two.", RATE)
    talk.turn("Hello.")
    assert not response.over
    assert Interrupted() not in talk.asked
    assert talk.dialogue.begin_response("turn", 0) is None
    response.end("completed", 0)
    assert talk.seen() == ["assistant: One two.", "user: Hello."]
    talk.judge()


def test_deleting_what_is_being_said_leaves_the_response_going() -> None:
    talk = Talk(keeps_audio=True)
    response = talk.begin()
    item = talk.speak(response, "One two.", 100)
    talk.drain()
    talk.send("conversation.item.delete", item_id=item)
    talk.dialogue.keep_audio(item, b"12")
    response.transcript("Three.", 100)
    response.end("completed", 0)
    assert "conversation.item.done" not in kinds(talk.drain())
    assert talk.seen() == []
    talk.judge()


def test_what_is_being_said_is_never_dropped_for_want_of_room() -> None:
    talk = Talk(items=1)
    response = talk.begin()
    item = talk.speak(response, "One two.", 100)
    talk.drain()
    talk.send("conversation.item.create", item=text_message("a", id="a"))
    talk.send("conversation.item.create", item=text_message("b", id="b"))
    assert talk.order() == [item, "b"]
    response.end("completed", 0)
    talk.drain()
    assert talk.order() == [item]
    talk.judge()
