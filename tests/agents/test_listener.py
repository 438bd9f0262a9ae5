"""Hearing one caller, with voice activity and recognition that do what the test says."""

import asyncio
from dataclasses import dataclass, field

import msgspec
import pytest

from legato.agents.listener import (
    Dropped,
    Heard,
    Listener,
    PartlyRecognised,
    Reached,
    Recognised,
    SpeechStarted,
    SpeechStopped,
    hints_of,
)
from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import NO_HINTS, Detection, Hints, SpeechEvent, SpeechToTextCapabilities
from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.dialects.realtime.audio_settings import Transcription
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.dialects.realtime.turn_detection import SemanticVad, ServerVad, TurnDetection
from legato.core.errors import AgentError
from legato.testing.call import MemoryCall

RATE = 16_000


QUICK = ServerVad(silence_duration_ms=200)


class LoudIsSpeech:
    """Every block of 320 samples that begins with a loud one is speech; it ends with ten quiet ones (200 ms),
    whatever the settings say."""

    def __init__(self) -> None:
        self.position = 0
        self.speaking = False
        self.skipped = 0
        self._waiting = b""
        self._quiet = 0

    def open(self, detection: Detection) -> "LoudIsSpeech":
        self.detection = detection
        return self

    def adjust(self, detection: Detection) -> None:
        self.detection = detection

    async def close(self) -> None:
        pass

    def feed(self, pcm: bytes) -> list[SpeechEvent]:
        self._waiting += pcm
        events = []
        while len(self._waiting) >= 640:
            block, self._waiting = self._waiting[:640], self._waiting[640:]
            self.position += 320
            loud = block[1] != 0
            self._quiet = 0 if loud else self._quiet + 1
            if loud and not self.speaking:
                self.speaking = True
                events.append(SpeechEvent("started", max(0, self.position - 320 - 1_600)))
            elif self.speaking and self._quiet == 10:
                self.speaking = False
                events.append(SpeechEvent("stopped", self.position - 3_200))
        return events

    def skip(self, samples: int) -> list[SpeechEvent]:
        self.skipped += samples
        self.position += samples
        return []


@dataclass
class Remembers:
    """Recognition that keeps what it was fed; fails or waits if told."""

    capabilities = SpeechToTextCapabilities(partials=True)
    heard: list[bytearray] = field(default_factory=list)
    closed: int = 0
    error: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    partial: str = "so far"

    def open(self, caller: str = "", hints: Hints = NO_HINTS) -> "_Remembering":
        assert caller == "memory"
        self.hints = hints
        self.heard.append(bytearray())
        return _Remembering(self, len(self.heard) - 1)

    async def warm(self) -> None:
        pass

    async def close(self) -> None:
        pass


class _Remembering:
    def __init__(self, owner: Remembers, place: int) -> None:
        self.owner, self.place = owner, place

    async def feed(self, pcm: bytes) -> str | None:
        await self.owner.gate.wait()
        self.owner.heard[self.place] += pcm
        return self.owner.partial

    async def finish(self) -> str:
        if self.owner.error is not None:
            raise self.owner.error
        return f"text {self.place + 1}"

    async def close(self) -> None:
        self.owner.closed += 1


