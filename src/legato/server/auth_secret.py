"""Client secrets as text: sealed with a signing secret, opened again; must not know who may have one.

Nothing is stored: all that a secret grants stands in it, signed and readable by its holder. The text is
``ek_`` and, in base64url without padding,

    version (1 byte) · key id (4) · length of the body (2) · body · HMAC-SHA256 over all before it (32)

The body is JSON in raw DEFLATE. The key id tells which signing secret made it, so that a new secret can take
over while the old one still verifies. Both the id and the MAC key are derived from the secret.
"""

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Sequence

import msgspec

from legato.core.errors import LegatoError, LocalProtocolError
from legato.core.wire.messages import JsonObject

__all__ = ["MAX_SECRET_CHARS", "SECRET_PREFIX", "Claims", "SecretRefused", "SigningSecrets"]

SECRET_PREFIX = "ek_"
"""What client secrets begin with; browsers' SDKs insist on it."""

MAX_SECRET_CHARS = 6144
"""The longest secret: it travels in one HTTP header line, which many servers and proxies end at 8 KiB."""

_VERSION = 1
_ID_BYTES = 4
_HEAD_BYTES = 1 + _ID_BYTES + 2
_MAC_BYTES = 32
_MAX_BODY_BYTES = MAX_SECRET_CHARS * 1024


class SecretRefused(LegatoError):  # noqa: N818 - named after what happened
    """A client secret cannot be accepted; the message says why, and nothing about what it should be."""


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client secret grants, to whom, until when."""

    id: str
    """Tells this secret from every other."""
    name: str = msgspec.field(name="by")
    """Name of the API key it was made with."""
    key: str
    """Which key that was, as the first digits of its hash: a key replaced under its name ends its secrets."""
    expires_at: int = msgspec.field(name="exp")
    """Seconds since 1970 from which on it opens no call."""
    permissions: tuple[str, ...] | None = msgspec.field(name="may", default=None)
    session: JsonObject | None = None


class SigningSecrets:
    """The secrets of this server: the first one seals, every one opens."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """Take the secrets, newest first; there must be at least one."""
        self.replace(secrets)

    def replace(self, secrets: Sequence[bytes]) -> None:
        """Go on with these secrets."""
        self._keys = [(_derived(secret, "id")[:_ID_BYTES], _derived(secret, "mac")) for secret in secrets]

    def seal(self, claims: Claims) -> str:
        """The secret that grants `claims`. Raises `LocalProtocolError` when that is too much for one."""
        key_id, key = self._keys[0]
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = packer.compress(msgspec.json.encode(claims)) + packer.flush()
        size = len(SECRET_PREFIX) + (_HEAD_BYTES + len(body) + _MAC_BYTES) * 4 // 3 + 1
        if size > MAX_SECRET_CHARS:
            raise LocalProtocolError(
                f"the session does not fit into a client secret: it would have {size} characters, at most"
                f" {MAX_SECRET_CHARS} are possible; send long instructions and tools with session.update"
            )
        signed = bytes([_VERSION]) + key_id + len(body).to_bytes(2) + body
        return SECRET_PREFIX + _encoded(signed + _mac(key, signed))

    def open(self, secret: str) -> Claims:
        """What `secret` grants; its expiry is the caller's business. Raises `SecretRefused`."""
        data = _decoded(secret)
        if len(data) < _HEAD_BYTES:
            raise SecretRefused("the client secret was cut off: use it whole, as it was issued")
        if data[0] != _VERSION:
            raise SecretRefused("the client secret was not made by this version of the server: get a new one")
        missing = _HEAD_BYTES + int.from_bytes(data[1 + _ID_BYTES : _HEAD_BYTES]) + _MAC_BYTES - len(data)
        if missing:
            what = "was cut off" if missing > 0 else "has something behind its end"
            raise SecretRefused(f"the client secret {what}: use it whole, as it was issued")
        signed, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        candidates = [key for key_id, key in self._keys if key_id == signed[1 : 1 + _ID_BYTES]]
        if not candidates:
            raise SecretRefused(
                "the client secret was signed by another server, or before this one changed its signing"
                " secret: get a new one"
            )
        if not any(hmac.compare_digest(_mac(key, signed), mac) for key in candidates):
            raise SecretRefused("the client secret was changed after it was issued: its signature is wrong")
        body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(signed[_HEAD_BYTES:], _MAX_BODY_BYTES)
        return msgspec.json.decode(body, type=Claims)


def _derived(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, f"legato client secret, {purpose}".encode(), hashlib.sha256)


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, hashlib.sha256)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(secret: str) -> bytes:
    text = secret.removeprefix(SECRET_PREFIX)
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        data = b""
    # The decoder skips what is no base64 and ignores spare bits: only one spelling of a secret is accepted.
    if len(secret) > MAX_SECRET_CHARS or _encoded(data) != text:
        raise SecretRefused("the client secret is not in the form that this server issues: use it unchanged")
    return data
