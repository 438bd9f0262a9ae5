"""The packet engine: QUIC v1, HTTP/3 and WebTransport, with a thread of its own per endpoint.

Owns packets, connections, sessions and streams. It must not know what travels on a stream.

Three rules hold for everything here. No method waits: requests are queued for the engine's thread, and what
comes of them is an event. Events come in batches: `Endpoint.fileno` becomes readable with the first event
after a drain, and `Endpoint.drain` takes them all, in order. Sessions and streams are named by numbers that
are unique within an endpoint, from 1, never used twice and known at once.

An event is a tuple `(kind, session, stream, payload)`; `stream` is 0 where none is concerned:

    SESSION_REQUESTED  SessionRequest             server: answer with `accept` or `reject`
    SESSION_OPENED     (status, headers)          client: the server agreed
    SESSION_REFUSED    (status, headers)          client: the server did not; the session is over
    CONNECT_FAILED     (reason, kind)             client: no answer; the session is over. kind: timeout,
                                                  refused, certificate, tls, protocol, closed
    STREAM_OPENED      bool                       the peer opened a stream; true if it goes both ways
    STREAM_DATA        bytes                      never empty, in order, at most 64 KiB
    STREAM_FIN         None                       the peer has finished sending
    STREAM_RESET       int                        the peer abandoned sending, with this code
    STREAM_STOPPED     int                        the peer wants no more; what was queued is dropped
    STREAM_WRITABLE    None                       the queue was above `send_buffer_high`, is below half of it
    DATAGRAM           bytes                      unreliable, unordered
    SESSION_DRAINING   None                       the peer wishes the session to end soon
    SESSION_CLOSED     (by, code, reason)         by: peer, local, transport; nothing follows for this session
    PATH_CHANGED       (host, port)               the peer is now reached at this address

Nothing is dropped but datagrams: when `event_buffer_bytes` wait undrained, no stream is read until they are
taken, and QUIC flow control holds the peers back. Packets are acknowledged meanwhile. A server reads no more
of a connection of which about 32 KiB wait, so that nobody stands in line behind one who sends a lot.

Errors are those of `legato.core.errors`: `LocalProtocolError` for requests that make no sense (an unknown
number, a finished stream), `SettingsError`, `ConnectError`, `TransportError` (a port in use; the endpoint
is shut down). A request for a session or stream that is over but of which the caller may not have heard
does nothing.
"""

from collections.abc import Sequence
from typing import Any, final

from typing_extensions import Buffer, disjoint_base

__all__ = [
    "CONNECT_FAILED",
    "DATAGRAM",
    "ENGINE_VERSION",
    "PATH_CHANGED",
    "SESSION_CLOSED",
    "SESSION_DRAINING",
    "SESSION_OPENED",
    "SESSION_REFUSED",
    "SESSION_REQUESTED",
    "STREAM_DATA",
    "STREAM_FIN",
    "STREAM_OPENED",
    "STREAM_RESET",
    "STREAM_STOPPED",
    "STREAM_WRITABLE",
    "Backend",
    "ConnectTarget",
    "EncapsulationKeys",
    "Endpoint",
    "EndpointKeys",
    "FleetMember",
    "Forwarder",
    "ForwarderCounters",
    "ForwarderView",
    "Identity",
    "InlineEndpoint",
    "QuicLbConfig",
    "SessionRequest",
    "SessionStats",
    "decode_connection_id",
    "derived_server_id",
    "steer_workers",
]

ENGINE_VERSION: str
SESSION_REQUESTED: int
SESSION_OPENED: int
SESSION_REFUSED: int
CONNECT_FAILED: int
STREAM_OPENED: int
STREAM_DATA: int
STREAM_FIN: int
STREAM_RESET: int
STREAM_STOPPED: int
STREAM_WRITABLE: int
DATAGRAM: int
SESSION_DRAINING: int
SESSION_CLOSED: int
PATH_CHANGED: int

@final
class Identity:
    """Certificates, leaf first, and private key (PKCS #8, PKCS #1 or SEC 1) of a server, all in DER."""

    def __new__(cls, certificate_chain_der: Sequence[bytes], private_key_der: bytes) -> Identity: ...

@final
class EndpointKeys:
    """Secrets that the servers of a fleet share; what is missing is random. Keys have 32 bytes.

    `reset_key`: stateless resets (RFC 9000 §10.3). `token_key`: Retry and NEW_TOKEN (§8.1). `ticket_key`:
    TLS session tickets. `connection_id`: length (4 to 20) and first bytes of our connection IDs; it
    overrides the settings. `fleet` overrides all of them.
    """

    def __new__(
        cls,
        reset_key: bytes | None = None,
        token_key: bytes | None = None,
        ticket_key: bytes | None = None,
        connection_id: tuple[int, bytes] | None = None,
        fleet: FleetMember | None = None,
    ) -> EndpointKeys: ...

