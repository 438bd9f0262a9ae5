"""Which words become which item, and what the caller is told of them."""

import asyncio
from base64 import b64encode

import pytest
from tests.agents.scenes import TRANSCRIPTION

from legato.agents.hearing import Hearing
from legato.agents.listener import (
    Dropped,
    Heard,
    PartlyRecognised,
    Reached,
    Recognised,
    SpeechStarted,
    SpeechStopped,
)
from legato.agents.stages.base import NO_HINTS, Hints, SpeechToTextCapabilities
from legato.core.dialects.realtime.dialogue_events import AudioItemCreated, InputCleared, InputCommitted
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.errors import AgentError
from legato.testing.call import MemoryCall

OFF = {"audio": {"input": {"turn_detection": None}}}
SECOND = 16_000


class Recognition:
    """Understands how much audio it was given; `gate` lets it finish."""

    capabilities = SpeechToTextCapabilities(partials=False)

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_work = self.most_at_work = 0
        self.error: Exception | None = None

    def open(self, caller: str = "", hints: Hints = NO_HINTS) -> "Recognition":
        return self

    async def feed(self, pcm: bytes) -> None:
        self.heard = len(pcm) // 2
        self.at_work += 1
        self.most_at_work = max(self.at_work, self.most_at_work)

    async def finish(self) -> str:
        await self.gate.wait()
        self.at_work -= 1
        if self.error is not None:
            raise self.error
        return f"{self.heard} samples"

    async def close(self) -> None:
        pass


class Scene:
    """Hearing whose listener is the test."""

    def __init__(self, **session) -> None:
        self.call = MemoryCall(settings=SessionSettings.of().updated({"type": "realtime", **session}))
        self.recognition = Recognition()
        self.speech: list[bool] = []
        self.words: list[tuple[str, str, AgentError | None]] = []
        self.hearing = Hearing(
            self.call, self.recognition, self.speech.append, lambda *words: self.words.append(words)
        )
        self.hearing.follow(self)
        self.cuts: list[tuple[int, bool]] = []
        self.rules: list[object] = []

    # What a listener offers

    def cut(self, position: int, forget: bool = False) -> None:
        self.cuts.append((position, forget))

    def adjust(self, turns: object) -> None:
        self.rules.append(turns)

    # The test's side

    def tell(self, *heard: Heard) -> None:
        for one in heard:
            self.hearing.heard(one)

    def listen(self, seconds: float = 1.0) -> int:
        """The call hears so much; returns the position then."""
        self.call.hear_pcm(bytes(int(2 * SECOND * seconds)))
        return self.call.dialogue.position

    async def asks(self, event: dict) -> object:
        """The client sends an event; returns what the assistant is asked for it."""
        self.call.receive(event)
        request = await anext(self.call.requests)
        if isinstance(request, InputCommitted):
            self.hearing.commit(request)
        elif isinstance(request, InputCleared):
            self.hearing.clear(request)
        return request

    def completed(self) -> list[tuple[str, str]]:
        return [
            (event["item_id"], event["transcript"])
            for event in self.call.sent_of(f"{TRANSCRIPTION}.completed")
        ]


COMMIT = {"type": "input_audio_buffer.commit"}
CLEAR = {"type": "input_audio_buffer.clear"}


async def test_detected_speech_is_an_item() -> None:
    scene = Scene()
    scene.tell(SpeechStarted(1, scene.listen()))
    assert scene.speech == [True]
    assert scene.hearing.busy
    scene.tell(SpeechStopped(1, scene.listen(2.0)))
    assert scene.speech == [True, False]
    assert scene.hearing.busy, "its words are not known yet"
    scene.tell(Recognised(1, "good day", 1.9))
    assert not scene.hearing.busy
    ((item, text),) = scene.completed()
    assert text == "good day"
    assert scene.words == [(item, "good day", None)]
    assert scene.call.sent_of(f"{TRANSCRIPTION}.completed")[0]["usage"] == {
        "type": "duration",
        "seconds": 2.0,
    }


