"""The HTTPS side on real loopback sockets: answers, certificates, ports in use, a clean stop."""

import asyncio
import contextlib
import hashlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from legato import _guest_uvicorn
from legato.core.errors import SettingsError, TransportError
from legato.server.certificates import ServerIdentity, make_development_identity
from legato.server.http import Description, HttpSide, bind, make_app

NOW = datetime.now(UTC)
DESCRIPTION = Description(
    server_version="1.2.3", protocol_versions=(1,), path="/legato/v1", certificate_hashes=("aGFzaA==",)
)


@pytest.fixture(scope="module")
def identity() -> ServerIdentity:
    return make_development_identity(NOW)


def asking(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="https://voice.example:4433")


class TestAnswers:
    @pytest.fixture
    def client(self) -> httpx.AsyncClient:
        return asking(make_app(lambda: DESCRIPTION, lambda: None))

    async def test_health(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/healthz")
        assert answer.status_code == 200
        assert answer.json() == {"status": "alive"}

    async def test_readiness_follows_the_server(self) -> None:
        reason: str | None = None
        client = asking(make_app(lambda: DESCRIPTION, lambda: reason))
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        reason = "draining"
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"status": "not ready", "reason": "draining"}

    async def test_the_well_known_document_uses_the_name_it_was_asked_by(
        self, client: httpx.AsyncClient
    ) -> None:
        answer = await client.get("/.well-known/legato")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.json() == {
            "protocol_versions": [1],
            "webtransport_url": "https://voice.example:4433/legato/v1",
            "websocket_url": "wss://voice.example:4433/legato/v1",
            "path": "/legato/v1",
            "certificate_hashes": [{"algorithm": "sha-256", "value": "aGFzaA=="}],
            "server_version": "1.2.3",
        }

    @pytest.mark.parametrize("host", ["voice.example", "192.0.2.1:4433", "[2001:db8::1]:4433"])
    async def test_hosts_that_are_hosts(self, client: httpx.AsyncClient, host: str) -> None:
        answer = await client.get("/.well-known/legato", headers={"host": host})
        assert answer.json()["webtransport_url"] == f"https://{host}/legato/v1"

    @pytest.mark.parametrize("host", ["<script>", "a b", "user@host", "x" * 300])
    async def test_hosts_that_are_none(self, client: httpx.AsyncClient, host: str) -> None:
        answer = await client.get("/.well-known/legato", headers={"host": host})
        assert answer.status_code == 400
        assert "script" not in answer.text

    async def test_unknown_paths_and_methods_are_json(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/nowhere")
        assert answer.status_code == 404
        assert answer.json() == {"error": "Not Found", "path": "/nowhere"}
        refused = await client.post("/healthz")
        assert refused.status_code == 405
        assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}

    async def test_a_failure_tells_the_caller_nothing(self) -> None:
        def broken() -> Description:
            raise RuntimeError("private")

        app = make_app(broken, lambda: None)
        answer = await asking(app).get("/.well-known/legato")
        assert answer.status_code == 500
        assert "private" not in answer.text

    @pytest.mark.parametrize("path", ["/.well-known/legato", "/healthz", "/nowhere"])
    async def test_every_answer_carries_the_security_headers(
        self, client: httpx.AsyncClient, path: str
    ) -> None:
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"

    async def test_a_route_may_have_a_policy_of_its_own(self) -> None:
        own = {"content-security-policy": "default-src 'self'", "cache-control": "public"}

        async def page(_: Request) -> Response:
            return Response("hello", headers=own)

        answer = await asking(make_app(lambda: DESCRIPTION, lambda: None, [Route("/", page)])).get("/")
        assert {name: answer.headers.get_list(name) for name in own} == {k: [v] for k, v in own.items()}
        assert answer.headers["x-content-type-options"] == "nosniff"


@contextlib.asynccontextmanager
async def serving(identity: ServerIdentity, *more: Route) -> AsyncIterator[tuple[HttpSide, int]]:
    sockets = bind("localhost", 0)
    side = HttpSide(make_app(lambda: DESCRIPTION, lambda: None, more), identity, sockets)
    port = sockets[0].getsockname()[1]
    await side.start()
    try:
        yield side, port
    finally:
        await side.stop()


