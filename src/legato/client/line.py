"""A caller's line: one connection after the other, for one call.

Owns which connection is at work and when another one is opened beside it. It must not know audio, nor what
the events of a session mean beyond its beginning and its end.

Make before break: while a path is only suspicious, the old connection goes on until the new one is welcomed,
and if it recovers before that the attempt is given up. A server that says that it stops is left in the same
way, at a pause of the conversation. The server that has the call is asked first, others a moment later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from legato.client.address import resolve_target
from legato.client.calling import Calling, patience_ms
from legato.client.connection import SOON_SUSPICIOUS_US, SUSPICIOUS_US, Connection, PathWatch
from legato.client.events import Resumed
from legato.client.settings import ClientSettings
from legato.core.client_session import CLIENT_LIMITS, ClientSession
from legato.core.errors import ConnectError, LegatoError, TransportError
from legato.core.events import ConnectionLost, SessionEnded, Welcomed
from legato.core.state import CONNECTED
from legato.core.uplink_sender import UplinkSettings
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Hello, Limits
from legato.session_driver import monotonic_us

__all__ = ["CallerLine"]

LOOK_S = 0.1
"""How often the path is looked at."""

HEAD_START_S = 0.25
"""How long a server is asked before another one is asked beside it."""

LEAVING_S = 2.0
"""How long before a server stops its callers leave it at the latest, pause or not."""

FIRST_TRY_S = 0.6
LONGEST_TRY_S = 8.0
"""How long a connection may stay unanswered before another one is tried, and how long one may take that was
answered. A handshake repeats itself less and less often, and so would find out late that the network is back;
a new one begins at once. Longer each time, for slow networks and for servers that cannot follow."""

LONGER = 1.25
ROUND_TRIPS = 4
"""What a try takes at least, in round trips of the connection before."""

PAUSE_S = 0.25
"""Between a connection that failed at once and the next."""

STRAY_US = 10_000_000
"""How late a server may hear of a connection that was given up, and go over to it from the one that it has
taken since."""

FOR_GOOD = (
    SessionCode.NO_ERROR,
    SessionCode.PROTOCOL_VIOLATION,
    SessionCode.UNSUPPORTED_VERSION,
    SessionCode.UNSUPPORTED_FORMAT,
    SessionCode.UNAUTHORIZED,
    SessionCode.LIMIT_EXCEEDED,
    SessionCode.AGENT_ERROR,
)
"""How a call ends, and why a caller is refused; after any other code it is worth asking again."""


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
        self._callings: dict[str, Calling] = {}
        self._uplink = UplinkSettings(
            group_us=settings.group_ms * 1000, resume_us=round(settings.resume_s * 1_000_000)
        )
        self._reactions = reactions
        self._path = PathWatch(self.clock())
        first = ClientSession(hello, self.clock(), self._uplink, _limits(settings))
        self._current = self._connection(first, url)
        self._attempts: list[Connection] = []
        self._news = asyncio.Event()
        self._leaving = False
        self._leave: Callable[[], bool] | None = None
        self._refusal: SessionEnded | None = None
        self._tries = 0
        self._gave_up_us: int | None = None
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
            await self._dial(self._current, SessionCode.NO_ERROR)
        except LegatoError:
            raise
        except Exception as error:
            raise ConnectError(f"cannot call {self._url}: {error}") from error

    def leave(self, in_ms: int, pausing: Callable[[], bool]) -> None:
        """The server stops in `in_ms`: go to another one when the conversation is `pausing`, or shortly
        before that."""
        if self.session.carries:
            latest = self.clock() + 1000 * max(0, in_ms - round(LEAVING_S * 1000))
            self._leave = lambda: pausing() or self.clock() >= latest

    def stop(self) -> None:
        """Look for no other connection any more."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def hang_up(self) -> None:
        """End the session."""
        for connection in self._attempts:
            connection.hang_up()
        self._current.hang_up()
        self.stop()

    async def close(self) -> None:
        """Release the sockets; the session has ended. Idempotent."""
        for calling in self._callings.values():
            await calling.close()

    async def _dial(self, connection: Connection, given_up: SessionCode) -> None:
        calling = self._callings.get(connection.url)
        if calling is None:
            target = await resolve_target(connection.url, self._settings)
            calling = self._callings[connection.url] = Calling(target, self._settings)
        connection.transport = calling.connect(connection.bind, given_up)
        connection.settle()

    async def _look_up(self, url: str) -> None:
        """Ask anew where a server is; without an answer the last one counts."""
        with contextlib.suppress(LegatoError):
            target = await resolve_target(url, self._settings)
            if url in self._callings:
                self._callings[url].target = target

    def _connection(self, session: ClientSession, url: str) -> Connection:
        own: dict[type, Callable[[Any], None]] = {
            Welcomed: lambda event: self._welcomed(connection, event),
            ConnectionLost: self._lost,
            SessionEnded: lambda event: self._ended(connection, event),
        }
        connection = Connection(session, {**self._reactions, **own}, url)
        return connection

    def _welcomed(self, connection: Connection, event: Welcomed) -> None:
        now = self.clock()
        silent_us, self._path = now - self._path.heard_us, PathWatch(now)
        before, self._current = self._current, connection
        self._tries = 0
        self._leaving, self._leave = False, None
        if connection is before:
            self._reactions[Welcomed](event)
            if connection.session.resume_request() is not None and self._uplink.resume_us:
                self._begin("watch", self._watch)
            return
        # Told first: what is left of the old connection ends now, and is no answer to the attempt.
        self._news.set()
        before.settle()
        self._reactions[Resumed](Resumed(event.welcome, silent_us // 1000, event.lost, now))

    def _ended(self, connection: Connection, event: SessionEnded) -> None:
        if connection is self._current:
            self.stop()
            self._reactions[SessionEnded](event)
            return
        if connection.url == self._current.url and _is_final(connection, event):
            if self.session.state not in CONNECTED:
                self._current.end(event.by, event.code, event.reason)
                return
            # The connection at work may serve the call to its end; after it there is none.
            self._refusal = event
        if connection in self._attempts:
            self._attempts.remove(connection)
        self._news.set()

    def _lost(self, loss: ConnectionLost) -> None:
        if self._refusal is not None:
            self._current.end(self._refusal.by, self._refusal.code, self._refusal.reason)
        elif loss.code == SessionCode.REPLACED and not self._has_others:
            # None of ours: another client has come with our ticket.
            self._current.end(loss.by, loss.code, loss.reason)
        else:
            self._begin("reconnect", self._reconnect)

    @property
    def _has_others(self) -> bool:
        """Whether the server may have gone over to another connection of ours."""
        gave_up = self._gave_up_us
        return self._tries > 0 or (gave_up is not None and self.clock() < gave_up + STRAY_US)

    def _begin(self, name: str, work: Callable[[], Any]) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.get_running_loop().create_task(work(), name=name)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            transport = self._current.transport
            if self._leave is not None and self._leave():
                self._leaving, self._leave = True, None
                self._begin("reconnect", self._reconnect)
            if self.session.state not in CONNECTED or transport is None:
                continue
            with contextlib.suppress(TransportError):
                patience_us = SOON_SUSPICIOUS_US if self.session.carries else SUSPICIOUS_US
                said = (self.session.acked, self.session.captured)
                if self._path.look(transport.statistics(), self.clock(), patience_us, said):
                    self._begin("reconnect", self._reconnect)
                elif not self._leaving and (task := self._tasks.pop("reconnect", None)) is not None:
                    task.cancel()

    async def _reconnect(self) -> None:
        """Try one connection after the other until one is taken."""
        patience = max(FIRST_TRY_S, ROUND_TRIPS * self._current.rtt_us / 1_000_000)
        began = self.clock()
        while self._refusal is None and not await self._try(patience):
            patience = min(patience * LONGER, LONGEST_TRY_S)
            took_s = (self.clock() - began) / 1_000_000
            await asyncio.sleep(max(0.0, PAUSE_S - took_s))
            began = self.clock()

    async def _try(self, patience: float) -> bool:
        """Ask every server, the one that has the call first; returns whether one of them has taken it."""
        old = self._current
        others = (self._url, *self._settings.alternatives) if old.session.carries else ()
        urls = list(dict.fromkeys((old.url, *others)))
        self._tries += 1

        def rest() -> float:
            allowed = LONGEST_TRY_S if any(one.heard for one in self._attempts) else patience
            return allowed - (self.clock() - began) / 1_000_000

        try:
            for url in urls:
                if self._current is old:
                    self._begin(f"look up {url}", partial(self._look_up, url))
                    began = self.clock()
                    await self._ask(url)
                    await self._outcome(old, self._attempts[-1:], HEAD_START_S)
            while self._current is old and self._attempts and rest() > 0:
                await self._outcome(old, self._attempts[:], rest())
            return self._current is not old
        finally:
            attempts, self._attempts = self._attempts, []
            for connection in attempts:
                if connection is not self._current:
                    self._leave_alone(connection)

    def _leave_alone(self, connection: Connection) -> None:
        """End an attempt that came to nothing."""
        if connection.url == self._current.url:
            connection.give_up()
            self._gave_up_us = self.clock()
        else:
            # What another server has made of the call is of no use beside the one that has it.
            connection.hang_up()

    async def _ask(self, url: str) -> None:
        """Open a connection to one server, to go on with the call."""
        session = self.session
        hello = msgspec.structs.replace(session.hello, resume=session.resume_request())
        connection = self._connection(
            ClientSession(hello, self.clock(), self._uplink, continues=session), url
        )
        try:
            self._attempts.append(connection)
            await self._dial(connection, SessionCode.REPLACED)
        except LegatoError:
            self._attempts.remove(connection)

    async def _outcome(self, old: Connection, asked: list[Connection], seconds: float) -> None:
        """Wait until the call is taken or one of those that were `asked` fails."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._current is old and all(one in self._attempts for one in asked) and asked:
                    self._news.clear()
                    await self._news.wait()


def _limits(settings: ClientSettings) -> Limits:
    """What the first session accepts: a welcome for as long as the caller waits for one."""
    return msgspec.structs.replace(CLIENT_LIMITS, hello_ms=patience_ms(settings))


def _is_final(connection: Connection, event: SessionEnded) -> bool:
    """Whether the server tells how the call ended, or why it does not take this caller any more."""
    return event.by == "peer" and connection.established and event.code in FOR_GOOD
