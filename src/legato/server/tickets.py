"""Resume tickets: sealed by the fleet's key and opened again; must not know calls, nor what a ticket is for.

A ticket is base64url without padding of

    version (1 byte) · key id (4) · nonce (12) · JSON, encrypted with AES-256-GCM, tag included

The first two are authenticated with it. What a call has come to (`seal_state`) is sealed in the same way,
with another version, so that neither passes for the other. The key id tells which of the keys made it, so
that a new key can take over while the old one still opens. Nobody but the fleet can read a ticket, and one
that is no good costs one decryption at the most.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from legato.core.errors import LegatoError

__all__ = ["Ticket", "TicketRefused", "Tickets"]

MAX_TICKET_CHARS = 2048
MAX_STATE_CHARS = 128 << 10

_TICKET = 1
_STATE = 2
_ID_BYTES = 4
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEAD_BYTES = 1 + _ID_BYTES
_LEAST_BYTES = _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES


class TicketRefused(LegatoError):  # noqa: N818 - named after what happened
    """A ticket is good for nothing; the message says why, for the log."""


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """Which call may be continued, by whom, until when."""

    call_id: str
    server: str
    """Id of the server that has the call."""
    attachment: int
    """Which connection of the call it was issued on, from 1."""
    holder: str
    """Who made the call: `Grant.holder`."""
    expires_at: int
    """Seconds since 1970."""


class Tickets:
    """The keys of a fleet: the first one seals, every one opens."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        """Take the keys, newest first; without any, tickets end with this process."""
        self.shared = bool(keys)
        """Whether other servers can open what is sealed here."""
        self.replace(keys or [secrets.token_bytes(32)])

    def replace(self, keys: Sequence[bytes]) -> None:
        """Go on with these keys, of which there must be at least one."""
        self._keys = [(_derived(key, "id")[:_ID_BYTES], AESGCM(_derived(key, "seal"))) for key in keys]

    def seal(self, ticket: Ticket) -> str:
        """The ticket as text."""
        return self._sealed(_TICKET, msgspec.json.encode(ticket))

    def open(self, text: str, now: float) -> Ticket:
        """What `text` says, at `now` (seconds since 1970). Raises `TicketRefused`."""
        ticket = msgspec.json.decode(self._opened(_TICKET, text, MAX_TICKET_CHARS), type=Ticket)
        if now >= ticket.expires_at:
            raise TicketRefused(f"it expired {int(now) - ticket.expires_at} seconds ago")
        return ticket

    def seal_state(self, state: bytes) -> str:
        """What a call has come to, as text."""
        return self._sealed(_STATE, state)

    def open_state(self, text: str) -> bytes:
        """What was sealed so. Raises `TicketRefused`."""
        return self._opened(_STATE, text, MAX_STATE_CHARS)

    def _sealed(self, version: int, body: bytes) -> str:
        key_id, key = self._keys[0]
        head, nonce = bytes([version]) + key_id, secrets.token_bytes(_NONCE_BYTES)
        sealed = key.encrypt(nonce, body, head)
        return base64.urlsafe_b64encode(head + nonce + sealed).decode().rstrip("=")

    def _opened(self, version: int, text: str, most_chars: int) -> bytes:
        data = _decoded(text, most_chars)
        if len(data) < _LEAST_BYTES or data[0] != version:
            raise TicketRefused("it is no ticket of this version")
        head, nonce = data[:_HEAD_BYTES], data[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES]
        key = next((key for key_id, key in self._keys if key_id == head[1:]), None)
        if key is None:
            raise TicketRefused("it was sealed with a key that is not known here")
        try:
            return key.decrypt(nonce, data[_HEAD_BYTES + _NONCE_BYTES :], head)
        except InvalidTag:
            raise TicketRefused("it was forged, or changed after it was issued") from None


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, f"legato resume ticket, {purpose}".encode(), hashlib.sha256)


def _decoded(text: str, most_chars: int) -> bytes:
    if len(text) > most_chars:
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
