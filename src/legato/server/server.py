"""The voice server: one UDP and one TCP socket per address, calls behind them, an orderly end.

Owns start, admission, drain and stop. It must not know audio or what an agent does.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Sequence
from types import SimpleNamespace

import structlog

from legato import _native
from legato._plugins import built
from legato._version import __version__
from legato.agents.base import Agent
from legato.core.dialects.realtime.session_settings import SessionDefaults
from legato.core.errors import SettingsError
from legato.core.wire.codes import SESSION_PATH, WEBSOCKET_PROTOCOL, WIRE_VERSION, SessionCode
from legato.core.wire.messages import Limits
from legato.server.auth import Authority
from legato.server.certificates import CertificateRotation, ServerIdentity, identity_source
from legato.server.development_key import keep_development_key
from legato.server.fleet_settings import host_and_port
from legato.server.http import Description, HttpSide, Load, bind, inherited, make_app
from legato.server.membership import Membership
from legato.server.native_door import NativeDoor
from legato.server.page_files import page_routes
from legato.server.page_key import page_key_route
from legato.server.realtime_door import RealtimeDoor
from legato.server.realtime_http import REALTIME_PATH, error_body, realtime_routes, refuse
from legato.server.resuming import Resuming
from legato.server.sessions import CallTerms, LiveCalls
from legato.server.settings import ServerSettings
from legato.server.tickets import Tickets
from legato.server.worker import Orders
from legato.transports.base import IncomingSession
from legato.transports.websocket_incoming import IncomingStreams
from legato.transports.websocket_upgrade import IncomingWebSocket
from legato.transports.webtransport import WebTransportEndpoint, address_text

__all__ = ["Server"]

HTTP3_STREAMS = 3
"""Unidirectional streams of a client that are no audio: control and QPACK (RFC 9114 §6.2, RFC 9204 §4.2)."""

AGENT_GRACE_S = 1.0
"""How long agents may take to return when the server stops, before they are cancelled and then given up."""

log = structlog.get_logger(__name__)


class Server:
    """Serves calls with one agent.

    ``async with Server(settings) as server:`` starts and stops it; `serve_forever` runs until `stop`.
    """

    def __init__(
        self, settings: ServerSettings, agent: Agent | None = None, worker: Orders | None = None
    ) -> None:
        """Prepare a server; `agent` overrides the one that the settings name.

        A `worker` shares its port with others. Raises `SettingsError` when the agent or one of its stages, or
        the keys of the fleet, cannot be had.
        """
        self._membership = Membership(settings, worker)
        settings = self._membership.applied(settings)
        self.settings = settings
        self._worker = worker
        self._agent: Agent = agent or _agent(settings)
        self._draining = False
        self._stopping = False
        self._released = False
        self._stopped = asyncio.Event()
        self._endpoint: WebTransportEndpoint | None = None
        self._http: HttpSide | None = None
        self._rotation: CertificateRotation | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._tickets: Tickets | None = None
        self._calls: LiveCalls | None = None
        self._native: NativeDoor | None = None
        self._realtime: RealtimeDoor | None = None
        self._authority: Authority | None = None

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Return the UDP addresses that callers reach; HTTPS listens on the same over TCP."""
        return self._endpoint.addresses if self._endpoint is not None else []

    @property
    def port(self) -> int:
        """Return the port number."""
        return self.addresses[0][1]

    @property
    def identity(self) -> ServerIdentity:
        """Return the certificate in use."""
        assert self._rotation is not None
        return self._rotation.current

    @property
    def calls(self) -> int:
        """Return how many calls are in progress."""
        return len(self._calls) if self._calls is not None else 0

    async def start(self) -> None:
        """Bind and serve. Raises `SettingsError` or `TransportError` with one sentence for the operator."""
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise
        log.info(
            "listening",
            addresses=[address_text(address) for address in self.addresses],
            agent=self.settings.agent,
            **self._place(),
        )

    async def _start(self) -> None:
        settings = self.settings
        self._rotation = CertificateRotation(identity_source(settings.tls), self._new_identity)
        for warning in self.identity.warnings:
            log.warning(warning)
        own_key = _development_key(settings)
        self._authority = Authority(settings, development_key=own_key)
        self._calls = LiveCalls(
            CallTerms(
                self._agent,
                limits=_limits(settings),
                lead_ms=settings.lead_ms,
                profile=settings.profile,
                late_ms=settings.late_ms,
                session=getattr(self._agent, "session", None) or SessionDefaults(),
            )
        )
        self._tickets = Tickets([key.get_secret_value().encode() for key in settings.resume.keys])
        resuming = Resuming(self._tickets, settings.resume.seconds, settings.resume.server_id)
        self._native = NativeDoor(self._calls, self._authority, resuming, settings.limits.calls)
        worker = self._worker
        sockets = inherited(worker.tcp) if worker else bind(settings.listen.host, settings.listen.port)
        self._realtime = RealtimeDoor(self._calls, self._authority, self._unready, settings.resume.seconds)
        routes = [
            *realtime_routes(self._authority, self._calls.terms.session),
            *page_routes(),
            page_key_route(self._authority, own_key),
        ]
        app = make_app(self._describe, self._unready, routes, self._load)
        self._http = HttpSide(app, self.identity, sockets, self._on_websocket)
        keys = self._membership.engine_keys()
        engine = _identity(self.identity), _engine_settings(settings), keys, self._on_session
        if worker:
            self._endpoint = WebTransportEndpoint.inherit(worker.udp, *engine)
        else:
            addresses = [socket.getsockname()[:2] for socket in sockets]
            self._endpoint = WebTransportEndpoint.listen(addresses, *engine)
        await self._http.start()
        if (warm := getattr(self._agent, "warm", None)) is not None:
            self._tasks.append(asyncio.create_task(warm(), name="warming up"))
        self._tasks.append(asyncio.create_task(self._rotation.run(), name="certificate rotation"))
        if self._membership.changes:
            watching = self._membership.watch(self._new_keys, self._endpoint.native.tunnel_declined)
            self._tasks.append(asyncio.create_task(watching, name="keys of the fleet"))

    async def drain(self, seconds: float | None = None) -> None:
        """Take no more calls, tell callers, wait up to `seconds` for calls to end, then end them."""
        assert self._calls is not None
        limit = self.settings.drain_seconds if seconds is None else seconds
        self._draining = True
        if self.calls:
            log.info("draining", calls=self.calls, seconds=limit)
            self._calls.going_away(round(limit * 1000))
            await self._empty_within(limit)
        self._calls.close_all(SessionCode.GOING_AWAY, "the server stops")

    async def stop(self) -> None:
        """End every call now and release the sockets. Idempotent."""
        if self._stopping:
            await self._stopped.wait()
            return
        self._stopping = self._draining = True
        try:
            await self._end_calls()
        finally:
            try:
                await self._close()
            finally:
                self._stopped.set()
                log.info("stopped")

    async def serve_forever(self) -> None:
        """Wait until the server was stopped."""
        await self._stopped.wait()

    async def __aenter__(self) -> Server:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def _end_calls(self) -> None:
        """Close every session, let agents return, then cancel those that do not: their stages go next."""
        if self._calls is None:
            return
        self._calls.going_away(0)
        self._calls.close_all(SessionCode.GOING_AWAY, "the server stops")
        if not await self._empty_within(AGENT_GRACE_S):
            log.warning("agents did not return and are cancelled", calls=self._calls.cancel_agents())
            if not await self._empty_within(AGENT_GRACE_S):
                log.error("agents ignore their cancellation and are given up", calls=self.calls)

    async def _empty_within(self, seconds: float) -> bool:
        """Wait until no call is in progress, but not longer than that; return whether it came to it."""
        assert self._calls is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._calls.wait_empty()
        return self.calls == 0

    async def _close(self) -> None:
        if self._released:
            return
        self._released = True
        for task in self._tasks:
            task.cancel()
        # Released in reverse, each whatever becomes of the others.
        async with contextlib.AsyncExitStack() as stack:
            close = getattr(self._agent, "close", None)
            if close is not None:
                stack.push_async_callback(close)
            if self._http is not None:
                stack.push_async_callback(self._http.stop)
            if self._endpoint is not None:
                stack.push_async_callback(self._endpoint.close)

    def _on_session(self, incoming: IncomingSession) -> None:
        assert self._native is not None
        assert self._calls is not None
        if incoming.path.partition("?")[0] != SESSION_PATH:
            incoming.reject(404)
        elif self._draining:
            incoming.reject(503, [("retry-after", "1")])
        elif self.calls - self._calls.parked >= self.settings.limits.calls:
            # One who comes back to a parked call is let in to the door; see `NativeDoor` for the others.
            log.warning("call refused", remote=incoming.remote, reason="overloaded", calls=self.calls)
            incoming.reject(429, [("retry-after", "5")])
        else:
            self._native.open(incoming)

    def _on_websocket(self, incoming: IncomingWebSocket) -> None:
        assert self._realtime is not None
        if incoming.path == REALTIME_PATH:
            self._realtime.open(incoming)
        elif incoming.path != SESSION_PATH:
            sentence = f"There is no WebSocket at this path: use {REALTIME_PATH} or {SESSION_PATH}."
            refuse(incoming, 404, error_body(sentence, "not_found"))
        elif (session := IncomingStreams(incoming)).offered:
            self._on_session(session)
        else:
            sentence = f"A WebSocket at this path needs the subprotocol {WEBSOCKET_PROTOCOL}."
            refuse(incoming, 400, error_body(sentence, "subprotocol_missing"))

    def _new_identity(self, identity: ServerIdentity) -> None:
        if self._endpoint is not None and self._http is not None:
            self._endpoint.native.set_identity(_identity(identity))
            self._http.set_identity(identity)

    def _new_keys(self) -> None:
        """Hand the fleet's new keys on. Raises `SettingsError` when they cannot be used beside the former."""
        member = self._membership.member()
        if self._endpoint is None or self._authority is None or self._tickets is None or member is None:
            return
        self._endpoint.native.set_fleet(member)
        if tickets := self._membership.tickets:
            self._tickets.replace(tickets)
        if signing := self._membership.client_secrets:
            self._authority.replace_secrets(signing)

    def _place(self) -> dict[str, object]:
        """What the log says of a server's place in its fleet."""
        place: dict[str, object] = {}
        if self._endpoint is not None and (name := self._endpoint.native.server_id()) is not None:
            place["server_id"] = name.hex()
            if tunnel := self._endpoint.native.tunnel_addresses():
                place["tunnel"] = [address_text(address) for address in tunnel]
        return place

    def _describe(self) -> Description:
        hashes = (self.identity.hash_base64,) if self.identity.pinnable else ()
        return Description(
            server_version=__version__,
            protocol_versions=(WIRE_VERSION,),
            path=SESSION_PATH,
            certificate_hashes=hashes,
        )

    def _load(self) -> Load:
        return Load(self.calls, self.settings.limits.calls)

    def _unready(self) -> str | None:
        if self._endpoint is None or self._endpoint.closed:
            return "stopped"
        if self._draining:
            return "draining"
        if self.calls >= self.settings.limits.calls:
            return "overloaded"
        return None