@final
class FleetMember:
    """What makes a server one of a fleet behind balancers: routable connection IDs and shared secrets.

    `generations` hold a configuration and three keys of 32 bytes: for stateless resets, for address tokens,
    for TLS session tickets. The first generation is in use, all of them are accepted. Connections get new
    connection IDs, and old ones retired, every `cid_lifetime_ms`.

    `tunnel` are addresses of its own where it takes packets that `balancers` (networks) encapsulate with
    these keys. Without `server_id` the first of them is its name, and without a tunnel its name is random.
    `worker` is (number, how many, a key of 8 bytes) of a process that shares its port; see `steer_workers`.
    """

    def __new__(
        cls,
        generations: Sequence[tuple[QuicLbConfig, bytes, bytes, bytes]],
        *,
        server_id: bytes | None = None,
        tunnel: Sequence[tuple[str, int]] = ...,
        balancers: Sequence[str] = ...,
        encapsulation: EncapsulationKeys | None = None,
        worker: tuple[int, int, bytes] | None = None,
        cid_lifetime_ms: int = 600_000,
    ) -> FleetMember: ...

@final
class ConnectTarget:
    """A server, a request and whom to trust.

    `addresses` are IP addresses (or `localhost`), tried in order, the next one when nobody answers for 300
    ms. If there are `certificate_hashes` (SHA-256 of acceptable leaf certificates in DER) nothing else is
    trusted and the name is not looked at; the validity period is. Otherwise `roots` (DER) and, if asked
    for, those of the system.
    """

    def __new__(
        cls,
        addresses: Sequence[tuple[str, int]],
        server_name: str,
        authority: str,
        path: str,
        origin: str | None = None,
        headers: Sequence[tuple[str, str]] = ...,
        certificate_hashes: Sequence[bytes] = ...,
        roots: Sequence[bytes] | None = None,
        system_roots: bool = False,
    ) -> ConnectTarget: ...

@final
class SessionRequest:
    """What a client asks for. Field names are lower case."""

    @property
    def path(self) -> str: ...
    @property
    def authority(self) -> str: ...
    @property
    def origin(self) -> str | None: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @property
    def remote(self) -> tuple[str, int]: ...
    @property
    def local(self) -> tuple[str, int]: ...

@final
class SessionStats:
    """Figures of the connection under a session since it began, as of its last packet.

    Times in microseconds.
    """

    @property
    def rtt_us(self) -> int: ...
    @property
    def min_rtt_us(self) -> int: ...
    @property
    def congestion_window(self) -> int: ...
    @property
    def congestion_events(self) -> int: ...
    @property
    def lost_packets(self) -> int: ...
    @property
    def lost_bytes(self) -> int: ...
    @property
    def sent_packets(self) -> int: ...
    @property
    def bytes_sent(self) -> int: ...
    @property
    def bytes_received(self) -> int: ...
    @property
    def datagrams_sent(self) -> int: ...
    @property
    def datagrams_received(self) -> int: ...
    @property
    def mtu(self) -> int: ...
    @property
    def path_changes(self) -> int: ...
    @property
    def local(self) -> tuple[str, int]: ...
    @property
    def remote(self) -> tuple[str, int]: ...

