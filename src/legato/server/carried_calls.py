"""A call as one server leaves it to another, and when its caller is given that to keep.

Owns what is carried of a call, its size, and the moments at which it is sealed. It must not know how a call
is found again, nor connections.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

import msgspec
import structlog

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.carried import (
    CarriedAnswer,
    CarriedDialogue,
    CarriedImage,
    CarriedItem,
    CarriedPart,
    CarriedText,
)
from legato.server.tickets import TicketRefused, Tickets

__all__ = ["CarriedCall", "Checkpoints", "opened", "sealed"]

MOST_BYTES = 48 << 10
"""What a carried call may weigh, compressed: it is said anew whenever the conversation has changed."""

MOST_CHARACTERS = 4 * MOST_BYTES
"""What of its items is looked at, the latest: compressing the whole of a long one takes half a second, in
which nobody is served. Language comes down to a third."""

QUIET_S = 0.25
"""How soon a change follows another one before it is said."""

REFRESH_S = 10.0
"""How often it is said how far the caller's audio was understood, while nothing else changes."""

log = structlog.get_logger(__name__)


class CarriedCall(msgspec.Struct, frozen=True, kw_only=True):
    """All that another server needs to know."""

    call_id: str
    holder: str
    """Who made the call: `Grant.holder`."""
    began_at: float
    """When, in seconds since 1970."""
    sealed_at: float
    formats: tuple[AudioFormat, AudioFormat]
    """Input and output."""
    generation: int
    """The last reply that was begun."""
    events: int
    """The client's counted events that are part of this."""
    dialogue: CarriedDialogue


def sealed(call: CarriedCall, tickets: Tickets) -> str | None:
    """A call as text; its oldest items, and large pictures, are left out where it is too much. None if even
    that does not help."""
    call = _with(call, _latest(call.dialogue.items))
    while True:
        data = zlib.compress(msgspec.json.encode(call), 1)
        items = call.dialogue.items
        if len(data) <= MOST_BYTES:
            return tickets.seal_state(data)
        if not items:
            return None
        call = _with(call, items[len(items) // 2 + 1 :])


def _with(call: CarriedCall, items: tuple[CarriedItem, ...]) -> CarriedCall:
    return msgspec.structs.replace(call, dialogue=msgspec.structs.replace(call.dialogue, items=items))


def _latest(items: tuple[CarriedItem, ...]) -> tuple[CarriedItem, ...]:
    """The latest items that are not too much together, without what would be too much by itself."""
    kept: list[CarriedItem] = []
    left = MOST_CHARACTERS
    for item in reversed(items):
        size = len(item.arguments) + len(item.output) + sum(_size(part) for part in item.content)
        pictured = any(isinstance(part, CarriedImage) for part in item.content)
        if size > (MOST_BYTES if pictured else MOST_CHARACTERS):  # pictures are compressed already
            continue
        left -= size
        if left < 0:
            break
        kept.append(item)
    return tuple(reversed(kept))


def _size(part: CarriedPart) -> int:
    if isinstance(part, CarriedText):
        return len(part.text)
    if isinstance(part, CarriedImage):
        return len(part.url)
    if isinstance(part, CarriedAnswer):
        return sum(len(text) for _, text in part.pieces)
    return len(part.words) + len(part.transcript or "")


def opened(text: str, tickets: Tickets) -> CarriedCall:
    """The call again. Raises `TicketRefused`, also for what another version has sealed."""
    data = tickets.open_state(text)
    try:
        return msgspec.json.decode(zlib.decompress(data), type=CarriedCall)
    except msgspec.MsgspecError:
        raise TicketRefused("its call was carried by another version of the server") from None


class Checkpoints:
    """When the caller of one call is told what it has come to."""

    def __init__(self, say: Callable[[], None], position: Callable[[], int]) -> None:
        """`say` it soon after each `note`, and when `position` has moved in the meantime."""
        self._say = say
        self._position = position
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._said_at = -QUIET_S
        self._said_of = -1
        self._news = False

    def note(self, _event: object = None) -> None:
        """Something has changed."""
        if not self._news:
            self._news = True
            self._wait(max(0.0, self._said_at + QUIET_S - self._loop.time()))

    def now(self) -> None:
        """Say it now."""
        self._news = False
        self._said_at, self._said_of = self._loop.time(), self._position()
        self._say()
        self._wait(REFRESH_S)

    def stop(self) -> None:
        """The call is over."""
        self._news = True
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._due)

    def _due(self) -> None:
        if self._news or self._position() != self._said_of:
            self.now()
        else:
            self._wait(REFRESH_S)
