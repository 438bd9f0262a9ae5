"""Responses that a client asks for: what it may override, hand in, cancel, and keep out of band."""

import pytest
from tests.core.dialects.realtime.event_orders import AUDIO_ENDS
from tests.core.dialects.realtime.talk import Talk, kinds, text_message

from legato.core.dialects.realtime.dialogue_events import (
    AudioItemCreated,
    ResponseCancelled,
    ResponseWanted,
)
from legato.core.errors import LocalProtocolError

SPOKEN = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAA="}]}


def test_the_client_wants_a_response() -> None:
    talk = Talk()
    response = talk.wanted()
    assert response.request.trigger == "client"
    assert talk.dialogue.writing
    assert kinds(talk.said)[-1] == "response.created"
    error = talk.refusal("response.create")
    assert error["code"] == "conversation_already_has_active_response"
    assert response.id in error["message"]
    assert talk.dialogue.begin_response("turn", 0) is None
    response.end("completed", 0)
    assert not talk.dialogue.writing
    talk.wanted().end("completed", 0)
    talk.judge()


def test_overrides_hold_for_one_response() -> None:
    talk = Talk()
    response = talk.wanted(output_modalities=["text"], instructions="Be brief.", metadata={"a": "b"})
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
    response = talk.wanted()
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
    writer = talk.wanted()
    response = talk.wanted(conversation="none", output_modalities=["text"])
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
    reference = {"type": "item_reference", "id": "inside"}
    given = [text_message("First."), reference, SPOKEN]
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
    for conversation in ("none", "auto"):
        given = {"conversation": conversation, "input": [text_message("First."), SPOKEN]}
        talk.send("response.create", response=given)
    created = talk.asked[2]
    assert isinstance(created, AudioItemCreated)
    talk.dialogue.transcript_failed(created.item_id, "deaf", "no ears", 0)
    assert talk.drain() == []


def test_the_inputs_of_responses_are_bounded_together() -> None:
    talk = Talk(item_bytes=1_000)
    talk.send("conversation.item.create", item=text_message("x" * 300, id="inside"))
    reference = {"type": "item_reference", "id": "inside"}
    first = talk.wanted(conversation="none", input=[reference, text_message("x" * 200)])
    error = talk.refusal("response.create", response={"input": [text_message("x" * 200)]})
    assert (error["code"], error["param"]) == ("input_too_large", "response.input")
    first.end("completed", 0)
    talk.drain()
    talk.wanted(input=[text_message("x" * 200)])


def test_an_empty_input_is_an_empty_context() -> None:
    talk = Talk()
    talk.send("conversation.item.create", item=text_message("Inside."))
    assert talk.dialogue.context(talk.wanted(input=[]).request) == []


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
