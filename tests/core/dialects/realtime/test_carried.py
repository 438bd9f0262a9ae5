"""A dialogue carried to another server: everything comes along, and of what was spoken what was heard."""

from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.core.dialects.realtime.talk import RATE, Talk, kinds

from legato.core.dialects.realtime.carried import CarriedDialogue
from legato.core.dialects.realtime.dialogue import GO_ON
from legato.core.dialects.realtime.dialogue_events import ResponseWanted
from legato.core.dialects.realtime.input_buffer import MOST_UNSETTLED
from legato.core.dialects.realtime.spoken_text import SpokenText
from legato.core.wire.messages import ReceivedReply

_talks = count(100)


def carried(talk: Talk, read: int | None = None) -> CarriedDialogue:
    """What a server would seal, through its JSON."""
    position = talk.dialogue.position if read is None else read
    return msgspec.json.decode(msgspec.json.encode(talk.dialogue.carry(position)), type=CarriedDialogue)


def elsewhere(talk: Talk, *replies: ReceivedReply, read: int | None = None, **opening: Any) -> Talk:
    """The same dialogue on another server, for a client that has these replies."""
    left = carried(talk, read)
    numbers = count(1_000 * next(_talks))
    new = {"new_id": lambda prefix: f"{prefix}_{next(numbers)}", "origin": left.understood}
    other = Talk(carried=left, replies=replies, **(new | opening))
    other.dialogue._parts.settings = left.settings
    return other


def reply(item_id: str, received: int, played: int, **changes: Any) -> ReceivedReply:
    return ReceivedReply(generation=1, item_id=item_id, received=received, played=played, **changes)


def test_every_kind_of_item_comes_along() -> None:
    talk = Talk()
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    text = {"type": "input_text", "text": "What is this?"}
    talk.send("conversation.item.create", item={"type": "message", "role": "user", "content": [text, image]})
    response = talk.begin(output_modalities=["text"])
    response.open_message()
    response.text("A cat.")
    response.function_call("call_1", "weigh")
    response.arguments('{"it": 1}')
    response.end("completed", 0)
    output = {"type": "function_call_output", "call_id": "call_1", "output": "4 kg"}
    talk.send("conversation.item.create", item=output)
    talk.turn("And this?")
    spoken = talk.answer("A dog.", RATE)
    talk.spoken(spoken).complete = True
    other = elsewhere(talk, reply(spoken, RATE, RATE, complete=True))
    assert other.said == []
    assert other.seen() == talk.seen()
    assert carried(other).items[:-1] == carried(talk).items[:-1]
    assert carried(other).conversation_id == carried(talk).conversation_id


def test_settings_come_along_exactly() -> None:
    tool = {"type": "function", "name": "weigh"}
    vad = {"type": "semantic_vad", "eagerness": "low"}
    talk = Talk({"tools": [tool], "audio": {"input": {"turn_detection": vad}}})
    assert carried(talk).settings == talk.dialogue.settings


def test_of_an_answer_counts_what_its_listener_says() -> None:
    talk = Talk()
    item = talk.answer("One two three four.", 4 * RATE)
    talk.spoken(item).complete = True
    other = elsewhere(talk, reply(item, 4 * RATE, RATE, complete=True))
    spoken = other.dialogue.spoken(item)
    assert spoken is not None
    assert (spoken.heard, spoken.sent, spoken.certain_text()) == (RATE, 4 * RATE, "One two three four.")
    stopped = elsewhere(talk, reply(item, 4 * RATE, 2 * RATE, complete=True, state="stopped"))
    assert stopped.seen() == ["assistant: One two"]
    assert other.dialogue.spoken("item_unknown") is None
    assert not any(isinstance(one, ResponseWanted) for one in other.asked)


def test_an_answer_that_was_stopped_stays_stopped() -> None:
    talk = Talk()
    item = talk.answer("One two three four.", 4 * RATE)
    spoken = talk.spoken(item)
    spoken.complete = spoken.stopped = True
    spoken.note_heard(RATE)
    assert elsewhere(talk).seen() == ["assistant: One"]
    assert elsewhere(talk, reply(item, 4 * RATE, 2 * RATE)).seen() == ["assistant: One two"]
    talk.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=1_000)
    assert elsewhere(talk, reply(item, 4 * RATE, 2 * RATE)).seen() == ["assistant: One"]


@pytest.mark.parametrize("received", [0, 4 * RATE])
def test_an_answer_whose_end_is_missing_is_wanted_again(received: int) -> None:
    talk = Talk({"instructions": "Be kind."})
    response = talk.begin()
    item = response.open_message()
    response.transcript("One two.", 0)
    response.transcript("Three four.", 3 * RATE)
    talk.spoken(item).note_sent(4 * RATE)
    talk.drain()
    replies = [reply(item, received, 0)] if received else []
    other = elsewhere(talk, *replies)
    assert kinds(other.said) == ["response.done", "response.created"]
    assert other.said[0]["response"]["status"] == "failed"
    (wanted,) = other.asked
    assert isinstance(wanted, ResponseWanted)
    assert wanted.response.request.settings.instructions == f"Be kind. {GO_ON}"
    items = other.dialogue.context(wanted.response.request)
    assert [one.text for one in items] == (["One two."] if received else [])


