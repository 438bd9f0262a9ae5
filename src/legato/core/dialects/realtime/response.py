"""One response: its items and parts, announced in the order the OpenAI Realtime API prescribes.

Owns what may be said when; the legal moves are in `states.py`. Must not know who makes the content, nor how
audio travels: `response.output_audio.delta` is written by whoever sends the audio.

    response.created
      response.output_item.added, conversation.item.added            for each item, one after the other
        response.content_part.added                                  a message
          response.output_audio.delta, …_audio_transcript.delta      or response.output_text.delta
          response.output_audio.done, …_audio_transcript.done        or response.output_text.done
        response.content_part.done
        response.function_call_arguments.delta … .done               a function call
      response.output_item.done, conversation.item.done
    response.done

The `done` events are said whatever ends the response. Out of band (`conversation` "none") there are no
`conversation.*` events. Once a response is over its operations do nothing: they overtake a maker of content
and are no mistake. An operation at the wrong place raises `LocalProtocolError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from legato.core.dialects.realtime.entry import Entry
    from legato.core.dialects.realtime.session_settings import ResponseSettings
    from legato.core.dialects.realtime.usage import Usage

Trigger = Literal["client", "turn", "idle", "agent"]
"""Who caused a response: a `response.create`, the end of the caller's turn, their silence, the agent."""

EndStatus = Literal["completed", "cancelled", "incomplete", "failed"]
EndReason = Literal["turn_detected", "client_cancelled", "max_output_tokens", "content_filter"]


class Failure(msgspec.Struct, frozen=True):
    """Why a response failed, for the client to read."""

    message: str
    code: str = "agent_error"
    type: str = "server_error"


class ResponseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a response: `settings` are in force for it; `input` replaces the conversation as its
    context; `conversation` "none" is out of band: parallel to others, not added to the conversation."""

    settings: ResponseSettings
    trigger: Trigger
    conversation: Literal["auto", "none"] = "auto"
    input: tuple[Entry, ...] | None = None
    metadata: dict[str, str] | None = None


class Response:
    """A response in progress."""

    id: str
    request: ResponseRequest

    @property
    def over(self) -> bool:
        """Whether it has ended; nothing it is asked to do has an effect then."""
        raise NotImplementedError

    @property
    def output_index(self) -> int:
        """The place of the open, or else the last, item among the items of this response; -1 before any."""
        raise NotImplementedError

    def open_message(self) -> str:
        """Begin a message, spoken or written as the request's `output_modalities` say; ends the item before
        it. Returns the item's id (also if the response is over)."""
        raise NotImplementedError

    def transcript(self, text: str, at_sample: int) -> None:
        """Add text whose sound begins at sample `at_sample` of the open spoken message."""
        raise NotImplementedError

    def text(self, delta: str) -> None:
        """Add to the open written message."""
        raise NotImplementedError

    def audio_sent(self, samples: int) -> None:
        """Count samples of the open spoken message that were given to the caller."""
        raise NotImplementedError

    def function_call(self, call_id: str, name: str) -> str:
        """Begin a call of a function by the client; ends the item before it. Returns the item's id."""
        raise NotImplementedError

    def arguments(self, delta: str) -> None:
        """Add to the arguments of the open function call."""
        raise NotImplementedError

    def end_item(self) -> None:
        """The open item is complete; does nothing if none is open."""
        raise NotImplementedError

    def end(
        self,
        status: EndStatus,
        now: int,
        reason: EndReason | None = None,
        error: Failure | None = None,
        usage: Usage | None = None,
    ) -> None:
        """End the open item and the response. With a status other than "completed" the open item is
        "incomplete"."""
        raise NotImplementedError
