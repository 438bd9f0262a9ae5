"""What a response and a transcription took, in the terms of the OpenAI Realtime API.

Owns the shape of `usage` objects. Must not know how tokens are counted.
"""

import msgspec

from legato.core.wire.messages import JsonObject


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one response; `cached_tokens` are part of the text that went in."""

    input_text_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    cached_tokens: int = 0
    output_text_tokens: int = 0
    output_audio_tokens: int = 0

    def as_json(self) -> JsonObject:
        """The `usage` of a `response.done`."""
        taken = self.input_text_tokens + self.input_audio_tokens + self.input_image_tokens
        made = self.output_text_tokens + self.output_audio_tokens
        return {
            "total_tokens": taken + made,
            "input_tokens": taken,
            "output_tokens": made,
            "input_token_details": {
                "text_tokens": self.input_text_tokens,
                "audio_tokens": self.input_audio_tokens,
                "image_tokens": self.input_image_tokens,
                "cached_tokens": self.cached_tokens,
                "cached_tokens_details": {
                    "text_tokens": self.cached_tokens,
                    "audio_tokens": 0,
                    "image_tokens": 0,
                },
            },
            "output_token_details": {
                "text_tokens": self.output_text_tokens,
                "audio_tokens": self.output_audio_tokens,
            },
        }


def transcription_usage(seconds: float) -> JsonObject:
    """The `usage` of a completed transcription: the length of the audio."""
    return {"type": "duration", "seconds": round(seconds, 3)}
