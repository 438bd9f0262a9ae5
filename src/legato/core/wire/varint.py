"""QUIC variable-length integers (RFC 9000 section 16): the only integers on the binary side of the wire.

Owns their two directions; must not know what a number means. Encodings longer than necessary are read
without complaint, as the RFC allows.
"""

from legato.core.errors import LocalProtocolError
from legato.core.wire.codes import VARINT_MAX


def encode(value: int) -> bytes:
    """`value` in the shortest of the four lengths; raises LocalProtocolError beyond 62 bits."""
    if 0 <= value < 0x40:
        return value.to_bytes(1, "big")
    if 0 <= value < 0x4000:
        return (value | 0x4000).to_bytes(2, "big")
    if 0 <= value < 0x4000_0000:
        return (value | 0x8000_0000).to_bytes(4, "big")
    if 0 <= value <= VARINT_MAX:
        return (value | 0xC000_0000_0000_0000).to_bytes(8, "big")
    raise LocalProtocolError(f"a wire number lies between 0 and 2^62 - 1; {value} does not")


def decode(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """The number at position `at` and the position behind it; None if `data` ends before it does."""
    if at >= len(data):
        return None
    first = data[at]
    stop = at + (1 << (first >> 6))
    if stop > len(data):
        return None
    if stop == at + 1:
        return first, stop
    return int.from_bytes(data[at:stop], "big") & ((1 << (8 * (stop - at) - 2)) - 1), stop
