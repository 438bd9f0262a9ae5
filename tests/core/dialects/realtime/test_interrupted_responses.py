"""What becomes of a response while its caller speaks, deletes it, or leaves it no room."""

from tests.core.dialects.realtime.event_orders import AUDIO_ENDS
from tests.core.dialects.realtime.talk import RATE, Talk, kinds, text_message

from legato.core.dialects.realtime.dialogue_events import (
    Interrupted,
    ResponseCancelled,
)


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