@disjoint_base
class Endpoint:
    """A server or a client with a thread of its own.

    `settings` is any object with attributes; those it lacks keep their defaults: max_idle_ms 30000,
    keep_alive_ms 0, handshake_timeout_ms 10000, initial_mtu 1200, mtu_upper_bound 1452, receive_window 8
    MiB, stream_receive_window 2 MiB, send_window 4 MiB, send_buffer_high 256 KiB, send_buffer_limit 64 MiB,
    event_buffer_bytes 8 MiB, max_bidi_streams 16, max_uni_streams 64, max_sessions 8 (per connection),
    datagram_bytes 64 KiB, congestion "cubic" ("newreno"), max_connections 10000, retry_threshold 256,
    initial_rtt_ms 333, qlog_dir None, key_log_path None, alpn ["h3"], cid_length 8, cid_prefix b"",
    preferred_addresses [] (RFC 9000 §9.6, one of each family).

    Dropping an endpoint shuts it down. In a forked child every method raises LocalProtocolError.
    """

    @staticmethod
    def listen(
        addresses: Sequence[tuple[str, int]],
        identity: Identity,
        settings: object,
        keys: EndpointKeys | None = None,
    ) -> Endpoint:
        """Serve on these addresses and start the thread.

        `localhost` means both loopback addresses; an empty host and `*` mean all interfaces of both families,
        `0.0.0.0` and `::` those of one. With port 0 all addresses of a host get one and the same free port.
        Raises TransportError for a port in use, SettingsError for a certificate, key or setting that cannot
        be used.
        """

    @staticmethod
    def inherit(
        descriptors: Sequence[int],
        identity: Identity,
        settings: object,
        keys: EndpointKeys | None = None,
    ) -> Endpoint:
        """Serve on UDP sockets that are bound already, and now belong to the endpoint."""

    @staticmethod
    def client(settings: object) -> Endpoint:
        """Start an endpoint that only connects; each connection has a UDP socket of its own."""

    def fileno(self) -> int:
        """Return the descriptor that is readable while there is something to drain."""

    def drain(self) -> list[tuple[int, int, int, Any]]:
        """Take all events.

        Raises TransportError when nothing is left and the endpoint is shut down or dead.
        """

    def local_addresses(self) -> list[tuple[str, int]]:
        """Return the addresses a server listens on."""

    def tunnel_addresses(self) -> list[tuple[str, int]]:
        """Return the addresses where a server takes encapsulated packets."""

    def tunnel_declined(self) -> dict[str, int]:
        """Return how many datagrams a server's tunnel did not take, by reason."""

    def server_id(self) -> bytes | None:
        """Return the name of a server of a fleet in its connection IDs."""

    def connect(self, target: ConnectTarget) -> int:
        """Start a connection with one session on it and return the session at once.

        Streams may be opened and written immediately: their bytes leave right behind the request, in the
        first flight after the handshake.
        """

    def accept(self, session: int, headers: Sequence[tuple[str, str]] = ...) -> None:
        """Agree to a requested session. Streams that came early are reported now."""

    def reject(self, session: int, status: int, headers: Sequence[tuple[str, str]] = ...) -> None:
        """Answer a request with a status of 300 to 599. No event follows."""

    def close(self, session: int, code: int = 0, reason: str = "") -> None:
        """End a session with a code and at most 1024 bytes of reason.

        Streams that were finished before are still delivered, others are reset. SESSION_CLOSED("local")
        follows.
        """

    def drain_session(self, session: int) -> None:
        """Ask the peer to end a session soon."""

    def open_stream(self, session: int, bidirectional: bool) -> int:
        """Open a stream and return it at once; it waits if the peer allows no more streams now."""

    def send(self, stream: int, data: Buffer, fin: bool = False) -> int:
        """Queue a copy of any C-contiguous buffer, and with `fin` the end; return the bytes that wait on
        the stream.

        Raises LocalProtocolError when more than `send_buffer_limit` bytes would wait, and after `fin` or
        `reset`.
        """

    def reset(self, stream: int, code: int) -> None:
        """Abandon sending with an application code; what waits is dropped. Also after `fin`."""

    def stop(self, stream: int, code: int) -> None:
        """Ask the peer to stop sending; nothing more of the stream is read."""

    def set_priority(self, stream: int, priority: int) -> None:
        """Let streams of a connection with higher numbers go first; 0 at the start."""

    def cork(self) -> None:
        """Let what follows gather until `uncork`, so that the answers to a batch of events leave together."""

    def uncork(self) -> None:
        """Hand over what has gathered, in one go. Harmless without `cork`."""

    def pause(self, stream: int) -> None:
        """Stop reading a stream; what is undrained already still comes."""

    def resume(self, stream: int) -> None:
        """Read a paused stream again."""

    def send_datagram(self, session: int, data: Buffer) -> None:
        """Send an unreliable message. Raises LocalProtocolError if it is larger than `max_datagram_size`."""

    def max_datagram_size(self, session: int) -> int:
        """Return the largest datagram payload now; 0 before the handshake and if the peer takes none."""

    def migrate(self, session: int, local_address: tuple[str, int] | None = None) -> None:
        """Go on from another local address, or a fresh port, without a reconnect. Client only."""

    def stats(self, session: int) -> SessionStats:
        """Return the figures of the connection under a session."""

    def set_identity(self, identity: Identity) -> None:
        """Present this certificate to new connections. Server only."""

    def set_fleet(self, member: FleetMember) -> None:
        """Go on under the keys of `member`; name, sockets and lifetimes stay. Server of a fleet only.

        Raises SettingsError if its first generation uses the codepoint of the one in use.
        """

    def refuse_new(self, status: int | None = 503) -> None:
        """Answer all further requests with this status (300 to 599); None: take them again."""

    def shutdown(self) -> None:
        """Close all connections and end the thread, within a second.

        Idempotent; the last events can be drained.
        """

