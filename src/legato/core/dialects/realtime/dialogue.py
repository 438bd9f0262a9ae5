"""The conversation of one call in the terms of the OpenAI Realtime API: the state machine of the dialect.

Owns the session's settings, the conversation, the input buffer, turns and responses, and every server event
about them but the audio itself. Must not know transports, agents, codecs or clocks.

The contract is that of `legato.core.session`: inputs tell what happened, operations what the owner wants,
times are passed in (microseconds). After each of them look at `outputs()` and `events()` in order, and call
`on_deadline(now)` when `next_deadline()` is reached. Whatever a client sends never raises: a refusal is an
`error` event that names the event it answers, and the session lives on. An operation that is not allowed
raises `LocalProtocolError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from legato.core.dialects.realtime.dialogue_events import DialogueEvent, Opening
from legato.core.dialects.realtime.items import Item
from legato.core.dialects.realtime.response import Response, ResponseRequest, Trigger
from legato.core.wire.messages import JsonObject

if TYPE_CHECKING:
    from legato.core.dialects.realtime.session_settings import SessionSettings

__all__ = ["Dialogue", "DialogueEvent", "Opening"]


class Dialogue:
    """One call's conversation; see the module's first lines for its contract."""

    def __init__(self, opening: Opening, now: int) -> None:
        raise NotImplementedError

    @property
    def settings(self) -> SessionSettings:
        """The settings in force."""
        raise NotImplementedError

    @property
    def position(self) -> int:
        """Samples of input heard since the session began."""
        raise NotImplementedError

    def outputs(self) -> list[JsonObject]:
        """Server events to send, in order; the list is the caller's and the next call starts anew."""
        raise NotImplementedError

    def events(self) -> list[DialogueEvent]:
        """What the owner has to do, in order; the list is the caller's and the next call starts anew."""
        raise NotImplementedError

    def next_deadline(self) -> int | None:
        """When `on_deadline` is due, or None while nothing waits for time."""
        raise NotImplementedError

    # Inputs

    def receive(self, event: JsonObject, now: int) -> None:
        """A client event; never raises."""
        raise NotImplementedError

    def hear(self, payload: bytes, samples: int) -> None:
        """Input audio arrived; empty where `samples` are lost for ever."""
        raise NotImplementedError

    def on_deadline(self, now: int) -> None:
        """Time has passed; harmless if nothing is due."""
        raise NotImplementedError

    def playback_ends(self, at: int | None, now: int) -> None:
        """What was sent so far will have been played at that time; None: nothing is left to be played."""
        raise NotImplementedError

    # Findings of the agent

    def speech_started(self, position: int, now: int) -> str:
        """Speech begins at `position`, padding included; returns the id of the item it will become.

        Interrupts the response unless the session says otherwise. While speech goes on already it only
        returns the item; in manual mode it tells nobody.
        """
        raise NotImplementedError

    def speech_stopped(self, position: int, now: int) -> None:
        """Speech ended at `position`: it is committed as an item. Without effect if none goes on, and in
        manual mode."""
        raise NotImplementedError

    def transcript_delta(self, item_id: str, text: str, now: int) -> None:
        """These words were recognised behind those told before; ignored if the item was deleted."""
        raise NotImplementedError

    def transcript_done(self, item_id: str, text: str, seconds: float, now: int) -> None:
        """The words of an item's audio, which lasts `seconds`; ignored if the item was deleted."""
        raise NotImplementedError

    def transcript_failed(self, item_id: str, code: str, message: str, now: int) -> None:
        """An item's audio could not be recognised; ignored if the item was deleted."""
        raise NotImplementedError

    # Responses

    def begin_response(
        self, trigger: Trigger, now: int, overrides: JsonObject | None = None
    ) -> Response | None:
        """Begin a response that no client asked for; None while another one is written to the conversation,
        and in transcription sessions. `overrides` are those of `response.create`; a mistake in them raises
        LocalProtocolError."""
        raise NotImplementedError

    def context(self, request: ResponseRequest) -> list[Item]:
        """What a model is to see for `request`, in order; of spoken answers only what was heard."""
        raise NotImplementedError

    def output_place(self, item_id: str) -> tuple[int, int]:
        """The `output_index` and `content_index` of a spoken message; (0, 0) once it is unknown."""
        raise NotImplementedError

    def keep_audio(self, item_id: str, payload: bytes) -> None:
        """Keep audio of a spoken answer, as it was sent, for `conversation.item.retrieve`."""
        raise NotImplementedError

    def heard(self, item_id: str, samples: int) -> None:
        """The caller has heard that much of a spoken answer; never goes back."""
        raise NotImplementedError
