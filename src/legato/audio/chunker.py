"""Cuts a stream of bytes into blocks of one size; must not know what the bytes mean."""


class Chunker:
    """Collects bytes and hands them out in blocks of exactly `size` bytes."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a block has at least one byte, not {size}")
        self._size = size
        self._rest = b""

    @property
    def waiting(self) -> int:
        """Bytes held back because they do not fill a block yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Add `data`; returns the blocks that are complete now, in order."""
        if self._rest:
            data = self._rest + data
        size = self._size
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        return [data[start : start + size] for start in range(0, whole, size)]

    def flush(self) -> bytes:
        """What is left: fewer than `size` bytes, possibly none. The chunker is empty afterwards."""
        rest, self._rest = self._rest, b""
        return rest
