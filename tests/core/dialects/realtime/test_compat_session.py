"""A call that travels as messages: what its client says, what it is told, and what it must have heard."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.compat_session import CompatSession, read_event
from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.formats import PCM, PCMU
from legato.core.errors import LocalProtocolError
from legato.core.events import AudioReceived, EventReceived, SessionEnded
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Limits

SECOND = 1_000_000
FRAME = bytes(range(256)) * 3 + bytes(192)  # 20 ms of PCM


class Items:
    """Where spoken answers stand in their responses, and what was kept of them."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, bytes]] = []

    def output_place(self, item_id: str) -> tuple[int, int]:
        return int(item_id.rpartition("_")[2]), 0

    def keep_audio(self, item_id: str, payload: bytes) -> None:
        self.kept.append((item_id, payload))


def session(limits: Limits | None = None, may_append: bool = True) -> CompatSession:
    return CompatSession(PCM, limits or Limits(), "tag", may_append)


def append(audio: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()})


def said(one: CompatSession) -> list[dict[str, Any]]:
    return [json.loads(text) for text in one.outputs()]


class TestHearing:
    def test_appended_audio_becomes_frames_that_follow_each_other(self) -> None:
        one = session()
        one.receive(append(FRAME), 5)
        one.receive(append(FRAME[:2]), 7)
        frames = [event.frame for event in one.events() if isinstance(event, AudioReceived)]
        assert [(f.offset, f.captured_us, f.payload) for f in frames] == [(0, 5, FRAME), (480, 7, FRAME[:2])]
        assert frames[0].format == PCM
        assert one.outputs() == []

    def test_much_audio_at_once_is_cut_into_frames_of_100_ms(self) -> None:
        one = session()
        audio = bytes(4800 * 2) + bytes(10)
        one.receive(append(audio), 0)
        frames = [event.frame for event in one.events() if isinstance(event, AudioReceived)]
        assert [frame.offset for frame in frames] == [0, 2400, 4800]
        assert b"".join(frame.payload for frame in frames) == audio

    def test_no_audio_is_no_frame(self) -> None:
        one = session()
        one.receive(append(b""), 0)
        assert (one.events(), one.outputs()) == ([], [])

    def test_half_a_sample_is_refused_and_the_call_goes_on(self) -> None:
        one = session()
        one.receive(append(b"abc"), 0)
        (error,) = said(one)
        assert error["type"] == "error"
        assert error["event_id"] == "event_tag1"
        assert error["error"]["code"] == "invalid_value"
        assert error["error"]["param"] == "audio"
        assert "3 bytes are not whole samples of 2 bytes" in error["error"]["message"]
        assert error["error"]["event_id"] is None
        one.receive(append(FRAME), 0)
        assert len(one.events()) == 1

    @pytest.mark.parametrize("rest", ['"type":"input_audio_buffer.append","audio":"YWJj"', '"type":5'])
    def test_what_is_refused_is_named(self, rest: str) -> None:
        one = session()
        for name in ("e" * 512, "e" * 513):
            one.receive(f'{{"event_id":"{name}",{rest}}}', 0)
        named, too_long = said(one)
        assert named["error"]["event_id"] == "e" * 512
        assert too_long["error"]["event_id"] is None

    def test_the_format_may_change(self) -> None:
        one = session()
        form: list[AudioFormat] = [PCM]
        one.join(Items(), lambda: form[0])
        form[0] = PCMU
        one.receive(append(b"abc"), 0)
        (heard,) = one.events()
        assert isinstance(heard, AudioReceived)
        assert heard.frame.format == PCMU
        assert heard.frame.samples == 3

    def test_audio_of_a_client_that_may_not_append_is_an_event_to_be_refused(self) -> None:
        one = session(may_append=False)
        one.receive(append(FRAME), 0)
        (received,) = one.events()
        assert isinstance(received, EventReceived)
        assert received.event["type"] == "input_audio_buffer.append"

    def test_unread_audio_holds_the_client_until_half_is_read(self) -> None:
        one = session(Limits(unread_ms=100))
        for _ in range(5):
            one.receive(append(FRAME), 0)
        assert not one.holds
        one.receive(append(FRAME), 0)
        assert one.holds
        for _ in range(3):
            assert one.holds
            assert not one.consumed(480, 960)
        assert one.consumed(480, 960)
        assert not one.holds

    def test_unread_bytes_are_bounded_too(self) -> None:
        one = session(Limits(unread_bytes=1000))
        one.receive(append(FRAME), 0)
        assert not one.holds
        one.receive(append(FRAME), 0)
        assert one.holds

    def test_audio_faster_than_allowed_is_held_after_a_burst(self) -> None:
        one = session(Limits(audio_rate=2, audio_burst_ms=1000))
        one.receive(append(bytes(48_000)), 0)  # one second, as much as the burst
        one.consumed(24_000, 48_000)
        assert not one.holds
        assert one.next_deadline() is None
        one.receive(append(bytes(9600)), 0)  # 200 ms more
        assert one.holds
        assert one.next_deadline() == 100_000
        one.on_deadline(99_999)
        assert one.holds
        one.on_deadline(100_000)
        assert not one.holds
        assert one.next_deadline() is None
        # At twice real time it may go on for ever.
        for half_second in range(2, 40):
            one.receive(append(bytes(48_000)), half_second * SECOND // 2)
            one.consumed(24_000, 48_000)
            assert not one.holds


class TestEvents:
    def test_events_pass_whole(self) -> None:
        one = session()
        one.receive('{"type":"response.create","response":{"metadata":{"a":"b"}}}', 0)
        (received,) = one.events()
        assert isinstance(received, EventReceived)
        assert received.event["response"] == {"metadata": {"a": "b"}}

    @pytest.mark.parametrize(
        ("message", "code", "param"),
        [
            ("", "invalid_json", None),
            ("{", "invalid_json", None),
            ("[1]", "invalid_json", None),
            ("[" * 100_000, "invalid_json", None),
            ("{}", "missing_required_parameter", "type"),
            ('{"type":null}', "missing_required_parameter", "type"),
            ('{"type":7}', "invalid_type", "type"),
            (b'{"type":"response.create"}', "invalid_message", None),
            ('{"type":"x","a":[' + "1," * 250_000 + "1]}", "invalid_message", None),
        ],
    )
    def test_what_is_no_event_is_refused(self, message: str | bytes, code: str, param: str | None) -> None:
        one = session()
        one.receive(message, 0)
        (error,) = said(one)
        assert error["type"] == "error"
        assert (error["error"]["code"], error["error"]["param"]) == (code, param)
        assert error["error"]["type"] == "invalid_request_error"
        assert one.events() == []

    def test_a_refusal_names_the_event(self) -> None:
        with pytest.raises(EventRefused) as refused:
            read_event('{"type":1,"event_id":"mine"}')
        assert refused.value.event_id == "mine"
        with pytest.raises(EventRefused) as refused:
            read_event('{"type":1,"event_id":2}')
        assert refused.value.event_id is None

    def test_a_long_text_is_no_crowd_of_values(self) -> None:
        text = "word, " * 60_000
        assert read_event(json.dumps({"type": "x", "text": text}))["text"] == text

    def test_only_the_events_of_the_api_are_said(self) -> None:
        one = session()
        one.send_event({"type": "session.created", "session": {}}, 0)
        one.send_event({"type": "session.updated", "event_id": "given"}, 0)
        one.send_event({"type": "legato.flush"}, 0)
        one.send_event({"type": "my.own"}, 0)
        one.send_event({}, 0)
        assert [(event["type"], event["event_id"]) for event in said(one)] == [
            ("session.created", "event_tag1"),
            ("session.updated", "given"),
        ]

    def test_an_event_of_odd_values_is_the_owners_mistake(self) -> None:
        with pytest.raises(LocalProtocolError, match=r"session\.updated is not JSON"):
            session().send_event({"type": "session.updated", "x": object()}, 0)


class TestSpeaking:
    def test_audio_is_said_in_deltas_with_their_place(self) -> None:
        one, items = session(), Items()
        one.join(items, lambda: PCM)
        generation = one.begin_reply('resp_"1', "item_3", PCM, 0)
        assert one.send_audio(generation, FRAME, 480, 0)
        assert one.send_audio(generation, b"ab", 1, 0)
        first, second = said(one)
        assert first == {
            "type": "response.output_audio.delta",
            "event_id": "event_tag1",
            "response_id": 'resp_"1',
            "item_id": "item_3",
            "output_index": 3,
            "content_index": 0,
            "delta": base64.b64encode(FRAME).decode(),
        }
        assert (second["event_id"], second["delta"]) == ("event_tag2", "YWI=")
        assert items.kept == [("item_3", FRAME), ("item_3", b"ab")]

    def test_without_a_conversation_the_place_is_the_first(self) -> None:
        one = session()
        one.send_audio(one.begin_reply("resp", "item", PCM, 0), b"ab", 1, 0)
        (delta,) = said(one)
        assert (delta["output_index"], delta["content_index"]) == (0, 0)

    def test_what_was_heard_is_worked_out_from_the_clock(self) -> None:
        one = session()
        generation = one.begin_reply("resp", "item", PCM, 0)
        one.send_audio(generation, bytes(96_000), 48_000, 1 * SECOND)
        one.end_reply(generation, 1 * SECOND)
        assert not one.ledger.reports
        assert one.ledger.heard(generation, 1 * SECOND) == 0
        assert one.ledger.heard(generation, 2 * SECOND) == 24_000
        assert one.ledger.heard(generation, 9 * SECOND) == 48_000
        assert one.credit_us(0) > 600 * SECOND

    def test_the_next_reply_sounds_behind_the_one_before(self) -> None:
        one = session()
        first = one.begin_reply("resp", "item", PCM, 0)
        one.send_audio(first, bytes(96_000), 48_000, 0)
        one.end_reply(first, 0)
        second = one.begin_reply("resp", "item", PCM, 0)
        one.send_audio(second, bytes(96_000), 48_000, 0)
        assert second > first
        assert one.ledger.heard(second, 3 * SECOND) == 24_000

    def test_a_flush_ends_what_is_said(self) -> None:
        one = session()
        assert one.flush(0) == 0
        first, second = (one.begin_reply("resp", "item", PCM, 0) for _ in range(2))
        one.send_audio(first, bytes(48_000), 24_000, 0)
        one.outputs()
        assert one.flush(SECOND // 2) == second
        assert one.flush(SECOND) == second
        assert one.ledger.heard(first, 9 * SECOND) == 12_000
        assert not one.send_audio(first, b"ab", 1, SECOND)
        one.end_reply(first, SECOND)
        assert one.outputs() == []

    def test_one_reply_is_flushed_and_the_others_are_not(self) -> None:
        one = session()
        first, second = (one.begin_reply("resp", "item", PCM, 0) for _ in range(2))
        one.send_audio(first, b"ab", 1, 0)
        one.flush_reply(first, 0)
        one.flush_reply(first, 0)
        assert not one.send_audio(first, b"ab", 1, 0)
        assert one.send_audio(second, b"ab", 1, 0)

    @pytest.mark.parametrize("generation", [0, 1, -1])
    def test_a_reply_that_never_began_is_a_mistake(self, generation: int) -> None:
        one = session()
        with pytest.raises(LocalProtocolError, match="begin one first"):
            one.send_audio(generation, b"ab", 1, 0)
        with pytest.raises(LocalProtocolError, match="begin one first"):
            one.end_reply(generation, 0)
        with pytest.raises(LocalProtocolError, match="begin one first"):
            one.flush_reply(generation, 0)


class TestEnd:
    @pytest.mark.parametrize("code", [SessionCode.NO_ERROR, SessionCode.GOING_AWAY, SessionCode.OVERLOADED])
    def test_a_close_ends_everything(self, code: SessionCode) -> None:
        one = session()
        generation = one.begin_reply("resp", "item", PCM, 0)
        one.close(code, "so be it", 0)
        one.close(SessionCode.INTERNAL_ERROR, "late", 0)
        assert one.over
        assert one.ending == (code, "so be it")
        assert one.events() == [SessionEnded("local", code, "so be it")]
        assert one.begin_reply("resp", "item", PCM, 0) == 0
        assert not one.send_audio(generation, b"ab", 1, 0)
        one.end_reply(generation, 0)
        one.send_event({"type": "session.updated"}, 0)
        one.receive(append(FRAME), 0)
        one.going_away(10, 0)
        one.closed("peer", 0, "")
        assert (one.outputs(), one.events(), one.next_deadline()) == ([], [], None)

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            (SessionCode.AGENT_ERROR, "server_error"),
            (SessionCode.INTERNAL_ERROR, "server_error"),
            (SessionCode.LIMIT_EXCEEDED, "invalid_request_error"),
        ],
    )
    def test_a_failure_is_told_before_the_end(self, code: SessionCode, kind: str) -> None:
        one = session()
        one.close(code, "the model is gone", 0)
        (error,) = said(one)
        assert error["error"] == {
            "type": kind,
            "code": code.name.lower(),
            "message": "the model is gone",
            "param": None,
            "event_id": None,
        }

    def test_the_connection_ends(self) -> None:
        one = session()
        one.closed("peer", 0, "bye")
        assert one.events() == [SessionEnded("peer", 0, "bye")]
        assert one.ending is None

    def test_going_away_ends_in_time(self) -> None:
        one = session(Limits(audio_rate=1, audio_burst_ms=1))
        one.going_away(50, 0)
        assert one.next_deadline() == 50_000
        one.receive(append(FRAME), 0)
        assert one.next_deadline() == 19_000
        one.on_deadline(49_999)
        assert not one.over
        one.on_deadline(50_000)
        assert one.ending == (SessionCode.GOING_AWAY, "the server goes away")


