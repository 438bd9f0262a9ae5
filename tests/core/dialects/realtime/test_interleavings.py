"""Whatever a client, a detector and an agent do in whatever order, what is said stays true and in order."""

from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.core.dialects.realtime.talk import RATE, Talk, text_message

from legato.core.dialects.realtime.dialogue_events import (
    Interrupted,
    ResponseCancelled,
    ResponseWanted,
    Truncated,
)
from legato.core.dialects.realtime.response import Response
from legato.core.errors import LocalProtocolError

ITEMS, ITEM_BYTES, AUDIO_BYTES, RESPONSES = 6, 2_000, 4 * RATE, 2
WORDS = st.sampled_from(["", "one", "two three", "four. ", "five\n six", "x" * 300])
DETECTIONS: list[dict[str, Any] | None] = [
    None,
    {"type": "server_vad", "idle_timeout_ms": 1_000, "interrupt_response": True, "create_response": True},
    {"type": "server_vad", "idle_timeout_ms": None, "interrupt_response": False, "create_response": False},
    {"type": "semantic_vad", "interrupt_response": True},
]
RESPONSE_OPERATIONS = st.sampled_from(
    ["open_message", "transcript", "text", "function_call", "arguments", "end_item", "end"]
)
ENDS = st.sampled_from(["completed", "cancelled", "incomplete", "failed"])
PICK = st.integers(0, 1_000)


