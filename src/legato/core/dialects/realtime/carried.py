"""A dialogue as plain values, for a server that takes a call over from one that is gone.

Owns what of a dialogue is carried, and items made of it again. Must not know how it travels or who keeps it.
What was heard of a spoken answer is settled by what its listener says: `spoken_again`.
"""

from collections.abc import Iterable, Mapping

import msgspec

from legato.core.dialects.realtime.entry import Captured, Entry, Part, Pictured, Spoken, Status, Written
from legato.core.dialects.realtime.items import ItemType, Role
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.dialects.realtime.spoken_text import SpokenText
from legato.core.wire.messages import JsonObject, ReceivedReply

__all__ = [
    "CarriedAnswer",
    "CarriedDialogue",
    "CarriedImage",
    "CarriedItem",
    "CarriedPart",
    "CarriedSpeech",
    "CarriedText",
    "carried_items",
    "items_again",
]


class CarriedText(msgspec.Struct, frozen=True, tag="written", omit_defaults=True):
    """Text of the client (`given`), or written by the agent."""

    text: str
    given: bool = False


class CarriedImage(msgspec.Struct, frozen=True, tag="pictured"):
    """An image of the client."""

    url: str
    detail: str


class CarriedSpeech(msgspec.Struct, frozen=True, tag="captured", omit_defaults=True):
    """What the caller said, as it was understood and as they were told."""

    words: str = ""
    transcript: str | None = None


class CarriedAnswer(msgspec.Struct, frozen=True, tag="spoken", omit_defaults=True):
    """A spoken answer: its text by the samples at which it sounds, and how far it had come."""

    pieces: tuple[tuple[int, str], ...] = ()
    sent: int = 0
    heard: int = 0
    cut: int | None = None
    complete: bool = False
    stopped: bool = False


CarriedPart = CarriedText | CarriedImage | CarriedSpeech | CarriedAnswer


class CarriedItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of the conversation."""

    id: str
    type: ItemType
    role: Role | None = None
    status: Status = "completed"
    content: tuple[CarriedPart, ...] = ()
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str = ""


class CarriedDialogue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a dialogue consists of at one moment.

    `understood` is the position up to which the caller's audio has become part of it, in samples since the
    session began; what lies behind has to be heard again. `owed` says that an answer was due or being made,
    `writer` which response was.
    """

    settings: SessionSettings
    conversation_id: str
    items: tuple[CarriedItem, ...] = ()
    understood: int = 0
    spoke: bool = False
    owed: bool = False
    writer: JsonObject | None = None


def carried_items(entries: Iterable[Entry], unknown: Mapping[str, int]) -> tuple[CarriedItem, ...]:
    """The items as values, but for those that are still to be understood: they come again as audio."""
    return tuple(_carried(entry) for entry in entries if entry.id not in unknown)


def items_again(items: Iterable[CarriedItem], replies: Iterable[ReceivedReply]) -> tuple[list[Entry], bool]:
    """The items again, of spoken answers what their listener has; and whether some of an answer is missing
    that nobody stopped."""
    known = {reply.item_id: reply for reply in replies}
    entries = []
    missing = False
    for item in items:
        entry = Entry(item.id, item.type, item.role)
        entry.status = "incomplete" if item.status == "in_progress" else item.status
        entry.call_id, entry.name = item.call_id, item.name
        entry.arguments, entry.output = item.arguments, item.output
        for part in item.content:
            if isinstance(part, CarriedAnswer):
                spoken, lacks = spoken_again(part, known.get(item.id))
                missing = missing or lacks
                entry.content.append(Spoken(spoken))
            else:
                entry.content.append(_part_again(part))
        entries.append(entry)
    return entries, missing


def spoken_again(part: CarriedAnswer, reply: ReceivedReply | None) -> tuple[SpokenText, bool]:
    """A spoken answer as far as its listener has it, and whether the rest of it is missing: sound that they
    never got, and that they were to hear."""
    spoken = SpokenText()
    for at_sample, text in part.pieces:
        spoken.add(text, at_sample)
    spoken.note_sent(part.sent)
    spoken.complete = part.complete
    spoken.note_heard(part.heard)
    if part.cut is not None:
        spoken.truncate(part.cut)
    spoken.stopped = part.stopped
    if part.stopped:
        spoken.note_heard(reply.played if reply is not None else 0)
        spoken.complete = True
        return spoken, False
    # More may have come behind the moment at which this was carried.
    there = reply.received if reply is not None else part.heard
    lacks = there < part.sent or not (part.complete or (reply is not None and reply.complete))
    spoken.break_off(there)
    if reply is not None:
        spoken.note_heard(reply.played)
        spoken.stopped = reply.state == "stopped"
    return spoken, lacks and not spoken.stopped


def _carried(entry: Entry) -> CarriedItem:
    return CarriedItem(
        id=entry.id,
        type=entry.type,
        role=entry.role,
        status=entry.status,
        content=tuple(_carried_part(part) for part in entry.content),
        call_id=entry.call_id,
        name=entry.name,
        arguments=entry.arguments,
        output=entry.output,
    )


def _carried_part(part: Part) -> CarriedPart:
    if isinstance(part, Written):
        return CarriedText(part.text, part.type == "input_text")
    if isinstance(part, Pictured):
        return CarriedImage(part.url, part.detail)
    if isinstance(part, Captured):
        return CarriedSpeech(part.words, part.transcript)
    spoken = part.spoken
    return CarriedAnswer(
        pieces=spoken.pieces,
        sent=spoken.sent,
        heard=spoken.heard,
        cut=spoken.cut,
        complete=spoken.complete,
        stopped=spoken.stopped,
    )


def _part_again(part: CarriedText | CarriedImage | CarriedSpeech) -> Part:
    if isinstance(part, CarriedText):
        return Written("input_text" if part.given else "output_text", part.text)
    if isinstance(part, CarriedImage):
        return Pictured(part.url, part.detail)
    captured = Captured(part.transcript)
    captured.words = part.words
    captured.settled = True
    return captured
