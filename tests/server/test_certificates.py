"""Development certificates, PEM files and rotation: what browsers accept, what operators are told."""

import asyncio
import ipaddress
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from legato.core.errors import SettingsError
from legato.server.certificates import (
    CHECK_SECONDS,
    CertificateRotation,
    ServerIdentity,
    development_identity,
    identity_source,
    load_identity,
    make_development_identity,
)
from legato.server.settings import Tls
from legato.trust import (
    DEVELOPMENT_CERTIFICATE,
    certificate_hash,
    development_hashes,
    is_loopback,
    state_directory,
)

NOW = datetime(2031, 5, 4, 12, 0, tzinfo=UTC)


def leaf(identity: ServerIdentity) -> x509.Certificate:
    return x509.load_der_x509_certificate(identity.chain[0])


class TestDevelopmentCertificate:
    def test_is_what_a_browser_accepts_by_hash(self) -> None:
        certificate = leaf(make_development_identity(NOW))
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)
        assert certificate.version == x509.Version.v3
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(days=13)
        assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc

    def test_names_this_machine(self) -> None:
        certificate = leaf(make_development_identity(NOW, hostname="kiosk-7"))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["localhost", "kiosk-7"]
        assert names.get_values_for_type(x509.IPAddress) == [
            ipaddress.ip_address("127.0.0.1"),
            ipaddress.ip_address("::1"),
        ]

    @pytest.mark.parametrize("hostname", ["", "localhost", "bücher"])
    def test_leaves_out_a_host_name_that_adds_nothing(self, hostname: str) -> None:
        certificate = leaf(make_development_identity(NOW, hostname=hostname))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["localhost"]

    def test_hash_is_over_the_whole_certificate(self) -> None:
        identity = make_development_identity(NOW)
        assert identity.hash == leaf(identity).fingerprint(hashes.SHA256())
        assert identity.hash_hex == identity.hash.hex()
        assert identity.pinnable
        assert len(identity.hash_base64) == 44

    def test_the_key_never_shows_in_a_repr(self) -> None:
        assert "key" not in repr(make_development_identity(NOW))

    def test_is_kept_with_the_key_for_the_owner_only(self, tmp_path: Path) -> None:
        place = tmp_path / "state"
        first = development_identity(NOW, place)
        assert development_identity(NOW + timedelta(days=10), place) == first
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
        assert modes == {
            "development-identity.pem": 0o600,
            "development-identity.lock": 0o600,
            "development-certificate.pem": 0o644,
        }
        assert b"PRIVATE" not in (place / DEVELOPMENT_CERTIFICATE).read_bytes()

    def test_is_replaced_two_days_before_it_ends_and_both_are_trusted(self, tmp_path: Path) -> None:
        first = development_identity(NOW, tmp_path)
        late = first.not_after - timedelta(days=2)
        second = development_identity(late, tmp_path)
        assert second.hash != first.hash
        assert second.not_after > late + timedelta(days=12)
        assert development_hashes("localhost", tmp_path) == [second.hash, first.hash]

    def test_an_expired_one_is_no_longer_trusted(self, tmp_path: Path) -> None:
        first = development_identity(NOW, tmp_path)
        second = development_identity(first.not_after + timedelta(seconds=1), tmp_path)
        assert development_hashes("localhost", tmp_path) == [second.hash]

    def test_a_clock_set_back_makes_a_new_one(self, tmp_path: Path) -> None:
        first = development_identity(NOW, tmp_path)
        assert development_identity(NOW - timedelta(days=30), tmp_path).hash != first.hash

    @pytest.mark.parametrize("damage", [b"", b"garbage", b"\xff\xfe\x00"])
    def test_a_damaged_file_is_replaced(self, tmp_path: Path, damage: bytes) -> None:
        first = development_identity(NOW, tmp_path)
        (tmp_path / "development-identity.pem").write_bytes(damage)
        second = development_identity(NOW, tmp_path)
        assert second.hash != first.hash
        assert development_identity(NOW, tmp_path) == second

    def test_a_lost_public_part_is_written_again(self, tmp_path: Path) -> None:
        first = development_identity(NOW, tmp_path)
        (tmp_path / DEVELOPMENT_CERTIFICATE).unlink()
        assert development_identity(NOW, tmp_path) == first
        assert development_hashes("localhost", tmp_path) == [first.hash]

    def test_many_servers_starting_at_once_agree(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: development_identity(NOW, tmp_path).hash, range(16)))
        assert len(set(found)) == 1
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

    def test_an_unusable_state_directory_says_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SettingsError, match=r"set XDG_STATE_HOME .* or use --cert and --key"):
            development_identity(NOW, tmp_path / "file" / "below")


