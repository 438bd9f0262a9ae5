"""Endpoints on loopback and a reader for their events; must not know what the engine is for."""

import datetime
import hashlib
import select
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from legato import _native

PATIENCE_S = 10.0


class Certificate:
    """A self-signed certificate for localhost, valid between two days counted from now."""

    def __init__(self, first_day: int = -1, last_day: int = 10) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=first_day))
            .not_valid_after(now + datetime.timedelta(days=last_day))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.hash = hashlib.sha256(self.der).digest()
        self.identity = _native.Identity(
            [self.der],
            key.private_bytes(
                serialization.Encoding.DER,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )


class Party:
    """An endpoint and everything it has reported."""

    def __init__(self, endpoint: _native.Endpoint, accepts: bool = True) -> None:
        self.endpoint = endpoint
        self.accepts = accepts
        self.events: list[tuple[int, int, int, Any]] = []

    def drain(self) -> None:
        for event in self.endpoint.drain():
            if event[0] == _native.SESSION_REQUESTED and self.accepts:
                self.endpoint.accept(event[1])
            self.events.append(event)

    def of(self, kind: int) -> list[tuple[int, int, Any]]:
        return [event[1:] for event in self.events if event[0] == kind]

    def data(self, stream: int) -> bytes:
        return b"".join(data for _, owner, data in self.of(_native.STREAM_DATA) if owner == stream)

    def until(self, done: Callable[["Party"], Any]) -> Any:
        """Drain until `done` answers with something true, and return that."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            if outcome := done(self):
                return outcome
            left = give_up - time.monotonic()
            assert left > 0, f"it did not happen; events so far: {self.events}"
            select.select([self.endpoint.fileno()], [], [], left)
            self.drain()

    def has(self, kind: int) -> tuple[int, int, Any]:
        """Wait for an event of this kind and return the last one."""
        return self.until(lambda party: party.of(kind))[-1]


class Pair:
    """A server and a client on loopback."""

    def __init__(self, host: str = "localhost", settings: Any = None, keys: Any = None) -> None:
        settings = settings or SimpleNamespace()
        self.certificate = Certificate()
        self.server = Party(_native.Endpoint.listen([(host, 0)], self.certificate.identity, settings, keys))
        self.client = Party(_native.Endpoint.client(settings))
        self.port = self.server.endpoint.local_addresses()[0][1]

    def target(self, **changes: Any) -> _native.ConnectTarget:
        fields: dict[str, Any] = {
            "addresses": [("localhost", self.port)],
            "server_name": "localhost",
            "authority": f"localhost:{self.port}",
            "path": "/legato/v1",
            "certificate_hashes": [self.certificate.hash],
        }
        return _native.ConnectTarget(**(fields | changes))

    def session(self, **changes: Any) -> tuple[int, int]:
        """Connect and return the session at the server and at the client."""
        before = len(self.server.of(_native.SESSION_REQUESTED))
        ours = self.client.endpoint.connect(self.target(**changes))
        theirs: int = self.server.until(lambda party: party.of(_native.SESSION_REQUESTED)[before:])[0][0]
        self.client.until(lambda party: any(event[0] == ours for event in party.of(_native.SESSION_OPENED)))
        return theirs, ours

    def close(self) -> None:
        self.server.endpoint.shutdown()
        self.client.endpoint.shutdown()


@pytest.fixture
def certificate() -> type[Certificate]:
    return Certificate


@pytest.fixture
def party() -> type[Party]:
    return Party


@pytest.fixture
def make_pair() -> Iterator[Callable[..., Pair]]:
    pairs: list[Pair] = []

    def make(*args: Any, **kwargs: Any) -> Pair:
        pairs.append(Pair(*args, **kwargs))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair()
