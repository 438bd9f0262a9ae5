"""The conversation of one call in the terms of the OpenAI Realtime API: the state machine of the dialect.

Owns the session's settings, the conversation, the input buffer, turns and responses, and every server event
about them but the audio itself. Must not know transports, agents, codecs or clocks.

The contract is that of `legato.core.session`: inputs tell what happened, operations what the owner wants,
times are passed in (microseconds). After each of them look at `outputs()` and `events()` in order, and call
`on_deadline(now)` when `next_deadline()` is reached. Whatever a client sends never raises: a refusal is an
`error` event that names the event it answers, and the session lives on. An operation that is not allowed
raises `LocalProtocolError`.
"""

from legato.core.dialects.realtime.carried import CarriedDialogue, carried_items, items_again
from legato.core.dialects.realtime.client_requests import ClientRequests
from legato.core.dialects.realtime.dialogue_events import (
    DialogueEvent,
    Interrupted,
    Opening,
    ResponseWanted,
    SpeechCommitted,
    TurnEnded,
)
from legato.core.dialects.realtime.dialogue_parts import DialogueParts
from legato.core.dialects.realtime.entry import Entry
from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.items import Item
from legato.core.dialects.realtime.response import Response, ResponseRequest, Trigger
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.dialects.realtime.spoken_text import SpokenText
from legato.core.dialects.realtime.turn_detection import ServerVad
from legato.core.dialects.realtime.usage import transcription_usage
from legato.core.errors import LocalProtocolError
from legato.core.wire.messages import JsonObject

__all__ = ["Dialogue", "DialogueEvent", "Opening"]

GO_ON = "Your last answer broke off: go on where it ends, and repeat nothing of it."
"""What a model is told that has to make the rest of an answer, of which another server was in the middle."""


