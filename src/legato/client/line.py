"""A caller's line: one connection after the other, for one call.

Owns which connection is at work and when another one is opened beside it. It must not know audio, nor what
the events of a session mean beyond its beginning and its end.

Make before break: while a path is only suspicious, the old connection goes on until the new one is welcomed,
and if it recovers before that the attempt is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from legato.client.address import resolve_target
from legato.client.calling import Calling
from legato.client.connection import Connection, PathWatch
from legato.client.events import Resumed
from legato.client.settings import ClientSettings
from legato.core.client_session import ClientSession
from legato.core.errors import ConnectError, LegatoError, TransportError
from legato.core.events import ConnectionLost, SessionEnded, Welcomed
from legato.core.state import CONNECTED
from legato.core.uplink_sender import UplinkSettings
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Hello
from legato.session_driver import monotonic_us

__all__ = ["CallerLine"]

LOOK_S = 0.25
"""How often the path is looked at."""

FIRST_TRY_S = 2.0
LONGEST_TRY_S = 8.0
"""How long a connection may take before another one is tried: longer each time, for slow networks."""

PAUSE_S = 0.25
"""Between a connection that failed at once and the next."""

FOR_NOW = (SessionCode.GOING_AWAY, SessionCode.OVERLOADED, SessionCode.INTERNAL_ERROR)
"""Refusals after which it is worth asking again."""


class CallerLine:
    """Keeps a call connected."""

    def __init__(
        self,
        url: str,
        settings: ClientSettings,
        hello: Hello,
        reactions: Mapping[type, Callable[[Any], None]],
    ) -> None:
        """Prepare to call `url` with `hello`. Of `reactions`, those to `Welcomed` and `SessionEnded` are
        called for the call's beginning and end, the others for each session; `Resumed` is one of them."""
        self.clock = monotonic_us
        self._url = url
        self._settings = settings
        self._calling: Calling | None = None
        self._uplink = UplinkSettings(
            group_us=settings.group_ms * 1000, resume_us=round(settings.resume_s * 1_000_000)
        )
        self._reactions = reactions
        self._path = PathWatch(self.clock())
        self._current = self._connection(ClientSession(hello, self.clock(), self._uplink))
        self._next: Connection | None = None
        self._taken: asyncio.Future[bool] | None = None
        self._tries = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def session(self) -> ClientSession:
        """The session at work."""
        return self._current.session

    @property
    def connection(self) -> Connection:
        """The connection at work."""
        return self._current

    def settle(self) -> None:
        """Carry out what the session asks for."""
        self._current.settle()

    async def connect(self) -> None:
        """Make the first connection. Raises `SettingsError` or `TransportError`."""
        try:
            self._calling = Calling(await resolve_target(self._url, self._settings), self._settings)
            self._dial(self._current, SessionCode.NO_ERROR)
        except LegatoError:
            raise
        except Exception as error:
            raise ConnectError(f"cannot call {self._url}: {error}") from error

    def stop(self) -> None:
        """Look for no other connection any more."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def hang_up(self) -> None:
        """End the session."""
        if self._next is not None:
            self._next.hang_up()
        self._current.hang_up()
        self.stop()

    async def close(self) -> None:
        """Release the sockets; the session has ended. Idempotent."""
        if self._calling is not None:
            await self._calling.close()

    def _dial(self, connection: Connection, given_up: SessionCode) -> None:
        assert self._calling is not None
        connection.transport = self._calling.connect(connection.bind, given_up)
        connection.settle()

    def _connection(self, session: ClientSession) -> Connection:
        own: dict[type, Callable[[Any], None]] = {
            Welcomed: lambda event: self._welcomed(connection, event),
            ConnectionLost: self._lost,
            SessionEnded: lambda event: self._ended(connection, event),
        }
        connection = Connection(session, {**self._reactions, **own})
        return connection

    def _welcomed(self, connection: Connection, event: Welcomed) -> None:
        now = self.clock()
        silent_us, self._path = now - self._path.heard_us, PathWatch(now)
        before, self._current = self._current, connection
        self._tries = 0
        if connection is before:
            self._reactions[Welcomed](event)
            if connection.session.resume_request() is not None and self._uplink.resume_us:
                self._begin("watch", self._watch)
            return
        # Told first: what is left of the old connection ends now, and is no answer to the attempt.
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(True)
        before.settle()
        self._reactions[Resumed](Resumed(event.welcome, silent_us // 1000, event.lost, now))

    def _ended(self, connection: Connection, event: SessionEnded) -> None:
        if connection is self._current:
            self.stop()
            self._reactions[SessionEnded](event)
        elif event.by == "peer" and connection.established and event.code not in FOR_NOW:
            # The server tells how the call ended, or why it does not take this caller any more.
            self._current.end(event.by, event.code, event.reason)
        elif self._taken is not None and not self._taken.done():
            self._taken.set_result(False)

    def _lost(self, loss: ConnectionLost) -> None:
        if loss.code == SessionCode.REPLACED and not self._tries:
            # None of ours: another client has come with our ticket.
            self._current.end(loss.by, loss.code, loss.reason)
        else:
            self._begin("reconnect", self._reconnect)

    def _begin(self, name: str, work: Callable[[], Any]) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.get_running_loop().create_task(work(), name=name)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            transport = self._current.transport
            if self.session.state not in CONNECTED or transport is None:
                continue
            with contextlib.suppress(TransportError):
                if transport.info.name != "webtransport":
                    # A WebSocket looks after its own path, and its figures say nothing of it.
                    self._path = PathWatch(self.clock())
                    continue
                if self._path.look(transport.statistics(), self.clock()):
                    self._begin("reconnect", self._reconnect)
                elif (task := self._tasks.pop("reconnect", None)) is not None:
                    task.cancel()

    async def _reconnect(self) -> None:
        """Try one connection after the other until one is taken."""
        patience = FIRST_TRY_S
        while not await self._try(patience):
            patience = min(patience * 1.5, LONGEST_TRY_S)
            await asyncio.sleep(PAUSE_S)

    async def _try(self, patience: float) -> bool:
        old = self.session
        hello = msgspec.structs.replace(old.hello, resume=old.resume_request())
        connection = self._connection(ClientSession(hello, self.clock(), self._uplink, continues=old))
        taken = self._taken = asyncio.get_running_loop().create_future()
        self._tries += 1
        self._next = connection
        try:
            self._dial(connection, SessionCode.REPLACED)
            async with asyncio.timeout(patience):
                return bool(await taken)
        except (TimeoutError, TransportError):
            return False
        finally:
            self._next = None
            if connection is not self._current:
                connection.give_up()