@final
class InlineEndpoint(Endpoint):
    """The same endpoint without sockets, thread and clock: its caller steps it and carries its datagrams.

    Times are microseconds and must not go back. `fileno` and `shutdown` raise LocalProtocolError.
    """

    @staticmethod
    def server(
        addresses: Sequence[tuple[str, int]],
        identity: Identity,
        settings: object,
        keys: EndpointKeys | None = None,
        seed: int = 0,
    ) -> InlineEndpoint:
        """Make a server with these virtual addresses."""

    @staticmethod
    def client(settings: object, seed: int = 0) -> InlineEndpoint:
        """Make a client; its paths begin at 10.0.0.2 with ports from 40000."""

    def handle_datagram(
        self, now_us: int, source: tuple[str, int], destination: tuple[str, int], data: bytes
    ) -> None:
        """Deliver a datagram; one for an address that the endpoint does not have is lost."""

    def poll_transmit(self, now_us: int) -> list[tuple[tuple[str, int], tuple[str, int], bytes]]:
        """Carry out what was asked for and take the datagrams that leave: source, destination, payload."""

    def next_timeout(self) -> int | None:
        """Return when `handle_timeout` is due if nothing arrives."""

    def handle_timeout(self, now_us: int) -> None:
        """Let deadlines up to now pass."""

    def shutdown_at(self, now_us: int) -> None:
        """Close all connections; take the last datagrams with `poll_transmit`."""

@final
class QuicLbConfig:
    """A configuration of QUIC-LB (draft-ietf-quic-load-balancers-21): what servers and balancers agree on.

    `codepoint` is 0 to 6. Server ID (at least 1) and nonce (at least 4 octets) have 19 at most together; with
    a `key` of 16 octets they are encrypted. `cid_length` is that of whole connection IDs; what is left over
    is filled with random octets. Raises SettingsError for what the draft forbids.
    """

    def __new__(
        cls,
        codepoint: int,
        server_id_length: int,
        nonce_length: int,
        key: bytes | None = None,
        cid_length: int | None = None,
    ) -> QuicLbConfig: ...
    @staticmethod
    def aws_nlb() -> QuicLbConfig:
        """Make the profile of AWS's network load balancer: 16 octets in clear, a server ID of 8."""

    @property
    def codepoint(self) -> int: ...
    @property
    def server_id_length(self) -> int: ...
    @property
    def nonce_length(self) -> int: ...
    @property
    def cid_length(self) -> int: ...
    @property
    def encrypted(self) -> bool: ...
    def encode(self, server_id: bytes, nonce: bytes, filling: bytes | None = None) -> bytes:
        """Build a connection ID; no nonce may come twice for one key.

        `filling` has 20 octets; without it they are random.
        """

def decode_connection_id(
    configs: Sequence[QuicLbConfig], octets: bytes, long_header: bool = True
) -> tuple[int, bytes] | None:
    """Return codepoint and server ID, or None if `octets` are no routable connection ID.

    In a short header more may follow; in a long header the length has to be the one that the ID describes.
    """

def derived_server_id(address: tuple[str, int]) -> bytes:
    """Return the server ID of who is reached at an address: IPv4 address, port and check, or half of IPv6."""

@final
class EncapsulationKeys:
    """Seals and opens what passes between balancers and servers (`wire/ENCAPSULATION.md`).

    Keys have 16 octets; the first one seals, both open.
    """

    def __new__(cls, current: bytes, other: bytes | None = None) -> EncapsulationKeys: ...
    def request(self, client: tuple[str, int], payload: bytes) -> bytes:
        """Return the datagram of a balancer with a packet of `client`."""

    def reply(self, client: tuple[str, int], payload: bytes) -> bytes:
        """Return the datagram of a server with a packet for `client`."""

    def open(self, datagram: bytes) -> tuple[bool, tuple[str, int], bytes]:
        """Return whether it is a reply, the client and the packet. Raises ValueError with the reason."""

@final
class Backend:
    """A server as a balancer sees it. `state`: joining, ready, draining or dead.

    `address` is where it takes encapsulated packets, `weight` its share of new connections in relation to the
    others'. `dead_since_us` is on the clock of `time.monotonic`.
    """

    def __new__(
        cls,
        server_ids: Sequence[bytes],
        address: tuple[str, int],
        state: str = "ready",
        weight: int = 1,
        dead_since_us: int = 0,
    ) -> Backend: ...
    @property
    def server_ids(self) -> list[bytes]: ...
    @property
    def address(self) -> tuple[str, int]: ...
    @property
    def state(self) -> str: ...
    @property
    def weight(self) -> int: ...

