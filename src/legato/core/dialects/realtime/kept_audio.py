"""The audio of items, for `conversation.item.retrieve`: as much as a bound allows, the newest.

Owns bytes by item. Must not know formats or events.
"""

from collections import OrderedDict


class _Clip:
    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0


class KeptAudio:
    """Audio by item. Beyond `limit` bytes the oldest item loses its audio, whole, and gets none any more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._clips: OrderedDict[str, _Clip] = OrderedDict()
        self._lost: set[str] = set()

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._size

    def add(self, item_id: str, payload: bytes) -> None:
        """Put `payload` behind the audio of an item."""
        if item_id in self._lost:
            return
        clip = self._clips.get(item_id)
        if clip is None:
            clip = self._clips[item_id] = _Clip()
        clip.pieces.append(payload)
        clip.size += len(payload)
        self._size += len(payload)
        while self._size > self._limit:
            oldest, lost = self._clips.popitem(last=False)
            self._size -= lost.size
            self._lost.add(oldest)

    def get(self, item_id: str) -> bytes | None:
        """The audio of an item; None if there is none, or not the whole of it."""
        clip = self._clips.get(item_id)
        return None if clip is None else b"".join(clip.pieces)

    def length(self, item_id: str) -> int:
        """Bytes of an item's audio."""
        clip = self._clips.get(item_id)
        return 0 if clip is None else clip.size

    def cut(self, item_id: str, size: int) -> None:
        """Keep only the first `size` bytes of an item's audio."""
        clip = self._clips.get(item_id)
        if clip is not None and clip.size > size:
            clip.pieces = [b"".join(clip.pieces)[:size]]
            self._size -= clip.size - size
            clip.size = size

    def drop(self, item_id: str) -> None:
        """Forget an item."""
        self._lost.discard(item_id)
        clip = self._clips.pop(item_id, None)
        if clip is not None:
            self._size -= clip.size
