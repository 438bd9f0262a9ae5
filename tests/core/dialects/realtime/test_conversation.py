"""Items as a client creates, retrieves, deletes and truncates them."""

import sys
from base64 import b64decode, b64encode
from typing import Any

import pytest
from tests.core.dialects.realtime.talk import RATE, SECOND, Talk, kinds, pcm, text_message

from legato.core.dialects.realtime import conversation
from legato.core.dialects.realtime.dialogue_events import AudioItemCreated, ResponseCancelled, Truncated
from legato.core.dialects.realtime.items import Image, Text

PICTURE = "data:image/png;base64,AAAA"


def create(talk: Talk, item: dict[str, Any], **members: Any) -> dict[str, Any]:
    said = talk.send("conversation.item.create", item=item, **members)
    assert kinds(said) == ["conversation.item.added", "conversation.item.done"]
    created: dict[str, Any] = said[1]["item"]
    return created


# Creating


@pytest.mark.parametrize(
    "item",
    [
        text_message("Be brief.", "system"),
        text_message("Hello."),
        text_message("Hello back.", "assistant"),
        {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]},
        {"type": "function_call", "name": "look", "arguments": "{}"},
        {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "call_7"},
        {"type": "function_call_output", "call_id": "call_7", "output": "It rains."},
    ],
)
def test_every_kind_of_item_comes_back_as_it_was_given(item: dict[str, Any]) -> None:
    talk = Talk()
    created = create(talk, item)
    assert created["status"] == "completed"
    assert created["object"] == "realtime.item"
    for name, value in item.items():
        if name != "content":
            assert created[name] == value
        else:
            assert [given | part for given, part in zip(value, created[name], strict=True)] == created[name]
    assert talk.retrieved(created["id"]) == created
    talk.judge()


def test_an_item_keeps_the_id_that_the_client_gave_it() -> None:
    talk = Talk()
    assert create(talk, text_message("Hello.", id="mine"))["id"] == "mine"
    error = talk.refusal("conversation.item.create", item=text_message("Again.", id="mine"))
    assert (error["code"], error["param"]) == ("item_create_duplicate_item_id", "item.id")
    assert talk.order() == ["mine"]


def test_items_are_put_where_the_client_wants_them() -> None:
    talk = Talk()
    for name, members in {
        "a": {},
        "b": {"previous_item_id": None},
        "c": {"previous_item_id": "a"},
        "d": {"previous_item_id": "root"},
        "e": {"previous_item_id": ""},
    }.items():
        create(talk, text_message(name, id=name), **members)
    assert talk.order() == ["d", "a", "c", "b", "e"]
    assert talk.seen() == ["user: d", "user: a", "user: c", "user: b", "user: e"]
    error = talk.refusal("conversation.item.create", item=text_message("x"), previous_item_id="nowhere")
    assert (error["code"], error["param"]) == ("item_create_invalid_previous_item_id", "previous_item_id")
    talk.judge()


def test_audio_given_at_once_wants_a_transcript() -> None:
    talk = Talk(keeps_audio=True)
    audio = [{"type": "input_audio", "audio": b64encode(pcm(at, 40)).decode()} for at in (0, 40)]
    content = [{"type": "input_text", "text": "Listen:"}, *audio]
    item = create(talk, {"type": "message", "role": "user", "content": content})
    assert talk.asked == [AudioItemCreated(item["id"], pcm(0, 80), talk.dialogue.settings.input_format)]
    assert [part.get("audio") for part in item["content"]] == [None, None, None]
    kept = talk.retrieved(item["id"])["content"]
    assert b64decode(kept[1]["audio"]) == pcm(0, 80)
    assert talk.seen() == ["user: Listen:"]
    talk.dialogue.transcript_delta(item["id"], "Ding", talk.now)
    talk.dialogue.transcript_done(item["id"], "Ding dong.", 0.1, talk.now)
    assert talk.seen() == ["user: Listen: Ding dong."]
    assert [event["content_index"] for event in talk.said if "transcription" in event["type"]] == [1, 1]


