"""Who the server proves to be: its certificate chain and key, made or loaded; must not know QUIC or HTTP.

Two sources. `development_identity` keeps a self-signed certificate in the state directory and renews it in
time; `load_identity` reads the PEM files of an operator. Both are functions of the time passed in, so
`CertificateRotation` can ask again and again and report a new identity while the server runs: a development
certificate about to expire, one that a second server renewed, or PEM files that were replaced on disk.

A browser accepts a certificate by hash only if it is ECDSA and valid for less than 14 days (W3C WebTransport,
"serverCertificateHashes"), hence the short life.
"""

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from legato.core.errors import SettingsError
from legato.server.settings import Tls
from legato.server.state_files import exclusive, write_atomically
from legato.trust import DEVELOPMENT_CERTIFICATE, certificate_hash, state_directory

LIFETIME = timedelta(days=13) - timedelta(minutes=1)
"""Whole validity of a development certificate."""

RENEW_BEFORE = timedelta(days=2)
"""A development certificate with no more than this left is replaced."""

ONE_ROUND_TRIP_BYTES = 3000
"""A longer chain outgrows the server's first flight (RFC 9000 §8.1) and costs each caller a round trip."""

CHECK_SECONDS = 60.0
"""How often a running server looks whether it has a new identity."""

_PINNED_AT_MOST = timedelta(days=14)
_IDENTITY_FILE = "development-identity.pem"
_LOCK_FILE = "development-identity.lock"
_CLOCK_SKEW = timedelta(minutes=5)

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, kw_only=True)
class ServerIdentity:
    """A certificate chain, leaf first, and the private key of the leaf (PKCS #8); both in DER."""

    chain: tuple[bytes, ...]
    key: bytes = field(repr=False)
    not_after: datetime
    development: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def hash(self) -> bytes:
        """SHA-256 of the leaf: what a client pins."""
        return certificate_hash(self.chain[0])

    @cached_property
    def pinnable(self) -> bool:
        """Whether browsers can be told its hash and need to be: nobody but itself has signed it, it is ECDSA,
        and its life is short."""
        leaf = x509.load_der_x509_certificate(self.chain[0])
        short = leaf.not_valid_after_utc - leaf.not_valid_before_utc < _PINNED_AT_MOST
        return (
            short and leaf.issuer == leaf.subject and isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
        )

    @property
    def hash_hex(self) -> str:
        """The hash for people and for `--cert-hash`."""
        return self.hash.hex()

    @property
    def hash_base64(self) -> str:
        """The hash for JSON documents."""
        return base64.b64encode(self.hash).decode()

    def chain_pem(self) -> bytes:
        """The chain as PEM text."""
        return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in self.chain)

    def key_pem(self) -> bytes:
        """The private key as PEM text (PKCS #8, not encrypted)."""
        return _key_bytes(_supported(load_der_private_key(self.key, None)), Encoding.PEM)


IdentitySource = Callable[[datetime], ServerIdentity]
"""Gives the identity to serve with at a moment; raises `SettingsError`."""


def identity_source(tls: Tls, directory: Path | None = None) -> IdentitySource:
    """The source that the settings ask for: PEM files, or the development certificate in `directory`."""
    cert, key = tls.cert, tls.key
    if cert is not None and key is not None:
        return lambda now: load_identity(cert, key, now)
    return lambda now: development_identity(now, directory)


def development_identity(now: datetime, directory: Path | None = None) -> ServerIdentity:
    """The development certificate of this user: the kept one while it has time left, otherwise a new one.

    Safe with several servers starting at once: they end up with the same certificate. Raises `SettingsError`
    when the state directory cannot be used.
    """
    place = directory or state_directory()
    try:
        with exclusive(place / _LOCK_FILE):
            kept = _kept_identity(place / _IDENTITY_FILE)
            if kept is not None and RENEW_BEFORE < kept.not_after - now <= LIFETIME:
                if not (place / DEVELOPMENT_CERTIFICATE).exists():
                    write_atomically(place / DEVELOPMENT_CERTIFICATE, kept.chain_pem(), 0o644)
                return kept
            fresh = make_development_identity(now)
            public = fresh.chain_pem()
            if kept is not None and kept.not_after > now:
                # A second server may still show the previous certificate for a moment.
                public += kept.chain_pem()
            write_atomically(place / DEVELOPMENT_CERTIFICATE, public, 0o644)
            write_atomically(place / _IDENTITY_FILE, fresh.key_pem() + fresh.chain_pem(), 0o600)
            return fresh
    except OSError as error:
        raise SettingsError(
            f"cannot keep the development certificate in {place} ({error.strerror}):"
            " set XDG_STATE_HOME to a writable directory, or use --cert and --key"
        ) from None


