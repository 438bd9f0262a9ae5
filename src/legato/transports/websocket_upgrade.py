"""The server's end of a WebSocket and the request that opens it (RFC 6455 §4).

Owns reading the request and answering it; must not know frames, nor who may come in, nor who else reads the
connection: an HTTP server hands it over with `connection_made`, and the request's bytes in `data_received`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from legato.transports.messages import NO_CLOSE_FRAME, SERVER_ERROR, MessageHandler, MessageLimits
from legato.transports.websocket import WebSocketConnection
from legato.transports.websocket_codec import WebSocketCodec

__all__ = ["IncomingWebSocket", "ServerWebSocket"]

log = logging.getLogger(__name__)


class ServerWebSocket(WebSocketConnection):
    """A connection that somebody asked to upgrade."""

    def __init__(
        self,
        on_request: Callable[[IncomingWebSocket], None],
        limits: MessageLimits | None = None,
        connections: set[object] | None = None,
    ) -> None:
        """Ask `on_request` what becomes of the upgrade, at once or later. While it is open, the connection
        is a member of `connections`."""
        limits = limits or MessageLimits()
        super().__init__(WebSocketCodec(limits.message_bytes, log), limits, connections)
        self._on_request = on_request
        self._response: Response | None = None

    def accepted(
        self,
        handler: Callable[[WebSocketConnection], MessageHandler],
        headers: Sequence[tuple[str, str]],
        limits: MessageLimits | None,
    ) -> WebSocketConnection:
        """Open the connection: see `IncomingWebSocket.accept`."""
        response, self._response = self._response, None
        if response is None or self._over:
            self._handler = handler(self)
            asyncio.get_running_loop().call_soon(self._gone_already)
            return self
        if limits is not None:
            self.limits = limits
            self._codec.limit(limits.message_bytes)
            self._transport.set_write_buffer_limits(limits.high_water_bytes, limits.high_water_bytes // 2)
        for name, value in headers:
            response.headers[name] = value
        early = self._codec.answer(response)
        self._flush()
        self._handler = handler(self)
        self._look_later()
        self._take(early)
        return self

    def rejected(self, status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
        """Answer without opening: see `IncomingWebSocket.reject`."""
        if self._response is not None and not self._over:
            self._refuse(_refusal(status, body, headers))

    def _opening(self, item: Request | Response) -> None:
        assert isinstance(item, Request)
        response = self._codec.judge(item)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._refuse(response)
            return
        self._response = response
        incoming = IncomingWebSocket(self, item)
        try:
            self._on_request(incoming)
        except Exception as error:
            log.error("an upgrade was not dealt with", exc_info=error)
            incoming.reject(HTTPStatus.INTERNAL_SERVER_ERROR)
            if self._codec.open:
                self._fail(SERVER_ERROR, "an internal error")
        self._read_or_not()

    def _refuse(self, response: Response) -> None:
        self._response = None
        self._over = True
        self._codec.answer(response)
        self._flush()
        self._await_end()

    def _gone_already(self) -> None:
        if self._handler is not None:
            self._handler.closed("transport", NO_CLOSE_FRAME, "the client left before it was answered")


class IncomingWebSocket:
    """An upgrade that is well-formed and was not answered yet."""

    def __init__(self, connection: ServerWebSocket, request: Request) -> None:
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


def _refusal(status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> Response:
    """Return an HTTP answer that ends the connection."""
    own = [("Date", formatdate(usegmt=True)), ("Connection", "close"), ("Content-Length", str(len(body)))]
    return Response(status, HTTPStatus(status).phrase, Headers([*own, *headers]), body)