@given(st.text() | st.binary())
def test_no_message_raises(message: str | bytes) -> None:
    one = session()
    one.receive(message, 0)
    assert all(event["type"] == "error" for event in said(one))


class Operations(RuleBasedStateMachine):
    """Any order of operations: positions follow each other, ids are unique, audio comes out as it went in."""

    def __init__(self) -> None:
        super().__init__()
        self.one = session(Limits(unread_ms=500))
        self.items = Items()
        self.one.join(self.items, lambda: PCM)
        self.now = 0
        self.position = 0
        self.unread: list[int] = []
        self.replies: dict[int, bool] = {}
        self.ids: set[str] = set()

    @rule(samples=st.integers(0, 6000))
    def append(self, samples: int) -> None:
        self.one.receive(append(bytes(2 * samples)), self.now)

    @rule(message=st.sampled_from(["{}", "x", '{"type":"response.cancel"}']))
    def say(self, message: str) -> None:
        self.one.receive(message, self.now)

    @rule(ms=st.integers(0, 2000))
    def wait(self, ms: int) -> None:
        self.now += ms * 1000
        self.one.on_deadline(self.now)

    @rule()
    def begin(self) -> None:
        generation = self.one.begin_reply("resp_1", f"item_{len(self.replies)}", PCM, self.now)
        if not self.one.over:
            assert generation not in self.replies
            self.replies[generation] = True

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), samples=st.integers(1, 4000))
    def speak(self, data: st.DataObject, samples: int) -> None:
        generation = data.draw(st.sampled_from(sorted(self.replies)))
        sent = self.one.send_audio(generation, bytes(2 * samples), samples, self.now)
        assert sent == (self.replies[generation] and not self.one.over)

    @rule()
    def flush(self) -> None:
        self.one.flush(self.now)
        self.replies = dict.fromkeys(self.replies, False)

    @rule()
    def take(self) -> None:
        for event in self.one.events():
            if isinstance(event, AudioReceived):
                assert event.frame.offset == self.position
                assert 0 < event.frame.samples <= 2400
                self.position = event.frame.end
                self.unread.append(event.frame.samples)
        for event in said(self.one):
            assert event["event_id"] not in self.ids
            self.ids.add(event["event_id"])

    @precondition(lambda self: self.unread)
    @rule()
    def read(self) -> None:
        for samples in self.unread:
            self.one.consumed(samples, 2 * samples)
        self.unread.clear()

    @rule(code=st.sampled_from([SessionCode.NO_ERROR, SessionCode.AGENT_ERROR]))
    def close(self, code: SessionCode) -> None:
        self.one.close(code, "", self.now)

    @invariant()
    def heard_is_never_more_than_sent(self) -> None:
        for generation in self.replies:
            line = self.one.ledger.get(generation)
            if line is not None:
                assert 0 <= self.one.ledger.heard(generation, self.now) <= line.sent


TestOperations = Operations.TestCase
