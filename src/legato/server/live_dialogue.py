"""A call's dialogue at work: implements `agents.base.CallDialogue` over the sans-IO one.

Owns time, and the way of the dialogue's events to the caller and to those who attend. It must not know what
the agent makes of a request, nor what is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from legato._alarm import Alarm
from legato.core.dialects.realtime.dialogue import Dialogue, DialogueEvent, Opening
from legato.core.dialects.realtime.items import Item
from legato.core.dialects.realtime.response import Response, ResponseRequest, Trigger
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.server.line import Line

__all__ = ["LiveDialogue"]

Listener = Callable[[dict[str, Any]], None]


class LiveDialogue:
    """Keeps a dialogue settled: after every operation its events have left and its deadline is set."""

    __slots__ = (
        "_alarm", "_dialogue", "_line", "_listeners", "_react", "_settling", "carry", "hear",
        "keep_audio", "output_place", "spoken",
    )  # fmt: skip

    def __init__(self, opening: Opening, line: Line, react: Callable[[DialogueEvent], None]) -> None:
        """Begin a dialogue on `line`, silently until the first `settle`; `react` is told what it asks for."""
        self._line = line
        self._react = react
        self._listeners: list[Listener] = []
        self._settling = False
        self._alarm = Alarm(line.clock, self._on_deadline)
        self._dialogue = Dialogue(opening, line.clock())
        self.hear = self._dialogue.hear
        """Counts (and keeps) input audio; nothing follows from it at once."""
        self.carry = self._dialogue.carry
        self.spoken = self._dialogue.spoken
        self.output_place = self._dialogue.output_place
        self.keep_audio = self._dialogue.keep_audio

    @property
    def settings(self) -> SessionSettings:
        """Return the settings in force."""
        return self._dialogue.settings

    @property
    def position(self) -> int:
        """Return how many samples of input were heard."""
        return self._dialogue.position

    @property
    def writing(self) -> bool:
        """Return whether a response is being written to the conversation."""
        return self._dialogue.writing

    def attend(self, listener: Listener) -> Callable[[], None]:
        """Let `listener` have every event that the caller is sent; returns how to stop that."""
        self._listeners.append(listener)

        def leave() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return leave

    def receive(self, event: dict[str, Any], allowed: frozenset[str] | None = None) -> None:
        """Take a client's event, if its type is `allowed` (None: all are)."""
        self._dialogue.receive(event, self._line.clock(), allowed)
        self.settle()

    def context(self, request: ResponseRequest) -> list[Item]:
        """Return what a model is to see."""
        return self._dialogue.context(request)

    def speech_started(self, position: int) -> str:
        """Note that speech began."""
        item = self._dialogue.speech_started(position, self._line.clock())
        self.settle()
        return item

    def speech_stopped(self, position: int) -> None:
        """Note that speech ended."""
        self._dialogue.speech_stopped(position, self._line.clock())
        self.settle()

    def transcript_delta(self, item_id: str, text: str) -> None:
        """Pass on what is being recognised."""
        self._dialogue.transcript_delta(item_id, text, self._line.clock())
        self.settle()

    def transcript_done(self, item_id: str, text: str, seconds: float) -> None:
        """Pass on what was recognised."""
        self._dialogue.transcript_done(item_id, text, seconds, self._line.clock())
        self.settle()

    def transcript_failed(self, item_id: str, message: str) -> None:
        """Pass on that nothing could be recognised."""
        self._dialogue.transcript_failed(item_id, "transcription_failed", message, self._line.clock())
        self.settle()

    def begin_response(self, trigger: Trigger = "turn") -> Response | None:
        """Begin a response, unless one is being written."""
        response = self._dialogue.begin_response(trigger, self._line.clock())
        self.settle()
        return response

    def playback_ends(self, at: int | None) -> None:
        """Note when the caller will have heard everything sent so far; None: they have."""
        self._dialogue.playback_ends(at, self._line.clock())
        # Nothing is said about it, many times a second: only the deadline moves.
        if not self._settling:
            self._arm()

    def say(self, event: dict[str, Any]) -> None:
        """Send an event that is not the dialogue's, in order with those that are."""
        self.settle()
        self._send(event)
        self._line.settle()

    def settle(self) -> None:
        """Send what the dialogue says, do what it asks for, arm its deadline."""
        if self._settling or self._line.over:
            return
        self._settling = True
        try:
            # What is said goes first: a caller hears of their interruption before anything is flushed.
            while (said := self._dialogue.outputs()) or (asked := self._dialogue.events()):
                for event in said:
                    self._send(event)
                if said:
                    self._line.settle()
                    continue
                for wish in asked:
                    self._react(wish)
        finally:
            self._settling = False
        self._arm()

    def end(self) -> None:
        """Stop waiting for anything: the call is over."""
        self._alarm.set(None)
        self._listeners.clear()

    def _send(self, event: dict[str, Any]) -> None:
        if not self._line.over:
            self._line.session.send_event(event, self._line.clock())
        for listener in tuple(self._listeners):
            listener(event)

    def _arm(self) -> None:
        deadline = self._dialogue.next_deadline()
        if deadline != self._alarm.at:
            self._alarm.set(deadline)

    def _on_deadline(self) -> None:
        self._dialogue.on_deadline(self._line.clock())
        self.settle()
