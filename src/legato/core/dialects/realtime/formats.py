"""Audio formats between the words of the Realtime API and ours.

Owns that translation; must not know sessions. The API defines three formats: `audio/pcm` (16 bits, little
endian, 24 000 Hz), `audio/pcmu` and `audio/pcma` (G.711, 8000 Hz).
"""

from legato.core.audio import AudioFormat, Codec
from legato.core.dialects.realtime.fields import Fields
from legato.core.wire.messages import JsonObject

PCM = AudioFormat("pcm16", 24_000)
PCMU = AudioFormat("pcmu", 8_000)
PCMA = AudioFormat("pcma", 8_000)

_FORMATS = {"audio/pcm": PCM, "audio/pcmu": PCMU, "audio/pcma": PCMA}
_NAMES: dict[Codec, str] = {
    "pcm16": "audio/pcm",
    "pcmu": "audio/pcmu",
    "pcma": "audio/pcma",
    "opus": "audio/opus",
}


def audio_format(value: object, path: str = "format", current: AudioFormat | None = None) -> AudioFormat:
    """The format a client asks for; raises `EventRefused` for any other than the three of the API.

    A native call may use formats that the API does not know; naming its `current` one again is no change.
    """
    if current is not None and value == format_json(current):
        return current
    fields = Fields(value, path)
    found = _FORMATS[fields.needed("type", fields.choice("type", tuple(_FORMATS)))]
    fields.integer("rate", found.rate, found.rate)
    fields.end()
    return found


def format_json(audio: AudioFormat) -> JsonObject:
    """How the API writes a format; G.711 has no rate there, and native formats keep theirs."""
    name = _NAMES[audio.codec]
    return {"type": name} if audio in (PCMU, PCMA) else {"type": name, "rate": audio.rate}