class TestTrust:
    @pytest.mark.parametrize(
        "host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.9.1", "[::1]", "::1"]
    )
    def test_loopback_hosts(self, host: str) -> None:
        assert is_loopback(host)

    @pytest.mark.parametrize(
        "host", ["example.org", "10.0.0.1", "localhost.example.org", "", "::2", "0.0.0.0"]
    )
    def test_other_hosts(self, host: str, tmp_path: Path) -> None:
        development_identity(NOW, tmp_path)
        assert not is_loopback(host)
        assert development_hashes(host, tmp_path) == []

    def test_nothing_to_trust_is_no_error(self, tmp_path: Path) -> None:
        assert development_hashes("localhost", tmp_path) == []
        (tmp_path / DEVELOPMENT_CERTIFICATE).write_bytes(b"\xff\xfe")
        assert development_hashes("localhost", tmp_path) == []

    def test_state_directory_follows_the_base_directory_specification(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", "/home/someone")
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        assert state_directory() == Path("/home/someone/.local/state/legato")
        monkeypatch.setenv("XDG_STATE_HOME", "relative")
        assert state_directory() == Path("/home/someone/.local/state/legato")
        monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
        assert state_directory() == Path("/var/state/legato")


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def issue(
    key: Key,
    *,
    start: datetime = NOW - timedelta(days=1),
    stop: datetime = NOW + timedelta(days=90),
    issuer: str = "voice.example",
) -> bytes:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name("voice.example"))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(stop)
        .sign(key, algorithm)
    )
    return certificate.public_bytes(Encoding.PEM)


def pem(key: Key, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "cert.pem").write_bytes(issue(key))
    (tmp_path / "key.pem").write_bytes(pem(key))
    return tmp_path / "cert.pem", tmp_path / "key.pem"