async def connect(
    port: int, host: str = "127.0.0.1", name: str | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return await asyncio.open_connection(host, port, ssl=context, server_hostname=name)


async def cut(port: int, said: bytes) -> bytes:
    """Say this and no more; return what came until the server had enough of it."""
    reader, writer = await connect(port)
    writer.write(said)
    heard = b""
    try:
        async with asyncio.timeout(60):
            while more := await reader.read(1000):
                heard += more
    except ConnectionError:
        pass
    writer.transport.abort()
    return heard


async def shown_certificate(port: int, host: str = "127.0.0.1", name: str | None = None) -> bytes:
    _, writer = await connect(port, host, name)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return certificate


def rsa_identity() -> ServerIdentity:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return ServerIdentity(
        chain=(certificate.public_bytes(Encoding.DER),),
        key=key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        not_after=NOW + timedelta(days=1),
    )


class TestServing:
    async def test_https_with_the_certificate_as_its_own_root(self, identity: ServerIdentity) -> None:
        trusting = ssl.create_default_context(cadata=identity.chain_pem().decode())
        async with (
            serving(identity) as (_, port),
            httpx.AsyncClient(verify=trusting, trust_env=False) as client,
        ):
            for host in ("localhost", "127.0.0.1", "[::1]"):
                answer = await client.get(f"https://{host}:{port}/.well-known/legato")
                assert answer.json()["webtransport_url"] == f"https://{host}:{port}/legato/v1"
                assert "server" not in answer.headers

    async def test_a_new_identity_is_shown_at_once_and_breaks_no_connection(
        self, identity: ServerIdentity
    ) -> None:
        trusting = ssl.create_default_context(cadata=identity.chain_pem().decode())
        async with serving(identity) as (side, port):
            reader, writer = await asyncio.open_connection("localhost", port, ssl=trusting)
            # A request that is under way: a connection that is idle for some seconds is closed.
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
            for fresh in (make_development_identity(NOW), rsa_identity(), make_development_identity(NOW)):
                side.set_identity(fresh)
                assert await shown_certificate(port) == fresh.chain[0]
                assert await shown_certificate(port, name="localhost") == fresh.chain[0]
            writer.write(b"Connection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()

    async def test_nothing_but_answers_follows_the_handshake(self, identity: ServerIdentity) -> None:
        def asked(port: int) -> tuple[bytes, str | None, bool]:
            trusting = ssl.create_default_context(cadata=identity.chain_pem().decode())
            with (
                socket.create_connection(("localhost", port)) as tcp,
                trusting.wrap_socket(tcp, server_hostname="localhost") as tls,
            ):
                tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = tls.recv(65_536)
                assert tls.session is not None
                return answer, tls.version(), tls.session.has_ticket

        async with serving(identity) as (_, port):
            answer, version, has_ticket = await asyncio.to_thread(asked, port)
        assert answer.startswith(b"HTTP/1.1 200")
        assert (version, has_ticket) == ("TLSv1.3", False)

    async def test_garbage_instead_of_tls_harms_nobody(self, identity: ServerIdentity) -> None:
        async with serving(identity) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            assert not answer.startswith(b"HTTP/")
            writer.close()
            shown = await shown_certificate(port)
            assert hashlib.sha256(shown).digest() == identity.hash

    @pytest.mark.parametrize(
        "said",
        [
            b"",
            b"GET / HT",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"POST /eats HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1",
        ],
    )
    async def test_a_request_without_an_end_is_not_waited_for(
        self, identity: ServerIdentity, said: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def eat(request: Request) -> Response:
            with contextlib.suppress(ClientDisconnect):
                await request.body()
            return Response()

        monkeypatch.setattr(_guest_uvicorn, "REQUEST_S", 0.05)
        async with serving(identity, Route("/eats", eat, methods=["POST"])) as (_, port):
            assert await cut(port, said) == b""

    async def test_an_answer_may_take_its_time(
        self, identity: ServerIdentity, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def think(_: Request) -> Response:
            for silent in [b""] * 3:
                await cut(port, silent)
            return Response("well")

        monkeypatch.setattr(_guest_uvicorn, "REQUEST_S", 0.05)
        async with serving(identity, Route("/thinks", think)) as (_, port):
            heard = await cut(port, b"GET /thinks HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
        assert heard.startswith(b"HTTP/1.1 200")
        assert heard.endswith(b"well")

    async def test_signals_stay_with_the_process(self, identity: ServerIdentity) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        async with serving(identity):
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

    async def test_after_the_stop_nobody_listens(self, identity: ServerIdentity) -> None:
        async with serving(identity) as (side, port):
            await side.stop()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    async def test_stopped_without_a_start_it_gives_the_port_back(self, identity: ServerIdentity) -> None:
        sockets = bind("localhost", 0)
        port = sockets[0].getsockname()[1]
        await HttpSide(make_app(lambda: DESCRIPTION, lambda: None), identity, sockets).stop()
        for again in bind("localhost", port):
            again.close()


class TestBind:
    def test_localhost_is_both_loopbacks_on_one_port(self) -> None:
        sockets = bind("localhost", 0)
        addresses = [bound.getsockname()[:2] for bound in sockets]
        for bound in sockets:
            bound.close()
        port = addresses[0][1]
        assert addresses == [("127.0.0.1", port), ("::1", port)]

    def test_star_is_every_address(self) -> None:
        sockets = bind("*", 0)
        addresses = [bound.getsockname()[0] for bound in sockets]
        for bound in sockets:
            bound.close()
        assert addresses == ["0.0.0.0", "::"]

    @pytest.mark.parametrize("host", ["fe80::1", "::ffff:127.0.0.1"])
    def test_an_address_of_no_use_is_named(self, host: str) -> None:
        with pytest.raises(SettingsError, match=f"listen.host = '{host}' is no address to listen on"):
            bind(host, 0)

    @pytest.mark.parametrize(("kind", "name"), [(socket.SOCK_STREAM, "TCP"), (socket.SOCK_DGRAM, "UDP")])
    def test_a_port_in_use_is_named_with_what_to_do(self, kind: socket.SocketKind, name: str) -> None:
        free = bind("localhost", 0)  # for both, and of both families
        port = free[0].getsockname()[1]
        for bound in free:
            bound.close()
        with socket.socket(socket.AF_INET6, kind) as other:
            other.bind(("::1", port))
            if kind == socket.SOCK_STREAM:
                other.listen()
            with pytest.raises(
                TransportError, match=rf"port {port} is in use \({name}\): choose another with --port"
            ):
                bind("localhost", port)
        for bound in bind("localhost", port):
            bound.close()

    def test_hosts_of_others(self) -> None:
        with pytest.raises(SettingsError, match="no address of this machine"):
            bind("192.0.2.1", 0)
        with pytest.raises(SettingsError, match="no such name or address"):
            bind("no.such.host.invalid", 0)
