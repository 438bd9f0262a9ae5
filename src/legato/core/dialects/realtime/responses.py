"""The responses in progress: one that writes to the conversation, and a few out of band.

Owns who may begin and what becomes of them when they are cancelled. Must not know turns or client events.
"""

from collections.abc import Callable, Iterable

from legato.core.dialects.realtime import refusals
from legato.core.dialects.realtime.conversation import Conversation
from legato.core.dialects.realtime.dialogue_events import (
    CancelReason,
    DialogueEvent,
    ResponseCancelled,
)
from legato.core.dialects.realtime.entry import Entry
from legato.core.dialects.realtime.given_audio import GivenAudio
from legato.core.dialects.realtime.given_entries import audio_of, entry_of
from legato.core.dialects.realtime.given_items import ItemReference
from legato.core.dialects.realtime.idle_clock import IdleClock
from legato.core.dialects.realtime.outbox import Outbox
from legato.core.dialects.realtime.response import Response, ResponseRequest, Trigger
from legato.core.dialects.realtime.session_settings import ResponseSettings, SessionSettings


class Responses:
    """All responses that are not over."""

    def __init__(
        self,
        outbox: Outbox,
        conversation: Conversation,
        idle: IdleClock,
        audio: GivenAudio,
        tell: Callable[[DialogueEvent], None],
        most: int,
    ) -> None:
        """`idle` counts from the end of each answer; `audio` of their inputs is handed on; `tell` the owner
        what it has to do; at `most` so many may be out of band."""
        self.writer: Response | None = None
        """The response that writes to the conversation."""
        self.owed: str | None = None
        """The item of the last turn that is to be answered and is not yet."""
        self._outbox = outbox
        self._conversation = conversation
        self._idle = idle
        self._audio = audio
        self._tell = tell
        self._most = most
        self._active: dict[str, Response] = {}
        self._weights: dict[str, int] = {}
        self._spoke = False

    @property
    def active(self) -> bool:
        """Whether any response is in progress."""
        return bool(self._active)

    @property
    def spoke(self) -> bool:
        """Whether any response was spoken so far."""
        return self._spoke or any(response.spoke for response in self._active.values())

    def restore(self, spoke: bool) -> None:
        """Go on from responses made by another server."""
        self._spoke = spoke

    def begin(self, settings: ResponseSettings, trigger: Trigger, session: SessionSettings) -> Response:
        """Begin a response; raises `EventRefused` if it cannot be made now, or its input cannot be."""
        if settings.conversation == "auto" and self.writer is not None:
            raise refusals.active_response(self.writer.id)
        if settings.conversation == "none" and len(self._active) - (self.writer is not None) >= self._most:
            raise refusals.too_many_responses(self._most)
        entries = self._input(settings, session)
        request = ResponseRequest(settings=settings, trigger=trigger, input=entries)
        response = Response(request, self._outbox, self._conversation, self._over)
        self._active[response.id] = response
        self._weights[response.id] = _weight(entries)
        if settings.conversation == "auto":
            self.writer = response
            self.owed = None
            self._idle.stop()
        return response

    def cancel(self, response_id: str | None, now: int) -> None:
        """The client cancels a response; None: the one that writes to the conversation."""
        response = self.writer if response_id is None else self._active.get(response_id)
        if response is None:
            raise refusals.nothing_to_cancel(response_id)
        self._cancel(response, "client_cancelled", now)

    def interrupt(self, now: int) -> None:
        """The caller speaks: what is written to the conversation ends; out of band goes on."""
        if self.writer is not None:
            self._cancel(self.writer, "turn_detected", now)

    def place(self, item_id: str) -> tuple[int, int]:
        """Where the open item of a response stands in it: `output_index` and `content_index`."""
        for response in self._active.values():
            if response.item_id == item_id:
                return response.output_index, 0
        return 0, 0

    def given(self, item_id: str) -> Entry | None:
        """The item of that id among what clients gave responses as their input."""
        for response in self._active.values():
            for entry in response.request.input or ():
                if entry.id == item_id:
                    return entry
        return None

    def _cancel(self, response: Response, reason: CancelReason, now: int) -> None:
        response.end("cancelled", now, reason)
        self._tell(ResponseCancelled(response.id, reason))

    def _over(self, response: Response, now: int) -> None:
        self._spoke = self._spoke or response.spoke
        del self._active[response.id], self._weights[response.id]
        if response is self.writer:
            self.writer = None
            self._idle.answered(now)

    def _input(self, settings: ResponseSettings, session: SessionSettings) -> tuple[Entry, ...] | None:
        """The items that replace the conversation, if any; their audio wants transcripts."""
        if settings.input is None:
            return None
        form = session.input_format
        entries: list[Entry] = []
        sounds: list[tuple[str, bytes]] = []
        for index, given in enumerate(settings.input):
            param = f"response.input[{index}]"
            if isinstance(given, ItemReference):
                entry = self._conversation.get(given.id)
                if entry is None:
                    raise refusals.unknown_reference(given.id, param)
            else:
                entry = entry_of(given, self._conversation)
                sounds.append((entry.id, audio_of(given, form, param)))
            entries.append(entry)
        weight, most = _weight(entries) + sum(self._weights.values()), self._conversation.most_weight
        if weight > most:
            raise refusals.input_too_large(weight, most)
        self._audio.admit(*(len(audio) for _, audio in sounds))
        for item_id, audio in sounds:
            self._audio.hand_on(item_id, audio, form)
        return tuple(entries)


def _weight(entries: Iterable[Entry] | None) -> int:
    return sum(entry.weight for entry in entries or ())
