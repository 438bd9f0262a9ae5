"""uvicorn as a guest in a process that is somebody else's.

Owns what such a guest does differently: it leaves signals alone, says when it listens, and writes no log. It
must not know what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

__all__ = ["GuestUvicorn"]


class GuestUvicorn(uvicorn.Server):
    """Serves one application on the running event loop."""

    def __init__(self, app: ASGIApp, *, stop_seconds: int = 1, **options: Any) -> None:
        """Serve `app`; what is being answered has `stop_seconds` when it stops. `options` are uvicorn's."""
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
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