def test_a_transcript_that_came_with_the_audio_is_for_reference() -> None:
    talk = Talk()
    audio = {"type": "input_audio", "audio": "AAA=", "transcript": "Ding."}
    item = create(talk, {"type": "message", "role": "user", "content": [audio]})
    assert item["content"] == [{"type": "input_audio", "transcript": "Ding."}]
    assert talk.seen() == []


def test_audio_that_is_none_is_refused() -> None:
    talk = Talk()
    content = [{"type": "input_audio", "audio": b64encode(b"odd").decode()}]
    error = talk.refusal(
        "conversation.item.create", item={"type": "message", "role": "user", "content": content}
    )
    assert (error["code"], error["param"]) == ("invalid_value", "item.content")
    assert talk.order() == []
    assert talk.asked == []


def given_audio(samples: int, **members: Any) -> dict[str, Any]:
    part = {"type": "input_audio", "audio": b64encode(pcm(0, samples)).decode()}
    return {"type": "message", "role": "user", "content": [part], **members}


def test_audio_is_not_given_faster_than_it_is_understood() -> None:
    talk = Talk(audio_bytes=2_000)
    first, second = (create(talk, given_audio(400))["id"] for _ in range(2))
    for kind, members in {
        "conversation.item.create": {"item": given_audio(400)},
        "response.create": {"response": {"input": [given_audio(400)]}},
    }.items():
        assert talk.refusal(kind, **members)["code"] == "rate_limit_exceeded"
    create(talk, text_message("Words go on."))
    talk.send("conversation.item.delete", item_id=first)
    talk.dialogue.transcript_done(first, "Ding.", 0.1, 0)
    create(talk, given_audio(400))
    talk.dialogue.transcript_failed(second, "deaf", "no ears", 0)
    talk.drain()
    create(talk, given_audio(400))
    assert talk.refusal("conversation.item.create", item=given_audio(400))["code"] == "rate_limit_exceeded"


def test_items_of_one_id_wait_each_for_itself() -> None:
    talk = Talk(audio_bytes=2_000)
    response = {"conversation": "none", "input": [given_audio(400, id="same"), given_audio(400, id="same")]}
    talk.send("response.create", response=response)
    assert talk.refusal("conversation.item.create", item=given_audio(400))["code"] == "rate_limit_exceeded"
    talk.dialogue.transcript_done("same", "Ding.", 0.1, 0)
    talk.drain()
    create(talk, given_audio(400))
    assert talk.refusal("conversation.item.create", item=given_audio(400))["code"] == "rate_limit_exceeded"


def test_not_even_items_of_no_length_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legato.core.dialects.realtime.given_audio.MOST_WAITING", 2)
    talk = Talk()
    first = create(talk, given_audio(1))["id"]
    create(talk, given_audio(1))
    assert talk.refusal("conversation.item.create", item=given_audio(1))["code"] == "rate_limit_exceeded"
    items = {"input": [given_audio(1)]}
    assert talk.refusal("response.create", response=items)["code"] == "rate_limit_exceeded"
    talk.dialogue.transcript_done(first, "Ding.", 0.1, 0)
    talk.drain()
    create(talk, given_audio(1))


def test_an_agent_that_takes_no_requests_transcribes_nothing() -> None:
    talk = Talk(audio_bytes=2_000, answers=False, keeps_audio=True)
    items = [create(talk, given_audio(400))["id"] for _ in range(5)]
    assert talk.asked == []
    assert "audio" in talk.retrieved(items[-1])["content"][0]


# Bounds


def test_the_oldest_items_go_when_there_are_too_many() -> None:
    talk = Talk(items=2)
    for name in "abc":
        said = talk.send("conversation.item.create", item=text_message(name, id=name))
    assert kinds(said) == [
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.deleted",
    ]
    assert said[2]["item_id"] == "a"
    assert talk.order() == ["b", "c"]
    talk.judge()


