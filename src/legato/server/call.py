"""One caller as an agent sees them: implements `agents.base.Call` over a line.

Owns what is heard from the caller and waits to be read, and who is told what the dialogue asks for. It must
not know which agent answers, nor the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from legato._inbox import Inbox
from legato.agents.base import Content, ResponseContent, ToolSet, Utterance
from legato.agents.stages.base import TextToSpeech
from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.dialects.realtime.carried import CarriedDialogue
from legato.core.dialects.realtime.dialogue_events import (
    DialogueEvent,
    Interrupted,
    Opening,
    ResponseCancelled,
    SettingsChanged,
    Truncated,
)
from legato.core.dialects.realtime.response import Response
from legato.core.dialects.realtime.vocabulary import CLIENT_EVENTS
from legato.core.errors import LocalProtocolError
from legato.core.events import AudioReceived, GapReported
from legato.core.wire.codes import SessionCode
from legato.server.line import Line
from legato.server.live_dialogue import LiveDialogue
from legato.server.speaking import Speaker

__all__ = ["UNREAD_EVENTS", "ServerCall"]

UNREAD_EVENTS = 1000
"""Events kept for an agent that does not read them; beyond that the oldest go."""

UNREAD_EVENT_BYTES = 1 << 20
"""What these events may weigh together; the latest one is kept whatever its size."""

UNREAD_PIECES = 20_000
"""Frames and gaps kept for an agent that does not read them: more than 30 s of the shortest frames there
are, so that only a caller who sends crumbs gets that far."""

UNREAD_REQUESTS = 10_000
"""Requests kept for an agent that takes them; one that lets more wait has stopped working."""


class ServerCall:
    """A call in progress. The door it came through feeds it; the agent uses it."""

    __slots__ = (
        "_asked", "_audio", "_event_bytes", "_event_sizes", "_events", "_fixed_formats", "_hear",
        "_line", "_put_audio", "_reactions", "_requests", "dialogue", "id", "input_format",
        "origin", "output_format", "rebuilt", "speaker", "tools", "voice",
    )  # fmt: skip

    voice: TextToSpeech | None

    def __init__(
        self,
        opening: Opening,
        line: Line,
        formats: tuple[AudioFormat, AudioFormat],
        tools: ToolSet | None = None,
    ) -> None:
        """Make the call that `opening` begins, with its (input, output) formats."""
        self.id = opening.session_id
        self.input_format, self.output_format = formats
        self.origin = opening.origin
        """Position of the caller's first sample in this call."""
        self.rebuilt = opening.carried is not None
        self.tools = tools or ToolSet()
        self.voice = None
        self._line = line
        self._asked = opening.answers
        self._fixed_formats = opening.formats is not None
        self.dialogue = LiveDialogue(opening, line, self._react)
        self.speaker = Speaker(line, self.dialogue, self.output_format, opening.new_id)
        self._audio: Inbox[AudioFrame | AudioGap] = Inbox(self._taken)
        # Bound once: they are called for every frame.
        self._put_audio = self._audio.put
        self._hear = self.dialogue.hear
        self._events: Inbox[dict[str, Any]] = Inbox(self._event_taken)
        self._event_sizes: deque[int] = deque()
        self._event_bytes = 0
        self._requests: Inbox[DialogueEvent] = Inbox()
        self._reactions: dict[type, Callable[[Any], None]] = {
            Interrupted: lambda _: self.speaker.interrupt(),
            ResponseCancelled: self.speaker.response_cancelled,
            Truncated: self.speaker.truncated,
            SettingsChanged: self._settings_changed,
        }

    @property
    def audio(self) -> AsyncIterator[AudioFrame | AudioGap]:
        """Return what the caller says, in order."""
        return self._audio

    @property
    def events(self) -> AsyncIterator[dict[str, Any]]:
        """Return what the caller sends beside audio."""
        return self._events

    @property
    def requests(self) -> AsyncIterator[DialogueEvent]:
        """Return what the conversation asks of the agent."""
        return self._requests

    def say(self, content: Content) -> Utterance:
        """Say `content` after everything said before it."""
        if content is self._audio:
            return self.speaker.pass_on(self._audio)
        return self.speaker.say(content, self.voice)

    def respond(self, response: Response, content: ResponseContent) -> Utterance:
        """Give `response` its content."""
        return self.speaker.respond(response, content)

    def interrupt(self) -> None:
        """Fall silent."""
        self.speaker.interrupt()

    def send(self, event: dict[str, Any]) -> None:
        """Send the caller one event."""
        kind = event.get("type")
        if not isinstance(kind, str) or kind.startswith("legato."):
            raise LocalProtocolError(f'an event needs a "type" that is not legato.*, not {kind!r}')
        self.dialogue.say(event)

    # What the door tells

    def open(self) -> None:
        """Begin the conversation: the caller can be spoken to."""
        self.dialogue.settle()

    def hear_audio(self, event: AudioReceived) -> None:
        """Put audio where the agent reads it."""
        frame = event.frame
        self._hear(frame.payload, frame.samples)
        if self._put_audio(frame) > UNREAD_PIECES:
            self._refuse_more()

    def hear_gap(self, event: GapReported) -> None:
        """Put the news of lost audio where the agent reads it."""
        self._hear(b"", event.gap.samples)
        if self._put_audio(event.gap) > UNREAD_PIECES:
            self._refuse_more()

    def receive(self, event: dict[str, Any], allowed: frozenset[str] | None = None) -> None:
        """Take an event, of which types its sender may send those that are `allowed` (None: all): it is the
        dialogue's business, and may be the agent's.

        What the dialogue does not know may be something between a client and its agent, unless the agent
        wants nothing but requests.
        """
        refused = allowed is not None and event["type"] not in allowed
        if not refused:
            self._keep(event)
        if refused or self._asked or event["type"] in CLIENT_EVENTS:
            self.dialogue.receive(event, allowed)

    def carry(self) -> CarriedDialogue:
        """The conversation as it stands, for another server: what the agent has not read is not part of
        it."""
        oldest = self._audio.oldest
        if oldest is None:
            return self.dialogue.carry(self.dialogue.position)
        start = oldest.offset if isinstance(oldest, AudioFrame) else oldest.start
        return self.dialogue.carry(start - self.origin)

    @property
    def unread(self) -> int:
        """Return how many pieces of audio the agent has not taken yet."""
        return len(self._audio)

    def end(self) -> None:
        """End the call for the agent: iterations stop, utterances settle."""
        self._audio.close()
        self._events.close()
        self._requests.close()
        self.speaker.end()
        self.dialogue.end()

    def _refuse_more(self) -> None:
        self._line.session.close(
            SessionCode.LIMIT_EXCEEDED, "too many pieces of audio wait", self._line.clock()
        )

    def _keep(self, event: dict[str, Any]) -> None:
        """Put an event where the agent reads it."""
        size = len(msgspec.json.encode(event))
        self._event_sizes.append(size)
        self._event_bytes += size
        self._events.put(event)
        while len(self._events) > 1 and (
            len(self._events) > UNREAD_EVENTS or self._event_bytes > UNREAD_EVENT_BYTES
        ):
            self._events.drop_oldest()
            self._event_bytes -= self._event_sizes.popleft()

    def _event_taken(self, _event: dict[str, Any]) -> None:
        self._event_bytes -= self._event_sizes.popleft()

    def _taken(self, item: AudioFrame | AudioGap) -> None:
        if type(item) is AudioFrame and self._line.session.consumed(item.samples, len(item.payload)):
            self._line.settle()

    def _react(self, wish: DialogueEvent) -> None:
        """Do what the dialogue asks for, or ask the agent."""
        reaction = self._reactions.get(type(wish))
        if reaction is not None:
            reaction(wish)
        if self._asked and not isinstance(wish, Interrupted | Truncated):
            self._requests.put(wish)
            if len(self._requests) > UNREAD_REQUESTS:
                self._line.session.close(
                    SessionCode.LIMIT_EXCEEDED, "too many requests wait", self._line.clock()
                )

    def _settings_changed(self, change: SettingsChanged) -> None:
        """Take over the formats of the session, which change before any audio only."""
        if not self._fixed_formats:
            self.input_format = change.settings.input_format
            self.output_format = self.speaker.form = change.settings.output_format
