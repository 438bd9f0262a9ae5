"""What a client may say about the model: instructions, modalities, tools, limits.

Owns the members that a session and a single response share, and the session's `truncation` and `tracing`;
must not know a model. Changes are sparse; `null` clears `reasoning` and `tracing`, and otherwise stands for
"not given".
"""

from typing import Any, Literal

import msgspec

from legato.core.dialects.realtime.errors import EventRefused, invalid, mistyped, out_of_range, unsupported
from legato.core.dialects.realtime.fields import Fields
from legato.core.dialects.realtime.tools import read_tool_choice, read_tools
from legato.core.wire.messages import JsonObject

Modality = Literal["audio", "text"]
Effort = Literal["minimal", "low", "medium", "high", "xhigh"]

OUTPUT_TOKENS_MAX = 4_096
POST_INSTRUCTIONS_MAX = 10_000_000

_MODALITIES: tuple[Modality, ...] = ("audio", "text")
_EFFORTS: tuple[Effort, ...] = ("minimal", "low", "medium", "high", "xhigh")
_STRATEGIES: tuple[Literal["auto", "disabled"], ...] = ("auto", "disabled")
_AUTO: tuple[Literal["auto"], ...] = ("auto",)
_RETENTION = ("retention_ratio",)


class RetentionRatio(msgspec.Struct, frozen=True, kw_only=True):
    """Keep this share (0 to 1) of the conversation when it exceeds what the model takes.

    `post_instructions` is how many tokens may follow the instructions; None: as many as the model takes.
    """

    retention_ratio: float
    post_instructions: int | None = None

    def as_json(self) -> JsonObject:
        """How the API writes it."""
        limits = {"token_limits": {"post_instructions": self.post_instructions}}
        members = {"type": "retention_ratio", "retention_ratio": self.retention_ratio}
        return members if self.post_instructions is None else {**members, **limits}


Truncation = Literal["auto", "disabled"] | RetentionRatio


def model_changes(fields: Fields) -> dict[str, Any]:
    """What `fields` change of the members that sessions and responses share."""
    if fields.value("prompt") is not None:
        raise unsupported(
            fields.param("prompt"),
            "This server stores no prompt templates; send their text as 'instructions'.",
        )
    reasoning = fields.within("reasoning")
    given: dict[str, Any] = {
        "instructions": fields.text("instructions"),
        "output_modalities": _modalities(fields),
        "tools": read_tools(fields),
        "tool_choice": read_tool_choice(fields),
        "parallel_tool_calls": fields.flag("parallel_tool_calls"),
        "reasoning_effort": None if reasoning is None else _effort(reasoning),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if fields.value("max_output_tokens") is not None:
        changes["max_output_tokens"] = _max_output_tokens(fields)
    if fields.cleared("reasoning"):
        changes["reasoning_effort"] = None
    return changes


def read_truncation(fields: Fields) -> Truncation | None:
    """How a conversation is shortened; None if `truncation` is not given."""
    value = fields.value("truncation")
    if not isinstance(value, dict):
        return fields.choice("truncation", _STRATEGIES)
    strategy = Fields(value, fields.param("truncation"))
    strategy.needed("type", strategy.choice("type", _RETENTION))
    ratio = strategy.needed("retention_ratio", strategy.number("retention_ratio", 0.0, 1.0))
    limits = strategy.within("token_limits")
    after: int | None = None
    if limits is not None:
        after = limits.integer("post_instructions", 0, POST_INSTRUCTIONS_MAX)
        limits.end()
    strategy.end()
    return RetentionRatio(retention_ratio=ratio, post_instructions=after)


def read_tracing(fields: Fields, current: JsonObject | str | None) -> JsonObject | str | None:
    """The tracing in force after this update; once on, it cannot be modified."""
    asked: JsonObject | str | None
    if isinstance(fields.value("tracing"), dict):
        tracing = Fields(fields.value("tracing"), fields.param("tracing"))
        members = {
            "workflow_name": tracing.text("workflow_name"),
            "group_id": tracing.text("group_id"),
            "metadata": tracing.json_object("metadata"),
        }
        tracing.end()
        asked = {name: value for name, value in members.items() if value is not None}
    else:
        asked = fields.choice("tracing", _AUTO)
    if asked is None and not fields.cleared("tracing"):
        return current
    if current is not None and asked != current:
        raise EventRefused(
            "cannot_update_tracing",
            "Tracing cannot be modified once it is on; open a new session.",
            fields.param("tracing"),
        )
    return asked


def _modalities(fields: Fields) -> tuple[Modality, ...] | None:
    modalities = fields.choices("output_modalities", _MODALITIES, len(_MODALITIES))
    if modalities is not None and len(modalities) != 1:
        raise invalid(
            fields.param("output_modalities"),
            "send ['audio'] or ['text']; audio always comes with its transcript.",
        )
    return modalities


def _max_output_tokens(fields: Fields) -> int | None:
    """None stands for "inf"."""
    value, param = fields.value("max_output_tokens"), fields.param("max_output_tokens")
    if value == "inf":
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise mistyped(param, "an integer or 'inf'", value)
    if not 1 <= value <= OUTPUT_TOKENS_MAX:
        raise out_of_range(param, value, 1, OUTPUT_TOKENS_MAX)
    return value


def _effort(reasoning: Fields) -> Effort | None:
    effort = reasoning.choice("effort", _EFFORTS)
    reasoning.end()
    return effort
