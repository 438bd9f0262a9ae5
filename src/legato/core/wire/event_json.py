"""Control events between JSON and values.

Owns which `legato.*` event each role may say and how it is read; must not know when it may. Known events
become typed messages, everything else stays a dictionary, whole. What is not a JSON object with a "type",
or is a malformed known event, raises `RemoteProtocolError`.
"""

from typing import Any, NoReturn

import msgspec

from legato.core.audio import AudioFormat
from legato.core.errors import LocalProtocolError, RemoteProtocolError
from legato.core.wire.codes import WIRE_VERSION, SessionCode
from legato.core.wire.messages import (
    AudioAck,
    AudioLost,
    Bye,
    Checkpoint,
    ClientMessage,
    EventAck,
    Flush,
    GoingAway,
    Hello,
    JsonObject,
    Playback,
    ReplyHeader,
    ServerMessage,
    Welcome,
)

# Said with `send_event`; every other legato.* event has an operation of its own.
FREE_EVENTS = frozenset({"legato.error", "legato.duck", "legato.unduck"})


class _Head(msgspec.Struct):
    type: str


class _HelloHead(msgspec.Struct):
    version: int


_head = msgspec.json.Decoder(_Head)
_hello_head = msgspec.json.Decoder(_HelloHead)
_object = msgspec.json.Decoder(dict[str, Any])
_header = msgspec.json.Decoder(ReplyHeader)
_encoder = msgspec.json.Encoder()

_client: dict[str, msgspec.json.Decoder[Any]] = {
    "legato.audio_gap": msgspec.json.Decoder(AudioLost),
    "legato.event_ack": msgspec.json.Decoder(EventAck),
    "legato.playback": msgspec.json.Decoder(Playback),
    "legato.bye": msgspec.json.Decoder(Bye),
}
_server: dict[str, msgspec.json.Decoder[Any]] = {
    "legato.welcome": msgspec.json.Decoder(Welcome),
    "legato.audio_ack": msgspec.json.Decoder(AudioAck),
    "legato.event_ack": msgspec.json.Decoder(EventAck),
    "legato.checkpoint": msgspec.json.Decoder(Checkpoint),
    "legato.flush": msgspec.json.Decoder(Flush),
    "legato.going_away": msgspec.json.Decoder(GoingAway),
}
_BOTH = frozenset(_client) & frozenset(_server)
_CLIENT_TYPES = frozenset(_client) - _BOTH | {"legato.hello"}
_SERVER_TYPES = frozenset(_server) - _BOTH


def read_client_event(payload: bytes) -> ClientMessage | JsonObject:
    """What a client said."""
    kind = _decode(_head, payload).type
    if kind == "legato.hello":
        return _read_hello(payload)
    if kind in _SERVER_TYPES:
        _refuse(f"{kind} is for servers to say")
    message: ClientMessage | JsonObject = _decode(_client.get(kind, _object), payload)
    return message


def read_server_event(payload: bytes) -> ServerMessage | JsonObject:
    """What a server said."""
    kind = _decode(_head, payload).type
    if kind in _CLIENT_TYPES:
        _refuse(f"{kind} is for clients to say")
    message: ServerMessage | JsonObject = _decode(_server.get(kind, _object), payload)
    return message


def read_reply_header(payload: bytes) -> ReplyHeader:
    """The header of a downlink stream."""
    header: ReplyHeader = _decode(_header, payload)
    return header


def encode_message(message: ClientMessage | ServerMessage | ReplyHeader) -> bytes:
    """A typed message or header as JSON."""
    return _encoder.encode(message)


def encode_event(event: JsonObject, limit: int) -> bytes:
    """An event of the owner as JSON; raises LocalProtocolError beyond `limit` bytes or if it is not one."""
    kind = event.get("type")
    if not isinstance(kind, str):
        raise LocalProtocolError('an event needs a "type" that is a string')
    if kind.startswith("legato.") and kind not in FREE_EVENTS:
        raise LocalProtocolError(f"{kind} is said by an operation of the session; call that instead")
    try:
        payload = _encoder.encode(event)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"{kind} is not JSON: {error}; send plain values only") from error
    if len(payload) > limit:
        raise LocalProtocolError(f"{kind} takes {len(payload)} bytes; the peer reads at most {limit}")
    return payload


def _decode(decoder: Any, payload: bytes) -> Any:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        _refuse(f"malformed event: {error}")


def _refuse(reason: str) -> NoReturn:
    raise RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, reason)


def _read_hello(payload: bytes) -> Hello:
    # The version is judged before any other field: a later version may change every one of them.
    version = _decode(_hello_head, payload).version
    if version != WIRE_VERSION:
        raise RemoteProtocolError(
            SessionCode.UNSUPPORTED_VERSION, f"version {version} is unknown here, this is {WIRE_VERSION}"
        )
    fields = _decode(_object, payload)
    source, outputs = fields.get("input"), fields.get("output")
    if not _is_known(source):
        raise RemoteProtocolError(SessionCode.UNSUPPORTED_FORMAT, "the input format is not defined")
    known = [one for one in outputs if _is_known(one)] if isinstance(outputs, list) else []
    if not known:
        raise RemoteProtocolError(SessionCode.UNSUPPORTED_FORMAT, "no output format is defined")
    try:
        return msgspec.convert({**fields, "output": known}, Hello)
    except msgspec.MsgspecError as error:
        _refuse(f"malformed hello: {error}")


def _is_known(value: object) -> bool:
    try:
        msgspec.convert(value, AudioFormat)
    except msgspec.MsgspecError:
        return False
    return True
