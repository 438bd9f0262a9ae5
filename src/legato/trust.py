"""What makes a client believe a server without a certificate authority; must not know sockets.

A server without a certificate of its own makes a development certificate and leaves its public part in the
state directory of its user. A client of the same user on the same machine that connects to a loopback address
trusts exactly the certificates found there, by their SHA-256 hash. Nothing else is trusted by itself.
"""

import hashlib
import ipaddress
import os
import re
import ssl
from pathlib import Path

DEVELOPMENT_CERTIFICATE = "development-certificate.pem"
"""File name of the public part, newest certificate first."""

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
