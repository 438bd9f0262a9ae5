"""When a caller has finished speaking, with voice activity and recognition that do what the test says."""

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
from legato.agents.stages.base import Detection
from legato.core.dialects.realtime.turn_detection import SemanticVad, ServerVad, TurnDetection


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


async def pausing(silent_ms: int) -> Scene:
    """Somebody spoke for a second, in the middle of a sentence, and is silent since."""
    scene = Scene(turns=SemanticVad(eagerness="low"))
    scene.recognition.partial = "i would like to"
    scene.call.hear_pcm(voice(1_000) + silence(silent_ms))
    await scene.call.heard_all()
    await scene.settled()
    return scene


async def test_rules_that_change_in_a_pause_hold_for_it() -> None:
    scene = await pausing(1_000)
    assert scene.of(SpeechStopped) == []
    scene.listener.adjust(ServerVad(silence_duration_ms=600))
    assert ms_of(scene.of(SpeechStopped)[0]) == 1_600
    await scene.until(Recognised)
    await scene.end()


async def test_a_long_gap_ends_a_pause() -> None:
    scene = await pausing(300)
    scene.call.lose(RATE * 60)
    await scene.until(Recognised)
    assert ms_of(scene.of(SpeechStopped)[0]) == 9_000
    await scene.end()


async def test_what_gets_too_long_in_a_pause_ends_with_it() -> None:
    scene = Scene(turns=SemanticVad(eagerness="low"), max_speech_ms=1_200)
    scene.recognition.partial = "i would like to"
    scene.call.hear_pcm(voice(900) + silence(3_000))
    await scene.call.heard_all()
    await scene.until(Recognised)
    assert len(scene.of(SpeechStarted)) == len(scene.of(SpeechStopped)) == 1
    await scene.end()


async def test_the_client_cuts_what_is_said_and_the_rest_is_new_speech() -> None:
    scene = Scene(turns=None)
    scene.listener.cut(RATE)
    assert scene.told == [], "the audio has not come that far"
    scene.call.hear_pcm(voice(1_500) + silence(300))
    await scene.until(Recognised, 2)
    told = [heard for heard in scene.told if not isinstance(heard, PartlyRecognised | Recognised)]
    assert told == [
        SpeechStarted(1, 0),
        SpeechStopped(1, RATE),
        Reached(RATE),
        SpeechStarted(2, RATE),
        SpeechStopped(2, 2 * RATE),
    ]
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
