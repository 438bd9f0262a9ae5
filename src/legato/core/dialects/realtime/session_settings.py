"""The settings of a session, and what holds for one response of it.

Owns their members, defaults and changes as the OpenAI Realtime API words them (`session.update`,
`response.create`); must not know who obeys them. A change is sparse and refused as a whole if any of it is
wrong: values here are frozen, so nothing is half done.
"""

from typing import Any, Literal

import msgspec

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.audio_settings import (
    NAME_MAX,
    UNLOCKED,
    Locked,
    NoiseReduction,
    Transcription,
    input_changes,
    output_changes,
    read_voice,
)
from legato.core.dialects.realtime.errors import EventRefused, cut, invalid, mistyped, too_long, unsupported
from legato.core.dialects.realtime.fields import Fields
from legato.core.dialects.realtime.formats import PCM, audio_format, format_json
from legato.core.dialects.realtime.given_items import GivenItem, ItemReference, read_input_item
from legato.core.dialects.realtime.model_settings import (
    Effort,
    Modality,
    RetentionRatio,
    Truncation,
    model_changes,
    read_tracing,
    read_truncation,
)
from legato.core.dialects.realtime.tools import FunctionTool, ToolChoice, check_choice, tool_choice_json
from legato.core.dialects.realtime.turn_detection import ServerVad, TurnDetection
from legato.core.wire.messages import JsonObject

__all__ = ["Locked", "ResponseSettings", "SessionDefaults", "SessionSettings", "SessionType"]

SessionType = Literal["realtime", "transcription"]
Include = Literal["item.input_audio_transcription.logprobs"]

INPUT_ITEMS_MAX = 1_000
METADATA_MAX, METADATA_KEY_MAX, METADATA_VALUE_MAX = 16, 64, 512

_TYPES: tuple[SessionType, ...] = ("realtime", "transcription")
_INCLUDES: tuple[Include, ...] = ("item.input_audio_transcription.logprobs",)
_CONVERSATIONS: tuple[Literal["auto", "none"], ...] = ("auto", "none")
_ONLY_REALTIME = ("create_response", "interrupt_response", "idle_timeout_ms")


class SessionDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What a server gives a session that asks for nothing."""

    model: str = "legato"
    instructions: str = ""
    voice: str = "default"
    transcription: Transcription | None = Transcription(model="legato")
    turn_detection: TurnDetection | None = ServerVad()
    input_format: AudioFormat = PCM
    output_format: AudioFormat = PCM


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The effective settings of a session.

    None means: for `max_output_tokens` no limit ("inf"), for `turn_detection` that the client commits its
    turns, otherwise that the thing is off or left to the server.
    """

    type: SessionType
    model: str
    instructions: str
    voice: str
    input_format: AudioFormat
    output_format: AudioFormat
    transcription: Transcription | None
    turn_detection: TurnDetection | None
    noise_reduction: NoiseReduction | None = None
    speed: float = 1.0
    output_modalities: tuple[Modality, ...] = ("audio",)
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    max_output_tokens: int | None = None
    reasoning_effort: Effort | None = None
    truncation: Truncation = "auto"
    tracing: JsonObject | str | None = None
    include: tuple[Include, ...] | None = None
    model_named: bool = False
    """Whether the client named the model; while it did not, the first `session.update` that does may."""

    @classmethod
    def of(
        cls,
        type: SessionType = "realtime",  # noqa: A002 - as the API calls it
        model: str | None = None,
        defaults: SessionDefaults | None = None,
    ) -> "SessionSettings":
        """The settings a session begins with; `model` as the client named it, if it did."""
        given = defaults or SessionDefaults()
        changes = {"model": model or given.model, "model_named": model is not None}
        return cls(type=type, **{**msgspec.structs.asdict(given), **changes})

    @classmethod
    def requested(cls, session: JsonObject, defaults: SessionDefaults | None = None) -> "SessionSettings":
        """The settings of a session that is described before it exists (client secrets, calls).

        There, unlike in `session.update`, `model` may be chosen. Raises `EventRefused`.
        """
        fields = Fields(session, "session")
        asked = fields.choice("type", _TYPES)
        kind: SessionType = fields.needed("type", asked, "Send 'realtime' or 'transcription'.")
        model = fields.text("model", NAME_MAX) if kind == "realtime" else None
        return cls.of(kind, model, defaults).updated(session)

    def updated(self, partial: JsonObject, locked: Locked = UNLOCKED) -> "SessionSettings":
        """These settings with what the `session` of a `session.update` changes; raises `EventRefused`."""
        fields = Fields(partial, "session")
        kind = fields.choice("type", _TYPES)
        if fields.needed("type", kind, f"This session is '{self.type}'.") != self.type:
            raise invalid(
                "session.type",
                f"this is a {self.type} session and stays one; open another for the other type.",
            )
        changes: dict[str, Any] = {}
        if fields.value("include") is not None or fields.cleared("include"):
            changes["include"] = fields.choices("include", _INCLUDES, len(_INCLUDES))
        audio = fields.within("audio")
        if audio is not None:
            changes |= self._audio_changes(audio, locked)
        if self.type == "realtime":
            changes |= self._realtime_changes(fields)
        fields.end()
        changed = msgspec.structs.replace(self, **changes)
        check_choice(changed.tool_choice, changed.tools, "session.tool_choice")
        return changed

    def _audio_changes(self, audio: Fields, locked: Locked) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        source = audio.within("input")
        if source is not None:
            changes |= input_changes(source, self, locked)
        if self.type == "realtime":
            output = audio.within("output")
            if output is not None:
                changes |= output_changes(output, self, locked)
        audio.end()
        return changes

    def _realtime_changes(self, fields: Fields) -> dict[str, Any]:
        changes = model_changes(fields)
        model = fields.text("model", NAME_MAX)
        if model is not None and model != self.model:
            changes |= self._named(model)
        changes["tracing"] = read_tracing(fields, self.tracing)
        truncation = read_truncation(fields)
        if truncation is not None:
            changes["truncation"] = truncation
        return changes

    def _named(self, model: str) -> dict[str, Any]:
        if self.model_named or not model:
            raise EventRefused(
                "cannot_update_model",
                f"The model cannot be changed within a session; this one runs '{self.model}'. Name another "
                "one when connecting (?model=...).",
                "session.model",
            )
        return {"model": model, "model_named": True}

    def for_response(
        self, partial: JsonObject | None = None, locked: Locked = UNLOCKED
    ) -> "ResponseSettings":
        """What holds for one response: these settings with what the `response` of a `response.create`
        overrides; raises `EventRefused`."""
        fields = Fields(partial or {}, "response")
        changes = {
            name: getattr(self, name) for name in ResponseSettings.__struct_fields__ if hasattr(self, name)
        }
        changes |= model_changes(fields)
        audio = fields.within("audio")
        output = None if audio is None else audio.within("output")
        if output is not None:
            changes["voice"] = read_voice(output, self.voice, locked) or self.voice
            _same_format(output, self.output_format)
            output.end()
        if audio is not None:
            audio.end()
        changes["conversation"] = fields.choice("conversation", _CONVERSATIONS) or "auto"
        changes["metadata"] = _metadata(fields)
        given = fields.each_within("input", INPUT_ITEMS_MAX)
        changes["input"] = None if given is None else tuple(read_input_item(item) for item in given)
        fields.end()
        settings = ResponseSettings(**changes)
        check_choice(settings.tool_choice, settings.tools, "response.tool_choice")
        return settings

    def as_json(self, session_id: str, expires_at: int | None = None) -> JsonObject:
        """The effective session as `session.created` and `session.updated` show it; `expires_at` in seconds
        since 1970."""
        head: JsonObject = {"id": session_id, "type": self.type, "expires_at": expires_at}
        include = None if self.include is None else list(self.include)
        if self.type == "transcription":
            audio: JsonObject = {"input": self._input_json()}
            return {**head, "object": "realtime.transcription_session", "audio": audio, "include": include}
        output = {"format": format_json(self.output_format), "voice": self.voice, "speed": self.speed}
        reasoning = self.reasoning_effort
        truncation = self.truncation
        return {
            **head,
            "object": "realtime.session",
            "model": self.model,
            "instructions": self.instructions,
            "output_modalities": list(self.output_modalities),
            "tools": [tool.as_json() for tool in self.tools],
            "tool_choice": tool_choice_json(self.tool_choice),
            "parallel_tool_calls": self.parallel_tool_calls,
            "max_output_tokens": _tokens_json(self.max_output_tokens),
            "reasoning": None if reasoning is None else {"effort": reasoning},
            "truncation": truncation.as_json() if isinstance(truncation, RetentionRatio) else truncation,
            "tracing": self.tracing,
            "prompt": None,
            "include": include,
            "audio": {"input": self._input_json(), "output": output},
        }

    def _input_json(self) -> JsonObject:
        detection = None if self.turn_detection is None else self.turn_detection.as_json()
        if detection is not None and self.type == "transcription":
            # A transcription session never answers, so there is nothing to say about answers.
            detection = {name: value for name, value in detection.items() if name not in _ONLY_REALTIME}
        return {
            "format": format_json(self.input_format),
            "transcription": None if self.transcription is None else self.transcription.as_json(),
            "noise_reduction": None if self.noise_reduction is None else self.noise_reduction.as_json(),
            "turn_detection": detection,
        }


class ResponseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one response; the members it shares with `SessionSettings` mean the same.

    `conversation` "none" is out of band; `input` replaces the conversation as the model's context (an empty
    tuple: no context; None: the conversation); `metadata` is echoed.
    """

    instructions: str
    output_modalities: tuple[Modality, ...]
    tools: tuple[FunctionTool, ...]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    max_output_tokens: int | None
    reasoning_effort: Effort | None
    output_format: AudioFormat
    voice: str
    speed: float
    conversation: Literal["auto", "none"] = "auto"
    metadata: dict[str, str] | None = None
    input: tuple[GivenItem | ItemReference, ...] | None = None

    def as_json(self) -> JsonObject:
        """The members of a `response` object (`response.created`, `response.done`) that echo settings."""
        output = {"format": format_json(self.output_format), "voice": self.voice}
        return {
            "output_modalities": list(self.output_modalities),
            "max_output_tokens": _tokens_json(self.max_output_tokens),
            "audio": {"output": output},
            "metadata": self.metadata,
        }


def _tokens_json(limit: int | None) -> int | str:
    return "inf" if limit is None else limit


def _same_format(fields: Fields, current: AudioFormat) -> None:
    value = fields.value("format")
    if value is not None and audio_format(value, fields.param("format"), current) != current:
        raise unsupported(
            fields.param("format"),
            "All responses are spoken in the session's output format; change it with session.update.",
            "unsupported_value",
        )


def _metadata(fields: Fields) -> dict[str, str] | None:
    given = fields.json_object("metadata", METADATA_MAX)
    for key, value in (given or {}).items():
        param = f"{fields.param('metadata')}.{cut(key)}"
        if not isinstance(value, str):
            raise mistyped(param, "a string", value)
        if len(key) > METADATA_KEY_MAX:
            raise too_long(fields.param("metadata"), len(key), METADATA_KEY_MAX, "string")
        if len(value) > METADATA_VALUE_MAX:
            raise too_long(param, len(value), METADATA_VALUE_MAX, "string")
    return given
