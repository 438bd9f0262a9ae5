"""The default conversation: its items, what the client is told about them, and their audio.

Owns adding, deleting, retrieving and truncating items, and the bounds on all of it. Must not know responses
or turns. What a client asks for and cannot have raises `EventRefused`.
"""

from collections.abc import Iterable, Iterator

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime import refusals
from legato.core.dialects.realtime.entry import Entry
from legato.core.dialects.realtime.kept_audio import KeptAudio
from legato.core.dialects.realtime.ordered_items import ROOT, OrderedItems
from legato.core.dialects.realtime.outbox import Outbox

RETRIEVED_BYTES = 5 << 20
"""Audio in one `conversation.item.retrieved`: clients take messages of 8 MiB, and base64 adds a third."""

RETRIEVED_BURST = 16 << 20
"""What a client may retrieve at once; asking costs it a hundred bytes and the server megabytes."""

RETRIEVED_PER_S = 1 << 20
"""How fast it may go on after that."""


class Conversation:
    """The items of one call, in order."""

    def __init__(self, outbox: Outbox, items: OrderedItems, audio: KeptAudio | None) -> None:
        """Announce in `outbox` what happens to `items`; `audio` is None where none is kept."""
        self.id = outbox.new_id("conv")
        self.audio = audio
        self._outbox = outbox
        self._items = items
        self._allowance = RETRIEVED_BURST
        self._allowed_at: int | None = None

    def restore(self, conversation_id: str, entries: Iterable[Entry]) -> None:
        """Go on with another server's conversation, of which the client knows everything."""
        self.id = conversation_id
        for entry in entries:
            self._items.insert(entry, None)

    @property
    def most_weight(self) -> int:
        """What all items may weigh together."""
        return self._items.most_weight

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._items

    def __iter__(self) -> Iterator[Entry]:
        """All items, first to last."""
        return iter(self._items)

    def get(self, item_id: str) -> Entry | None:
        """The item of that id."""
        return self._items.get(item_id)

    def last(self) -> str | None:
        """The id of the last item."""
        return self._items.last()

    def new_id(self, prefix: str = "item") -> str:
        """An id that no client has given to an item of its own."""
        while (new := self._outbox.new_id(prefix)) in self._items:
            pass
        return new

    def add(self, entry: Entry, after: str | None = None) -> None:
        """Put a new item behind another one (None: at the end) and tell it; `done` has to follow.

        Raises KeyError if there is no such place.
        """
        self._items.insert(entry, after)
        self._announce("conversation.item.added", entry)

    def done(self, entry: Entry) -> None:
        """An item is finished; the oldest ones go where it is too much. Does nothing if it was deleted."""
        if self._items.get(entry.id) is not entry:
            return
        self._announce("conversation.item.done", entry)
        self.grown(entry)

    def grown(self, entry: Entry) -> None:
        """An item weighs more than before; the oldest ones go where it is too much."""
        if self._items.get(entry.id) is not entry:
            return
        self._items.weigh(entry)
        while (oldest := self._items.surplus(entry)) is not None:
            self._delete(oldest)

    def create(self, entry: Entry, previous_item_id: str | None) -> None:
        """Add an item of the client, finished as it is."""
        if entry.id in self._items:
            raise refusals.known_item(entry.id)
        if previous_item_id not in (None, ROOT) and previous_item_id not in self._items:
            raise refusals.unknown_place(previous_item_id)
        if entry.weight > self.most_weight:
            raise refusals.item_too_large(entry.weight, self.most_weight)
        self.add(entry, previous_item_id)
        self.done(entry)

    def delete(self, item_id: str) -> None:
        """Delete an item for the client."""
        if item_id not in self._items:
            raise refusals.unknown_item("delete", item_id)
        self._delete(item_id)

    def retrieve(self, item_id: str, now: int) -> None:
        """Tell the client an item with its audio; that is left out where it is not kept or very long."""
        entry = self._items.get(item_id)
        if entry is None:
            raise refusals.unknown_item("retrieve", item_id)
        audio = None
        if self.audio is not None and self.audio.length(item_id) <= RETRIEVED_BYTES:
            self._spend(entry.weight + self.audio.length(item_id), now)
            audio = self.audio.get(item_id)
        else:
            self._spend(entry.weight, now)
        self._outbox.say("conversation.item.retrieved", item=entry.as_json(audio))

    def to_truncate(self, item_id: str, content_index: int, audio_end_ms: int, rate: int) -> Entry:
        """The spoken answer of that id, if it can be cut there; `rate` is that of its sound."""
        entry = self._items.get(item_id)
        if entry is None:
            raise refusals.unknown_item("truncate", item_id)
        spoken = entry.spoken
        if spoken is None:
            raise refusals.not_spoken(item_id)
        if content_index != 0:
            raise refusals.no_such_part(content_index)
        # Clients round: the last millisecond counts as whole once it has begun.
        length_ms = -(-spoken.length * 1_000 // rate)
        if audio_end_ms > length_ms:
            raise refusals.beyond_the_audio(length_ms, audio_end_ms)
        return entry

    def truncate(self, entry: Entry, audio_end_ms: int, form: AudioFormat) -> int:
        """Cut a spoken answer whose sound has the format `form`; returns the samples that are left of it."""
        spoken = entry.spoken
        assert spoken is not None
        spoken.truncate(audio_end_ms * form.rate // 1_000)
        if self.audio is not None:
            self.audio.cut(entry.id, spoken.length * (form.bytes_per_sample or 0))
        self._outbox.say(
            "conversation.item.truncated", item_id=entry.id, content_index=0, audio_end_ms=audio_end_ms
        )
        return spoken.length

    def stop_speaking(self) -> None:
        """The player is silenced: of answers that were not heard to their end, no more will be."""
        for entry in self._items:
            if entry.spoken is not None:
                entry.spoken.stopped = True

    def keep(self, item_id: str, payload: bytes) -> None:
        """Keep audio of an item of this conversation."""
        if self.audio is not None and payload and item_id in self._items:
            self.audio.add(item_id, payload)

    def _announce(self, kind: str, entry: Entry) -> None:
        before = self._items.before(entry.id)
        self._outbox.say(kind, previous_item_id=before, item=entry.as_json())

    def _delete(self, item_id: str) -> None:
        self._items.remove(item_id)
        if self.audio is not None:
            self.audio.drop(item_id)
        self._outbox.say("conversation.item.deleted", item_id=item_id)

    def _spend(self, size: int, now: int) -> None:
        since = now if self._allowed_at is None else self._allowed_at
        earned = (now - since) * RETRIEVED_PER_S // 1_000_000
        self._allowance = min(RETRIEVED_BURST, self._allowance + earned)
        self._allowed_at = now
        if size > self._allowance:
            raise refusals.too_much_retrieved()
        self._allowance -= size
