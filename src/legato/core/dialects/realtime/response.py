"""One response: its items and parts, announced in the order the OpenAI Realtime API prescribes.

Owns what may be said when; the legal moves are in `states.py`. Must not know who makes the content, nor how
audio travels: `response.output_audio.delta` is written by whoever sends the audio.

    response.created
      response.output_item.added, conversation.item.added            for each item, one after the other
        response.content_part.added                                  a message
          response.output_audio.delta, ..._audio_transcript.delta    or response.output_text.delta
          response.output_audio.done, ..._audio_transcript.done      or response.output_text.done
        response.content_part.done
        response.function_call_arguments.delta ... .done             a function call
      response.output_item.done, conversation.item.done
    response.done

The `done` events are said whatever ends the response. Out of band (`conversation` "none") there are no
`conversation.*` events. Once a response is over its operations do nothing: they overtake a maker of content
and are no mistake. An operation at the wrong place raises `LocalProtocolError`.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from legato.core.dialects.realtime.conversation import Conversation
from legato.core.dialects.realtime.entry import Entry, Spoken, Written
from legato.core.dialects.realtime.outbox import Outbox
from legato.core.dialects.realtime.session_settings import ResponseSettings
from legato.core.dialects.realtime.spoken_text import SpokenText
from legato.core.dialects.realtime.states import ResponseCause, ResponseState, response_after
from legato.core.dialects.realtime.usage import Usage
from legato.core.errors import LocalProtocolError
from legato.core.wire.messages import JsonObject

Trigger = Literal["client", "turn", "idle", "agent"]
"""Who caused a response: a `response.create`, the end of the caller's turn, their silence, the agent."""

EndStatus = Literal["completed", "cancelled", "incomplete", "failed"]
EndReason = Literal["turn_detected", "client_cancelled", "max_output_tokens", "content_filter"]

_USUAL_REASONS: dict[str, EndReason] = {
    "cancelled": "client_cancelled",
    "incomplete": "max_output_tokens",
}

_WRONG_PLACE = {
    ResponseCause.TRANSCRIPT: "a transcript belongs to a spoken message; open_message first",
    ResponseCause.TEXT: "text belongs to a written message; open_message in a response of modality text",
    ResponseCause.ARGUMENTS: "arguments belong to a function call; function_call first",
}


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
    input: tuple[Entry, ...] | None = None

    @property
    def conversation(self) -> Literal["auto", "none"]:
        """Where the items of the response go."""
        return self.settings.conversation

    @property
    def metadata(self) -> dict[str, str] | None:
        """What the client attached to it."""
        return self.settings.metadata