async def test_without_detection_everything_up_to_the_commit_is_one_item() -> None:
    scene = Scene(**OFF)
    scene.tell(SpeechStarted(1, scene.listen()), SpeechStopped(1, scene.listen()))
    scene.tell(Recognised(1, "what is", 1.0), SpeechStarted(2, scene.listen()))
    scene.tell(PartlyRecognised(2, "twelve times"))
    assert not scene.call.sent_of(f"{TRANSCRIPTION}.delta")
    stop = scene.listen()
    committed = await scene.asks(COMMIT)
    assert isinstance(committed, InputCommitted)
    assert scene.cuts == [(stop, False)]
    scene.tell(SpeechStopped(2, stop), Reached(stop), SpeechStarted(3, stop))
    assert scene.completed() == []
    scene.tell(Recognised(2, "twelve times seven", 1.0))
    assert scene.completed() == [(committed.item_id, "what is twelve times seven")]
    deltas = "".join(event["delta"] for event in scene.call.sent_of(f"{TRANSCRIPTION}.delta"))
    assert deltas == "what is twelve times seven"

    stop = scene.listen()
    again = await scene.asks(COMMIT)
    scene.tell(SpeechStopped(3, stop), Reached(stop), Recognised(3, "please", 1.0))
    assert scene.completed()[1:] == [(again.item_id, "please")]
    assert not scene.call.sent_of("input_audio_buffer.speech_started")


async def test_a_commit_that_overtakes_the_listener() -> None:
    """The client sent a burst and committed it at once; speech is found in it only afterwards."""
    scene = Scene(**OFF)
    stop = scene.listen(3.0)
    committed = await scene.asks(COMMIT)
    waiting = asyncio.create_task(scene.hearing.understood())
    scene.tell(SpeechStarted(1, SECOND), SpeechStopped(1, 2 * SECOND), Recognised(1, "good day", 1.0))
    assert scene.completed() == [], "there may be more"
    await asyncio.sleep(0)
    assert not waiting.done()
    scene.tell(Reached(stop))
    assert scene.completed() == [(committed.item_id, "good day")]
    await waiting


async def test_a_commit_of_silence_has_no_words() -> None:
    scene = Scene(**OFF)
    stop = scene.listen()
    committed = await scene.asks(COMMIT)
    scene.tell(Reached(stop))
    assert scene.completed() == [(committed.item_id, "")]
    assert scene.words == [(committed.item_id, "", None)]


async def test_a_commit_in_the_middle_of_detected_speech_ends_it() -> None:
    scene = Scene()
    scene.tell(SpeechStarted(1, scene.listen()))
    stop = scene.listen()
    committed = await scene.asks(COMMIT)
    assert committed.item_id == scene.call.sent_of("input_audio_buffer.speech_started")[0]["item_id"]
    scene.tell(SpeechStopped(1, stop), Reached(stop), SpeechStarted(2, stop))
    scene.tell(Recognised(1, "good", 1.0))
    scene.tell(SpeechStopped(2, scene.listen()), Recognised(2, "day", 1.0))
    first, second = scene.completed()
    assert first == (committed.item_id, "good")
    assert second[1] == "day"
    assert second[0] != committed.item_id


@pytest.mark.parametrize("session", [{}, OFF])
async def test_what_is_cleared_leaves_no_trace(session: dict) -> None:
    scene = Scene(**session)
    scene.tell(SpeechStarted(1, scene.listen()))
    scene.listen()
    cleared = await scene.asks(CLEAR)
    assert isinstance(cleared, InputCleared)
    assert scene.cuts == [(cleared.position, True)]
    scene.tell(Dropped(1), Reached(cleared.position), Recognised(1, "too late", 1.0))
    assert not scene.hearing.busy
    assert scene.speech == [True, False]
    assert scene.words == []
    assert scene.completed() == []