def test_the_oldest_items_go_when_they_weigh_too_much() -> None:
    talk = Talk(item_bytes=2_000)
    for name in "abcd":
        create(talk, text_message("x" * 300, id=name))
    create(talk, text_message("y" * 40, id="e"))
    said = talk.send("conversation.item.create", item=text_message("x" * 1_000, id="f"))
    assert [event["item_id"] for event in said[2:]] == ["a", "b", "c"]
    error = talk.refusal("conversation.item.create", item=text_message("x" * 1_900))
    assert error["code"] == "item_too_large"
    assert talk.order() == ["d", "e", "f"]


def test_words_that_come_later_weigh_too() -> None:
    talk = Talk(item_bytes=1_000)
    create(talk, text_message("x" * 500, id="a"))
    item = talk.turn("y" * 500)
    assert talk.order() == [item]
    talk.judge()


def test_creating_and_deleting_costs_the_same_however_much_there_is() -> None:
    def calls_for_one_more(talk: Talk, name: str) -> int:
        count = 0

        def note(_frame: object, event: str, _arg: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        create_event = {"type": "conversation.item.create", "item": text_message("x", id=name)}
        sys.setprofile(note)
        try:
            talk.dialogue.receive({**create_event, "previous_item_id": "root"}, 0)
            talk.dialogue.receive({"type": "conversation.item.delete", "item_id": name}, 0)
            talk.dialogue.receive(create_event, 0)
        finally:
            sys.setprofile(None)
        return count

    few, many = Talk(items=3), Talk(items=2_000)
    for talk, number in ((few, 3), (many, 2_000)):
        for at in range(number):
            create(talk, text_message("x", id=f"item-{at}"))
    assert calls_for_one_more(many, "new") <= calls_for_one_more(few, "new")


# Retrieving and deleting


def test_unknown_items() -> None:
    talk = Talk()
    for what in ("delete", "retrieve", "truncate"):
        members = {"content_index": 0, "audio_end_ms": 0} if what == "truncate" else {}
        error = talk.refusal(f"conversation.item.{what}", item_id="nothing", **members)
        assert (error["code"], error["param"]) == (f"item_{what}_invalid_item_id", "item_id")


def test_a_deleted_item_is_gone() -> None:
    talk = Talk(keeps_audio=True)
    item = talk.turn("Hello.")
    said = talk.send("conversation.item.delete", item_id=item)
    assert [(event["type"], event["item_id"]) for event in said] == [("conversation.item.deleted", item)]
    assert talk.seen() == []
    talk.dialogue.transcript_delta(item, "late", 0)
    talk.dialogue.transcript_done(item, "late", 1.0, 0)
    talk.dialogue.transcript_failed(item, "late", "late", 0)
    assert talk.drain() == []
    assert talk.refusal("conversation.item.delete", item_id=item)["code"] == "item_delete_invalid_item_id"
    assert talk.dialogue._parts.conversation.audio.size == 0  # type: ignore[union-attr]
    talk.judge()


def test_speech_is_retrieved_with_its_audio() -> None:
    talk = Talk(keeps_audio=True)
    talk.hear(RATE // 2)
    item = talk.turn("Hello.")
    content = talk.retrieved(item)["content"]
    assert content[0]["transcript"] == "Hello."
    assert b64decode(content[0]["audio"]) == pcm(RATE // 2, RATE)
    talk.judge()


def test_an_answer_is_retrieved_with_its_audio() -> None:
    talk = Talk(keeps_audio=True)
    response = talk.begin()
    item = talk.speak(response, "Hello.", 100)
    talk.dialogue.keep_audio(item, pcm(0, 60))
    talk.dialogue.keep_audio(item, pcm(60, 40))
    talk.dialogue.keep_audio(item, b"")
    talk.dialogue.keep_audio("item_of_nobody", pcm(0, 60))
    response.end("completed", 0)
    talk.drain()
    assert b64decode(talk.retrieved(item)["content"][0]["audio"]) == pcm(0, 100)
    talk.judge()


def test_without_kept_audio_items_have_none() -> None:
    talk = Talk()
    item = talk.turn("Hello.")
    assert talk.dialogue._parts.conversation.audio is None
    talk.dialogue.keep_audio(item, b"1234")
    assert "audio" not in talk.retrieved(item)["content"][0]


def test_text_has_no_audio_to_retrieve() -> None:
    talk = Talk(keeps_audio=True)
    create(talk, text_message("Hello.", id="mine"))
    talk.dialogue.keep_audio("mine", b"1234")
    assert talk.retrieved("mine")["content"] == [{"type": "input_text", "text": "Hello."}]


def test_audio_too_long_for_a_message_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "RETRIEVED_BYTES", 2 * RATE)
    talk = Talk(keeps_audio=True)
    short, long = talk.turn("Hello."), talk.turn("Hello there.", RATE + 1)
    assert "audio" in talk.retrieved(short)["content"][0]
    assert "audio" not in talk.retrieved(long)["content"][0]


def test_retrieving_audio_is_rationed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "RETRIEVED_BURST", 5 * RATE)
    monkeypatch.setattr(conversation, "RETRIEVED_PER_S", 2 * RATE)
    talk = Talk(keeps_audio=True)
    talk.dialogue._parts.conversation._allowance = 5 * RATE
    item = talk.turn("Hello.")
    talk.drain()
    for _ in range(2):
        talk.retrieved(item)
    error = talk.refusal("conversation.item.retrieve", item_id=item)
    assert error["code"] == "rate_limit_exceeded"
    talk.now += SECOND
    talk.retrieved(item)
    assert talk.refusal("conversation.item.retrieve", item_id=item)["code"] == "rate_limit_exceeded"
    talk.now += 1_000 * SECOND
    for _ in range(2):
        talk.retrieved(item)
    assert talk.refusal("conversation.item.retrieve", item_id=item)["code"] == "rate_limit_exceeded"


def test_retrieving_long_items_is_rationed_without_audio_too() -> None:
    talk = Talk()
    item = create(talk, text_message("x" * 7_000_000))["id"]
    for _ in range(2):
        talk.retrieved(item)
    assert talk.refusal("conversation.item.retrieve", item_id=item)["code"] == "rate_limit_exceeded"
    talk.now += 5 * SECOND
    talk.retrieved(item)


def test_the_oldest_audio_goes_first_and_its_item_stays() -> None:
    talk = Talk(keeps_audio=True, audio_bytes=5 * RATE)
    first, second, third = (talk.turn(words) for words in ("One.", "Two.", "Three."))
    assert "audio" not in talk.retrieved(first)["content"][0]
    assert all("audio" in talk.retrieved(item)["content"][0] for item in (second, third))
    assert len(talk.seen()) == 3


# Truncating


def test_truncation_cuts_audio_and_transcript_to_the_sample() -> None:
    talk = Talk(keeps_audio=True)
    item = talk.answer("One two three four.", RATE)
    talk.dialogue.keep_audio(item, pcm(0, RATE))
    said = talk.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=501)
    assert kinds(said) == ["conversation.item.truncated"]
    assert (said[0]["item_id"], said[0]["content_index"], said[0]["audio_end_ms"]) == (item, 0, 501)
    assert talk.asked == [Truncated(item, 501 * 24)]
    (part,) = talk.retrieved(item)["content"]
    assert part["transcript"] == "One two"
    assert b64decode(part["audio"]) == pcm(0, 501 * 24)
    assert talk.seen() == ["assistant: One two"]
    talk.judge()


