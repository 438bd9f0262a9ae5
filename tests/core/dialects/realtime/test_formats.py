from typing import Any

import pytest

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.formats import audio_format, format_json

WIRE = [
    ({"type": "audio/pcm", "rate": 24_000}, AudioFormat("pcm16", 24_000)),
    ({"type": "audio/pcmu"}, AudioFormat("pcmu", 8_000)),
    ({"type": "audio/pcma"}, AudioFormat("pcma", 8_000)),
]


@pytest.mark.parametrize(("value", "found"), WIRE)
def test_the_formats_of_the_api(value: dict[str, Any], found: AudioFormat) -> None:
    assert audio_format(value) == found
    assert format_json(found) == value


def test_the_rate_may_be_left_out_or_said_again() -> None:
    assert audio_format({"type": "audio/pcm"}).rate == 24_000
    assert audio_format({"type": "audio/pcmu", "rate": 8_000}).rate == 8_000


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        ("pcm16", "invalid_type", "f"),
        ({}, "missing_required_parameter", "f.type"),
        ({"type": "pcm16"}, "invalid_value", "f.type"),
        ({"type": "audio/pcm", "rate": 16_000}, "integer_below_min_value", "f.rate"),
        ({"type": "audio/pcm", "channels": 1}, "unknown_parameter", "f.channels"),
    ],
)
def test_other_formats(value: Any, code: str, param: str) -> None:
    with pytest.raises(EventRefused) as refused:
        audio_format(value, "f")
    assert (refused.value.code, refused.value.param) == (code, param)


def test_native_formats_can_only_be_said_again() -> None:
    opus = AudioFormat("opus", 16_000)
    assert format_json(opus) == {"type": "audio/opus", "rate": 16_000}
    assert format_json(AudioFormat("pcm16", 16_000)) == {"type": "audio/pcm", "rate": 16_000}
    assert audio_format(format_json(opus), "f", opus) == opus
    with pytest.raises(EventRefused):
        audio_format(format_json(opus), "f", AudioFormat("opus", 48_000))
