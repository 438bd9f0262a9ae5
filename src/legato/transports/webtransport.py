"""WebTransport over HTTP/3, on the packet engine: the native transport.

Owns the joint between the engine's event batches and `Handler` callbacks. It must not know what travels.

The engine's thread signals an eventfd; `_drain` then takes the whole batch and calls back once per event. No
future is made per read or write, which is what keeps a frame cheap.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from legato import _native
from legato.core.errors import LegatoError, TransportError
from legato.transports.base import CloseSource, Handler, Transport, TransportInfo, TransportStatistics
from legato.transports.network_watch import NetworkWatch, is_here

__all__ = ["ConnectTarget", "WebTransportEndpoint", "WebTransportSession", "address_text"]

log = logging.getLogger(__name__)


def address_text(address: tuple[str, int]) -> str:
    """Write an address as ``host:port``, with brackets around IPv6."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class ConnectTarget:
    """Whom to connect to, and how to know that it is them.

    `certificate_hashes` are SHA-256 digests of acceptable leaf certificates; when there are any, nothing
    else is trusted. Otherwise `roots` (DER) are trusted, or the system's when that is None.
    """

    addresses: Sequence[tuple[str, int]]
    server_name: str
    authority: str
    path: str
    origin: str | None = None
    headers: Sequence[tuple[str, str]] = ()
    certificate_hashes: Sequence[bytes] = ()
    roots: Sequence[bytes] | None = None


class WebTransportSession:
    """One WebTransport session of an endpoint; implements `Transport`."""

    __slots__ = ("_endpoint", "_native", "_number", "send")

    def __init__(self, endpoint: WebTransportEndpoint, number: int) -> None:
        """Bind session `number` of `endpoint`; only endpoints make these."""
        self._endpoint = endpoint
        self._native = endpoint.native
        self._number = number
        # Bound once: the engine's own method is the whole implementation, and it is called for every frame.
        self.send: Callable[..., int] = self._native.send

    @property
    def info(self) -> TransportInfo:
        """Return where this session runs now."""
        stats = self._native.stats(self._number)
        return TransportInfo("webtransport", address_text(stats.local), address_text(stats.remote))

    def open_stream(self, bidirectional: bool) -> int:
        """Open a stream and return its number at once."""
        return self._native.open_stream(self._number, bidirectional)

    def reset(self, stream: int, code: int) -> None:
        """Abandon a stream that we send on."""
        self._native.reset(stream, code)

    def stop(self, stream: int, code: int) -> None:
        """Ask the peer to stop sending on a stream."""
        self._native.stop(stream, code)

    def set_priority(self, stream: int, priority: int) -> None:
        """Let a stream with a higher number be sent first."""
        self._native.set_priority(stream, priority)

    def pause(self, stream: int) -> None:
        """Stop delivering a stream's data until `resume`."""
        self._native.pause(stream)

    def resume(self, stream: int) -> None:
        """Deliver a paused stream's data again."""
        self._native.resume(stream)

    def send_datagram(self, data: bytes) -> None:
        """Send one datagram if the path takes one of that size now."""
        limit = self._native.max_datagram_size(self._number)
        if limit is not None and len(data) <= limit:
            self._native.send_datagram(self._number, data)

    def drain(self) -> None:
        """Ask the peer to wind the session up."""
        self._native.drain_session(self._number)

    def close(self, code: int, reason: str) -> None:
        """End the session with an application code and a reason."""
        self._native.close(self._number, code, reason)

    def migrate(self, local: tuple[str, int] | None = None) -> None:
        """Move a client's connection to a new local address (None: a fresh port) without a reconnect."""
        self._endpoint.migrate(self._number, local)

    def statistics(self) -> TransportStatistics:
        """Return the session's network figures."""
        stats = self._native.stats(self._number)
        return TransportStatistics(
            rtt_us=stats.rtt_us,
            lost_packets=stats.lost_packets,
            sent_packets=stats.sent_packets,
            bytes_sent=stats.bytes_sent,
            bytes_received=stats.bytes_received,
            path_changes=stats.path_changes,
        )


