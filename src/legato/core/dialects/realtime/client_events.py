"""The eleven client events of the OpenAI Realtime API as values.

Owns how each is read from JSON; must not know when it is allowed, nor what it does. Whatever a client
sends becomes a value or an `EventRefused` that carries the event's own identifier, never anything else. An
empty string where an identifier may be left out counts as left out.

Audio has a way of its own: a client sends fifty `input_audio_buffer.append` a second, and `read_append`
decodes them straight from the bytes of the message.
"""

from typing import Any

import msgspec

from legato.core.dialects.realtime.errors import EventRefused, not_among
from legato.core.dialects.realtime.fields import Fields
from legato.core.dialects.realtime.given_items import BASE64_MAX, ITEM_ID_MAX, GivenItem, read_item
from legato.core.dialects.realtime.vocabulary import CLIENT_EVENTS
from legato.core.wire.codes import POSITION_MAX
from legato.core.wire.messages import JsonObject

EVENT_ID_MAX = 512
INDEX_MAX = (1 << 31) - 1
AUDIO_BYTES_MAX = BASE64_MAX // 4 * 3
"""How much audio one `input_audio_buffer.append` can carry, decoded."""


class SessionUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """session.update; `session` is read by `SessionSettings.updated`."""

    session: JsonObject
    event_id: str | None = None


class InputAudioBufferAppend(msgspec.Struct, frozen=True, kw_only=True):
    """input_audio_buffer.append: audio in the session's input format."""

    audio: bytes
    event_id: str | None = None


class InputAudioBufferCommit(msgspec.Struct, frozen=True, kw_only=True):
    """input_audio_buffer.commit.

    `audio_offset` ("legato_audio_offset", native calls only) is how many samples the client had captured:
    there audio travels beside the events, and what was said before the commit belongs to it.
    """

    audio_offset: int | None = None
    event_id: str | None = None


class InputAudioBufferClear(msgspec.Struct, frozen=True, kw_only=True):
    """input_audio_buffer.clear."""

    event_id: str | None = None


class OutputAudioBufferClear(msgspec.Struct, frozen=True, kw_only=True):
    """output_audio_buffer.clear."""

    event_id: str | None = None


class ConversationItemCreate(msgspec.Struct, frozen=True, kw_only=True):
    """conversation.item.create; `previous_item_id` None: at the end, "root": at the beginning."""

    item: GivenItem
    previous_item_id: str | None = None
    event_id: str | None = None


class ConversationItemRetrieve(msgspec.Struct, frozen=True, kw_only=True):
    """conversation.item.retrieve."""

    item_id: str
    event_id: str | None = None


class ConversationItemTruncate(msgspec.Struct, frozen=True, kw_only=True):
    """conversation.item.truncate: audio of the answer after `audio_end_ms` was not heard."""

    item_id: str
    content_index: int
    audio_end_ms: int
    event_id: str | None = None


class ConversationItemDelete(msgspec.Struct, frozen=True, kw_only=True):
    """conversation.item.delete."""

    item_id: str
    event_id: str | None = None


class ResponseCreate(msgspec.Struct, frozen=True, kw_only=True):
    """response.create; `response` is read by `SessionSettings.for_response`."""

    response: JsonObject
    event_id: str | None = None


class ResponseCancel(msgspec.Struct, frozen=True, kw_only=True):
    """response.cancel; `response_id` None: the one that writes to the conversation."""

    response_id: str | None = None
    event_id: str | None = None


ClientEvent = (
    SessionUpdate
    | InputAudioBufferAppend
    | InputAudioBufferCommit
    | InputAudioBufferClear
    | OutputAudioBufferClear
    | ConversationItemCreate
    | ConversationItemRetrieve
    | ConversationItemTruncate
    | ConversationItemDelete
    | ResponseCreate
    | ResponseCancel
)


def read_client_event(event: JsonObject) -> ClientEvent:
    """What a client said; raises `EventRefused`."""
    fields = Fields(event)
    event_id: str | None = None
    try:
        event_id = fields.text("event_id", EVENT_ID_MAX)
        kind = fields.needed("type", fields.text("type"), "Every event names its type.")
        if kind not in CLIENT_EVENTS:
            raise not_among("type", kind, CLIENT_EVENTS)
        read = _read(kind, fields, event_id)
        fields.end()
    except EventRefused as refused:
        refused.event_id = event_id
        raise
    return read


def _read(kind: str, fields: Fields, event_id: str | None) -> ClientEvent:
    match kind:
        case "session.update":
            session = fields.needed("session", fields.json_object("session"))
            return SessionUpdate(session=session, event_id=event_id)
        case "input_audio_buffer.append":
            audio = fields.needed("audio", fields.base64("audio", BASE64_MAX))
            return InputAudioBufferAppend(audio=audio, event_id=event_id)
        case "input_audio_buffer.commit":
            offset = fields.integer("legato_audio_offset", 0, POSITION_MAX)
            return InputAudioBufferCommit(audio_offset=offset, event_id=event_id)
        case "input_audio_buffer.clear":
            return InputAudioBufferClear(event_id=event_id)
        case "output_audio_buffer.clear":
            return OutputAudioBufferClear(event_id=event_id)
        case "response.create":
            return ResponseCreate(response=fields.json_object("response") or {}, event_id=event_id)
        case "response.cancel":
            response_id = fields.text("response_id", ITEM_ID_MAX) or None
            return ResponseCancel(response_id=response_id, event_id=event_id)
        case _:
            return _read_about_item(kind, fields, event_id)


def _read_about_item(kind: str, fields: Fields, event_id: str | None) -> ClientEvent:
    if kind == "conversation.item.create":
        return ConversationItemCreate(
            item=read_item(fields.needed("item", fields.within("item"))),
            previous_item_id=fields.text("previous_item_id", ITEM_ID_MAX) or None,
            event_id=event_id,
        )
    item_id = fields.required_text("item_id", ITEM_ID_MAX)
    if kind == "conversation.item.retrieve":
        return ConversationItemRetrieve(item_id=item_id, event_id=event_id)
    if kind == "conversation.item.delete":
        return ConversationItemDelete(item_id=item_id, event_id=event_id)
    content_index = fields.integer("content_index", 0, INDEX_MAX)
    audio_end_ms = fields.integer("audio_end_ms", 0, INDEX_MAX)
    return ConversationItemTruncate(
        item_id=item_id,
        content_index=fields.needed("content_index", content_index),
        audio_end_ms=fields.needed("audio_end_ms", audio_end_ms),
        event_id=event_id,
    )


class _Append(
    msgspec.Struct, tag="input_audio_buffer.append", tag_field="type", forbid_unknown_fields=True, gc=False
):
    audio: bytes
    event_id: str | None = None


_append = msgspec.json.Decoder(_Append)
_object = msgspec.json.Decoder(dict[str, Any])


def read_append(message: bytes | str) -> bytes | None:
    """The audio of a well-formed `input_audio_buffer.append`, from the text of a message.

    None for everything else, a malformed append included: `read_message` and `read_client_event` say what
    it is, or what is wrong with it.
    """
    try:
        audio = _append.decode(message).audio
    except (msgspec.MsgspecError, ValueError):
        return None
    return audio if len(audio) <= AUDIO_BYTES_MAX else None


def read_message(message: bytes | str) -> JsonObject:
    """The event that the text of a message holds; raises `EventRefused` if it is no JSON object."""
    try:
        event: JsonObject = _object.decode(message)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EventRefused(
            "invalid_json", f"A message has to be one JSON object with a 'type': {error}."
        ) from error
    return event