class Interleavings(RuleBasedStateMachine):
    """A client, a detector, a player and an agent, all of them erratic."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk(
            {"audio": {"input": {"turn_detection": DETECTIONS[1]}}},
            keeps_audio=True,
            items=ITEMS,
            item_bytes=ITEM_BYTES,
            audio_bytes=AUDIO_BYTES,
            responses=RESPONSES,
        )
        self.dialogue = self.talk.dialogue
        self.responses: list[Response] = []
        self.spoken: dict[str, Any] = {}
        self.names = ["item_of_nobody"]
        self.told: dict[str, str] = {}
        self.numbered = 0
        self.seen_events = self.judged = 0

    # The caller and the detector

    @rule(samples=st.integers(1, RATE))
    def hear(self, samples: int) -> None:
        self.dialogue.hear(b"\0\0" * samples, samples)

    @rule(samples=st.integers(1, 500))
    def lose(self, samples: int) -> None:
        self.dialogue.hear(b"", samples)

    @rule(back=st.integers(-100, 2 * RATE), stops=st.booleans())
    def speech(self, back: int, stops: bool) -> None:
        position = self.dialogue.position - back
        if stops:
            self.dialogue.speech_stopped(position, self.talk.now)
        else:
            self.names.append(self.dialogue.speech_started(position, self.talk.now))

    @rule(pick=PICK, words=WORDS, what=st.sampled_from(["delta", "done", "failed"]))
    def recognise(self, pick: int, words: str, what: str) -> None:
        name, now = self.names[pick % len(self.names)], self.talk.now
        if what == "delta":
            self.dialogue.transcript_delta(name, words, now)
        elif what == "done":
            self.dialogue.transcript_done(name, self.told.get(name, words), 1.0, now)
        else:
            self.dialogue.transcript_failed(name, "deaf", "no ears", now)

    # The agent and the player

    @rule(outside=st.booleans(), modality=st.sampled_from(["audio", "text"]))
    def begin(self, outside: bool, modality: str) -> None:
        conversation = "none" if outside else "auto"
        overrides = {"conversation": conversation, "output_modalities": [modality]}
        writing = self.dialogue.writing
        try:
            response = self.dialogue.begin_response("turn", self.talk.now, overrides)
        except LocalProtocolError:
            assert outside
            return
        assert (response is None) == (writing and not outside)
        if response is not None:
            self.responses.append(response)

    @precondition(lambda self: self.responses)
    @rule(pick=PICK, operation=RESPONSE_OPERATIONS, words=WORDS, status=ENDS)
    def respond(self, pick: int, operation: str, words: str, status: str) -> None:
        response = self.responses[-1 - pick % min(3, len(self.responses))]
        arguments: dict[str, tuple[Any, ...]] = {
            "transcript": (words, pick),
            "text": (words,),
            "arguments": (words,),
            "function_call": (f"call_{pick}", "look"),
            "end": (status, self.talk.now),
        }
        try:
            made = getattr(response, operation)(*arguments.get(operation, ()))
        except LocalProtocolError:
            assert operation in ("transcript", "text", "arguments")
            assert not response.over
            return
        if isinstance(made, str):
            self.names.append(made)
            if (spoken := self.talk.spoken(made)) is not None:
                self.spoken[made] = spoken

    @precondition(lambda self: self.spoken)
    @rule(pick=PICK, sent=st.integers(0, 2_000), heard=st.integers(0, 4_000))
    def play(self, pick: int, sent: int, heard: int) -> None:
        name = list(self.spoken)[pick % len(self.spoken)]
        self.spoken[name].note_sent(sent)
        self.spoken[name].note_heard(heard)
        self.dialogue.keep_audio(name, b"\0\0" * sent)
        self.dialogue.playback_ends(self.talk.now + heard if pick % 2 else None, self.talk.now)

    @rule(us=st.integers(0, 2_000_000))
    def wait(self, us: int) -> None:
        self.talk.now += us
        deadline = self.dialogue.next_deadline()
        self.dialogue.on_deadline(self.talk.now)
        if deadline is not None and deadline <= self.talk.now:
            assert self.dialogue.next_deadline() is None
            assert self.dialogue.writing

    # The client

    @rule(pick=PICK, words=WORDS, place=st.sampled_from([None, "root", "", "known", "unknown"]))
    def create(self, pick: int, words: str, place: str | None) -> None:
        self.numbered += 1
        name = self.names[pick % len(self.names)] if place == "known" else place
        item = text_message(words, id=f"given_{self.numbered}")
        if pick % 7 == 0:
            item["content"].append({"type": "input_audio", "audio": "AAAA" * 100})
        self.names.append(item["id"])
        self.send("conversation.item.create", item=item, previous_item_id=name)

    @rule(pick=PICK, kind=st.sampled_from(["delete", "retrieve"]))
    def about_an_item(self, pick: int, kind: str) -> None:
        self.send(f"conversation.item.{kind}", item_id=self.names[pick % len(self.names)])

    @rule(pick=PICK, part=st.integers(0, 1), end_ms=st.integers(0, 200))
    def truncate(self, pick: int, part: int, end_ms: int) -> None:
        names = list(self.spoken) or self.names
        self.send(
            "conversation.item.truncate",
            item_id=names[pick % len(names)],
            content_index=part,
            audio_end_ms=end_ms,
        )

    @rule(kind=st.sampled_from(["input_audio_buffer.commit", "input_audio_buffer.clear", "response.cancel"]))
    def plainly(self, kind: str) -> None:
        self.send(kind)

    @rule(outside=st.booleans(), pick=PICK, referring=st.booleans())
    def want(self, outside: bool, pick: int, referring: bool) -> None:
        reference = {"type": "item_reference", "id": self.names[pick % len(self.names)]}
        given = {"input": [reference]} if referring else {}
        self.send("response.create", response={"conversation": "none" if outside else "auto", **given})

    @rule(detection=st.sampled_from(DETECTIONS), transcribes=st.booleans())
    def change(self, detection: dict[str, Any] | None, transcribes: bool) -> None:
        audio = {"turn_detection": detection, "transcription": {} if transcribes else None}
        self.send("session.update", session={"type": "realtime", "audio": {"input": audio}})

    def send(self, kind: str, **members: Any) -> None:
        self.dialogue.receive({"type": kind, "event_id": "mine", **members}, self.talk.now)

    # What holds at all times

    @invariant()
    def everything_holds(self) -> None:
        self.what_is_asked_is_true()
        self.one_response_writes()
        self.the_client_knows_the_conversation()
        self.memory_is_bounded()
        self.nobody_is_said_to_have_heard_more_than_they_did()

    def what_is_asked_is_true(self) -> None:
        self.talk.drain()
        for event in self.talk.asked[self.seen_events :]:
            if isinstance(event, ResponseWanted):
                self.responses.append(event.response)
            elif isinstance(event, ResponseCancelled):
                assert [one.over for one in self.responses if one.id == event.response_id] == [True]
            elif isinstance(event, Interrupted):
                assert all(
                    spoken.stopped for name, spoken in self.spoken.items() if name in self.talk.order()
                )
            elif isinstance(event, Truncated):
                assert self.spoken[event.item_id].length == self.spoken[event.item_id].heard == event.samples
        self.seen_events = len(self.talk.asked)
        for event in self.talk.said[self.judged :]:
            if event["type"].endswith("transcription.delta"):
                name = event["item_id"]
                self.told[name] = self.told.get(name, "") + event["delta"]
            if event["type"] == "error":
                assert event["error"]["event_id"] == "mine"
        self.judged = len(self.talk.said)

    def one_response_writes(self) -> None:
        writing = [one for one in self.responses if not one.over and one.request.conversation == "auto"]
        assert len(writing) == self.dialogue.writing
        assert sum(not one.over for one in self.responses) <= RESPONSES + 1

    def the_client_knows_the_conversation(self) -> None:
        assert self.talk.order() == [entry.id for entry in self.dialogue._parts.conversation]

    def memory_is_bounded(self) -> None:
        parts = self.dialogue._parts
        assert parts.conversation.audio is not None
        assert parts.buffer._recent is not None
        assert parts.conversation.audio.size <= AUDIO_BYTES
        assert parts.buffer._recent.size <= AUDIO_BYTES
        entries = list(parts.conversation)
        # The open item of a response and the newest item stay, whatever they weigh.
        assert len(entries) <= ITEMS + 1
        finished = sum(entry.weight for entry in entries if entry.status != "in_progress")
        assert finished <= ITEM_BYTES + max((entry.weight for entry in entries), default=0)
        assert parts.conversation.audio._lost <= set(self.talk.order())

    def nobody_is_said_to_have_heard_more_than_they_did(self) -> None:
        entries = {entry.id: entry for entry in self.dialogue._parts.conversation}
        seen = [entry.seen() for entry in entries.values()]
        for item in seen:
            if item is not None and item.id in self.spoken:
                spoken = self.spoken[item.id]
                assert item.text == (spoken.heard_text() if spoken.stopped else spoken.text)

    def teardown(self) -> None:
        self.talk.judge(ended=False)
        for response in self.responses:
            response.end("completed", self.talk.now)
        self.send("input_audio_buffer.clear")
        self.talk.judge()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = hypothesis_settings(stateful_step_count=40)