class Scene:
    """A call, a listener on it, and what it told."""

    def __init__(
        self, form: AudioFormat | None = None, turns: TurnDetection | None = QUICK, **settings: int
    ) -> None:
        session = msgspec.structs.replace(SessionSettings.of(), turn_detection=turns)
        self.call = MemoryCall(form or AudioFormat("pcm16", RATE), settings=session)
        self.activity, self.recognition = LoudIsSpeech(), Remembers()
        self.recognition.gate.set()
        self.told: list[Heard] = []
        self._news = asyncio.Event()
        self.listener = Listener(
            self.call, (self.activity, self.recognition), AssistantSettings(**settings), self.tell
        )
        self.running = asyncio.create_task(self.listener.run())

    def tell(self, heard: Heard) -> None:
        self.told.append(heard)
        self._news.set()

    def of(self, kind: type) -> list:
        return [heard for heard in self.told if isinstance(heard, kind)]

    async def until(self, kind: type, count: int = 1) -> None:
        while len(self.of(kind)) < count:
            self._news.clear()
            await self._news.wait()

    async def settled(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def end(self) -> None:
        self.call.end()
        await self.running


def ms_of(heard: SpeechStarted | SpeechStopped, rate: int = RATE) -> float:
    return heard.position * 1000 / rate


def silence(ms: int) -> bytes:
    return bytes(2 * RATE * ms // 1000)


def voice(ms: int) -> bytes:
    return b"\x00\x11" * (RATE * ms // 1000)


async def test_speech_is_recognised_with_what_lies_before_and_a_little_behind() -> None:
    scene = Scene()
    scene.call.hear_pcm(silence(1_000) + voice(1_000) + silence(1_000))
    await scene.until(Recognised)
    assert [type(heard) for heard in scene.told if not isinstance(heard, PartlyRecognised)] == [
        SpeechStarted,
        SpeechStopped,
        Recognised,
    ]
    assert ms_of(scene.of(SpeechStarted)[0]) == 900
    assert ms_of(scene.of(SpeechStopped)[0]) == 2_200
    assert scene.of(Recognised)[0].text == "text 1"
    assert bytes(scene.recognition.heard[0]) == silence(100) + voice(1_000) + silence(180)
    await scene.end()
    assert scene.recognition.closed == 1


async def test_the_recogniser_hears_every_sample_while_the_person_speaks() -> None:
    scene = Scene()
    scene.call.hear_pcm(voice(500))
    await scene.until(PartlyRecognised)
    await scene.call.heard_all()
    scene.call.hear_pcm(voice(500) + silence(60) + voice(500) + silence(500))
    await scene.until(Recognised)
    assert bytes(scene.recognition.heard[0]).startswith(voice(1_000) + silence(60) + voice(500))
    await scene.end()


async def test_a_slow_recogniser_does_not_stop_the_listening() -> None:
    scene = Scene()
    scene.recognition.gate.clear()
    scene.call.hear_pcm((voice(400) + silence(600)) * 3)
    await scene.until(SpeechStopped, 3)
    assert scene.of(Recognised) == []
    scene.recognition.gate.set()
    await scene.until(Recognised, 3)
    assert {heard.text for heard in scene.of(Recognised)} == {"text 1", "text 2", "text 3"}
    assert len({heard.stretch for heard in scene.of(Recognised)}) == 3
    await scene.end()


async def test_a_caller_does_not_outrun_recognition_without_end() -> None:
    scene = Scene()
    scene.recognition.gate.clear()
    scene.call.hear_pcm((voice(400) + silence(600)) * 20)
    await scene.until(SpeechStarted, 9)
    await scene.settled()
    assert len(scene.recognition.heard) <= 9
    assert scene.call.unread > 0
    scene.recognition.gate.set()
    await scene.until(Recognised, 20)
    await scene.end()


async def test_a_recogniser_that_breaks_costs_one_stretch(caplog) -> None:
    scene = Scene()
    scene.recognition.error = ValueError("a bug")
    scene.call.hear_pcm(voice(400) + silence(500))
    await scene.until(Recognised)
    error = scene.of(Recognised)[0].error
    assert isinstance(error, AgentError)
    assert "a bug" not in str(error)
    assert "a bug" in caplog.text
    await scene.end()


async def test_short_gaps_are_silence_and_long_ones_are_skipped() -> None:
    scene = Scene()
    scene.call.hear_pcm(voice(400))
    scene.call.lose(RATE * 60 // 1000)
    scene.call.hear_pcm(voice(400))
    await scene.call.heard_all()
    assert scene.activity.skipped == 0
    scene.call.lose(RATE * 86_400)
    scene.call.hear_pcm(silence(500) + voice(400) + silence(500))
    await scene.until(Recognised, 2)
    first, second = scene.recognition.heard
    assert bytes(first) == voice(400) + silence(60) + voice(400) + silence(160)
    assert bytes(second) == silence(100) + voice(400) + silence(180)
    assert scene.activity.skipped == RATE * 86_399
    assert ms_of(scene.of(SpeechStarted)[1]) == 860 + 86_400_000 + 400
    await scene.end()


async def test_other_formats_are_decoded() -> None:
    form = AudioFormat("pcmu", 8_000)
    scene = Scene(form)
    loud, quiet = b"\x80" * 160, b"\xff" * 160
    payloads = [quiet] * 50 + [loud] * 50 + [quiet] * 50
    scene.call.hear(*(AudioFrame.of(160 * place, 0, payload, form) for place, payload in enumerate(payloads)))
    await scene.until(Recognised)
    assert 880 <= ms_of(scene.of(SpeechStarted)[0], 8_000) <= 920
    assert 2_180 <= ms_of(scene.of(SpeechStopped)[0], 8_000) <= 2_220
    await scene.end()


async def test_payloads_that_are_no_audio_pass_in_silence() -> None:
    form = AudioFormat("opus", 16_000)
    scene = Scene(form)
    bad = [b"\x49\xff\xff", bytes([0x4B, 0x83]) + b"\xff" * 3]
    scene.call.hear(AudioGap(0, 1_000), *(AudioFrame.of(1_000, 0, payload, form) for payload in bad))
    await scene.call.heard_all()
    await scene.end()
    assert scene.told == []


async def test_endless_speech_is_recognised_in_parts() -> None:
    scene = Scene(max_speech_ms=1_000)
    scene.call.hear_pcm(voice(2_500) + silence(500))
    await scene.until(Recognised, 3)
    assert len(b"".join(scene.recognition.heard)) >= len(voice(2_500))
    assert all(len(part) <= len(voice(1_400)) for part in scene.recognition.heard)
    await scene.end()


async def test_a_failure_of_recognition_is_told_and_the_next_words_are_heard() -> None:
    scene = Scene()
    scene.recognition.error = AgentError("broken", retryable=True)
    scene.call.hear_pcm(voice(400) + silence(500))
    await scene.until(Recognised)
    assert scene.of(Recognised)[0].error is scene.recognition.error
    scene.recognition.error = None
    scene.call.hear_pcm(voice(400) + silence(500))
    await scene.until(Recognised, 2)
    assert scene.of(Recognised)[1].text == "text 2"
    assert scene.recognition.closed == 2
    await scene.end()


async def test_a_burst_is_judged_off_the_loop() -> None:
    scene = Scene()
    form = AudioFormat("pcm16", RATE)
    pcm = silence(500) + voice(500) + silence(500)
    scene.call.hear(AudioFrame.of(0, 0, pcm, form))
    await scene.until(Recognised)
    assert bytes(scene.recognition.heard[0]) == silence(100) + voice(500) + silence(160)
    await scene.end()


async def test_memory_is_bounded_in_long_silence() -> None:
    scene = Scene()
    scene.call.hear_pcm(silence(60_000))
    await scene.call.heard_all()
    assert len(scene.listener._kept) < len(silence(1_000))
    await scene.end()


async def test_the_call_ends_in_mid_speech() -> None:
    scene = Scene()
    scene.recognition.gate.clear()
    scene.call.hear_pcm(voice(500))
    await scene.call.heard_all()
    await scene.end()
    assert scene.recognition.closed == 1
    assert scene.of(Recognised) == []


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (
            ServerVad(threshold=0.7, prefix_padding_ms=10, silence_duration_ms=900),
            Detection(0.7, 96, 900, 10),
        ),
        (SemanticVad(), Detection(0.4, 96, 300, 250)),
        (None, Detection(0.4, 96, 600, 250)),
    ],
)
async def test_detection_follows_the_session(turns: TurnDetection | None, expected: Detection) -> None:
    begun = Scene(turns=turns, vad_threshold=0.4, silence_ms=600, prefix_ms=250)
    assert begun.activity.detection == expected
    changed = Scene(turns=ServerVad(silence_duration_ms=1), vad_threshold=0.4, silence_ms=600, prefix_ms=250)
    changed.listener.adjust(turns)
    assert changed.activity.detection == expected
    await begun.end()
    await changed.end()


@pytest.mark.parametrize(
    ("words", "eagerness", "waited_ms"),
    [
        ("what time is it", "low", 300),
        ("i would like to", "low", 8_000),
        ("i would like to", "medium", 4_000),
        ("i would like to", "auto", 4_000),
        ("i would like to", "high", 2_000),
        ("the red house", "medium", 1_000),
        ("", "high", 500),
    ],
)
async def test_semantic_detection_waits_for_the_words(words: str, eagerness, waited_ms: int) -> None:
    scene = Scene(turns=SemanticVad(eagerness=eagerness))
    scene.recognition.partial = words
    scene.call.hear_pcm(silence(500) + voice(1_000) + silence(240))
    await scene.call.heard_all()
    await scene.settled()
    for _ in range(500):
        if scene.of(SpeechStopped):
            break
        scene.call.hear_pcm(silence(20))
        await scene.call.heard_all()
        await scene.settled()
    assert ms_of(scene.of(SpeechStopped)[0]) == 1_500 + waited_ms
    await scene.until(Recognised)
    await scene.end()


async def test_whoever_goes_on_in_a_pause_was_not_finished() -> None:
    scene = Scene(turns=SemanticVad())
    scene.recognition.partial = "i would like to"
    scene.call.hear_pcm(voice(1_000) + silence(1_500) + voice(500) + silence(300))
    await scene.call.heard_all()
    await scene.settled()
    assert [type(heard) for heard in scene.told if not isinstance(heard, PartlyRecognised)] == [SpeechStarted]
    scene.recognition.partial = "i would like to leave now"
    scene.call.hear_pcm(silence(500))
    await scene.until(Recognised)
    assert bytes(scene.recognition.heard[0]).startswith(voice(1_000) + silence(1_500) + voice(500))
    await scene.end()


async def test_the_words_of_a_slow_recogniser_are_waited_for() -> None:
    """A burst: silence is here long before anybody knows what was said."""
    scene = Scene(turns=SemanticVad(eagerness="high"))
    scene.recognition.gate.clear()
    scene.recognition.partial = "what time is it"
    scene.call.hear_pcm(voice(1_000) + silence(1_500))
    await scene.call.heard_all()
    await scene.settled()
    assert scene.of(SpeechStopped) == []
    scene.recognition.gate.set()
    await scene.until(SpeechStopped)
    await scene.until(Recognised)
    await scene.end()


async def test_rules_that_change_in_a_pause_hold_for_it() -> None:
    scene = Scene(turns=SemanticVad(eagerness="low"))
    scene.recognition.partial = "i would like to"
    scene.call.hear_pcm(voice(1_000) + silence(1_000))
    await scene.call.heard_all()
    await scene.settled()
    assert scene.of(SpeechStopped) == []
    scene.listener.adjust(ServerVad(silence_duration_ms=600))
    assert ms_of(scene.of(SpeechStopped)[0]) == 1_600
    await scene.until(Recognised)
    await scene.end()


async def test_a_long_gap_ends_a_pause() -> None:
    scene = Scene(turns=SemanticVad(eagerness="low"))
    scene.recognition.partial = "i would like to"
    scene.call.hear_pcm(voice(1_000) + silence(300))
    await scene.call.heard_all()
    await scene.settled()
    scene.call.lose(RATE * 60)
    await scene.until(Recognised)
    assert ms_of(scene.of(SpeechStopped)[0]) == 9_000
    await scene.end()


async def test_the_client_cuts_what_is_said_and_the_rest_is_new_speech() -> None:
    scene = Scene(turns=None)
    scene.listener.cut(RATE)
    assert scene.told == [], "the audio has not come that far"
    scene.call.hear_pcm(voice(1_500) + silence(300))
    await scene.until(Recognised, 2)
    told = [heard for heard in scene.told if not isinstance(heard, PartlyRecognised | Recognised)]
    assert (
        told
        == [
            SpeechStarted(1, 0),
            SpeechStopped(1, RATE),
            Reached(RATE),
            SpeechStarted(2, RATE),
            SpeechStopped(2, 1_500 * 16 + 600 * 16 - 100 * 16),
        ][: len(told) - 1]
        + told[-1:]
    )
    first, second = scene.recognition.heard
    assert len(first) == 2 * RATE
    assert bytes(second).startswith(voice(480))
    await scene.end()


async def test_a_cut_in_silence_is_only_told() -> None:
    scene = Scene(turns=None)
    scene.call.hear_pcm(silence(500))
    await scene.call.heard_all()
    await scene.settled()
    scene.listener.cut(4_000)
    assert scene.told == [Reached(4_000)]
    scene.call.hear_pcm(voice(500) + silence(300))
    await scene.until(Recognised)
    scene.listener.cut(5_000, forget=True)
    assert scene.told[-1] == Reached(5_000)
    await scene.end()


async def test_what_nobody_wants_is_not_recognised() -> None:
    scene = Scene(turns=None)
    scene.call.hear_pcm(voice(500))
    await scene.until(PartlyRecognised)
    await scene.call.heard_all()
    await scene.settled()
    scene.listener.cut(RATE // 4, forget=True)
    assert scene.told[-3:] == [Dropped(1), Reached(RATE // 4), SpeechStarted(2, RATE // 4)]
    scene.call.hear_pcm(silence(500))
    await scene.until(Recognised)
    assert [heard.stretch for heard in scene.of(Recognised)] == [2]
    await scene.end()
    assert scene.recognition.closed == 2


@pytest.mark.parametrize(
    ("wishes", "hints"),
    [
        (None, NO_HINTS),
        (Transcription(model="m"), NO_HINTS),
        (Transcription(language="de", prompt="A call."), Hints("de", "A call.")),
        (Transcription(languages=("pl",), keywords=("Kraków", "Łódź")), Hints("pl", "Kraków, Łódź")),
        (
            Transcription(languages=("pl", "de"), prompt="Cities", keywords=("Riga",)),
            Hints("", "Cities, Riga"),
        ),
    ],
)
def test_recognisers_get_the_hints_of_the_session(wishes: Transcription | None, hints: Hints) -> None:
    assert hints_of(msgspec.structs.replace(SessionSettings.of(), transcription=wishes)) == hints


async def test_minutes_of_audio_at_once_are_heard_in_slices() -> None:
    scene = Scene(max_speech_ms=10_000)
    form = AudioFormat("pcm16", RATE)
    scene.call.hear(AudioFrame.of(0, 0, silence(1_000) + voice(60_000) + silence(1_000), form))
    await scene.until(Recognised, 6)
    assert max(len(part) for part in scene.recognition.heard) <= len(voice(11_100))
    assert sum(len(part) for part in scene.recognition.heard) >= len(voice(60_000))
    await scene.end()
