"""The client's end of a WebSocket over TLS: whom to trust, the request, its answer (RFC 6455 §4).

Owns opening the connection; must not know frames, nor what messages say.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from websockets.client import ClientProtocol
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from legato.core.errors import ConnectError
from legato.transports.messages import NO_CLOSE_FRAME, NORMAL, MessageHandler, MessageLimits
from legato.transports.network_watch import NetworkWatch, is_here
from legato.transports.websocket import WebSocketConnection
from legato.transports.websocket_codec import WebSocketCodec
from legato.transports.webtransport import ConnectTarget

__all__ = ["ClientWebSocket", "open_websocket"]

log = logging.getLogger(__name__)

NEXT_ADDRESS_S = 0.25
"""How long an address may take before the next one is tried beside it (RFC 8305, section 5)."""


class ClientWebSocket(WebSocketConnection):
    """A connection that we ask to upgrade; whoever listens hears `closed` when it comes to nothing."""

    def __init__(
        self,
        target: ConnectTarget,
        subprotocol: str,
        handler: MessageHandler,
        opened: Callable[[ClientWebSocket], None],
        limits: MessageLimits,
    ) -> None:
        """Ask for `target` and a subprotocol; call `opened` with this when the server consents."""
        host, _, port = target.authority.rpartition(":")
        uri = WebSocketURI(True, host.strip("[]"), int(port), *_path_and_query(target.path))
        self._protocol = ClientProtocol(uri, subprotocols=[Subprotocol(subprotocol)], logger=log)
        super().__init__(WebSocketCodec(limits.message_bytes, log, self._protocol), limits)
        self._target = target
        self._handler = handler
        self._opened = opened
        self._watch: NetworkWatch | None = None
        self.gone = asyncio.Event()
        """Set when nothing is left of the connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Judge the server's certificate and send the request."""
        super().connection_made(transport)
        self._watch = NetworkWatch(self._follow_network)
        hashes = self._target.certificate_hashes
        if hashes and (fault := _fault(transport.get_extra_info("ssl_object"), hashes)):
            self._end("transport", NO_CLOSE_FRAME, f"its certificate is not trusted ({fault})")
            self._transport.abort()
            return
        request = self._protocol.connect()
        for name, value in self._target.headers:
            request.headers[name] = value
        if self._target.origin is not None:
            request.headers["Origin"] = self._target.origin
        self._protocol.send_request(request)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go."""
        super().connection_lost(exc)
        if self._watch is not None:
            self._watch.close()
        self.gone.set()

    def _follow_network(self) -> None:
        """End when our address is gone: TCP cannot go on from another one, and would say so in minutes."""
        name = self._transport.get_extra_info("sockname")
        if name and not self._over and not is_here(name[0]):
            self._end("transport", NO_CLOSE_FRAME, f"this machine has no address {name[0]} any more")
            self._transport.abort()

    def _opening(self, item: Request | Response) -> None:
        assert isinstance(item, Response)
        if not self._codec.consented:
            self._end("peer", NO_CLOSE_FRAME, f"the server answered {item.status_code}")
            self._transport.abort()
        elif self._protocol.subprotocol is None:
            self._end("peer", NORMAL, "the server speaks another protocol on WebSockets")
            self._say_close(NORMAL, "")
        else:
            self._look_later()
            self._guarded(self._opened, self)


async def open_websocket(
    target: ConnectTarget,
    subprotocol: str,
    handler: MessageHandler,
    opened: Callable[[ClientWebSocket], None],
    limits: MessageLimits,
) -> ClientWebSocket:
    """Connect and send the request; what it is answered with, `opened` or `handler.closed` tells.

    Raises `ConnectError` when no address answers or TLS comes to nothing.
    """
    loop = asyncio.get_running_loop()

    def protocol() -> ClientWebSocket:
        return ClientWebSocket(target, subprotocol, handler, opened, limits)

    try:
        reached = await _reach(target.addresses)
        _, made = await loop.create_connection(
            protocol, sock=reached, ssl=_trust(target), server_hostname=target.server_name
        )
    except OSError as error:
        raise ConnectError(_in_words(error)) from None
    return made


async def _reach(addresses: Sequence[tuple[str, int]]) -> socket.socket:
    """Connect to the first address that answers. Raises `OSError`."""
    fault: BaseException = OSError("it has no address")
    waiting, running = list(addresses), set[asyncio.Task[socket.socket]]()
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_dial(waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=NEXT_ADDRESS_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (error := task.exception()) is None:
                    running |= done - {task}
                    return task.result()
                fault = error
        raise fault
    finally:
        for task in running:
            task.add_done_callback(_let_go)
            task.cancel()


async def _dial(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


def _let_go(task: asyncio.Task[socket.socket]) -> None:
    """Close the socket of a connection that came second."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _trust(target: ConnectTarget) -> ssl.SSLContext:
    if target.certificate_hashes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # `_fault` judges instead, before anything is sent
    elif target.roots is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=b"".join(target.roots))
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _fault(connection: ssl.SSLObject, hashes: Sequence[bytes]) -> str | None:
    """Say what is wrong with the server's certificate, given the hashes of those that are trusted."""
    # Loaded late: a long one, and only for pinned certificates.
    from cryptography import x509

    leaf = connection.getpeercert(binary_form=True)
    if leaf is None or hashlib.sha256(leaf).digest() not in hashes:
        return "its hash is not the expected one"
    certificate, now = x509.load_der_x509_certificate(leaf), datetime.now(UTC)
    if now < certificate.not_valid_before_utc:
        return "it is not valid yet"
    if now > certificate.not_valid_after_utc:
        return "it has expired"
    return None


def _in_words(fault: OSError) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({fault.verify_message})"
    if isinstance(fault, ConnectionRefusedError):
        return "the connection was refused"
    return fault.strerror or str(fault) or type(fault).__name__


def _path_and_query(path: str) -> tuple[str, str]:
    start, _, query = path.partition("?")
    return start, query
