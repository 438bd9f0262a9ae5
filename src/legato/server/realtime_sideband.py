"""A second connection to a call in progress: sees its events, may send some, carries no audio.

Owns that connection: what a call's own server uses to watch and steer a call that a browser or phone made.
It must not know how it was let in, nor how the call travels.
"""

from __future__ import annotations

import msgspec

from legato.core.dialects.realtime.compat_session import read_event
from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.vocabulary import CLIENT_EVENTS, SERVER_EVENTS
from legato.core.wire.messages import JsonObject
from legato.server.auth import Grant
from legato.server.sessions import LiveCall, new_id
from legato.transports.base import CloseSource
from legato.transports.messages import NORMAL
from legato.transports.websocket import WebSocketConnection

__all__ = ["Sideband"]

_encode = msgspec.json.Encoder().encode


def receive(live: LiveCall, event: JsonObject, sender: Grant) -> None:
    """Give a client's event to its call. What the API does not know is refused there: clients of this kind
    have no events of their own to share with an agent."""
    if event["type"] in CLIENT_EVENTS:
        live.call.receive(event, sender.permissions)
    else:
        live.call.dialogue.receive(event, sender.permissions)


class Sideband:
    """One attached connection; its `MessageHandler`."""

    def __init__(self, live: LiveCall, grant: Grant) -> None:
        """Attach to `live` with what `grant` allows."""
        self._live = live
        self._grant = grant

    def bind(self, connection: WebSocketConnection) -> Sideband:
        """Begin to show the call's events, the session as it is now first."""
        self._connection = connection
        session = self._live.call.dialogue.settings.as_json(self._live.id)
        self._say({"type": "session.created", "session": session})
        self._stop = self._live.attend(self._say, self._ended)
        return self

    def message(self, data: str | bytes) -> None:
        """Pass an event on to the call; what is wrong with it is told here."""
        try:
            if isinstance(data, bytes):
                raise EventRefused("invalid_message", "Send text messages: each one event, as a JSON object.")
            event = read_event(data)
            self._check(event)
        except EventRefused as refusal:
            self._say({"type": "error", "error": refusal.as_error()})
            return
        receive(self._live, event, self._grant)

    def drained(self) -> None:
        """Do nothing: what is shown is not made for this connection, and what waits is bounded."""

    def closed(self, by: CloseSource, code: int, reason: str) -> None:
        """Let go of the call, which goes on."""
        self._stop()

    def _check(self, event: JsonObject) -> None:
        kind, event_id = event.get("type"), event.get("event_id")
        if kind == "input_audio_buffer.append":
            refusal = EventRefused(
                "event_not_allowed", "The call's audio comes on its own connection, not on this one.", "type"
            )
            refusal.event_id = event_id if isinstance(event_id, str) else None
            raise refusal

    def _say(self, event: JsonObject) -> None:
        if event.get("type") in SERVER_EVENTS:
            if "event_id" not in event:
                event = {**event, "event_id": new_id("event")}
            self._connection.send_text(_encode(event))

    def _ended(self) -> None:
        self._connection.close(NORMAL, "the call is over")