class Response:
    """A response in progress; `Dialogue` makes them."""

    def __init__(
        self,
        request: ResponseRequest,
        outbox: Outbox,
        conversation: Conversation,
        on_over: Callable[["Response", int], None],
    ) -> None:
        """Begin, and say so; `on_over` is told when it has ended."""
        self.id = outbox.new_id("resp")
        self.request = request
        self._outbox = outbox
        self._conversation = conversation
        self._inside = request.conversation == "auto"
        self._on_over = on_over
        self._state = ResponseState.BETWEEN
        self._entries: list[Entry] = []
        self._output: list[JsonObject] = []
        self._arguments: list[str] = []
        outbox.say("response.created", response=self._as_json("in_progress", None, None))

    @property
    def over(self) -> bool:
        """Whether it has ended; nothing it is asked to do has an effect then."""
        return self._state is ResponseState.OVER

    @property
    def output_index(self) -> int:
        """The place of the open, or else the last, item among the items of this response; -1 before any."""
        return len(self._entries) - 1

    @property
    def item_id(self) -> str | None:
        """The item that is open or was the last one."""
        return self._entries[-1].id if self._entries else None

    @property
    def spoke(self) -> bool:
        """Whether any item of it is spoken."""
        return any(entry.spoken is not None for entry in self._entries)

    def open_message(self, item_id: str | None = None, spoken: SpokenText | None = None) -> str:
        """Begin a message, spoken or written as the request's `output_modalities` say; ends the item before
        it. Returns the item's id.

        Whoever counts the sound of a spoken message gives it its `spoken`; an `item_id` is made unless one
        is given. Raises LocalProtocolError if an item has that id already.
        """
        aloud = "audio" in self.request.settings.output_modalities
        entry = Entry(item_id or self._conversation.new_id(), "message", "assistant")
        if self._open(ResponseCause.OPEN_SPOKEN if aloud else ResponseCause.OPEN_WRITTEN, entry):
            entry.content.append(Spoken(spoken) if aloud else Written("output_text"))
            self._say_of_part("response.content_part.added", part=self._part())
        return entry.id

    def transcript(self, text: str, at_sample: int) -> None:
        """Add text whose sound begins at sample `at_sample` of the open spoken message."""
        if self._move(ResponseCause.TRANSCRIPT) and (delta := self._spoken().add(text, at_sample)):
            self._say_of_part("response.output_audio_transcript.delta", delta=delta)

    def text(self, delta: str) -> None:
        """Add to the open written message."""
        if self._move(ResponseCause.TEXT) and delta:
            part = self._entries[-1].content[0]
            assert isinstance(part, Written)
            part.add(delta)
            self._say_of_part("response.output_text.delta", delta=delta)

    def function_call(self, call_id: str, name: str) -> str:
        """Begin a call of a function by the client; ends the item before it. Returns the item's id."""
        entry = Entry(self._conversation.new_id(), "function_call")
        entry.call_id, entry.name = call_id, name
        self._open(ResponseCause.OPEN_CALL, entry)
        return entry.id

    def arguments(self, delta: str) -> None:
        """Add to the arguments of the open function call."""
        if self._move(ResponseCause.ARGUMENTS) and delta:
            self._arguments.append(delta)
            call_id = self._entries[-1].call_id
            self._say_of_item("response.function_call_arguments.delta", call_id=call_id, delta=delta)

    def end_item(self) -> None:
        """The open item is complete; does nothing if none is open."""
        if self._state not in (ResponseState.BETWEEN, ResponseState.OVER):
            self._close_item(complete=True)

    def end(
        self,
        status: EndStatus,
        now: int,
        reason: EndReason | None = None,
        error: Failure | None = None,
        usage: Usage | None = None,
    ) -> None:
        """End the open item and the response. With a status other than "completed" the open item is
        "incomplete", and what was cancelled will be played no further.

        Without a reason "cancelled" means "client_cancelled" and "incomplete" means "max_output_tokens".
        """
        if self.over:
            return
        if self._state is not ResponseState.BETWEEN:
            self._close_item(complete=status == "completed")
        self._move(ResponseCause.END)
        details: JsonObject | None = None
        if status != "completed":
            details = {"type": status}
            if status != "failed":
                details["reason"] = reason or _USUAL_REASONS[status]
            if error is not None:
                details["error"] = msgspec.to_builtins(error)
        if status == "cancelled":
            for entry in self._entries:
                if entry.spoken is not None:
                    entry.spoken.stopped = True
        self._outbox.say("response.done", response=self._as_json(status, details, usage))
        self._on_over(self, now)

    def _move(self, cause: ResponseCause) -> bool:
        """Change state; False if the response is over. Raises LocalProtocolError at the wrong place."""
        if self.over:
            return False
        after = response_after(self._state, cause)
        if after is None:
            raise LocalProtocolError(_WRONG_PLACE[cause])
        self._state = after
        return True

    def _open(self, cause: ResponseCause, entry: Entry) -> bool:
        if self.over:
            return False
        if entry.id in self._conversation or any(one.id == entry.id for one in self._entries):
            raise LocalProtocolError(
                f"there is an item {entry.id} already; leave the id out to have one made"
            )
        self.end_item()
        self._move(cause)
        entry.status = "in_progress"
        self._entries.append(entry)
        self._arguments.clear()
        self._say_of_response("response.output_item.added", item=entry.as_json())
        if self._inside:
            self._conversation.add(entry)
        return True

    def _close_item(self, complete: bool) -> None:
        entry, state = self._entries[-1], self._state
        if state is ResponseState.SPEAKING:
            spoken = self._spoken()
            spoken.complete = complete
            self._say_of_part("response.output_audio.done")
            self._say_of_part("response.output_audio_transcript.done", transcript=spoken.text)
            self._say_of_part("response.content_part.done", part=self._part())
        elif state is ResponseState.WRITING:
            part = self._part()
            self._say_of_part("response.output_text.done", text=part["text"])
            self._say_of_part("response.content_part.done", part=part)
        else:
            entry.arguments = "".join(self._arguments)
            self._say_of_item(
                "response.function_call_arguments.done",
                call_id=entry.call_id,
                name=entry.name,
                arguments=entry.arguments,
            )
        self._move(ResponseCause.CLOSE_ITEM)
        entry.status = "completed" if complete else "incomplete"
        self._output.append(entry.as_json())
        self._say_of_response("response.output_item.done", item=self._output[-1])
        if self._inside:
            self._conversation.done(entry)

    def as_lost(self) -> JsonObject:
        """What a client is told of it when the server that makes it is gone."""
        error = {"type": "server_error", "code": "server_lost"}
        return self._as_json("failed", {"type": "failed", "error": error}, None)

    def _spoken(self) -> SpokenText:
        spoken = self._entries[-1].spoken
        assert spoken is not None
        return spoken

    def _part(self) -> JsonObject:
        """The open part, in the words that events about parts use."""
        part = self._entries[-1].content[0].as_json()
        return part | {"type": "audio" if part["type"] == "output_audio" else "text"}

    def _say_of_response(self, kind: str, **members: Any) -> None:
        self._outbox.say(kind, response_id=self.id, output_index=self.output_index, **members)

    def _say_of_item(self, kind: str, **members: Any) -> None:
        self._say_of_response(kind, item_id=self._entries[-1].id, **members)

    def _say_of_part(self, kind: str, **members: Any) -> None:
        self._say_of_item(kind, content_index=0, **members)

    def _as_json(self, status: str, details: JsonObject | None, usage: Usage | None) -> JsonObject:
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": self._output[:],
            "conversation_id": self._conversation.id if self._inside else None,
            **self.request.settings.as_json(),
            "usage": None if usage is None else usage.as_json(),
        }