def make_development_identity(now: datetime, hostname: str | None = None) -> ServerIdentity:
    """A new self-signed certificate (ECDSA P-256) for the loopback names, addresses and the host name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "legato development certificate")])
    start = now.replace(microsecond=0) - _CLOCK_SKEW
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    host = socket.gethostname() if hostname is None else hostname
    if host and host != "localhost" and host.isascii():
        names.append(x509.DNSName(host))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return ServerIdentity(
        chain=(certificate.public_bytes(Encoding.DER),),
        key=_key_bytes(key, Encoding.DER),
        not_after=certificate.not_valid_after_utc,
        development=True,
    )


def load_identity(cert: Path, key: Path, now: datetime) -> ServerIdentity:
    """Read a PEM chain and its PEM key (PKCS #8, SEC1 or PKCS #1). Raises `SettingsError` with what to do."""
    try:
        chain = x509.load_pem_x509_certificates(_read(cert, "certificate"))
    except ValueError:
        raise SettingsError(
            f"{cert} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        ) from None
    private = _load_key(key)
    leaf = chain[0]
    if _public_bytes(leaf) != private.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    ):
        raise SettingsError(f"the key {key} does not belong to the first certificate in {cert}")
    if leaf.not_valid_after_utc <= now:
        raise SettingsError(
            f"the certificate {cert} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        )
    if leaf.not_valid_before_utc > now:
        raise SettingsError(
            f"the certificate {cert} is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        )
    ders = tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)
    size = sum(len(der) for der in ders)
    warnings: tuple[str, ...] = ()
    if size > ONE_ROUND_TRIP_BYTES:
        warnings = (
            f"the certificate chain has {size} bytes; above {ONE_ROUND_TRIP_BYTES} every new connection"
            " waits one more round trip: use an ECDSA certificate and leave the root out",
        )
    return ServerIdentity(
        chain=ders,
        key=_key_bytes(private, Encoding.DER),
        not_after=leaf.not_valid_after_utc,
        warnings=warnings,
    )


class CertificateRotation:
    """Keeps a running server's identity current; `on_change` is called in the loop with each new one."""

    def __init__(
        self,
        source: IdentitySource,
        on_change: Callable[[ServerIdentity], None],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Load the first identity. Raises `SettingsError` when there is none to start with."""
        self._source = source
        self._on_change = on_change
        self._clock = clock
        self._sleep = sleep
        self._log = structlog.get_logger("legato.server.certificates")
        self._problem = ""
        self.current = source(clock())

    def check(self) -> bool:
        """Ask the source once; true if there was a new identity. A failing source leaves the current one, and
        so does an identity that cannot be put to use: it is tried again."""
        try:
            identity = self._source(self._clock())
            if identity.chain == self.current.chain:
                self._problem = ""
                return False
            self._on_change(identity)
        except Exception as error:
            problem = str(error) or type(error).__name__
            if problem != self._problem:
                self._problem = problem
                self._log.warning("certificate not renewed", problem=problem)
            return False
        self._problem = ""
        self.current = identity
        self._log.info(
            "certificate renewed", sha256=identity.hash_hex, not_after=identity.not_after.isoformat()
        )
        return True

    async def run(self) -> None:
        """Check for ever. The wall clock decides at each turn, so a machine that slept loses nothing."""
        while True:
            await self._sleep(CHECK_SECONDS)
            self.check()


def _kept_identity(path: Path) -> ServerIdentity | None:
    """The identity in `path`, or None when the file is missing or damaged (it is then replaced)."""
    try:
        data = path.read_bytes()
        certificate = x509.load_pem_x509_certificate(data)
        key = _supported(load_pem_private_key(data, None))
    except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return ServerIdentity(
        chain=(certificate.public_bytes(Encoding.DER),),
        key=_key_bytes(key, Encoding.DER),
        not_after=certificate.not_valid_after_utc,
        development=True,
    )


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SettingsError(f"there is no {what} file {path}") from None
    except OSError as error:
        raise SettingsError(f"cannot read the {what} file {path}: {error.strerror}") from None


def _load_key(path: Path) -> _PrivateKey:
    try:
        return _supported(load_pem_private_key(_read(path, "key"), None))
    except TypeError:
        raise SettingsError(f"the key {path} is protected by a passphrase: store it without one") from None
    except UnsupportedAlgorithm:
        raise SettingsError(
            f"the key {path} is not one TLS can use here: take ECDSA P-256, RSA or Ed25519"
        ) from None
    except ValueError:
        raise SettingsError(
            f"{path} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)"
        ) from None


def _supported(key: object) -> _PrivateKey:
    """`key` if TLS 1.3 has a use for it, otherwise `UnsupportedAlgorithm`."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    raise UnsupportedAlgorithm("not a key for TLS 1.3")


def _key_bytes(key: _PrivateKey, encoding: Encoding) -> bytes:
    return key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())


def _public_bytes(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