async def test_what_was_said_before_a_clear_is_no_part_of_the_next_commit() -> None:
    scene = Scene(**OFF)
    scene.tell(
        SpeechStarted(1, scene.listen()), SpeechStopped(1, scene.listen()), Recognised(1, "secret", 1.0)
    )
    cleared = await scene.asks(CLEAR)
    scene.tell(SpeechStarted(2, cleared.position - 1), Dropped(2), Reached(cleared.position))
    start = scene.listen()
    scene.tell(SpeechStarted(3, start), SpeechStopped(3, scene.listen()), Recognised(3, "open", 1.0))
    stop = scene.listen()
    committed = await scene.asks(COMMIT)
    scene.tell(Reached(stop))
    assert scene.completed() == [(committed.item_id, "open")]


async def test_rules_that_change_while_somebody_speaks() -> None:
    scene = Scene()
    scene.tell(SpeechStarted(1, scene.listen()))
    scene.call.receive({"type": "session.update", "session": {"type": "realtime", **OFF}})
    scene.tell(SpeechStopped(1, scene.listen()), Recognised(1, "hello", 1.0))
    assert scene.rules == [None]
    assert scene.words == [], "a commit decides now"
    scene.tell(SpeechStarted(2, scene.listen()))
    on = {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
    scene.call.receive({"type": "session.update", "session": {"type": "realtime", **on}})
    scene.tell(SpeechStopped(2, scene.listen()), Recognised(2, "there", 1.0))
    assert [words[1] for words in scene.words] == ["there"]


async def test_failures_are_told() -> None:
    scene = Scene(**OFF)
    scene.tell(SpeechStarted(1, scene.listen()), SpeechStopped(1, scene.listen()))
    scene.tell(Recognised(1, "", 1.0, error := AgentError("deaf")))
    committed = await scene.asks(COMMIT)
    scene.tell(Reached(scene.call.dialogue.position))
    assert scene.words == [(committed.item_id, "", error)]
    assert scene.call.sent_of(f"{TRANSCRIPTION}.failed")[0]["error"]["message"] == "deaf"


async def test_memory_is_bounded_where_nobody_commits() -> None:
    scene = Scene(**OFF)
    for number in range(500):
        scene.tell(SpeechStarted(number, number), SpeechStopped(number, number), Recognised(number, "x", 1.0))
    assert len(scene.hearing._loose) <= 200
    assert not scene.hearing._stretches


def given(pcm: bytes) -> dict:
    content = [{"type": "input_audio", "audio": b64encode(pcm).decode()}]
    return {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": content},
    }


async def test_an_item_that_comes_with_its_audio() -> None:
    scene = Scene()
    request = await scene.asks(given(bytes(2 * 24_000)))
    assert isinstance(request, AudioItemCreated)
    await scene.hearing.give(request)
    ((item, text),) = scene.completed()
    assert item == request.item_id
    assert 15_900 <= int(text.split()[0]) <= 16_000
    assert scene.call.sent_of(f"{TRANSCRIPTION}.completed")[0]["usage"]["seconds"] == 1.0


async def test_items_with_audio_are_understood_one_after_the_other() -> None:
    scene = Scene()
    scene.recognition.gate.clear()
    requests = [await scene.asks(given(bytes(4_800))) for _ in range(5)]
    giving = [asyncio.create_task(scene.hearing.give(request)) for request in requests]
    waiting = asyncio.create_task(scene.hearing.understood())
    await asyncio.sleep(0)
    scene.recognition.gate.set()
    await asyncio.gather(*giving, waiting)
    assert scene.recognition.most_at_work == 1
    assert [item for item, _ in scene.completed()] == [request.item_id for request in requests]


@pytest.mark.parametrize(
    ("error", "told"), [(AgentError("deaf"), "deaf"), (ValueError("a bug"), "speech recognition failed")]
)
async def test_an_item_whose_audio_cannot_be_understood(error: Exception, told: str) -> None:
    scene = Scene()
    scene.recognition.error = error
    await scene.hearing.give(await scene.asks(given(bytes(4_800))))
    assert scene.call.sent_of(f"{TRANSCRIPTION}.failed")[0]["error"]["message"] == told
    assert not scene.hearing.busy
