"""uvicorn as a guest in a process that is somebody else's.

Owns what such a guest does differently: it leaves signals alone, says when it listens, writes no log, and
waits for no request for ever. It must not know what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["GuestUvicorn"]

REQUEST_S = 10.0
"""How long a connection may be about to ask, or in the middle of a request; up to three times that if it has
asked before."""


class _PunctualHttp(H11Protocol):
    """HTTP/1.1 that lets go of who does not come to the end of a request: what uvicorn has a limit for is the
    time between two requests only, and such connections would add up."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at the clock."""
        super().connection_made(transport)
        self._stood = self._stands()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go."""
        self._timer.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over to whoever takes WebSockets."""
        self._timer.cancel()
        super().handle_websocket_upgrade(event)

    def _stands(self) -> tuple[object, bool]:
        return self.cycle, self.cycle is not None and self.cycle.response_complete

    def _look_later(self) -> None:
        self._timer = self.loop.call_later(REQUEST_S, self._look)

    def _look(self) -> None:
        stood, self._stood = self._stood, self._stands()
        if stood == self._stood and self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self.transport.abort()
        else:
            self._look_later()


class GuestUvicorn(uvicorn.Server):
    """Serves one application on the running event loop."""

    def __init__(self, app: ASGIApp, *, stop_seconds: int = 1, **options: Any) -> None:
        """Serve `app`; what is being answered has `stop_seconds` when it stops. `options` are uvicorn's."""
        super().__init__(
            uvicorn.Config(
                app,
                http=_PunctualHttp,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=stop_seconds,
                **{"ws": "none", **options},
            )
        )
        self.listening = asyncio.Event()
        """Set once the sockets accept."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals to their owner."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        self.listening.set()
