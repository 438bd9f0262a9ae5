from typing import Any

import pytest

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.audio_settings import Locked, NoiseReduction, Transcription
from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.dialects.realtime.turn_detection import SemanticVad, ServerVad

SETTINGS = SessionSettings.of()
PCMU = {"type": "audio/pcmu"}


def updated(audio: Any, settings: SessionSettings = SETTINGS, **locked: bool) -> SessionSettings:
    return settings.updated({"type": settings.type, "audio": audio}, Locked(**locked))


def refused(audio: Any, settings: SessionSettings = SETTINGS, **locked: bool) -> EventRefused:
    with pytest.raises(EventRefused) as refusal:
        updated(audio, settings, **locked)
    return refusal.value


def test_nothing_given_changes_nothing() -> None:
    for audio in (None, {}, {"input": None, "output": None}, {"input": {}, "output": {}}):
        assert updated(audio) == SETTINGS
    unset = {"format": None, "voice": None, "speed": None}
    assert updated({"input": {"format": None}, "output": unset}) == SETTINGS


def test_formats_change_until_audio_was_exchanged() -> None:
    changed = updated({"input": {"format": PCMU}, "output": {"format": {"type": "audio/pcma"}}})
    assert changed.input_format == AudioFormat("pcmu", 8_000)
    assert changed.output_format == AudioFormat("pcma", 8_000)
    for side in ("input", "output"):
        refusal = refused({side: {"format": PCMU}}, **{f"{side}_format": True})
        assert (refusal.code, refusal.param) == ("cannot_update_format", f"session.audio.{side}.format")
        same = {side: {"format": {"type": "audio/pcm", "rate": 24_000}}}
        assert updated(same, **{f"{side}_format": True}) == SETTINGS


def test_null_turns_off_what_can_be_off() -> None:
    on = updated({"input": {"noise_reduction": {"type": "far_field"}}})
    off = updated({"input": {"noise_reduction": None, "transcription": None, "turn_detection": None}}, on)
    assert (off.noise_reduction, off.transcription, off.turn_detection) == (None, None, None)


def test_turn_detection() -> None:
    changed = updated({"input": {"turn_detection": {"type": "semantic_vad"}}})
    assert changed.turn_detection == SemanticVad()
    assert updated({"input": {"turn_detection": {"threshold": 0.9}}}).turn_detection == ServerVad(
        threshold=0.9
    )


def test_noise_reduction_keeps_its_strength() -> None:
    on = updated({"input": {"noise_reduction": {"type": "near_field", "strength": 0.5}}})
    assert on.noise_reduction == NoiseReduction(type="near_field", strength=0.5)
    far = updated({"input": {"noise_reduction": {"type": "far_field"}}}, on)
    assert far.noise_reduction == NoiseReduction(type="far_field", strength=0.5)
    assert far.noise_reduction.as_json() == {"type": "far_field", "strength": 0.5}
    first = updated({"input": {"noise_reduction": {}}}).noise_reduction
    assert first is not None
    assert first.as_json() == {"strength": 1.0}


def test_transcription_is_sparse_and_null_clears_its_members() -> None:
    first = updated({"input": {"transcription": {"model": "whisper-1", "language": "de", "delay": "low"}}})
    assert first.transcription == Transcription(model="whisper-1", language="de", delay="low")
    second = updated(
        {"input": {"transcription": {"language": None, "prompt": "names", "keywords": ["Ada"]}}}, first
    )
    assert second.transcription is not None
    assert second.transcription.as_json() == {
        "model": "whisper-1",
        "language": None,
        "prompt": "names",
        "delay": "low",
        "keywords": ["Ada"],
    }
    again = updated(
        {"input": {"transcription": {"languages": ["de", "en"]}}}, updated({"input": {"transcription": None}})
    )
    assert again.transcription == Transcription(languages=("de", "en"))
    assert again.transcription.as_json()["languages"] == ["de", "en"]


@pytest.mark.parametrize(("voice", "name"), [("marin", "marin"), ({"id": "voice_1"}, "voice_1")])
def test_the_voice_is_fixed_once_it_was_heard(voice: Any, name: str) -> None:
    changed = updated({"output": {"voice": voice}})
    assert changed.voice == name
    assert updated({"output": {"voice": voice}}, changed, voice=True) == changed
    refusal = refused({"output": {"voice": "cedar"}}, changed, voice=True)
    assert (refusal.code, refusal.param) == ("cannot_update_voice", "session.audio.output.voice")


def test_the_speed_changes_between_responses_only() -> None:
    changed = updated({"output": {"speed": 1.5}})
    assert changed.speed == 1.5
    assert updated({"output": {"speed": 1.5}}, changed, speed=True) == changed
    refusal = refused({"output": {"speed": 0.25}}, changed, speed=True)
    assert (refusal.code, refusal.param) == ("cannot_update_speed", "session.audio.output.speed")


@pytest.mark.parametrize(
    ("audio", "code", "param"),
    [
        ([], "invalid_type", ""),
        ({"x": 1}, "unknown_parameter", ".x"),
        ({"input": {"x": 1}}, "unknown_parameter", ".input.x"),
        ({"output": {"x": 1}}, "unknown_parameter", ".output.x"),
        (
            {"input": {"format": {"type": "audio/pcm", "rate": 8_000}}},
            "integer_below_min_value",
            ".input.format.rate",
        ),
        ({"input": {"noise_reduction": {"type": "x"}}}, "invalid_value", ".input.noise_reduction.type"),
        (
            {"input": {"noise_reduction": {"strength": 2}}},
            "integer_above_max_value",
            ".input.noise_reduction.strength",
        ),
        (
            {"input": {"transcription": {"enabled": True}}},
            "unknown_parameter",
            ".input.transcription.enabled",
        ),
        ({"input": {"transcription": {"keywords": [1]}}}, "invalid_type", ".input.transcription.keywords[0]"),
        (
            {"input": {"transcription": {"languages": [""]}}},
            "invalid_value",
            ".input.transcription.languages[0]",
        ),
        ({"input": {"turn_detection": {"type": "x"}}}, "invalid_value", ".input.turn_detection.type"),
        ({"output": {"speed": 2.0}}, "decimal_above_max_value", ".output.speed"),
        ({"output": {"voice": ""}}, "invalid_value", ".output.voice"),
        ({"output": {"voice": 5}}, "invalid_type", ".output.voice"),
        ({"output": {"voice": {"name": "x"}}}, "missing_required_parameter", ".output.voice.id"),
        ({"output": {"voice": {"id": "x", "y": 1}}}, "unknown_parameter", ".output.voice.y"),
    ],
)
def test_what_is_refused(audio: Any, code: str, param: str) -> None:
    refusal = refused(audio)
    assert (refusal.code, refusal.param) == (code, "session.audio" + param)
