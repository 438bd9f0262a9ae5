"""The request that opens a WebSocket (RFC 6455 §4), as the one who decides about it sees it.

Owns reading the request; must not know frames, nor who may come in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from legato.transports.messages import MessageHandler, MessageLimits

if TYPE_CHECKING:
    from legato.transports.websocket import WebSocketConnection

__all__ = ["IncomingWebSocket", "refusal"]


class IncomingWebSocket:
    """An upgrade that is well-formed and was not answered yet."""

    def __init__(self, connection: WebSocketConnection, request: Request) -> None:
        """Describe the request of `connection`; only connections make these."""
        self._connection = connection
        self.path, _, self.query = request.path.partition("?")
        self.headers: Sequence[tuple[str, str]] = [
            (name.lower(), value) for name, value in request.headers.raw_items()
        ]
        self.remote = connection.info.remote

    def header(self, name: str) -> str | None:
        """Return the first header of that lower-case name."""
        return next((value for known, value in self.headers if known == name), None)

    @property
    def subprotocols(self) -> list[str]:
        """Return the subprotocols that the client offers, in its order."""
        offers = (value for name, value in self.headers if name == "sec-websocket-protocol")
        return [offer for value in offers for part in value.split(",") if (offer := part.strip())]

    def accept(
        self,
        handler: Callable[[WebSocketConnection], MessageHandler],
        *,
        subprotocol: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        limits: MessageLimits | None = None,
    ) -> WebSocketConnection:
        """Answer 101; `handler` is called once with the connection and returns who listens to it."""
        more = [*headers, ("Sec-WebSocket-Protocol", subprotocol)] if subprotocol else headers
        return self._connection.accepted(handler, more, limits)

    def reject(self, status: int, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with an HTTP status, for example 401, and end the connection."""
        self._connection.rejected(status, body, headers)


def refusal(status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> Response:
    """Return an HTTP answer that ends the connection."""
    own = [("Date", formatdate(usegmt=True)), ("Connection", "close"), ("Content-Length", str(len(body)))]
    return Response(status, HTTPStatus(status).phrase, Headers([*own, *headers]), body)
