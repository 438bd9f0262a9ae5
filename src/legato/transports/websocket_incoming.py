"""A WebSocket that asks to carry a session's streams, as a server sees it.

Owns reading the request as a session's; must not know streams, nor who may come in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus

from legato.core.wire.codes import WEBSOCKET_PROTOCOL
from legato.transports.base import Handler, Transport
from legato.transports.websocket_streams import LIMITS, WebSocketTransport
from legato.transports.websocket_upgrade import IncomingWebSocket

__all__ = ["IncomingStreams"]


class IncomingStreams:
    """A session that a client asks for over a WebSocket; implements `IncomingSession`."""

    def __init__(self, incoming: IncomingWebSocket) -> None:
        """Wrap the request of an upgrade."""
        self._incoming = incoming
        self.path = incoming.path
        self.authority = incoming.header("host") or ""
        self.origin = incoming.header("origin")
        self.headers: Sequence[tuple[str, str]] = incoming.headers
        self.remote = incoming.remote
        self.offered = WEBSOCKET_PROTOCOL in incoming.subprotocols
        """Whether the client speaks the protocol."""

    def accept(self, handler: Callable[[Transport], Handler]) -> Transport:
        """Accept the session and let what `handler` returns listen to it."""
        transport = WebSocketTransport(server=True)
        transport.handler = handler(transport)
        self._incoming.accept(transport.attach, subprotocol=WEBSOCKET_PROTOCOL, limits=LIMITS)
        return transport

    def reject(self, status: int, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with an HTTP status."""
        self._incoming.reject(status, f"{HTTPStatus(status).phrase}\n".encode(), headers)
