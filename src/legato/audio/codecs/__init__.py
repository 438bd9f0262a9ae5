"""Codecs, one file each, found by the name that the session negotiates.

`legato.audio.codecs.<name>` holds `build(format) -> Codec`.
"""

from typing import cast

from legato._plugins import resolve
from legato.core.audio import AudioFormat

from .base import Codec, Decoder, Encoder

__all__ = ["Codec", "Decoder", "Encoder", "codec_for"]


def codec_for(audio_format: AudioFormat) -> Codec:
    """The codec of `audio_format`. Raises `SettingsError` if what it depends on is not installed."""
    return cast(Codec, resolve("audio.codecs", audio_format.codec)(audio_format))
