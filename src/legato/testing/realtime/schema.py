"""One server event against the types of the `openai` package.

Owns strictness: the package itself takes members it does not know and guesses at types. Must not know order.
"""

from functools import cache
from typing import Any, get_args

import msgspec
import pydantic
from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from openai.types.realtime.realtime_session_create_response import RealtimeSessionCreateResponse
from openai.types.realtime.realtime_transcription_session_create_response import (
    RealtimeTranscriptionSessionCreateResponse,
)

from legato.core.wire.messages import JsonObject

_SHOWN_ERRORS = 4
_SESSIONS: dict[object, type[pydantic.BaseModel]] = {
    "realtime": RealtimeSessionCreateResponse,
    "transcription": RealtimeTranscriptionSessionCreateResponse,
}


def schema_faults(event: JsonObject) -> list[str]:
    """What is wrong with the members of `event`, a sentence each."""
    model = _models().get(event.get("type", ""))
    if model is None:
        return [f"{event.get('type')!r} is no server event of the API"]
    faults = [] if event.get("event_id") else ["it has no event_id"]
    found, unknown = _judge(event, model)
    session = event.get("session")
    if isinstance(session, dict) and session.get("type") in _SESSIONS:
        # The events are typed with what a client may ask for; what a server shows has a type of its own.
        shown, unknown_there = _judge(session, _SESSIONS[session["type"]])
        found += shown
        here = {name for name in unknown if name.startswith("session.")}
        unknown -= here - {f"session.{name}" for name in unknown_there}
    return faults + found + [f"it has the unknown member {name!r}" for name in sorted(unknown)]


def server_event_names() -> set[str]:
    """Every server event the installed package knows."""
    return set(_models())


def client_event_names() -> set[str]:
    """Every client event the installed package knows."""
    return set(_by_type(RealtimeClientEvent))


@cache
def _models() -> dict[str, type[pydantic.BaseModel]]:
    return _by_type(RealtimeServerEvent)


def _by_type(union: object) -> dict[str, type[pydantic.BaseModel]]:
    models: tuple[type[pydantic.BaseModel], ...] = get_args(get_args(union)[0])
    return {name: model for model in models for name in get_args(model.model_fields["type"].annotation)}


@cache
def _adapter(model: type[pydantic.BaseModel]) -> "pydantic.TypeAdapter[Any]":
    return pydantic.TypeAdapter(model)


def _judge(value: JsonObject, model: type[pydantic.BaseModel]) -> tuple[list[str], set[str]]:
    """Faults, and the paths of members that `model` does not know."""
    try:
        read = _adapter(model).validate_json(msgspec.json.encode(value), strict=True)
    except pydantic.ValidationError as error:
        return [_sentence(one) for one in error.errors()[:_SHOWN_ERRORS]], set()
    return [], set(_unknown(read, ""))


def _sentence(error: Any) -> str:
    path = ".".join(str(step) for step in error["loc"])
    return f"{path}: {error['msg']}, not {error['input']!r}"


def _unknown(value: object, path: str) -> list[str]:
    if isinstance(value, list):
        return [name for index, one in enumerate(value) for name in _unknown(one, f"{path}[{index}]")]
    if not isinstance(value, pydantic.BaseModel):
        return []
    prefix = f"{path}." if path else ""
    names = [prefix + name for name in value.model_extra or {}]
    for name in type(value).model_fields:
        names += _unknown(getattr(value, name), prefix + name)
    return names