class IncomingWebTransport:
    """A CONNECT request that waits for an answer; implements `IncomingSession`."""

    __slots__ = ("_endpoint", "_number", "authority", "headers", "origin", "path", "remote")

    def __init__(self, endpoint: WebTransportEndpoint, number: int, request: Any) -> None:
        """Wrap the engine's request."""
        self._endpoint = endpoint
        self._number = number
        self.path: str = request.path
        self.authority: str = request.authority
        self.origin: str | None = request.origin
        self.headers: Sequence[tuple[str, str]] = request.headers
        self.remote = address_text(request.remote)

    def accept(self, handler: Callable[[Transport], Handler]) -> Transport:
        """Accept the session and let what `handler` returns listen to it."""
        return self._endpoint.adopt(self._number, handler, accepting=True)

    def reject(self, status: int, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with an HTTP status."""
        self._endpoint.native.reject(self._number, status, list(headers))


class WebTransportEndpoint:
    """An engine endpoint on the running event loop, as a server (`listen`) or a client (`client`)."""

    def __init__(
        self, native: _native.Endpoint, on_session: Callable[[IncomingWebTransport], None] | None = None
    ) -> None:
        """Attach `native` to the running loop; `on_session` is told of every incoming session."""
        self.native = native
        self._on_session = on_session
        self._handlers: dict[int, Handler] = {}
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._dead = False
        self._watch: NetworkWatch | None = None
        self._other = {
            _native.SESSION_REQUESTED: self._requested,
            _native.SESSION_OPENED: self._opened,
            _native.SESSION_REFUSED: self._refused,
            _native.CONNECT_FAILED: self._failed,
            _native.STREAM_OPENED: self._stream_opened,
            _native.STREAM_FIN: self._stream_fin,
            _native.STREAM_RESET: self._stream_reset,
            _native.STREAM_STOPPED: self._stream_stopped,
            _native.STREAM_WRITABLE: self._stream_writable,
            _native.DATAGRAM: self._datagram,
            _native.SESSION_DRAINING: self._draining,
            _native.SESSION_CLOSED: self._session_closed,
            _native.PATH_CHANGED: self._path_changed,
        }
        self._descriptor = native.fileno()
        self._loop.add_reader(self._descriptor, self._drain)

    @classmethod
    def listen(
        cls,
        addresses: Sequence[tuple[str, int]],
        identity: _native.Identity,
        settings: object,
        keys: _native.EndpointKeys | None,
        on_session: Callable[[IncomingWebTransport], None],
    ) -> WebTransportEndpoint:
        """Bind `addresses` and serve; raises `TransportError` when one is in use."""
        return cls(_native.Endpoint.listen(list(addresses), identity, settings, keys), on_session)

    @classmethod
    def inherit(
        cls,
        descriptors: Sequence[int],
        identity: _native.Identity,
        settings: object,
        keys: _native.EndpointKeys | None,
        on_session: Callable[[IncomingWebTransport], None],
    ) -> WebTransportEndpoint:
        """Serve on UDP sockets that are bound already, and now belong to the endpoint."""
        return cls(_native.Endpoint.inherit(list(descriptors), identity, settings, keys), on_session)

    @classmethod
    def client(cls, settings: object) -> WebTransportEndpoint:
        """Make an endpoint that connects; each connection has a UDP socket of its own.

        A connection whose local address is taken from this machine goes on from another one by itself.
        """
        endpoint = cls(_native.Endpoint.client(settings))
        endpoint._watch = NetworkWatch(endpoint._follow_network)
        return endpoint

    @property
    def closed(self) -> bool:
        """Return whether the endpoint was closed, or its engine stopped by itself."""
        return self._closed or self._dead

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Return the bound addresses."""
        return self.native.local_addresses()

    def connect(self, target: ConnectTarget, handler: Callable[[Transport], Handler]) -> WebTransportSession:
        """Start a session and return it at once.

        Streams may be opened and written immediately: their bytes leave right behind the CONNECT request, in
        the client's first flight after the handshake. The handler hears `opened`, or `closed` when it came
        to nothing.
        """
        number = self.native.connect(
            _native.ConnectTarget(
                addresses=list(target.addresses),
                server_name=target.server_name,
                authority=target.authority,
                path=target.path,
                origin=target.origin,
                headers=list(target.headers),
                certificate_hashes=list(target.certificate_hashes),
                roots=None if target.roots is None else list(target.roots),
                system_roots=target.roots is None and not target.certificate_hashes,
            )
        )
        return self.adopt(number, handler, accepting=False)

    def adopt(
        self, number: int, handler: Callable[[Transport], Handler], *, accepting: bool
    ) -> WebTransportSession:
        """Bind session `number` to a handler; an accepting server answers the request with 200."""
        session = WebTransportSession(self, number)
        self._handlers[number] = handler(session)
        if accepting:
            self.native.accept(number, [])
        return session

    async def close(self) -> None:
        """Close every session and the sockets. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._forget_network()
        self._loop.remove_reader(self._descriptor)
        await self._loop.run_in_executor(None, self.native.shutdown)
        for handler in list(self._handlers.values()):
            handler.closed("local", 0, "the endpoint was closed")
        self._handlers.clear()

    def _drain(self) -> None:
        data = _native.STREAM_DATA
        handlers = self._handlers
        other = self._other
        native = self.native
        # What handlers, and the tasks that they wake, send in answer to this batch leaves in one go. Those
        # tasks run in the loop's next round, so that this waits for the one after it.
        native.cork()
        self._loop.call_soon(self._loop.call_soon, self._uncork)
        try:
            batch = native.drain()
        except TransportError as error:
            self._died(str(error))
            return
        for kind, session, stream, payload in batch:
            try:
                if kind == data:
                    handler = handlers.get(session)
                    if handler is not None:
                        handler.stream_data(stream, payload, False)
                else:
                    other[kind](session, stream, payload)
            except Exception as error:
                # The rest of the batch belongs to other sessions as well.
                log.error("a session ends because of an error here", exc_info=error)
                native.close(session, 0, "an internal error")

    def _died(self, reason: str) -> None:
        """End every session: the engine does nothing any more, and its descriptor stays readable."""
        log.critical("the packet engine stopped: %s", reason)
        self._dead = True
        self._forget_network()
        self._loop.remove_reader(self._descriptor)
        for number in list(self._handlers):
            self._end(number, "transport", 0, reason)

    def migrate(self, number: int, local: tuple[str, int] | None) -> None:
        """Move a client's session to a new local address, and tell its owner."""
        self.native.migrate(number, local)
        self._path_changed(number, 0, self.native.stats(number).remote)

    def _follow_network(self) -> None:
        """Leave local addresses that are gone. Without any other one this fails until there is one."""
        for number in list(self._handlers):
            with contextlib.suppress(LegatoError):
                stats = self.native.stats(number)
                if stats.remote[1] and not is_here(stats.local[0]):
                    self.migrate(number, None)

    def _forget_network(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _uncork(self) -> None:
        if not self.closed:
            self.native.uncork()

    def _requested(self, session: int, _stream: int, payload: Any) -> None:
        request = IncomingWebTransport(self, session, payload)
        if self._on_session is None:
            request.reject(404)
        else:
            self._on_session(request)

    def _opened(self, session: int, _stream: int, _payload: Any) -> None:
        if handler := self._handlers.get(session):
            handler.opened()

    def _refused(self, session: int, _stream: int, payload: Any) -> None:
        status = payload[0] if isinstance(payload, tuple) else payload.status
        self._end(session, "peer", 0, f"the server answered {status}")

    def _failed(self, session: int, _stream: int, payload: Any) -> None:
        reason, kind = payload
        if kind == "certificate":
            reason = f"its certificate is not trusted ({_certificate_problem(reason)})"
        self._end(session, "transport", 0, reason)

    def _stream_opened(self, session: int, stream: int, payload: Any) -> None:
        if handler := self._handlers.get(session):
            handler.stream_opened(stream, bool(payload))

    def _stream_fin(self, session: int, stream: int, _payload: Any) -> None:
        if handler := self._handlers.get(session):
            handler.stream_data(stream, b"", True)

    def _stream_reset(self, session: int, stream: int, payload: Any) -> None:
        if handler := self._handlers.get(session):
            handler.stream_reset(stream, payload)

    def _stream_stopped(self, session: int, stream: int, payload: Any) -> None:
        if handler := self._handlers.get(session):
            handler.stream_stopped(stream, payload)

    def _stream_writable(self, session: int, stream: int, _payload: Any) -> None:
        if handler := self._handlers.get(session):
            handler.stream_writable(stream)

    def _datagram(self, session: int, _stream: int, payload: Any) -> None:
        if handler := self._handlers.get(session):
            handler.datagram(payload)

    def _draining(self, session: int, _stream: int, _payload: Any) -> None:
        if handler := self._handlers.get(session):
            handler.draining()

    def _path_changed(self, session: int, _stream: int, payload: Any) -> None:
        if handler := self._handlers.get(session):
            handler.path_changed(address_text(payload))

    def _session_closed(self, session: int, _stream: int, payload: Any) -> None:
        by, code, reason = payload
        self._end(session, by, code, reason)

    def _end(self, session: int, by: CloseSource, code: int, reason: str) -> None:
        handler = self._handlers.pop(session, None)
        if handler is not None:
            handler.closed(by, code, reason)


def _certificate_problem(reason: str) -> str:
    """Say for people what the TLS library says about a certificate."""
    problems = {
        "NotPinned": "its hash is not the expected one",
        "Expired": "it has expired",
        "NotValidYet": "it is not valid yet",
        "NotValidForName": "it is for another name",
        "UnknownIssuer": "its issuer is unknown here",
    }
    return next((text for word, text in problems.items() if word in reason), reason)
