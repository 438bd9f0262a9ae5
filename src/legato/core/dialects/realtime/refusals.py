"""Refusals that depend on where the conversation stands, in the codes of the Realtime API.

Owns their codes and sentences. Must not know how it is found out; mistakes that can be seen from the event
alone are in `errors.py`.
"""

from legato.core.dialects.realtime.errors import EventRefused, shown


def unknown_item(doing: str, item_id: str) -> EventRefused:
    """Nothing is called that in this conversation; `doing` is "delete", "retrieve" or "truncate"."""
    participle = {"delete": "deleting", "retrieve": "retrieving", "truncate": "truncating"}[doing]
    return EventRefused(
        f"item_{doing}_invalid_item_id",
        f"Error {participle} an item: this conversation has none with the id {shown(item_id)}.",
        "item_id",
    )


def unknown_place(previous_item_id: str) -> EventRefused:
    """An item cannot be put behind one that does not exist."""
    return EventRefused(
        "item_create_invalid_previous_item_id",
        f"Error creating item: there is no item {shown(previous_item_id)} to put it behind; leave "
        "previous_item_id out to append, or use 'root' for the front.",
        "previous_item_id",
    )


def known_item(item_id: str) -> EventRefused:
    """Ids are given once."""
    return EventRefused(
        "item_create_duplicate_item_id",
        f"Error creating item: an item with id {shown(item_id)} exists already; choose another id or leave "
        "it out.",
        "item.id",
    )


def unknown_reference(item_id: str, param: str) -> EventRefused:
    """A response cannot take in what is not there."""
    return EventRefused(
        "invalid_item_reference", f"There is no item with id {shown(item_id)} in this conversation.", param
    )


def item_too_large(weight: int, most: int) -> EventRefused:
    """One item would push everything else out."""
    return EventRefused(
        "item_too_large", f"The item has {weight} characters; a conversation here holds {most}.", "item"
    )


def not_spoken(item_id: str) -> EventRefused:
    """Only what was said can be cut."""
    return EventRefused(
        "unsupported_content_type",
        f"Only spoken answers can be truncated; item {shown(item_id)} is none.",
        "item_id",
    )


def beyond_the_audio(length_ms: int, audio_end_ms: int) -> EventRefused:
    """An answer cannot be cut behind its end."""
    return EventRefused(
        "invalid_value",
        f"The audio of this item, {length_ms} ms, is already shorter than {audio_end_ms} ms.",
        "audio_end_ms",
    )


def no_such_part(content_index: int) -> EventRefused:
    """An item has no such part."""
    return EventRefused(
        "invalid_value",
        f"Invalid value for 'content_index': the item has no part {content_index}; its sound is part 0.",
        "content_index",
    )


def too_little_audio(buffered_ms: float, least_ms: int) -> EventRefused:
    """There is nothing to commit, or too little to recognise anything in it."""
    return EventRefused(
        "input_audio_buffer_commit_empty",
        f"The input audio buffer holds {buffered_ms:.2f} ms, which is too small to commit; append at least "
        f"{least_ms} ms of audio first.",
    )


def active_response(response_id: str) -> EventRefused:
    """Two responses cannot write to one conversation."""
    return EventRefused(
        "conversation_already_has_active_response",
        f"The conversation already has an active response, {response_id}; wait for its response.done, or "
        "cancel it first.",
    )


def too_many_responses(most: int) -> EventRefused:
    """Out of band responses are parallel, within reason."""
    return EventRefused(
        "too_many_active_responses",
        f"{most} responses out of band are in progress, and no more are made at once; wait for a "
        "response.done.",
    )


def nothing_to_cancel(response_id: str | None) -> EventRefused:
    """No response is in progress, or not that one."""
    which = "no active response found" if response_id is None else f"no active response {shown(response_id)}"
    return EventRefused("response_cancel_not_active", f"Nothing was cancelled: {which}.", "response_id")


def no_responses() -> EventRefused:
    """Transcription sessions only listen."""
    return EventRefused(
        "invalid_session_type",
        "A transcription session makes no responses; open a session of type 'realtime' for that.",
    )


def event_not_allowed(kind: object) -> EventRefused:
    """The key of this call does not permit this event."""
    return EventRefused(
        "event_not_allowed", f"The credentials of this session do not permit {shown(kind)}.", "type"
    )


def too_much_untranscribed(most: int, items: int) -> EventRefused:
    """Audio is given faster than it can be understood."""
    return EventRefused(
        "rate_limit_exceeded",
        f"Audio of items is still being transcribed, and no more than {most} bytes of {items} items may "
        "wait; go on when a transcription is complete.",
        "item",
    )


def input_too_large(weight: int, most: int) -> EventRefused:
    """The inputs of responses are bounded together."""
    return EventRefused(
        "input_too_large",
        f"The input of this response, with that of those in progress, has {weight} characters; {most} are "
        "taken.",
        "response.input",
    )


def too_much_retrieved() -> EventRefused:
    """Retrieving is cheap for the client and not for the server."""
    return EventRefused(
        "rate_limit_exceeded", "Too much was retrieved in a short time; wait a little.", "item_id"
    )