@final
class ForwarderView:
    """All that a balancer's decisions depend on. It never changes.

    `hash_key` (16 octets) is the same at all balancers. `allowed` are networks where packets may be sent to;
    with `derived`, addresses in connection IDs are believed within them. `balancers` are others beside this
    one. Packets for a dead server are dropped for `grace_us` and go to another one then; packets of clients
    above `max_payload` octets are dropped. Raises SettingsError for servers or configurations that contradict
    each other.
    """

    def __new__(
        cls,
        configs: Sequence[QuicLbConfig],
        backends: Sequence[Backend],
        hash_key: bytes,
        keys: EncapsulationKeys,
        *,
        allowed: Sequence[str] = ...,
        derived: bool = False,
        balancers: Sequence[tuple[str, int]] = ...,
        grace_us: int = 3_000_000,
        max_payload: int = 1424,
    ) -> ForwarderView: ...
    def decide(
        self, packet: bytes, client: tuple[str, int], now_us: int
    ) -> tuple[tuple[str, int], str, int | None]:
        """Return the server of a client's packet, what led there, and the codepoint that it was read under.

        Raises ValueError with the reason why it is dropped.
        """

    def shares(self) -> list[int]:
        """Return how many places in the table of new connections each backend has."""

@final
class ForwarderCounters:
    """What a forwarder has counted since it began. Dropped datagrams are in `drops`, by reason.

    `routes` says what led packets of clients to servers, `configs` under which codepoint connection IDs were
    read, `backends` the packets to and from each server of the view. `overflows` were dropped by the system.
    A plane in the kernel is included; `passed` says how many packets it left to the one in userspace.
    """

    @property
    def received(self) -> int: ...
    @property
    def octets(self) -> int: ...
    @property
    def replies(self) -> int: ...
    @property
    def batches(self) -> int: ...
    @property
    def overflows(self) -> int: ...
    @property
    def passed(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def working(self) -> int: ...
    @property
    def routes(self) -> dict[str, int]: ...
    @property
    def drops(self) -> dict[str, int]: ...
    @property
    def configs(self) -> dict[int, int]: ...
    @property
    def backends(self) -> list[tuple[tuple[str, int], int, int]]: ...

@final
class Forwarder:
    """Threads that forward packets between clients and servers, and remember nothing.

    `threads` 0 means one for each core. Raises TransportError for an address that cannot be listened on.
    """

    def __new__(
        cls, addresses: Sequence[tuple[str, int]], view: ForwarderView, threads: int = 0
    ) -> Forwarder: ...
    @staticmethod
    def inherit(descriptors: Sequence[int], view: ForwarderView) -> Forwarder:
        """Go on with the sockets of another forwarder, which now belong to this one."""

    def addresses(self) -> list[tuple[str, int]]:
        """Return where it listens."""

    def accelerate(
        self, program: bytes, view: ForwarderView, interfaces: Sequence[str], mode: str, pins: str
    ) -> tuple[str, list[str], str | None]:
        """Forward in the kernel (XDP), before the sockets: return mode, interfaces, why no better mode.

        No `interfaces` are those that have its addresses; `mode` is auto, native or generic; `pins` a
        directory in a BPF file system, by which forwarding outlives this process. Raises TransportError with
        the reason if that is not possible here; everything then stays as it is.
        """

    def clear_kernel(self, interfaces: Sequence[str], pins: str) -> list[str]:
        """Detach what killed forwarders have left in the kernel, and return from which interfaces."""

    def set_view(self, view: ForwarderView) -> None:
        """Decide by this view from the next batch on.

        Raises TransportError if the kernel cannot: from then on all packets are forwarded by the sockets.
        """

    def counters(self) -> ForwarderCounters:
        """Return what was counted until now."""

    def descriptors(self) -> list[int]:
        """Return its sockets, to be handed to another process while this one still works."""

    def close(self, *, leave_kernel: bool = False) -> None:
        """Stop, when the batches in hand are sent. Idempotent; other calls then raise TransportError.

        With `leave_kernel` the kernel goes on by the last view until another forwarder takes over.
        """

def steer_workers(descriptor: int, workers: int, key: bytes, cid_length: int) -> None:
    """Let datagrams of a group of sockets (SO_REUSEPORT) go to the process that their connection ID names.

    `descriptor` is any socket of the group. The first one is worker 0's and so on, and none of them may be
    closed before all are. It needs no privileges. Raises TransportError if the system cannot do it.
    """