class TestPemFiles:
    def test_a_pair_is_loaded(self, files: tuple[Path, Path]) -> None:
        identity = load_identity(*files, NOW)
        assert identity.chain_pem() == files[0].read_bytes()
        assert identity.key_pem() == files[1].read_bytes()
        assert not identity.development
        assert identity.warnings == ()

    @pytest.mark.parametrize(
        ("key", "days", "pinnable"),
        [
            (ec.generate_private_key(ec.SECP256R1()), 13, True),
            (ec.generate_private_key(ec.SECP256R1()), 14, False),
            (ed25519.Ed25519PrivateKey.generate(), 13, False),
        ],
        ids=["short-lived", "long-lived", "of another kind"],
    )
    def test_what_nobody_else_has_signed_is_pinned_if_browsers_take_it(
        self, files: tuple[Path, Path], key: Key, days: int, pinnable: bool
    ) -> None:
        start = NOW - timedelta(days=1)
        files[0].write_bytes(issue(key, start=start, stop=start + timedelta(days=days)))
        files[1].write_bytes(pem(key))
        assert load_identity(*files, NOW).pinnable is pinnable

    def test_what_an_authority_has_signed_needs_no_pin(self, files: tuple[Path, Path]) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        start = NOW - timedelta(days=1)
        files[0].write_bytes(issue(key, start=start, stop=start + timedelta(days=5), issuer="an authority"))
        files[1].write_bytes(pem(key))
        assert not load_identity(*files, NOW).pinnable

    def test_sec1_keys_are_converted(self, files: tuple[Path, Path]) -> None:
        expected = load_identity(*files, NOW)
        key = ec.generate_private_key(ec.SECP384R1())
        files[0].write_bytes(issue(key))
        parameters = b"-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n"
        for prefix in (b"", parameters):
            files[1].write_bytes(prefix + pem(key, PrivateFormat.TraditionalOpenSSL))
            identity = load_identity(*files, NOW)
            assert identity.key_pem() == pem(key)
            assert identity.hash != expected.hash

    def test_rsa_and_ed25519_keys_are_accepted(
        self, files: tuple[Path, Path], rsa_key: rsa.RSAPrivateKey
    ) -> None:
        for key, form in (
            (rsa_key, PrivateFormat.TraditionalOpenSSL),
            (ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8),
        ):
            files[0].write_bytes(issue(key))
            files[1].write_bytes(pem(key, form))
            assert load_identity(*files, NOW).key_pem() == pem(key)

    def test_missing_files(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="there is no certificate file"):
            load_identity(tmp_path / "other.pem", files[1], NOW)
        with pytest.raises(SettingsError, match="there is no key file"):
            load_identity(files[0], tmp_path / "other.pem", NOW)
        with pytest.raises(SettingsError, match="cannot read the key file"):
            load_identity(files[0], tmp_path, NOW)

    def test_files_that_are_not_pem(self, files: tuple[Path, Path]) -> None:
        cert, key = files
        with pytest.raises(SettingsError, match="holds no certificate in PEM form"):
            load_identity(key, key, NOW)
        with pytest.raises(SettingsError, match="holds no private key in PEM form"):
            load_identity(cert, cert, NOW)
        key.write_bytes(b"\x00\x01")
        with pytest.raises(SettingsError, match="holds no private key in PEM form"):
            load_identity(cert, key, NOW)

    def test_a_key_of_another_certificate(self, files: tuple[Path, Path]) -> None:
        files[1].write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
        with pytest.raises(SettingsError, match="does not belong to the first certificate"):
            load_identity(*files, NOW)

    def test_a_key_with_a_passphrase(self, files: tuple[Path, Path]) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        files[1].write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        )
        with pytest.raises(SettingsError, match="protected by a passphrase"):
            load_identity(*files, NOW)

    def test_a_key_tls_has_no_use_for(self, files: tuple[Path, Path]) -> None:
        files[1].write_bytes(pem(ec.generate_private_key(ec.SECP256K1())))
        with pytest.raises(SettingsError, match="take ECDSA P-256, RSA or Ed25519"):
            load_identity(*files, NOW)

    def test_expired_and_not_yet_valid(self, files: tuple[Path, Path]) -> None:
        with pytest.raises(SettingsError, match=r"expired on 2031-08-02 12:00 UTC"):
            load_identity(*files, NOW + timedelta(days=91))
        with pytest.raises(SettingsError, match=r"valid only from 2031-05-03 12:00 UTC"):
            load_identity(*files, NOW - timedelta(days=2))

    def test_a_chain_that_costs_a_round_trip_is_pointed_out(
        self, files: tuple[Path, Path], rsa_key: rsa.RSAPrivateKey
    ) -> None:
        with files[0].open("ab") as chain:
            for _ in range(5):
                chain.write(issue(rsa_key))
        identity = load_identity(*files, NOW)
        assert len(identity.chain) == 6
        assert "one more round trip" in identity.warnings[0]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class TestRotation:
    def test_reports_a_renewed_development_certificate(self, tmp_path: Path) -> None:
        clock, seen = Clock(), list[ServerIdentity]()
        rotation = CertificateRotation(identity_source(Tls(), tmp_path), seen.append, clock=clock)
        first = rotation.current
        assert not rotation.check()
        clock.now = first.not_after - timedelta(days=1)
        assert rotation.check()
        assert seen == [rotation.current]
        assert rotation.current.hash != first.hash

    def test_follows_a_second_server_that_renewed(self, tmp_path: Path) -> None:
        clock = Clock()
        one, two = (
            CertificateRotation(identity_source(Tls(), tmp_path), lambda _: None, clock=clock)
            for _ in range(2)
        )
        clock.now += timedelta(days=12)
        assert one.check()
        assert two.check()
        assert one.current == two.current

    def test_reloads_replaced_files_and_survives_broken_ones(self, files: tuple[Path, Path]) -> None:
        clock, seen = Clock(), list[ServerIdentity]()
        source = identity_source(Tls(cert=files[0], key=files[1]))
        rotation = CertificateRotation(source, seen.append, clock=clock)
        first = rotation.current
        key = ec.generate_private_key(ec.SECP256R1())
        files[0].write_bytes(issue(key))
        assert not rotation.check()
        assert rotation.current is first
        files[1].write_bytes(pem(key))
        assert rotation.check()
        assert seen == [rotation.current]
        assert certificate_hash(rotation.current.chain[0]) != first.hash

    def test_what_cannot_be_put_to_use_is_tried_again(self, tmp_path: Path) -> None:
        """A full disk, or a certificate that one side does not take, must not end the rotation."""
        clock, seen = Clock(), list[ServerIdentity]()

        def on_change(identity: ServerIdentity) -> None:
            seen.append(identity)
            if len(seen) == 1:
                raise OSError("No space left on device")

        rotation = CertificateRotation(identity_source(Tls(), tmp_path), on_change, clock=clock)
        first = rotation.current
        clock.now += timedelta(days=12)
        assert not rotation.check()
        assert rotation.current is first
        assert rotation.check()
        assert seen == [rotation.current] * 2

    def test_has_nothing_to_start_with(self, tmp_path: Path) -> None:
        source = identity_source(Tls(cert=tmp_path / "cert.pem", key=tmp_path / "key.pem"))
        with pytest.raises(SettingsError, match="there is no certificate file"):
            CertificateRotation(source, lambda _: None)

    async def test_checks_again_and_again(self, tmp_path: Path) -> None:
        clock, renewed = Clock(), asyncio.Event()

        async def sleep(seconds: float) -> None:
            assert seconds == CHECK_SECONDS
            clock.now += timedelta(days=4)
            await asyncio.sleep(0)

        def on_change(_: ServerIdentity) -> None:
            assert clock.now == NOW + timedelta(days=12)
            renewed.set()

        rotation = CertificateRotation(identity_source(Tls(), tmp_path), on_change, clock=clock, sleep=sleep)
        task = asyncio.create_task(rotation.run())
        await renewed.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
