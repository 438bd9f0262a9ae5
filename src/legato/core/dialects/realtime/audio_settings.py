"""The `audio` part of a session's settings: what a client may change of input and output, and when.

Owns transcription, noise reduction, voice and speed as values and their rules; must not know how any of
them is done. Changes are sparse: what an update leaves out stays. `null` clears what may be absent
(`turn_detection`, `noise_reduction`, `transcription` and their optional members) and otherwise stands for
"not given", which is how several SDKs write members that nobody set.
"""

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.errors import EventRefused, invalid, mistyped
from legato.core.dialects.realtime.fields import Fields
from legato.core.dialects.realtime.formats import audio_format
from legato.core.dialects.realtime.turn_detection import read_turn_detection
from legato.core.wire.messages import JsonObject

if TYPE_CHECKING:
    from legato.core.dialects.realtime.session_settings import SessionSettings

NAME_MAX = 256
WORDS_MAX = 1_000
SPEED_MIN, SPEED_MAX = 0.25, 1.5

Delay = Literal["minimal", "low", "medium", "high", "xhigh"]
NoiseReductionType = Literal["near_field", "far_field"]

_DELAYS: tuple[Delay, ...] = ("minimal", "low", "medium", "high", "xhigh")
_NOISES: tuple[NoiseReductionType, ...] = ("near_field", "far_field")


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """What can no longer be changed.

    `voice` once a response was spoken; `input_format` and `output_format` once audio went that way; `speed`
    while a response is in progress.
    """

    voice: bool = False
    input_format: bool = False
    output_format: bool = False
    speed: bool = False


UNLOCKED = Locked()
"""Everything can still be changed."""


class Transcription(msgspec.Struct, frozen=True, kw_only=True):
    """How the caller's speech is written down; None where the client leaves it to us.

    `language` and `languages` are ISO 639-1 codes, `keywords` and `prompt` hints to the recogniser, `delay`
    how long it may wait for certainty.
    """

    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    delay: Delay | None = None
    keywords: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None

    def updated(self, fields: Fields) -> "Transcription":
        """These settings with what `fields` change."""
        given: dict[str, Any] = {
            "model": fields.text("model", NAME_MAX),
            "language": fields.text("language", NAME_MAX),
            "prompt": fields.text("prompt"),
            "delay": fields.choice("delay", _DELAYS),
            "keywords": _words(fields, "keywords"),
            "languages": _words(fields, "languages"),
        }
        fields.end()
        changes = {name: value for name, value in given.items() if value is not None or fields.cleared(name)}
        return msgspec.structs.replace(self, **changes)

    def as_json(self) -> JsonObject:
        """How the API writes it: always the three members that every version of it has."""
        always: JsonObject = {"model": self.model, "language": self.language, "prompt": self.prompt}
        delay: JsonObject = {} if self.delay is None else {"delay": self.delay}
        lists = {"keywords": self.keywords, "languages": self.languages}
        return always | delay | {name: list(words) for name, words in lists.items() if words is not None}


class NoiseReduction(msgspec.Struct, frozen=True, kw_only=True):
    """Where the microphone is, and how strongly noise is to be suppressed (0 to 1)."""

    type: NoiseReductionType | None = None
    strength: float = 1.0

    def updated(self, fields: Fields) -> "NoiseReduction":
        """These settings with what `fields` change."""
        kind = fields.choice("type", _NOISES)
        strength = fields.number("strength", 0.0, 1.0)
        fields.end()
        return NoiseReduction(
            type=kind or self.type, strength=self.strength if strength is None else strength
        )

    def as_json(self) -> JsonObject:
        """How the API writes it; without a type there is none to name."""
        members: JsonObject = {"strength": self.strength}
        return members if self.type is None else {"type": self.type, **members}


def input_changes(fields: Fields, current: "SessionSettings", locked: Locked) -> dict[str, Any]:
    """What `audio.input` changes, as members of `SessionSettings`."""
    changes: dict[str, Any] = {}
    found = _format(fields, current.input_format, locked.input_format)
    if found is not None:
        changes["input_format"] = found
    for name in ("turn_detection", "noise_reduction", "transcription"):
        if fields.cleared(name):
            changes[name] = None
    detection = fields.within("turn_detection")
    if detection is not None:
        changes["turn_detection"] = read_turn_detection(detection, current.turn_detection)
    noise = fields.within("noise_reduction")
    if noise is not None:
        changes["noise_reduction"] = (current.noise_reduction or NoiseReduction()).updated(noise)
    transcription = fields.within("transcription")
    if transcription is not None:
        changes["transcription"] = (current.transcription or Transcription()).updated(transcription)
    fields.end()
    return changes


def output_changes(fields: Fields, current: "SessionSettings", locked: Locked) -> dict[str, Any]:
    """What `audio.output` changes, as members of `SessionSettings`."""
    changes: dict[str, Any] = {}
    found = _format(fields, current.output_format, locked.output_format)
    if found is not None:
        changes["output_format"] = found
    voice = read_voice(fields, current.voice, locked)
    if voice is not None:
        changes["voice"] = voice
    speed = fields.number("speed", SPEED_MIN, SPEED_MAX)
    if speed is not None:
        if locked.speed and speed != current.speed:
            raise EventRefused(
                "cannot_update_speed",
                "The speed can only be changed between responses; wait for response.done, or cancel first.",
                fields.param("speed"),
            )
        changes["speed"] = speed
    fields.end()
    return changes


def read_voice(fields: Fields, current: str, locked: Locked) -> str | None:
    """The `voice` asked for, by its name or as `{"id": ...}`; None if it is not given."""
    param = fields.param("voice")
    value = fields.value("voice")
    if value is None:
        return None
    if isinstance(value, dict):
        custom = Fields(value, param)
        voice = custom.required_text("id", NAME_MAX)
        custom.end()
    elif isinstance(value, str):
        voice = fields.required_text("voice", NAME_MAX)
    else:
        raise mistyped(param, "a string or an object with an 'id'", value)
    if locked.voice and voice != current:
        raise EventRefused(
            "cannot_update_voice",
            f"The voice cannot be changed once a response was spoken; this session speaks as '{current}'.",
            param,
        )
    return voice


def _format(fields: Fields, current: AudioFormat, locked: bool) -> AudioFormat | None:
    value = fields.value("format")
    if value is None:
        return None
    found = audio_format(value, fields.param("format"), current)
    if locked and found != current:
        raise EventRefused(
            "cannot_update_format",
            "The audio format cannot be changed once audio was exchanged; change it before, or open a new "
            "session.",
            fields.param("format"),
        )
    return found


def _words(fields: Fields, name: str) -> tuple[str, ...] | None:
    values = fields.array(name, WORDS_MAX)
    if values is None:
        return None
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise mistyped(f"{fields.param(name)}[{index}]", "a string", value)
        if not 0 < len(value) <= NAME_MAX:
            raise invalid(f"{fields.param(name)}[{index}]", f"a word has 1 to {NAME_MAX} characters.")
    return tuple(values)
