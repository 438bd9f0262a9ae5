"""The HTTPS side of the server: health, readiness and where to connect; must not know sessions or audio.

Requests for a WebSocket leave it here, with their connection, for whoever takes them. It listens on TCP under
the same port number as QUIC does on UDP, with the same certificate. `make_app` says what is answered,
`HttpSide` serves it in the running event loop, `bind` finds the addresses both sides use.
"""

import asyncio
import contextlib
import errno
import re
import socket
import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.server import ServerState

from legato._guest_uvicorn import GuestUvicorn
from legato.core.errors import SettingsError, TransportError
from legato.server.certificates import ServerIdentity
from legato.transports.websocket_upgrade import IncomingWebSocket, ServerWebSocket

WELL_KNOWN = "/.well-known/legato"
"""Where a client finds what it needs before it can connect."""

BACKLOG = 512
"""TCP connections the kernel keeps waiting."""

STOP_SECONDS = 3
"""How long answers under way may take once the server stops."""

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)

_AUTHORITY = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")

Address = tuple[str, int]
"""A numeric IP address and a port."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What the well-known document says at this moment."""

    server_version: str
    protocol_versions: tuple[int, ...]
    path: str
    certificate_hashes: tuple[str, ...] = ()
    """SHA-256 in base64, for development certificates only: browsers accept no other certificate by hash."""


class Load(NamedTuple):
    """How busy the server is; balancers share new calls out by it."""

    calls: int
    capacity: int