def test_a_server_without_requests_asks_nothing_of_its_agent() -> None:
    talk = Talk(answers=False)
    talk.speak(talk.begin(), "One.")
    other = elsewhere(talk, answers=False)
    assert kinds(other.said) == ["response.done"]
    assert other.asked == []
    assert carried(talk, read=77).understood == 77


def test_a_turn_is_owed_an_answer_until_it_has_one() -> None:
    talk = Talk()
    talk.turn("Hello?")
    assert carried(talk).owed
    talk.answer("Yes.")
    assert not carried(talk).owed
    talk.turn("")
    assert not carried(talk).owed
    item = talk.turn_unheard()
    assert not carried(talk).owed, "it will be heard again"
    talk.dialogue.transcript_failed(item, "broken", "It broke.", 0)
    assert not carried(talk).owed
    talk.turn("Hello?")
    other = elsewhere(talk)
    (wanted,) = other.asked
    assert isinstance(wanted, ResponseWanted)
    assert wanted.response.request.settings.instructions == ""
    talk.send("response.create")
    assert carried(talk).owed, "it is being made"


def test_what_is_not_understood_is_heard_again() -> None:
    talk = Talk()
    talk.hear(10 * RATE)
    assert carried(talk).understood == 10 * RATE - 3_300 * RATE // 1_000
    talk.dialogue.speech_started(8 * RATE, 0)
    assert carried(talk).understood == 8 * RATE
    talk.dialogue.speech_stopped(9 * RATE, 0)
    left = carried(talk)
    assert (left.understood, left.items) == (8 * RATE, ())
    other = elsewhere(talk)
    other.hear(RATE)
    other.dialogue.speech_started(RATE // 2, 0)
    assert other.drain()[0]["audio_start_ms"] == 8_500


def test_by_hand_nothing_is_understood_before_it_is_committed() -> None:
    talk = Talk({"audio": {"input": {"turn_detection": None}}})
    talk.hear(RATE)
    assert carried(talk).understood == 0
    talk.send("input_audio_buffer.commit")
    assert carried(talk).understood == 0
    talk.dialogue.transcript_done(talk.order()[0], "Hello.", 1, 0)
    talk.hear(RATE)
    assert carried(talk).understood == RATE


def test_silence_that_was_committed_waits_for_no_words() -> None:
    talk = Talk({"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5_000}}}})
    talk.answer("One.")
    talk.dialogue.playback_ends(None, 0)
    talk.hear(10 * RATE)
    deadline = talk.dialogue.next_deadline()
    assert deadline is not None
    talk.dialogue.on_deadline(deadline)
    assert carried(talk).understood == 10 * RATE


def test_words_that_never_come_are_not_waited_for_for_ever() -> None:
    talk = Talk({"audio": {"input": {"turn_detection": None}}})
    for _ in range(MOST_UNSETTLED + 3):
        talk.hear(RATE)
        talk.send("input_audio_buffer.commit")
    assert carried(talk).understood == 3 * RATE
    talk.send("conversation.item.delete", item_id=talk.order()[3])
    assert carried(talk).understood == 4 * RATE


@example(starts=[0, 0], sent=0, there=0, complete=False)
@example(starts=[0, 0], sent=0, there=1, complete=False)
@given(
    starts=st.lists(st.integers(0, 500), max_size=5),
    sent=st.integers(0, 600),
    there=st.integers(0, 700),
    complete=st.booleans(),
)
def test_a_broken_answer_never_says_more_than_before(
    starts: list[int], sent: int, there: int, complete: bool
) -> None:
    before, after = SpokenText(), SpokenText()
    for spoken in (before, after):
        for index, start in enumerate(sorted(starts)):
            spoken.add(f"one{index} two{index} three{index}.", start)
        spoken.note_sent(max([sent, *starts]))
        spoken.complete = complete
    after.break_off(there)
    assert before.text.startswith(after.text)
    assert after.complete
    if not (complete and there >= before.sent):
        assert after.sent == there
        # More may have arrived than was known to be sent.
        before.note_sent(max(0, there - before.sent))
        assert len(after.heard_text(there)) <= len(before.heard_text(there))
    # All that was played counts, but for the one sentence of which nobody knows the end.
    whole = sum(start < there for start in sorted(starts)[1:])
    assert after.heard_text(there).count(".") >= min(whole, len(starts)) - 1
