"""What a dialogue is opened with, and what it asks of its owner.

Plain frozen values; `type(event)` decides. Positions are samples of the input format since the session
began. Must not know how they come about: that is `dialogue.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.carried import CarriedDialogue
from legato.core.wire.messages import ReceivedReply

if TYPE_CHECKING:
    from legato.core.dialects.realtime.response import Response
    from legato.core.dialects.realtime.session_settings import SessionSettings

CancelReason = Literal["client_cancelled", "turn_detected"]


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """On what terms a dialogue begins.

    `new_id` makes an unused id that begins with the given prefix. With `answers` the agent takes requests
    (`ResponseWanted`, `TurnEnded`); without, it speaks when it likes and nothing is asked of it.
    `keeps_audio` keeps what was heard and said for `conversation.item.retrieve`. `formats` are those of the
    line (input, output) where they are not the session's.
    """

    session_id: str
    settings: SessionSettings
    new_id: Callable[[str], str]
    answers: bool = True
    keeps_audio: bool = False
    formats: tuple[AudioFormat, AudioFormat] | None = None
    expires_at: int | None = None
    """When the session will be ended, in seconds since the epoch."""
    audio_bytes: int = 8 << 20
    """Audio kept for retrieval; beyond that the oldest item loses its audio. As much may wait to be
    committed, and as much of what a client gave its items may wait to be transcribed."""
    items: int = 1_000
    """Items of the conversation; beyond that the oldest is deleted."""
    item_bytes: int = 8 << 20
    """What the items may weigh without their audio, in characters; beyond that the oldest are deleted. The
    inputs of responses in progress may weigh as much."""
    origin: int = 0
    """Samples of the caller's that came before this dialogue: positions in events count them, too."""
    carried: CarriedDialogue | None = None
    """What another server's dialogue has come to, which this one goes on with."""
    replies: tuple[ReceivedReply, ...] = ()
    """What the caller has of its answers."""
    responses: int = 8
    """Responses out of band that may be in progress at once."""


class SettingsChanged(msgspec.Struct, frozen=True):
    """The client changed the session; these settings are in force."""

    settings: SessionSettings


class ResponseWanted(msgspec.Struct, frozen=True):
    """Give this response its content: the client asked for it, or was silent for too long. It is begun
    (`response.created` was said) and has to be ended."""

    response: Response


class ResponseCancelled(msgspec.Struct, frozen=True):
    """This response is over and everything about it was said: stop making it. Its later operations do
    nothing."""

    response_id: str
    reason: CancelReason


class Interrupted(msgspec.Struct, frozen=True):
    """The caller began to speak and the session says that this silences the answer: flush the player."""


class SpeechCommitted(msgspec.Struct, frozen=True):
    """The detected speech between these positions became the item."""

    item_id: str
    start: int
    stop: int


class InputCommitted(msgspec.Struct, frozen=True):
    """The client committed what was heard between these positions as the item; it wants a transcript."""

    item_id: str
    start: int
    stop: int


class InputCleared(msgspec.Struct, frozen=True):
    """The client wants what was heard before this position and not committed to be forgotten."""

    position: int


class TurnEnded(msgspec.Struct, frozen=True):
    """The caller's turn ended with this item: answer it with `begin_response` once its words are known."""

    item_id: str


class AudioItemCreated(msgspec.Struct, frozen=True):
    """The client gave an item its audio at once; it wants a transcript."""

    item_id: str
    payload: bytes
    format: AudioFormat


class Truncated(msgspec.Struct, frozen=True):
    """The caller heard so many samples (of the output format) of this answer and will hear no more of it."""

    item_id: str
    samples: int


DialogueEvent = (
    SettingsChanged
    | ResponseWanted
    | ResponseCancelled
    | Interrupted
    | SpeechCommitted
    | InputCommitted
    | InputCleared
    | TurnEnded
    | AudioItemCreated
    | Truncated
)
