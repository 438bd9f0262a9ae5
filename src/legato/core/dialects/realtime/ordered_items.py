"""Items in the order of the conversation, with places to insert at and bounds on their number and weight.

Owns order, places and age. Must not know events. Every operation costs the same however many items there
are, so that a client that creates and deletes without end costs no more than its events.
"""

from collections import OrderedDict
from collections.abc import Iterator

from legato.core.dialects.realtime.entry import Entry

ROOT = "root"
"""As the id before a new item: put it in front of all others."""


class _Node:
    __slots__ = ("before", "behind", "entry", "weight")

    def __init__(self, entry: Entry | None) -> None:
        self.entry = entry
        self.weight = 0
        self.before = self
        self.behind = self


class OrderedItems:
    """A doubly linked ring of items, found by id, that remembers which is the oldest."""

    def __init__(self, most: int, most_weight: int) -> None:
        self._most = most
        self.most_weight = most_weight
        self._weight = 0
        self._ring = _Node(None)
        self._by_age: OrderedDict[str, _Node] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_age)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._by_age

    def __iter__(self) -> Iterator[Entry]:
        """All items, first to last."""
        node = self._ring.behind
        while node.entry is not None:
            yield node.entry
            node = node.behind

    def get(self, item_id: str) -> Entry | None:
        """The item of that id."""
        node = self._by_age.get(item_id)
        return None if node is None else node.entry

    def before(self, item_id: str) -> str | None:
        """The id of the item in front of that one; None if it is the first. Raises KeyError if unknown."""
        return _id(self._by_age[item_id].before)

    def last(self) -> str | None:
        """The id of the last item."""
        return _id(self._ring.before)

    def insert(self, entry: Entry, after: str | None) -> None:
        """Put `entry` behind the item `after`, in front of all with `ROOT`, at the end with None.

        Raises KeyError if `after` is unknown.
        """
        before = self._ring.before if after is None else self._ring if after == ROOT else self._by_age[after]
        node = _Node(entry)
        node.before, node.behind = before, before.behind
        before.behind.before = node
        before.behind = node
        self._by_age[entry.id] = node
        self.weigh(entry)

    def remove(self, item_id: str) -> None:
        """Take an item out. Raises KeyError if it is unknown."""
        node = self._by_age.pop(item_id)
        node.before.behind = node.behind
        node.behind.before = node.before
        self._weight -= node.weight

    def weigh(self, entry: Entry) -> None:
        """Count an item that has grown by what it weighs now."""
        node = self._by_age[entry.id]
        self._weight += entry.weight - node.weight
        node.weight = entry.weight

    def surplus(self, keep: Entry) -> str | None:
        """The oldest item, if there are too many or they weigh too much; never `keep` or one in progress."""
        if len(self._by_age) <= self._most and self._weight <= self.most_weight:
            return None
        # At most two are passed over: `keep`, and the one that a response has open.
        for item_id, node in self._by_age.items():
            if node.entry is not keep and node.entry is not None and node.entry.status != "in_progress":
                return item_id
        return None


def _id(node: _Node) -> str | None:
    return None if node.entry is None else node.entry.id