def test_truncation_beyond_the_audio_is_refused() -> None:
    talk = Talk()
    item = talk.answer("One two three.", 1_000)
    where = {"item_id": item, "content_index": 0}
    error = talk.refusal("conversation.item.truncate", **where, audio_end_ms=43)
    assert (error["code"], error["param"]) == ("invalid_value", "audio_end_ms")
    assert "already shorter than" in error["message"]
    # 1000 samples are 41.67 ms, which clients call 42.
    talk.send("conversation.item.truncate", **where, audio_end_ms=42)
    talk.send("conversation.item.truncate", **where, audio_end_ms=20)
    assert talk.refusal("conversation.item.truncate", **where, audio_end_ms=21)["code"] == "invalid_value"
    assert talk.asked == [Truncated(item, 1_000), Truncated(item, 480)]
    talk.judge()


def test_only_spoken_answers_are_truncated() -> None:
    talk = Talk()
    create(talk, text_message("Hello.", id="mine"))
    create(talk, text_message("Hello.", "assistant", id="given"))
    create(talk, {"type": "function_call", "name": "f", "arguments": "{}", "id": "call"})
    for item in ("mine", "given", "call", talk.turn("Hello.")):
        talk.drain()
        error = talk.refusal("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=0)
        assert (error["code"], error["param"]) == ("unsupported_content_type", "item_id")
    item = talk.answer("Hello.")
    error = talk.refusal("conversation.item.truncate", item_id=item, content_index=1, audio_end_ms=0)
    assert (error["code"], error["param"]) == ("invalid_value", "content_index")


def test_an_answer_of_which_nothing_was_heard_leaves_nothing() -> None:
    talk = Talk()
    item = talk.answer("One two three.", 1_000)
    talk.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=0)
    assert talk.seen() == []
    assert talk.retrieved(item)["content"] == [{"type": "output_audio", "transcript": ""}]


