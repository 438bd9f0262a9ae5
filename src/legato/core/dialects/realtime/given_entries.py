"""Items of a client on their way into the conversation, or into one response.

Owns the translation and the check of their audio. Must not know what becomes of them.
"""

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.conversation import Conversation
from legato.core.dialects.realtime.entry import Captured, Entry, Part, Pictured, Written
from legato.core.dialects.realtime.errors import invalid, unsupported
from legato.core.dialects.realtime.given_items import (
    GivenFunctionCall,
    GivenFunctionOutput,
    GivenItem,
    GivenMessage,
    GivenPart,
)


def entry_of(given: GivenItem, conversation: Conversation) -> Entry:
    """The item, with ids where the client left them out."""
    item_id = given.id or conversation.new_id()
    if isinstance(given, GivenMessage):
        entry = Entry(item_id, "message", given.role)
        entry.content.extend(_part(part) for part in given.content)
    elif isinstance(given, GivenFunctionCall):
        entry = Entry(item_id, "function_call")
        entry.call_id, entry.name = given.call_id or conversation.new_id("call"), given.name
        entry.arguments = given.arguments
    else:
        entry = Entry(item_id, "function_call_output")
        entry.call_id, entry.output = given.call_id, given.output
    return entry


def audio_of(given: GivenItem, form: AudioFormat, param: str) -> bytes:
    """All audio of an item, empty if it has none; raises `EventRefused` unless it is audio of `form`."""
    if isinstance(given, GivenFunctionCall | GivenFunctionOutput):
        return b""
    audio = b"".join(part.audio for part in given.content)
    if audio and form.bytes_per_sample is None:
        raise unsupported(
            param, f"Audio of this call is {form.codec}, which an item cannot hold; send its words as text."
        )
    try:
        if audio:
            form.samples(audio)
    except ValueError as error:
        raise invalid(param, f"{error}.") from error
    return audio


def _part(given: GivenPart) -> Part:
    if given.type == "input_audio":
        return Captured(given.transcript)
    if given.type == "input_image":
        return Pictured(given.image_url, given.detail)
    return Written(given.type, given.text)
