"""Asking a server whether it is there, without a connection: by a version of QUIC that nobody speaks.

Owns the packet and what is an answer to it. Must not know addresses or when to ask.

A server has to answer a long header of an unknown version, in a datagram of 1200 octets or more, with
Version Negotiation (RFC 9000 §6, RFC 8999 §6). That takes the server's real socket and its engine, and
nothing is remembered on either side. Versions of the form 0x?a?a?a?a are reserved for this (RFC 9000 §15).
"""

from dataclasses import dataclass

__all__ = ["PROBE_OCTETS", "VersionProbe"]

PROBE_OCTETS = 1200
"""Servers need not answer smaller datagrams (RFC 9000 §14.1)."""

_ID_OCTETS = 8
_LONG_HEADER = 0xC0
_VERSION = bytes.fromhex("1a2a3a4a")
_NEGOTIATION = bytes(4)


@dataclass(frozen=True)
class VersionProbe:
    """One question; `random` are 16 octets that nobody can guess."""

    random: bytes

    @property
    def key(self) -> bytes:
        """What an answer repeats; see `answered`."""
        return self.random[:_ID_OCTETS]

    def packet(self) -> bytes:
        """The datagram to send."""
        ours, theirs = self.random[:_ID_OCTETS], self.random[_ID_OCTETS:]
        head = bytes([_LONG_HEADER]) + _VERSION + _with_length(theirs) + _with_length(ours)
        return head + bytes(PROBE_OCTETS - len(head))

    def answers(self, datagram: bytes) -> bool:
        """Whether this is Version Negotiation for this very probe: both connection IDs come back, crossed."""
        ours, theirs = self.random[:_ID_OCTETS], self.random[_ID_OCTETS:]
        head = _NEGOTIATION + _with_length(ours) + _with_length(theirs)
        versions = len(datagram) - 1 - len(head)
        return (
            versions >= 4
            and versions % 4 == 0
            and datagram[0] & 0x80 != 0
            and datagram[1 : 1 + len(head)] == head
        )

    @staticmethod
    def answered(datagram: bytes) -> bytes | None:
        """The `key` of the probe that this may be an answer to; None if it is no Version Negotiation."""
        if len(datagram) < 6 + _ID_OCTETS or not datagram[0] & 0x80 or datagram[1:5] != _NEGOTIATION:
            return None
        return datagram[6 : 6 + _ID_OCTETS] if datagram[5] == _ID_OCTETS else None


def _with_length(connection_id: bytes) -> bytes:
    return bytes([len(connection_id)]) + connection_id