def make_app(
    describe: Callable[[], Description],
    unready: Callable[[], str | None],
    more: Sequence[Route] = (),
    load: Callable[[], Load] | None = None,
) -> Starlette:
    """The HTTP application, with the routes of `more`. `unready` gives the reason for not taking calls now
    ("draining"), or None; `load` is told beside it."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readiness(_: Request) -> Response:
        reason = unready()
        busy = load()._asdict() if load is not None else {}
        if reason is None:
            return JSONResponse({"status": "ready", **busy})
        body = {"status": "not ready", "reason": reason, **busy}
        return JSONResponse(body, status_code=503, headers={"retry-after": "1"})

    async def well_known(request: Request) -> Response:
        now = describe()
        document = {
            "protocol_versions": list(now.protocol_versions),
            "webtransport_url": _url(request, now.path),
            "websocket_url": _url(request, now.path, "wss"),
            "path": now.path,
            "certificate_hashes": [
                {"algorithm": "sha-256", "value": value} for value in now.certificate_hashes
            ],
            "server_version": now.server_version,
        }
        return JSONResponse(document, headers={"access-control-allow-origin": "*"})

    routes = [
        Route("/healthz", health),
        Route("/readyz", readiness),
        Route(WELL_KNOWN, well_known),
        *more,
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})
    app.add_middleware(_SecurityHeaders)
    return app


def _url(request: Request, path: str, scheme: str = "https") -> str:
    """The URL of a path under the very name by which the caller reached us."""
    authority = request.headers.get("host", "")
    if not _AUTHORITY.fullmatch(authority):
        raise HTTPException(400, "the Host header names no host")
    return f"{scheme}://{authority}{path}"


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = {"error": error.detail, "path": request.url.path}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    structlog.get_logger("legato.server.http").error("request failed", path=request.url.path, exc_info=error)
    return JSONResponse({"error": "internal error", "path": request.url.path}, status_code=500)


class _SecurityHeaders:
    """Adds the headers that every answer carries, where it has none of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                missing = (header for header in _HEADERS if header[0] not in given)
                message["headers"] = [*message["headers"], *missing]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening TCP sockets on every address that `host` means; port 0 takes a free one.

    All have the same port number, and that number was free for UDP too. The kernel queues connections until
    `HttpSide.start` answers them. The caller owns the sockets. Raises
    `SettingsError` for a host that is none of this machine, `TransportError` for a port that is taken.
    """
    addresses = _addresses(host)
    for _ in range(16):
        with contextlib.ExitStack() as undo:
            sockets: list[socket.socket] = []
            number = port
            try:
                for family, address in addresses:
                    bound = _bind(family, address, number, optional=len(addresses) > 1)
                    if bound is not None:
                        sockets.append(undo.enter_context(bound))
                        number = bound.getsockname()[1]
            except _PortTakenError as taken:
                if port:
                    message = f"port {port} is in use ({taken}): choose another with --port"
                    raise TransportError(message) from None
                continue
            if not sockets:
                raise SettingsError(f"listen.host = {host!r} cannot be used: no such address on this machine")
            undo.pop_all()
            return sockets
    raise TransportError("no port is free for both UDP and TCP: choose one with --port")


def inherited(descriptors: Sequence[int]) -> list[socket.socket]:
    """Sockets that `bind` made in another process, which passed their descriptors on."""
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


class _PortTakenError(Exception):
    """The port is in use by another process; the text is the protocol."""


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    if host == "localhost":
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    if host == "*":
        return [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise SettingsError(f"listen.host = {host!r} cannot be used: no such name or address") from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bind(family: socket.AddressFamily, address: str, port: int, *, optional: bool) -> socket.socket | None:
    """One TCP socket; None if this machine has no such address and others may do."""
    try:
        tcp = _socket(family, socket.SOCK_STREAM, address, port)
        try:
            _socket(family, socket.SOCK_DGRAM, address, tcp.getsockname()[1]).close()
        except BaseException:
            tcp.close()
            raise
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            if optional:
                return None
            raise SettingsError(f"listen.host = {address!r} is no address of this machine") from None
        if error.errno == errno.EINVAL:
            # A link-local address without its interface, an address of IPv4 written as one of IPv6.
            raise SettingsError(f"listen.host = {address!r} is no address to listen on: try *") from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise TransportError(
                f"not allowed to listen on port {port}: choose one from 1024 with --port"
            ) from None
        raise
    return tcp


def _socket(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    made = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            # Two servers may bind one TCP port with SO_REUSEADDR; only listening tells them apart.
            made.listen(BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise _PortTakenError("TCP" if kind == socket.SOCK_STREAM else "UDP") from None
        raise
    return made


class HttpSide:
    """Serves an ASGI application over TLS inside the running loop. One start, one stop."""

    def __init__(
        self,
        app: ASGIApp,
        identity: ServerIdentity,
        sockets: list[socket.socket],
        on_websocket: Callable[[IncomingWebSocket], None] | None = None,
    ) -> None:
        """Take over `sockets` from `bind`; nothing is answered before `start`. `on_websocket` decides about
        every request for a WebSocket; without it there are none."""
        self._current = _context(identity)
        self._front = _context(identity)
        self._front.sni_callback = self._choose
        self._sockets = sockets
        self._server = GuestUvicorn(
            app,
            stop_seconds=STOP_SECONDS,
            proxy_headers=False,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=16_384,
        )
        config = self._server.config
        config.load()
        config.ssl = self._front
        if on_websocket is not None:
            config.ws_protocol_class = _websockets(on_websocket)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer; returns when the sockets accept."""
        self._task = asyncio.create_task(self._server.serve(self._sockets), name="legato https")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait((self._task, listening), return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._task.done():
            await self._task

    def set_identity(self, identity: ServerIdentity) -> None:
        """Show `identity` to every connection from now on; those under way are not touched."""
        self._current = _context(identity)

    async def stop(self) -> None:
        """Finish what is being answered, close everything. Safe to call twice, or without `start`."""
        if self._task is None:
            for unused in self._sockets:
                unused.close()
            return
        self._server.should_exit = True
        await self._task

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        # OpenSSL asks for every ClientHello, with or without a server name.
        connection.context = self._current


def _websockets(on_websocket: Callable[[IncomingWebSocket], None]) -> Any:
    """What uvicorn calls for the protocol of a connection that asked for a WebSocket."""

    def protocol(
        config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> ServerWebSocket:
        # uvicorn shuts down whom it finds among the connections, and waits for them.
        return ServerWebSocket(on_websocket, connections=server_state.connections)  # type: ignore[arg-type]

    return protocol


def _context(identity: ServerIdentity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A blocking WebSocket client on an older Python sends its request while its other thread takes in the
    # tickets of TLS 1.3, and now and then loses it by that. A call would have little use of them.
    context.num_tickets = 0
    # The ssl module reads keys from files only; this one is private and gone at once.
    with tempfile.TemporaryDirectory(prefix="legato-") as private:
        path = Path(private) / "identity.pem"
        path.touch(mode=0o600)
        path.write_bytes(identity.key_pem() + identity.chain_pem())
        context.load_cert_chain(path)
    return context
