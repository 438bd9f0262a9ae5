"""The ways to one server: WebTransport, a WebSocket, or whichever is there first.

Owns the endpoint, the connections and what a caller asks for. It must not know what is said over them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

from legato._version import __version__
from legato.client.race import Race
from legato.client.settings import ClientSettings
from legato.core.errors import LocalProtocolError
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Capabilities, Hello
from legato.transports.base import Handler, Transport
from legato.transports.webtransport import ConnectTarget, WebTransportEndpoint, WebTransportSession

if TYPE_CHECKING:
    from legato.transports.websocket_streams import WebSocketTransport

__all__ = ["Calling", "hello_of", "move", "no_answer", "patience_ms"]

LEAST_PATIENCE_MS = 10_000
LONGEST_CALLING_S = 3600
BEHIND_READY_MS = 1000
"""How long a connection and a session wait for an answer at the least and at the most, and how much longer
than whoever waits for the call: they can say more about what is missing."""


class Calling:
    """Connects to one server, as often as it is asked to."""

    def __init__(self, target: ConnectTarget, settings: ClientSettings) -> None:
        """Call `target` as `settings` say. Raises `TransportError`."""
        self.target = target
        """Whom the next connection calls."""
        self._choice = settings.transport
        self._endpoint: WebTransportEndpoint | None = None
        if self._choice != "websocket":
            self._endpoint = WebTransportEndpoint.client(
                SimpleNamespace(
                    keep_alive_ms=settings.keep_alive_ms,
                    max_idle_ms=settings.max_idle_ms,
                    initial_rtt_ms=settings.initial_rtt_ms,
                    handshake_timeout_ms=patience_ms(settings),
                )
            )
        self._websockets: dict[asyncio.Task[None], WebSocketTransport] = {}

    def connect(
        self, bind: Callable[[Transport], Handler], given_up: SessionCode = SessionCode.NO_ERROR
    ) -> Transport:
        """Start a session and return it at once; streams may be opened and written immediately.

        `bind` returns who listens, who hears `opened`, or `closed` when it came to nothing. `given_up` is
        what a server is told that was reached twice.
        """
        if self._choice == "webtransport":
            return self._webtransport(bind)
        if self._choice == "websocket":
            return self._websocket(bind)
        return Race(bind, self._webtransport, self._websocket, given_up)

    async def close(self) -> None:
        """End every session and release the sockets. Idempotent."""
        for task, transport in self._websockets.items():
            transport.close(SessionCode.NO_ERROR, "")
            task.cancel()
        if self._websockets:
            await asyncio.wait(self._websockets)
            await asyncio.gather(*(transport.released() for transport in self._websockets.values()))
        if self._endpoint is not None:
            await self._endpoint.close()

    def _webtransport(self, bind: Callable[[Transport], Handler]) -> WebTransportSession:
        assert self._endpoint is not None
        return self._endpoint.connect(self.target, bind)

    def _websocket(self, bind: Callable[[Transport], Handler]) -> WebSocketTransport:
        # Most calls never need it, and it takes longer to load than they take to connect.
        from legato.transports.websocket_streams import WebSocketTransport

        transport = WebSocketTransport(server=False)
        transport.handler = bind(transport)
        task = asyncio.get_running_loop().create_task(transport.connect(self.target), name="websocket")
        for over in [one for one, known in self._websockets.items() if one.done() and known.over]:
            del self._websockets[over]
        self._websockets[task] = transport
        return transport


def hello_of(settings: ClientSettings, token: str | None) -> Hello:
    """What a caller with these settings says first."""
    resumes = settings.resume_s > 0
    return Hello(
        input=settings.input,
        output=settings.output,
        profile=settings.profile,
        late_ms=settings.late_ms,
        lead_ms=settings.lead_ms,
        token=token,
        capabilities=Capabilities(playback_reports=True, resume=resumes, checkpoints=resumes),
        client=f"legato-python/{__version__}",
    )


def patience_ms(settings: ClientSettings) -> int:
    """How long a server may take to answer: longer than the caller of these settings waits for the call."""
    wanted_ms = round(min(settings.connect_timeout_s, LONGEST_CALLING_S) * 1000)
    return max(LEAST_PATIENCE_MS, wanted_ms + BEHIND_READY_MS)


def no_answer(url: str, settings: ClientSettings, transport: Transport | None) -> str:
    """Say that nobody has answered in time, and what had come to nothing while another way was tried."""
    known = f" ({transport.faults})" if isinstance(transport, Race) and transport.faults else ""
    blocked = ", and is UDP let through" if settings.transport == "webtransport" else ""
    within = f"within {settings.connect_timeout_s:g} s{known}"
    return f"no answer from {url} {within}: is a server running there{blocked}?"


def move(transport: Transport | None, local: tuple[str, int] | None) -> None:
    """Move a session to another local address. Raises `LocalProtocolError` if it cannot."""
    if isinstance(transport, Race):
        transport = transport.winner
    if transport is None:
        raise LocalProtocolError("the call has no path yet that could be left: wait until it is ready")
    if not isinstance(transport, WebTransportSession):
        raise LocalProtocolError("a call over a WebSocket cannot move to another address: TCP cannot")
    transport.migrate(local)
