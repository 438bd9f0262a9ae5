"""A second implementation of wire/ENCAPSULATION.md, written from the document; slow and plain.

Owns what the vectors mean. Must not share code with crates/forwarder.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

MASK = (1 << 64) - 1
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RefusedError(Exception):
    """The datagram is not genuine; the message is the reason that the vectors give."""


class Opened(NamedTuple):
    """What a genuine datagram says."""

    reply: bool
    client: Address
    port: int
    payload: bytes


def _rotated(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & MASK


def _rounds(v: list[int], count: int) -> None:
    a, b, c, d = v
    for _ in range(count):
        a, c = (a + b) & MASK, (c + d) & MASK
        b, d = _rotated(b, 13) ^ a, _rotated(d, 16) ^ c
        a = _rotated(a, 32)
        c, a = (c + b) & MASK, (a + d) & MASK
        b, d = _rotated(b, 17) ^ c, _rotated(d, 21) ^ a
        c = _rotated(c, 32)
    v[:] = a, b, c, d


def siphash24(key: bytes, data: bytes) -> int:
    """SipHash-2-4 with 64 bits of output (Aumasson and Bernstein, 2012)."""
    low, high = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    v = [
        low ^ 0x736F6D6570736575,
        high ^ 0x646F72616E646F6D,
        low ^ 0x6C7967656E657261,
        high ^ 0x7465646279746573,
    ]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def tag(key: bytes, header: bytes) -> bytes:
    """The eight octets behind a header."""
    return siphash24(key, header).to_bytes(8, "little")


def seal(key: bytes, reply: bool, client: Address, port: int, payload: bytes) -> bytes:
    """The datagram for a packet of this client."""
    flags = (1 if reply else 0) | (2 if client.version == 6 else 0)
    header = bytes([0x09, flags]) + port.to_bytes(2, "big") + client.packed
    return header + tag(key, header) + payload


def open_datagram(keys: Sequence[bytes], datagram: bytes) -> Opened:
    """What a datagram says, if it is genuine under one of the keys."""
    if not datagram or datagram[0] >> 3 != 1:
        raise RefusedError("not encapsulated")
    if datagram[0] != 0x09:
        raise RefusedError("unknown version")
    if len(datagram) < 2:
        raise RefusedError("truncated")
    flags = datagram[1]
    if flags > 3:
        raise RefusedError("reserved flags")
    length = 20 if flags & 2 else 8
    header, sealed, payload = datagram[:length], datagram[length : length + 8], datagram[length + 8 :]
    if len(sealed) < 8:
        raise RefusedError("truncated")
    if sealed not in [tag(key, header) for key in keys]:
        raise RefusedError("wrong tag")
    if not payload:
        raise RefusedError("truncated")
    client = ipaddress.ip_address(header[4:])
    port = int.from_bytes(header[2:4], "big")
    if not port or not _is_one_host(client):
        raise RefusedError("no address of a client")
    return Opened(bool(flags & 1), client, port, payload)


def _is_one_host(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not (
            address.is_unspecified
            or address.is_multicast
            or address == ipaddress.IPv4Address("255.255.255.255")
        )
    return not (
        address.is_unspecified
        or address.is_multicast
        or address.is_link_local
        or address.ipv4_mapped is not None
    )