def test_truncating_what_is_still_being_said_cancels_it() -> None:
    talk = Talk()
    response = talk.begin()
    item = talk.speak(response, "One two three four.", RATE)
    talk.drain()
    said = talk.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=500)
    assert kinds(said)[-2:] == ["response.done", "conversation.item.truncated"]
    assert said[-2]["response"]["status"] == "cancelled"
    assert talk.asked == [ResponseCancelled(response.id, "client_cancelled"), Truncated(item, RATE // 2)]
    response.transcript("More.", RATE)
    assert talk.seen() == ["assistant: One two"]
    talk.judge()


def test_audio_of_a_format_that_cannot_be_cut_is_dropped_at_a_truncation() -> None:
    talk = Talk(keeps_audio=True, **opus_line())
    item = talk.answer("One two three four.", RATE)
    talk.dialogue.keep_audio(item, b"\x08\x01\x02")
    talk.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=500)
    assert talk.retrieved(item)["content"][0] == {
        "type": "output_audio",
        "transcript": "One two",
        "audio": "",
    }


def opus_line() -> dict[str, Any]:
    from legato.core.audio import AudioFormat

    return {"formats": (AudioFormat("opus", 24_000), AudioFormat("opus", 24_000))}


# What a model sees


def test_a_model_sees_everything_in_order() -> None:
    talk = Talk()
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": PICTURE, "detail": "low"},
        {"type": "input_text", "text": ""},
    ]
    create(talk, text_message("Be brief.", "system"))
    create(talk, {"type": "message", "role": "user", "content": content})
    create(talk, {"type": "function_call", "name": "look", "arguments": '{"at": 1}', "call_id": "c"})
    create(talk, {"type": "function_call_output", "call_id": "c", "output": "A cat."})
    request = talk.begin(conversation="none").request
    system, user, call, output = talk.dialogue.context(request)
    assert (system.role, system.text) == ("system", "Be brief.")
    assert user.content == (Text("What is this?"), Image(PICTURE, "low"))
    assert (call.type, call.name, call.arguments, call.call_id) == ("function_call", "look", '{"at": 1}', "c")
    assert (output.type, output.output, output.call_id) == ("function_call_output", "A cat.", "c")


def test_speech_nobody_understood_is_not_seen() -> None:
    talk = Talk()
    talk.turn("")
    assert talk.seen() == []
