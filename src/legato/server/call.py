"""One caller as an agent sees them: implements `agents.base.Call` over a session driver.

Owns what is heard from the caller and waits to be read. It must not know which agent answers, nor the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from legato._inbox import Inbox
from legato.agents.base import Content, ToolSet, Utterance
from legato.agents.stages.base import TextToSpeech
from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.errors import LocalProtocolError
from legato.core.events import AudioReceived, GapReported
from legato.core.server_session import ServerSession
from legato.core.wire.codes import SessionCode
from legato.server.speaking import Speaker
from legato.session_driver import SessionDriver

__all__ = ["UNREAD_EVENTS", "ServerCall"]

UNREAD_EVENTS = 1000
"""Events kept for an agent that does not read them; beyond that the oldest go."""

UNREAD_EVENT_BYTES = 1 << 20
"""What these events may weigh together; the latest one is kept whatever its size."""


UNREAD_PIECES = 20_000
"""Frames and gaps kept for an agent that does not read them: more than 30 s of the shortest frames there
are, so
that only a caller who sends crumbs gets that far."""


class ServerCall:
    """A call in progress. The session's owner feeds it; the agent uses it."""

    voice: TextToSpeech | None

    def __init__(
        self,
        call_id: str,
        driver: SessionDriver,
        formats: tuple[AudioFormat, AudioFormat],
        new_id: Callable[[str], str],
        tools: ToolSet | None = None,
    ) -> None:
        """Make the call `call_id` with its (input, output) formats."""
        assert isinstance(driver.session, ServerSession)
        self.id = call_id
        self.input_format, self.output_format = formats
        self.tools = tools or ToolSet()
        self.voice = None
        self.speaker = Speaker(driver, self.output_format, new_id)
        self._driver = driver
        self._session = driver.session
        self._audio: Inbox[AudioFrame | AudioGap] = Inbox(self._taken)
        self._events: Inbox[dict[str, Any]] = Inbox(self._event_taken)
        self._event_sizes: deque[int] = deque()
        self._event_bytes = 0

    @property
    def audio(self) -> AsyncIterator[AudioFrame | AudioGap]:
        """Return what the caller says, in order."""
        return self._audio

    @property
    def events(self) -> AsyncIterator[dict[str, Any]]:
        """Return what the caller sends beside audio."""
        return self._events

    def say(self, content: Content) -> Utterance:
        """Say `content` after everything said before it."""
        return self.speaker.say(content, self.voice)

    def interrupt(self) -> None:
        """Fall silent."""
        self.speaker.interrupt()

    def send(self, event: dict[str, Any]) -> None:
        """Send the caller one event."""
        kind = event.get("type")
        if not isinstance(kind, str) or kind.startswith("legato."):
            raise LocalProtocolError(f'an event needs a "type" that is not legato.*, not {kind!r}')
        if not self._driver.over:
            self._session.send_event(event, self._driver.clock())
            self._driver.settle()

    def hear_audio(self, event: AudioReceived) -> None:
        """Put audio where the agent reads it."""
        self._hear(event.frame)

    def hear_gap(self, event: GapReported) -> None:
        """Put the news of lost audio where the agent reads it."""
        self._hear(event.gap)

    def _hear(self, item: AudioFrame | AudioGap) -> None:
        self._audio.put(item)
        if len(self._audio) > UNREAD_PIECES:
            self._session.close(
                SessionCode.LIMIT_EXCEEDED, "too many pieces of audio wait", self._driver.clock()
            )

    def receive(self, event: dict[str, Any]) -> None:
        """Put a caller's event where the agent reads it."""
        size = len(msgspec.json.encode(event))
        self._event_sizes.append(size)
        self._event_bytes += size
        self._events.put(event)
        while len(self._events) > 1 and (
            len(self._events) > UNREAD_EVENTS or self._event_bytes > UNREAD_EVENT_BYTES
        ):
            self._events.drop_oldest()
            self._event_bytes -= self._event_sizes.popleft()

    def end(self) -> None:
        """End the call for the agent: iterations stop, utterances settle."""
        self._audio.close()
        self._events.close()
        self.speaker.end()

    def _event_taken(self, _event: dict[str, Any]) -> None:
        self._event_bytes -= self._event_sizes.popleft()

    def _taken(self, item: AudioFrame | AudioGap) -> None:
        if type(item) is AudioFrame and not self._driver.over:
            self._session.consumed(item.samples, len(item.payload))
