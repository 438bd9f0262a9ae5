"""What each client event does; whatever cannot be done is refused.

Owns the way from a client event to the part of the dialogue it is about. Must not know how events are read
(`client_events.py`) nor what a part makes of them.
"""

from legato.core.dialects.realtime import refusals
from legato.core.dialects.realtime.client_events import (
    EVENT_ID_MAX,
    ClientEvent,
    ConversationItemCreate,
    ConversationItemDelete,
    ConversationItemRetrieve,
    ConversationItemTruncate,
    InputAudioBufferAppend,
    InputAudioBufferClear,
    InputAudioBufferCommit,
    OutputAudioBufferClear,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
    read_client_event,
)
from legato.core.dialects.realtime.dialogue_events import ResponseWanted, SettingsChanged, Truncated
from legato.core.dialects.realtime.dialogue_parts import DialogueParts
from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.given_entries import audio_of, entry_of
from legato.core.wire.messages import JsonObject


class ClientRequests:
    """Carries out client events on the parts of a dialogue."""

    def __init__(self, parts: DialogueParts) -> None:
        self._parts = parts

    def receive(self, event: JsonObject, now: int, allowed: frozenset[str] | None) -> None:
        """Carry out an event, or say in an `error` event why not."""
        try:
            kind = event.get("type")
            if allowed is not None and not (isinstance(kind, str) and kind in allowed):
                raise refusals.event_not_allowed(kind)
            self._carry_out(read_client_event(event), now)
        except EventRefused as refused:
            event_id = event.get("event_id")
            named = isinstance(event_id, str) and len(event_id) <= EVENT_ID_MAX
            self._parts.outbox.say("error", error=refused.as_error(event_id if named else None))

    def _carry_out(self, event: ClientEvent, now: int) -> None:
        parts = self._parts
        match event:
            case SessionUpdate():
                self._update(event)
            case InputAudioBufferCommit() | InputAudioBufferClear():
                self._end_input(event, now)
            case ConversationItemCreate():
                self._create(event)
            case ConversationItemDelete():
                parts.conversation.delete(event.item_id)
            case ConversationItemRetrieve():
                parts.conversation.retrieve(event.item_id, now)
            case ConversationItemTruncate():
                self._truncate(event, now)
            case ResponseCreate():
                self._respond(event)
            case ResponseCancel():
                parts.responses.cancel(event.response_id, now)
            case _:
                self._refuse(event)

    def _update(self, event: SessionUpdate) -> None:
        parts = self._parts
        parts.change_settings(parts.settings.updated(event.session, parts.locked()))
        parts.say_session("session.updated")
        parts.tell(SettingsChanged(parts.settings))

    def _end_input(self, event: InputAudioBufferCommit | InputAudioBufferClear, now: int) -> None:
        buffer = self._parts.buffer
        spoken = buffer.speaking
        if isinstance(event, InputAudioBufferCommit):
            buffer.commit()
        else:
            buffer.clear()
        if spoken:
            self._parts.idle.restart(now)

    def _create(self, event: ConversationItemCreate) -> None:
        parts = self._parts
        form = parts.settings.input_format
        if event.item.id is not None and parts.buffer.announced(event.item.id):
            raise refusals.known_item(event.item.id)
        audio = audio_of(event.item, form, "item.content")
        parts.given_audio.admit(len(audio))
        entry = entry_of(event.item, parts.conversation)
        parts.conversation.create(entry, event.previous_item_id or None)
        parts.conversation.keep(entry.id, audio)
        parts.given_audio.hand_on(entry.id, audio, form)

    def _truncate(self, event: ConversationItemTruncate, now: int) -> None:
        parts = self._parts
        form, end_ms = parts.output_format, event.audio_end_ms
        entry = parts.conversation.to_truncate(event.item_id, event.content_index, end_ms, form.rate)
        if entry.status == "in_progress":
            # Nothing more of it will be heard, so there is no use in making more.
            parts.responses.cancel(None, now)
        parts.tell(Truncated(event.item_id, parts.conversation.truncate(entry, end_ms, form)))

    def _respond(self, event: ResponseCreate) -> None:
        parts = self._parts
        if parts.settings.type == "transcription":
            raise refusals.no_responses()
        wanted = parts.settings.for_response(event.response, parts.locked())
        if parts.opening.answers:
            parts.tell(ResponseWanted(parts.responses.begin(wanted, "client", parts.settings)))

    def _refuse(self, event: InputAudioBufferAppend | OutputAudioBufferClear) -> None:
        if isinstance(event, InputAudioBufferAppend):
            sentence = "input_audio_buffer.append: this connection carries audio beside its events."
        else:
            sentence = (
                "output_audio_buffer.clear: what was sent is in the client's hands; send response.cancel and "
                "conversation.item.truncate with what was heard."
            )
        raise EventRefused("unsupported_event", f"Unsupported here: {sentence}", "type")
