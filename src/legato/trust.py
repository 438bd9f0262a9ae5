"""What makes a client and a server of one user believe each other by themselves; must not know sockets.

A server without a certificate of its own makes a development certificate and leaves its public part in the
state directory of its user. A client of the same user on the same machine that connects to a loopback address
trusts exactly the certificates found there, by their SHA-256 hash. Nothing else is trusted by itself.

A server without API keys likewise makes a development key and leaves it there, readable by its user alone. A
client shows it to loopback addresses, and to nobody else.
"""

import hashlib
import ipaddress
import os
import re
import secrets
import ssl
from pathlib import Path

DEVELOPMENT_CERTIFICATE = "development-certificate.pem"
"""File name of the public part, newest certificate first."""

DEVELOPMENT_KEY = "development-key"
"""File name of the API key that a server made for its own user."""

API_KEY_PREFIX = "lg_"
"""What the API keys begin with that legato makes."""

_API_KEY = re.compile(API_KEY_PREFIX + r"[A-Za-z0-9_-]{43}")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def state_directory() -> Path:
    """The directory for what outlives a run: `$XDG_STATE_HOME/legato`, or `~/.local/state/legato`."""
    base = os.environ.get("XDG_STATE_HOME", "")
    # The base directory specification says that a relative path is to be ignored.
    root = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return root / "legato"


def certificate_hash(der: bytes) -> bytes:
    """SHA-256 over the whole certificate in DER, as `serverCertificateHashes` of WebTransport counts it."""
    return hashlib.sha256(der).digest()


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, brackets allowed) can only mean this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def is_loopback_address(host: str) -> bool:
    """Whether listening on `host` reaches no further than this machine: a loopback address or `localhost`.

    Stricter than `is_loopback`: any other name may be given another address tomorrow.
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def new_api_key() -> str:
    """A new API key: 256 random bits as text."""
    return API_KEY_PREFIX + secrets.token_urlsafe(32)


def is_api_key(text: str) -> bool:
    """Whether `text` has the form of a key that legato makes."""
    return _API_KEY.fullmatch(text) is not None


def development_key(host: str, directory: Path | None = None) -> str | None:
    """The development key, for a client that connects to `host`; None unless that is a loopback host.

    None also when no server of this user has made one, or it cannot be read: the server then says what it
    wants.
    """
    if not is_loopback(host):
        return None
    try:
        text = ((directory or state_directory()) / DEVELOPMENT_KEY).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return text if is_api_key(text) else None


def development_hashes(host: str, directory: Path | None = None) -> list[bytes]:
    """Hashes of the development certificates a client may trust when it connects to `host`.

    Empty unless `host` is a loopback host and a server of this user has left a certificate behind. A missing
    or damaged file is no error here: the handshake then fails and says which certificate was refused.
    """
    if not is_loopback(host):
        return []
    path = (directory or state_directory()) / DEVELOPMENT_CERTIFICATE
    try:
        text = path.read_text(encoding="ascii")
        return [certificate_hash(ssl.PEM_cert_to_DER_cert(block)) for block in _PEM.findall(text)]
    except (OSError, ValueError):
        return []
