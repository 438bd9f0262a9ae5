"""The events about a response, in the order in which they come."""

MESSAGE_BEGINS = ["response.output_item.added", "conversation.item.added", "response.content_part.added"]
AUDIO_ENDS = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
]
TEXT_ENDS = ["response.output_text.done", *AUDIO_ENDS[2:]]
CALL = [
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "conversation.item.done",
]
