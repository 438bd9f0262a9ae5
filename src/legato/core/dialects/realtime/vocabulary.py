"""Every event and every setting of the OpenAI Realtime API, and what becomes of it here.

Owns the tables; must not know how an event is read or made. `wire/realtime-coverage.md` is written from
them by `scripts/realtime_coverage.py`.
"""

from typing import Literal, NamedTuple

Treatment = Literal["handled", "passed", "kept", "refused", "never sent"]
"""What becomes of an event or a setting: carried out or sent as the API says; given on to the model; checked,
remembered and shown, without any effect; answered with an error; not part of what this server says."""


class Entry(NamedTuple):
    """One event or setting: its treatment, and a line on what that means."""

    treatment: Treatment
    note: str


CLIENT_EVENTS: dict[str, Entry] = {
    "session.update": Entry("handled", "sparse; answered by `session.updated` with all settings in force"),
    "input_audio_buffer.append": Entry(
        "handled", "15 MiB of base64 at most; refused on native calls, which carry audio beside the events"
    ),
    "input_audio_buffer.commit": Entry("handled", "an error if nothing is in the buffer"),
    "input_audio_buffer.clear": Entry("handled", "answered by `input_audio_buffer.cleared`"),
    "output_audio_buffer.clear": Entry(
        "refused", "for WebRTC and SIP; `response.cancel` and `conversation.item.truncate` do the same here"
    ),
    "conversation.item.create": Entry("handled", "messages, function calls and their outputs; no MCP items"),
    "conversation.item.retrieve": Entry("handled", "the whole item, its audio as far as it is still kept"),
    "conversation.item.truncate": Entry("handled", "cuts audio and transcript at what was heard"),
    "conversation.item.delete": Entry("handled", "answered by `conversation.item.deleted`"),
    "response.create": Entry("handled", "with overrides, out of band, with an input of its own"),
    "response.cancel": Entry("handled", "an error if there is none; the session lives on"),
}
"""What a client may say (`RealtimeClientEvent` of the `openai` package)."""

_MCP = Entry("never sent", "this server calls no MCP servers")
_WEBRTC = Entry("never sent", "for WebRTC and SIP")

SERVER_EVENTS: dict[str, Entry] = {
    "session.created": Entry("handled", "first event of every session"),
    "session.updated": Entry("handled", "all settings in force"),
    "error": Entry("handled", "names the client event it answers; the session lives on"),
    "conversation.created": Entry("handled", "second event of a realtime session"),
    "conversation.item.added": Entry("handled", "with content, or empty when a response begins it"),
    "conversation.item.done": Entry("handled", "the item is final"),
    "conversation.item.created": Entry("never sent", "replaced by `conversation.item.added`"),
    "conversation.item.retrieved": Entry("handled", "answers `conversation.item.retrieve`"),
    "conversation.item.truncated": Entry("handled", "answers `conversation.item.truncate`"),
    "conversation.item.deleted": Entry("handled", "answers `conversation.item.delete`"),
    "conversation.item.input_audio_transcription.delta": Entry("handled", "words as they are recognised"),
    "conversation.item.input_audio_transcription.completed": Entry("handled", "usage by duration"),
    "conversation.item.input_audio_transcription.failed": Entry("handled", "names the item"),
    "conversation.item.input_audio_transcription.segment": Entry("never sent", "speakers are not told apart"),
    "input_audio_buffer.committed": Entry("handled", "by the client, or when a turn ends"),
    "input_audio_buffer.cleared": Entry("handled", "answers `input_audio_buffer.clear`"),
    "input_audio_buffer.speech_started": Entry("handled", "counts from the first sample of the session"),
    "input_audio_buffer.speech_stopped": Entry("handled", "the committed audio ends there"),
    "input_audio_buffer.timeout_triggered": Entry("handled", "`idle_timeout_ms` after the answer was heard"),
    "input_audio_buffer.dtmf_event_received": Entry("never sent", "for SIP"),
    "output_audio_buffer.started": _WEBRTC,
    "output_audio_buffer.stopped": _WEBRTC,
    "output_audio_buffer.cleared": _WEBRTC,
    "response.created": Entry("handled", "first event of a response"),
    "response.done": Entry("handled", "last event of a response, with its items and usage"),
    "response.output_item.added": Entry("handled", "messages and function calls"),
    "response.output_item.done": Entry("handled", "also when the response was cut short"),
    "response.content_part.added": Entry("handled", "audio or text"),
    "response.content_part.done": Entry("handled", "also when the response was cut short"),
    "response.output_audio.delta": Entry(
        "handled", "over WebSocket; native calls carry audio beside the events"
    ),
    "response.output_audio.done": Entry("handled", "also when the response was cut short"),
    "response.output_audio_transcript.delta": Entry("handled", "the words of the audio"),
    "response.output_audio_transcript.done": Entry("handled", "also when the response was cut short"),
    "response.output_text.delta": Entry("handled", 'with `output_modalities` ["text"]'),
    "response.output_text.done": Entry("handled", "also when the response was cut short"),
    "response.function_call_arguments.delta": Entry("handled", "as the model writes them"),
    "response.function_call_arguments.done": Entry("handled", "the client runs the function"),
    "response.mcp_call_arguments.delta": _MCP,
    "response.mcp_call_arguments.done": _MCP,
    "response.mcp_call.in_progress": _MCP,
    "response.mcp_call.completed": _MCP,
    "response.mcp_call.failed": _MCP,
    "mcp_list_tools.in_progress": _MCP,
    "mcp_list_tools.completed": _MCP,
    "mcp_list_tools.failed": _MCP,
    "rate_limits.updated": Entry(
        "never sent", "limits are those of the key, and told when they are exceeded"
    ),
}
"""What a server may say (`RealtimeServerEvent` of the `openai` package)."""

SETTINGS: dict[str, Entry] = {
    "type": Entry("handled", "`realtime` or `transcription`; fixed once the session exists"),
    "model": Entry("handled", "named when connecting, or by the first update that names one; then fixed"),
    "instructions": Entry("handled", "an empty string clears them"),
    "output_modalities": Entry("handled", "`audio` or `text`, not both"),
    "tools": Entry("handled", "functions that the client runs; MCP tools are refused"),
    "tool_choice": Entry("handled", "`none`, `auto`, `required` or a function; MCP tools are refused"),
    "parallel_tool_calls": Entry("passed", "true unless the client says otherwise"),
    "max_output_tokens": Entry("handled", "1 to 4096, or `inf`"),
    "reasoning": Entry("kept", "`effort`; the model is not told"),
    "truncation": Entry("kept", "`auto`, `disabled` or `retention_ratio`"),
    "tracing": Entry("kept", "once on it cannot be modified"),
    "prompt": Entry("refused", "there are no stored prompt templates; `instructions` take their text"),
    "include": Entry("kept", "no recogniser here reports log probabilities"),
    "audio.input.format": Entry("handled", "`audio/pcm` at 24 kHz, G.711; until the first audio"),
    "audio.input.transcription": Entry("handled", "null: no events about the words; the rest is a hint"),
    "audio.input.noise_reduction": Entry("kept", "near field, far field, strength"),
    "audio.input.turn_detection": Entry("handled", "`server_vad`, `semantic_vad`, or null for manual turns"),
    "audio.output.format": Entry("handled", "as the input's; until the first audio"),
    "audio.output.voice": Entry("handled", "until the first spoken answer"),
    "audio.output.speed": Entry("handled", "0.25 to 1.5, between responses"),
}
"""What a client may set (`session` of `session.update`; a `response.create` may override some of it)."""
