"""Connections of one call: made as often as it takes, watched for signs of death.

Owns the endpoint and how a path is judged. It must not know what is said over a connection.
"""

from __future__ import annotations

from types import SimpleNamespace

from legato.client.address import resolve_target
from legato.client.settings import ClientSettings
from legato.core.client_session import ClientSession
from legato.core.errors import ConnectError, Party
from legato.core.wire.codes import SessionCode
from legato.session_driver import Reactions, SessionDriver
from legato.transports.base import Transport, TransportStatistics
from legato.transports.webtransport import ConnectTarget, WebTransportEndpoint, WebTransportSession

__all__ = ["Connection", "Dialer", "PathWatch"]

SUSPICIOUS_US = 1_500_000
"""How long nothing may come while something is expected, before another connection is tried."""

ECHO_US = 250_000
"""What is sent this long after the last packet came is no answer to that packet, and so expects one."""


class Connection:
    """One session over one transport."""

    def __init__(self, session: ClientSession, reactions: Reactions) -> None:
        """Hold `session`, not connected yet."""
        self.session = session
        self.driver: SessionDriver[ClientSession] | None = None
        self.transport: WebTransportSession | None = None
        self._reactions = reactions

    def bind(self, transport: Transport) -> SessionDriver[ClientSession]:
        """Join the session to its transport."""
        self.driver = SessionDriver(self.session, transport, self._reactions)
        return self.driver

    def settle(self) -> None:
        """Carry out what the session asks for."""
        if self.driver is not None:
            self.driver.settle()

    @property
    def established(self) -> bool:
        """Whether the server took the session, so that its codes say something."""
        return self.driver is not None and self.driver.established

    def hang_up(self) -> None:
        """End the session, and the call with it."""
        if self.driver is not None and not self.driver.over:
            self.session.close(SessionCode.NO_ERROR, "", self.driver.clock())
            self.driver.settle()

    def give_up(self) -> None:
        """End the session; the call goes on without it."""
        if self.driver is not None and not self.driver.over:
            self.session.hand_over(self.driver.clock())
            self.driver.settle()

    def end(self, by: Party, code: int, reason: str) -> None:
        """End the session as another connection has told."""
        if self.driver is not None:
            self.driver.closed(by, code, reason)


class Dialer:
    """Calls one server, each time from a fresh port."""

    def __init__(self, url: str, settings: ClientSettings) -> None:
        """Look nothing up yet."""
        self._url = url
        self._settings = settings
        self._target: ConnectTarget | None = None
        self._endpoint: WebTransportEndpoint | None = None

    async def prepare(self) -> None:
        """Find the server. Raises `SettingsError` or `ConnectError`."""
        settings = self._settings
        self._target = await resolve_target(self._url, settings)
        self._endpoint = WebTransportEndpoint.client(
            SimpleNamespace(
                keep_alive_ms=settings.keep_alive_ms,
                max_idle_ms=settings.max_idle_ms,
                initial_rtt_ms=settings.initial_rtt_ms,
            )
        )

    def dial(self, connection: Connection) -> None:
        """Connect; what its session has said leaves with the first flight. Raises `TransportError`."""
        if self._endpoint is None or self._target is None:
            raise ConnectError("prepare comes first")
        connection.transport = self._endpoint.connect(self._target, connection.bind)
        connection.settle()

    async def close(self) -> None:
        """Close every connection."""
        if self._endpoint is not None:
            await self._endpoint.close()


class PathWatch:
    """Tells a dead path from a silent one: on a path that lives, what is sent is acknowledged."""

    def __init__(self, now_us: int) -> None:
        """Begin to watch a path on which something has just come."""
        self.heard_us = now_us
        """When something came last, as far as was looked."""
        self._received = -1
        self._sent = 0
        self._unanswered_us: int | None = None

    def look(self, figures: TransportStatistics, now_us: int) -> bool:
        """Take a connection's figures of now; returns whether it seems dead."""
        if figures.bytes_received != self._received:
            self._received = figures.bytes_received
            self.heard_us = now_us
            self._unanswered_us = None
        elif (
            figures.bytes_sent != self._sent
            and self._unanswered_us is None
            and now_us - self.heard_us >= ECHO_US
        ):
            self._unanswered_us = now_us
        self._sent = figures.bytes_sent
        return self._unanswered_us is not None and now_us - self._unanswered_us >= SUSPICIOUS_US