def _agent(settings: ServerSettings) -> Agent:
    """The agent that the settings name. Raises `SettingsError`."""
    made: Agent = built("agents", settings.agent, settings.assistant)
    if not callable(made):
        if inspect.iscoroutine(made):
            made.close()
        kind = type(made).__name__
        raise SettingsError(
            f"{settings.agent!r} is no agent: it made a {kind}, not an async function of the call"
        )
    return made


def _development_key(settings: ServerSettings) -> str | None:
    """The key of who runs the server for themselves; None where keys are listed, or none are asked for."""
    if not settings.auth.required:
        log.warning("callers need no key: anybody on this machine may call")
        return None
    return None if settings.auth.keys else keep_development_key()


def _identity(identity: ServerIdentity) -> _native.Identity:
    return _native.Identity(list(identity.chain), identity.key)


def _engine_settings(settings: ServerSettings) -> SimpleNamespace:
    streams = settings.limits.uplink_streams + HTTP3_STREAMS
    preferred = [host_and_port(text) for text in settings.fleet.preferred_addresses]
    return SimpleNamespace(
        **settings.engine.model_dump(), max_uni_streams=streams, preferred_addresses=preferred
    )


def _limits(settings: ServerSettings) -> Limits:
    limits = settings.limits
    return Limits(
        control_record_bytes=limits.control_record_bytes,
        audio_record_bytes=limits.audio_record_bytes,
        window_ms=round(limits.pending_audio_seconds * 1000),
        window_bytes=limits.pending_audio_bytes,
        unread_ms=round(limits.unread_audio_seconds * 1000),
        unread_bytes=limits.unread_audio_bytes,
        audio_rate=round(limits.audio_rate),
        audio_burst_ms=round(limits.audio_burst_seconds * 1000),
        uplink_streams=limits.uplink_streams,
        hello_ms=round(limits.hello_timeout_seconds * 1000),
    )
