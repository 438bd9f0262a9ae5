"""One connection of a call, and how its path is judged.

Owns how a connection ends. It must not know how it came about, nor what is said over it.
"""

from __future__ import annotations

import contextlib

from legato.core.client_session import ClientSession
from legato.core.errors import LegatoError, Party
from legato.core.wire.codes import SessionCode
from legato.session_driver import Reactions, SessionDriver
from legato.transports.base import Transport, TransportStatistics

__all__ = ["SOON_SUSPICIOUS_US", "SUSPICIOUS_US", "Connection", "PathWatch"]

SUSPICIOUS_US = 1_500_000
"""How long nothing may come while something is expected, before another connection is tried."""

SOON_SUSPICIOUS_US = 500_000
"""The same for a call that another server could continue: it is the server that may be gone."""

ECHO_US = 250_000
"""What is sent this long after the last packet came is no answer to that packet, and so expects one."""


_UNKNOWN = TransportStatistics(0, 0, 0, 0, 0, 0)


class Connection:
    """One session over one transport."""

    def __init__(self, session: ClientSession, reactions: Reactions, url: str) -> None:
        """Hold `session`, not connected yet, for the server at `url`."""
        self.session = session
        self.url = url
        self.driver: SessionDriver[ClientSession] | None = None
        self.transport: Transport | None = None
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
    def rtt_us(self) -> int:
        """The round trip of its path, as far as it is known; else 0."""
        return self._figures.rtt_us

    @property
    def heard(self) -> bool:
        """Whether anything has come over it."""
        return self._figures.bytes_received > 0

    @property
    def _figures(self) -> TransportStatistics:
        with contextlib.suppress(LegatoError):
            if self.transport is not None:
                return self.transport.statistics()
        return _UNKNOWN

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


class PathWatch:
    """Tells a dead path from a silent one: on a path that lives, what is sent is acknowledged.

    One that seemed dead lives again when what is said arrives over it. That something comes is not enough: a
    sender that has lost much waits seconds before it tries again, and a new connection does not.
    """

    def __init__(self, now_us: int) -> None:
        """Begin to watch a path on which something has just come."""
        self.heard_us = now_us
        """When something came last, as far as was looked."""
        self._received = -1
        self._sent = 0
        self._unanswered_us: int | None = None
        self._stuck_at: int | None = None

    def look(
        self,
        figures: TransportStatistics,
        now_us: int,
        patience_us: int = SUSPICIOUS_US,
        said: tuple[int, int] = (0, 0),
    ) -> bool:
        """Take a connection's figures of now, and how much of what is `said` has arrived, and was said;
        returns whether it seems dead: what is expected has not come for `patience_us` and four round
        trips."""
        arrived, whole = said
        if self._is_silent(figures, now_us, patience_us):
            if self._stuck_at is None:
                self._stuck_at = arrived
        elif self._stuck_at is not None and (arrived > self._stuck_at or arrived == whole):
            self._stuck_at = None
        return self._stuck_at is not None

    def _is_silent(self, figures: TransportStatistics, now_us: int, patience_us: int) -> bool:
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
        if self._unanswered_us is None:
            return False
        return now_us - self._unanswered_us >= max(patience_us, 4 * figures.rtt_us)
