"""When a caller's turn ends: the two detectors of the Realtime API as values.

Owns their members, ranges and defaults; must not detect anything. No detector at all (`null`) means that
the client commits its turns itself. Times are milliseconds.
"""

from typing import Literal

import msgspec

from legato.core.dialects.realtime.errors import missing
from legato.core.dialects.realtime.fields import Fields
from legato.core.wire.messages import JsonObject

Eagerness = Literal["low", "medium", "high", "auto"]

EAGERNESS: tuple[Eagerness, ...] = ("low", "medium", "high", "auto")
PADDING_MAX_MS = 10_000
SILENCE_MAX_MS = 60_000
IDLE_MIN_MS, IDLE_MAX_MS = 1_000, 3_600_000

_MAX_WAIT_MS = {"low": 8_000, "medium": 4_000, "high": 2_000, "auto": 4_000}
_DETECTORS: tuple[Literal["server_vad", "semantic_vad"], ...] = ("server_vad", "semantic_vad")


class ServerVad(msgspec.Struct, frozen=True, kw_only=True, tag="server_vad"):
    """A turn ends after `silence_duration_ms` without speech.

    `threshold` is the probability from which a sound counts as speech; `prefix_padding_ms` of audio before
    the speech belong to it; `idle_timeout_ms` after an answer was heard in full, a response is made although
    nobody spoke (None: never).
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None

    def updated(self, fields: Fields) -> "ServerVad":
        """This detector with what `fields` change; `idle_timeout_ms: null` turns the timeout off."""
        threshold = fields.number("threshold", 0.0, 1.0)
        padding = fields.integer("prefix_padding_ms", 0, PADDING_MAX_MS)
        silence = fields.integer("silence_duration_ms", 0, SILENCE_MAX_MS)
        create, interrupt = fields.flag("create_response"), fields.flag("interrupt_response")
        idle = fields.integer("idle_timeout_ms", IDLE_MIN_MS, IDLE_MAX_MS)
        if idle is None and not fields.cleared("idle_timeout_ms"):
            idle = self.idle_timeout_ms
        return ServerVad(
            threshold=self.threshold if threshold is None else threshold,
            prefix_padding_ms=self.prefix_padding_ms if padding is None else padding,
            silence_duration_ms=self.silence_duration_ms if silence is None else silence,
            create_response=self.create_response if create is None else create,
            interrupt_response=self.interrupt_response if interrupt is None else interrupt,
            idle_timeout_ms=idle,
        )

    def as_json(self) -> JsonObject:
        """How the API writes it."""
        return {"type": "server_vad", **msgspec.structs.asdict(self)}


class SemanticVad(msgspec.Struct, frozen=True, kw_only=True, tag="semantic_vad"):
    """A turn ends when the words sound complete, at the latest `max_wait_ms` after the last of them."""

    eagerness: Eagerness = "auto"
    create_response: bool = True
    interrupt_response: bool = True

    @property
    def max_wait_ms(self) -> int:
        """How long an unfinished sentence is waited for; `auto` is `medium`."""
        return _MAX_WAIT_MS[self.eagerness]

    def updated(self, fields: Fields) -> "SemanticVad":
        """This detector with what `fields` change."""
        eagerness = fields.choice("eagerness", EAGERNESS)
        create, interrupt = fields.flag("create_response"), fields.flag("interrupt_response")
        return SemanticVad(
            eagerness=eagerness or self.eagerness,
            create_response=self.create_response if create is None else create,
            interrupt_response=self.interrupt_response if interrupt is None else interrupt,
        )

    def as_json(self) -> JsonObject:
        """How the API writes it."""
        return {"type": "semantic_vad", **msgspec.structs.asdict(self)}


TurnDetection = ServerVad | SemanticVad


def read_turn_detection(fields: Fields, current: TurnDetection | None) -> TurnDetection:
    """What a client wants of turn detection, given what holds now.

    Without a `type` the present detector is changed; another `type` starts from its own defaults.
    """
    kind = fields.choice("type", _DETECTORS)
    if kind is None:
        if current is None:
            raise missing(fields.param("type"), "Turn detection is off; name 'server_vad' or 'semantic_vad'.")
        base = current
    elif kind == "server_vad":
        base = current if isinstance(current, ServerVad) else ServerVad()
    else:
        base = current if isinstance(current, SemanticVad) else SemanticVad()
    changed = base.updated(fields)
    fields.end()
    return changed
