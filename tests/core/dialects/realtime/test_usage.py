"""Usage objects add up."""

from legato.core.dialects.realtime.usage import Usage, transcription_usage


def test_usage_adds_up() -> None:
    usage = Usage(
        input_text_tokens=10,
        input_audio_tokens=20,
        input_image_tokens=5,
        cached_tokens=8,
        output_text_tokens=3,
        output_audio_tokens=4,
    ).as_json()
    assert usage == {
        "total_tokens": 42,
        "input_tokens": 35,
        "output_tokens": 7,
        "input_token_details": {
            "text_tokens": 10,
            "audio_tokens": 20,
            "image_tokens": 5,
            "cached_tokens": 8,
            "cached_tokens_details": {"text_tokens": 8, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 3, "audio_tokens": 4},
    }


def test_a_transcription_is_counted_by_its_length() -> None:
    assert transcription_usage(1.23456) == {"type": "duration", "seconds": 1.235}