class Dialogue:
    """One call's conversation; see the module's first lines for its contract."""

    def __init__(self, opening: Opening, now: int) -> None:
        """Open the session, and say so; one that another server had goes on without a word."""
        self._parts = parts = DialogueParts(opening)
        self._requests = ClientRequests(parts)
        self._buffer = parts.buffer
        self.hear = parts.buffer.hear
        """Input audio arrived: payload, samples; without bytes where these are lost for ever."""
        if opening.carried is not None:
            self._go_on(opening.carried, now)
            return
        parts.say_session("session.created")
        if self._converses:
            conversation = {"id": parts.conversation.id, "object": "realtime.conversation"}
            parts.outbox.say("conversation.created", conversation=conversation)

    @property
    def settings(self) -> SessionSettings:
        """The settings in force."""
        return self._parts.settings

    @property
    def position(self) -> int:
        """Samples of input heard since the session began."""
        return self._buffer.position

    @property
    def writing(self) -> bool:
        """Whether a response is being written to the conversation."""
        return self._parts.responses.writer is not None

    def outputs(self) -> list[JsonObject]:
        """Server events to send, in order; the list is the caller's and the next call starts anew."""
        return self._parts.outbox.take()

    def events(self) -> list[DialogueEvent]:
        """What the owner has to do, in order; the list is the caller's and the next call starts anew."""
        events = self._parts.events[:]
        self._parts.events.clear()
        return events

    def next_deadline(self) -> int | None:
        """When `on_deadline` is due, or None while nothing waits for time."""
        timeout_ms = self._idle_timeout_ms()
        return None if timeout_ms is None else self._parts.idle.deadline(timeout_ms)

    # Inputs

    def receive(self, event: JsonObject, now: int, allowed: frozenset[str] | None = None) -> None:
        """A client event; never raises. `allowed` are the types that its sender may send, None all."""
        self._requests.receive(event, now, allowed)

    def on_deadline(self, now: int) -> None:
        """Time has passed; harmless if nothing is due."""
        timeout_ms = self._idle_timeout_ms()
        if timeout_ms is None:
            return
        deadline = self._parts.idle.deadline(timeout_ms)
        if deadline is not None and now >= deadline:
            self._buffer.time_out(timeout_ms)
            response = self.begin_response("idle", now)
            assert response is not None
            self._parts.tell(ResponseWanted(response))

    def playback_ends(self, at: int | None, now: int) -> None:
        """What was sent so far will have been played at that time; None: nothing is left to be played."""
        self._parts.idle.playback_ends(now if at is None else at)

    # Findings of the agent

    def speech_started(self, position: int, now: int) -> str:
        """Speech begins at `position`, padding included; returns the id of the item it will become.

        Interrupts the response unless the session says otherwise. While speech goes on already it only
        returns the item; in manual mode it tells nobody.
        """
        item_id, news = self._buffer.speech_started(position)
        detection = self.settings.turn_detection
        if news:
            self._parts.idle.stop()
        if news and detection is not None and detection.interrupt_response and self._converses:
            self._parts.conversation.stop_speaking()
            self._parts.idle.playback_ends(now)
            self._parts.responses.interrupt(now)
            self._parts.tell(Interrupted())
        return item_id

    def speech_stopped(self, position: int, now: int) -> None:
        """Speech ended at `position`: it is committed as an item. Without effect if none goes on, and in
        manual mode."""
        committed = self._buffer.speech_stopped(position)
        if committed is None:
            return
        self._parts.idle.restart(now)
        self._parts.tell(SpeechCommitted(*committed))
        detection = self.settings.turn_detection
        if detection is not None and detection.create_response and self._answers:
            self._parts.responses.owed = committed[0]
            self._parts.tell(TurnEnded(committed[0]))

    def transcript_delta(self, item_id: str, text: str, now: int) -> None:
        """These words were recognised behind those told before.

        Ignored, here and in the next two, if there is no such item any more or its transcript is over:
        recognition takes its time, and a client may have deleted what it is about.
        """
        self._buffer.transcript_delta(item_id, text)

    def transcript_done(self, item_id: str, text: str, seconds: float, now: int) -> None:
        """The words of an item's audio, which lasts `seconds`; the item was committed before."""
        entry = self._transcribed(item_id)
        if not text:
            self._not_owed(item_id)
        if entry is not None:
            self._buffer.transcript_done(entry, text, transcription_usage(seconds))

    def transcript_failed(self, item_id: str, code: str, message: str, now: int) -> None:
        """An item's audio could not be recognised; the item was committed before."""
        entry = self._transcribed(item_id)
        self._not_owed(item_id)
        if entry is not None:
            self._buffer.transcript_failed(entry, code, message)

    # Responses

    def begin_response(
        self, trigger: Trigger, now: int, overrides: JsonObject | None = None
    ) -> Response | None:
        """Begin a response that no client asked for; None while another one is written to the conversation,
        and in transcription sessions. `overrides` are those of `response.create`; a mistake in them raises
        LocalProtocolError."""
        if not self._converses:
            return None
        parts = self._parts
        try:
            wanted = parts.settings.for_response(overrides, parts.locked())
            if wanted.conversation == "auto" and self.writing:
                return None
            return parts.responses.begin(wanted, trigger, parts.settings)
        except EventRefused as refused:
            raise LocalProtocolError(refused.message) from refused

    def context(self, request: ResponseRequest) -> list[Item]:
        """What a model is to see for `request`, in order.

        Of a spoken answer that is what was heard, once it was stopped; while it plays on, all of it.
        """
        entries = self._parts.conversation if request.input is None else request.input
        return [item for entry in entries if (item := entry.seen()) is not None]

    def output_place(self, item_id: str) -> tuple[int, int]:
        """The `output_index` and `content_index` of a spoken message; (0, 0) once it is unknown."""
        return self._parts.responses.place(item_id)

    def spoken(self, item_id: str) -> SpokenText | None:
        """The words and sound of a spoken answer of this conversation."""
        entry = self._parts.conversation.get(item_id)
        return None if entry is None else entry.spoken

    def carry(self, read: int) -> CarriedDialogue:
        """The dialogue as it stands, for another server, if the agent has read `read` samples of input."""
        parts = self._parts
        writer, owed, unsettled = parts.responses.writer, parts.responses.owed, self._buffer.unsettled
        asked = writer is not None and writer.request.trigger != "agent"
        return CarriedDialogue(
            settings=parts.settings,
            conversation_id=parts.conversation.id,
            items=carried_items(parts.conversation, unsettled if self._answers else {}),
            understood=parts.opening.origin + (self._buffer.understood(read) if self._answers else read),
            spoke=parts.responses.spoke,
            owed=asked or (owed is not None and owed not in unsettled),
            writer=None if writer is None else writer.as_lost(),
        )

    def keep_audio(self, item_id: str, payload: bytes) -> None:
        """Keep audio of a spoken answer, as it was sent, for `conversation.item.retrieve`."""
        self._parts.conversation.keep(item_id, payload)

    def _go_on(self, carried: CarriedDialogue, now: int) -> None:
        """Take over what another server's dialogue has come to; an answer that is missing is made anew."""
        parts = self._parts
        entries, missing = items_again(carried.items, parts.opening.replies)
        parts.conversation.restore(carried.conversation_id, entries)
        parts.responses.restore(carried.spoke)
        if carried.writer is not None:
            parts.outbox.say("response.done", response=carried.writer)
        if self._answers and (missing or carried.owed):
            begun = " ".join(filter(None, [carried.settings.instructions, GO_ON if missing else ""]))
            response = self.begin_response("turn", now, {"instructions": begun})
            assert response is not None
            parts.tell(ResponseWanted(response))

    def _not_owed(self, item_id: str) -> None:
        if self._parts.responses.owed == item_id:
            self._parts.responses.owed = None

    @property
    def _converses(self) -> bool:
        return self.settings.type == "realtime"

    @property
    def _answers(self) -> bool:
        return self._converses and self._parts.opening.answers

    def _idle_timeout_ms(self) -> int | None:
        """How long silence may last, if it can end at all now."""
        detection = self.settings.turn_detection
        if not isinstance(detection, ServerVad) or not self._answers or self._buffer.speaking:
            return None
        return None if self.writing else detection.idle_timeout_ms

    def _transcribed(self, item_id: str) -> Entry | None:
        """The item of that id, None if it is gone or not committed yet; nobody works on its words now."""
        self._parts.given_audio.settled(item_id)
        return self._parts.conversation.get(item_id) or self._parts.responses.given(item_id)
