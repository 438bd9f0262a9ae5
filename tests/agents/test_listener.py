"""Hearing one caller, with voice activity and recognition that do what the test says."""

import msgspec
import pytest
from tests.agents.listening import RATE, Scene, ms_of, silence, voice

from legato.agents.listener import (
    Dropped,
    PartlyRecognised,
    Reached,
    Recognised,
    SpeechStarted,
    SpeechStopped,
)
from legato.agents.recognising import hints_of
from legato.agents.stages.base import NO_HINTS, Hints
from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.dialects.realtime.audio_settings import Transcription
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.errors import AgentError


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


async def test_a_recogniser_that_fails_in_mid_speech_is_told_of_when_they_stop() -> None:
    scene = Scene()
    scene.recognition.broken = AgentError("gone", retryable=True)
    scene.call.hear_pcm(voice(400))
    await scene.call.heard_all()
    await scene.settled()
    assert scene.recognition.closed == 1, "it serves somebody else meanwhile"
    assert scene.of(Recognised) == []
    scene.call.hear_pcm(voice(400) + silence(500))
    await scene.until(Recognised)
    assert [type(heard) for heard in scene.told] == [SpeechStarted, SpeechStopped, Recognised]
    assert scene.of(Recognised)[0].error is scene.recognition.broken
    await scene.end()


async def test_what_a_recogniser_failed_at_can_be_cleared() -> None:
    scene = Scene()
    scene.recognition.broken = AgentError("gone", retryable=True)
    scene.call.hear_pcm(voice(400))
    await scene.call.heard_all()
    await scene.settled()
    scene.listener.cut(RATE * 400 // 1000, forget=True)
    assert [type(heard) for heard in scene.told] == [SpeechStarted, Dropped, Reached, SpeechStarted]
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
