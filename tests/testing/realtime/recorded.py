"""One session as a server of the Realtime API tells it: a spoken turn, a tool call, a written aside."""

import copy
import itertools
from typing import Any

from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.wire.messages import JsonObject

SESSION = SessionSettings.of(model="m").as_json("sess_1", 1_700_000_000)


def session() -> list[JsonObject]:
    """All its events, with fresh identifiers."""
    numbers = itertools.count()
    events = [*opening(), *spoken_turn(), *answer(), *aside(), *afterwards()]
    return [{"event_id": f"event_{next(numbers)}", **copy.deepcopy(event)} for event in events]


def event(kind: str, **members: Any) -> JsonObject:
    return {"type": kind, **members}


def opening() -> list[JsonObject]:
    conversation = {"id": "conv_1", "object": "realtime.conversation"}
    return [
        event("session.created", session=SESSION),
        event("conversation.created", conversation=conversation),
        event("session.updated", session=SESSION),
    ]


def spoken_turn() -> list[JsonObject]:
    content = [{"type": "input_audio", "transcript": None}]
    item = {"id": "item_1", "object": "realtime.item", "type": "message", "status": "completed"}
    item |= {"role": "user", "content": content}
    words = {"item_id": "item_1", "content_index": 0}
    transcription = "conversation.item.input_audio_transcription."
    return [
        event("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=100),
        event(transcription + "delta", delta="What is", **words),
        event("input_audio_buffer.speech_stopped", item_id="item_1", audio_end_ms=900),
        event("input_audio_buffer.committed", item_id="item_1", previous_item_id=None),
        event("conversation.item.added", item=item, previous_item_id=None),
        event("conversation.item.done", item=item, previous_item_id=None),
        event(transcription + "delta", delta=" it?", **words),
        event(
            transcription + "completed",
            transcript="What is it?",
            usage={"type": "duration", "seconds": 0.8},
            **words,
        ),
    ]


def answer() -> list[JsonObject]:
    about = {"response_id": "resp_1", "output_index": 0, "item_id": "item_2", "content_index": 0}
    begun = {"id": "item_2", "object": "realtime.item", "type": "message", "role": "assistant"}
    begun |= {"status": "in_progress", "content": []}
    content = [{"type": "output_audio", "transcript": "Let me look."}]
    said = {**begun, "status": "completed", "content": content}
    audio = [
        event("response.output_audio_transcript.delta", delta="Let me ", **about),
        event("response.output_audio.delta", delta="AAAA", **about),
        event("response.output_audio_transcript.delta", delta="look.", **about),
        event("response.output_audio.done", **about),
        event("response.output_audio_transcript.done", transcript="Let me look.", **about),
    ]
    message = [
        event("response.output_item.added", response_id="resp_1", output_index=0, item=begun),
        event("conversation.item.added", item=begun, previous_item_id="item_1"),
        event("response.content_part.added", part={"type": "audio", "transcript": ""}, **about),
        *audio,
        event("response.content_part.done", part={"type": "audio", "transcript": "Let me look."}, **about),
        event("response.output_item.done", response_id="resp_1", output_index=0, item=said),
        event("conversation.item.done", item=said, previous_item_id="item_1"),
    ]
    call, called = tool_call()
    return [
        event("response.created", response=response("in_progress", [])),
        *message,
        *call,
        event("response.done", response=response("completed", [said, called])),
    ]


def tool_call() -> tuple[list[JsonObject], JsonObject]:
    about = {"response_id": "resp_1", "output_index": 1, "item_id": "item_3", "call_id": "call_1"}
    begun = {"id": "item_3", "object": "realtime.item", "type": "function_call", "status": "in_progress"}
    begun |= {"name": "look", "call_id": "call_1", "arguments": ""}
    called = {**begun, "status": "completed", "arguments": '{"at":1}'}
    arguments = "response.function_call_arguments."
    return [
        event("response.output_item.added", response_id="resp_1", output_index=1, item=begun),
        event("conversation.item.added", item=begun, previous_item_id="item_2"),
        event(arguments + "delta", delta='{"at"', **about),
        event(arguments + "delta", delta=":1}", **about),
        event(arguments + "done", arguments='{"at":1}', name="look", **about),
        event("response.output_item.done", response_id="resp_1", output_index=1, item=called),
        event("conversation.item.done", item=called, previous_item_id="item_2"),
    ], called


def aside() -> list[JsonObject]:
    """A written response out of band."""
    about = {"response_id": "resp_2", "output_index": 0, "item_id": "item_4", "content_index": 0}
    begun = {"id": "item_4", "object": "realtime.item", "type": "message", "role": "assistant"}
    begun |= {"status": "in_progress", "content": []}
    said = {**begun, "status": "incomplete", "content": [{"type": "output_text", "text": "A que"}]}
    place = {"response_id": "resp_2", "output_index": 0}
    ended = response("cancelled", [said], "client_cancelled")
    return [
        event("response.created", response={**response("in_progress", []), **APART}),
        event("response.output_item.added", item=begun, **place),
        event("response.content_part.added", part={"type": "text", "text": ""}, **about),
        event("response.output_text.delta", delta="A que", **about),
        event("response.output_text.done", text="A que", **about),
        event("response.content_part.done", part={"type": "text", "text": "A que"}, **about),
        event("response.output_item.done", item=said, **place),
        event("response.done", response={**ended, **APART}),
    ]


APART = {"id": "resp_2", "conversation_id": None}


def afterwards() -> list[JsonObject]:
    """What was heard of the answer, a tool's output, a silence that timed out, and an item deleted."""
    output = {"id": "item_5", "object": "realtime.item", "type": "function_call_output", "call_id": "call_1"}
    output |= {"output": "4", "status": "completed"}
    silence = {"id": "item_6", "object": "realtime.item", "type": "message", "role": "user"}
    silence |= {"status": "completed", "content": [{"type": "input_audio", "transcript": None}]}
    refusal = {
        "type": "invalid_request_error",
        "code": "x",
        "message": "No.",
        "param": None,
        "event_id": "e1",
    }
    failed = {"type": "server_error", "code": "x", "message": "No words.", "param": None}
    buffer, failure = "input_audio_buffer.", "conversation.item.input_audio_transcription.failed"
    return [
        event("conversation.item.truncated", item_id="item_2", content_index=0, audio_end_ms=0),
        event("conversation.item.retrieved", item=output | {"id": "item_1", "type": "function_call_output"}),
        event("error", error=refusal),
        event("conversation.item.added", item=output, previous_item_id="item_1"),
        event("conversation.item.done", item=output, previous_item_id="item_1"),
        event(buffer + "timeout_triggered", item_id="item_6", audio_start_ms=900, audio_end_ms=5_900),
        event(buffer + "committed", item_id="item_6", previous_item_id="item_3"),
        event("conversation.item.added", item=silence, previous_item_id="item_3"),
        event("conversation.item.done", item=silence, previous_item_id="item_3"),
        event(failure, item_id="item_6", content_index=0, error=failed),
        event("conversation.item.deleted", item_id="item_5"),
        event(buffer + "speech_started", item_id="item_7", audio_start_ms=6_000),
        event(buffer + "cleared"),
    ]


def response(status: str, output: list[JsonObject], reason: str | None = None) -> JsonObject:
    """A `response` object."""
    details: JsonObject | None = None if status == "in_progress" else {"type": status}
    if details is not None and reason is not None:
        details["reason"] = reason
    spoken = {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "default"}
    return {
        "id": "resp_1",
        "object": "realtime.response",
        "status": status,
        "status_details": details,
        "output": output,
        "output_modalities": ["audio"],
        "conversation_id": "conv_1",
        "max_output_tokens": "inf",
        "audio": {"output": spoken},
        "metadata": None,
        "usage": None,
    }
