//! The connection: routes streams, answers requests, keeps sessions.

use bytes::Bytes;

use crate::error::Misuse;
use crate::event::{Event, Output, Routed};
use crate::headers::{Field, Request};

/// Which side of the QUIC connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opened the QUIC connection; opens sessions.
    Client,
    /// Accepted the QUIC connection; answers session requests.
    Server,
}

/// Bounds that keep a hostile peer cheap, and the answer to requests that are not for WebTransport.
#[derive(Debug, Clone)]
pub struct Config {
    /// Sessions alive at once on one connection; told to the peer in SETTINGS. More are rejected.
    pub max_sessions: u64,
    /// Bytes of one encoded header block and, counted as RFC 9114 §4.2.2 does, of the decoded one. Default 16 KiB.
    pub max_header_block: usize,
    /// Streams waiting for their session at once. Default 64.
    pub max_held_streams: usize,
    /// Payload bytes of waiting streams, all together. Default 1 MiB.
    pub max_held_bytes: usize,
    /// Status for a request that is not a WebTransport CONNECT, by method and path. Default: always 405.
    pub other_requests: fn(method: &str, path: &str) -> u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_sessions: 1,
            max_header_block: 16 * 1024,
            max_held_streams: 64,
            max_held_bytes: 1024 * 1024,
            other_requests: |_, _| 405,
        }
    }
}

/// HTTP/3 and WebTransport state of one QUIC connection.
///
/// Drain rule: after every call that is not `&self`, drain [`poll_output`](Self::poll_output) and
/// [`poll_event`](Self::poll_event). Feeding never fails: what the peer does wrong becomes outputs and events.
/// Misusing an operation returns [`Misuse`] and changes nothing.
#[derive(Debug)]
pub struct Connection {}

impl Connection {
    /// A connection that has sent nothing yet.
    pub fn new(_role: Role, _config: Config) -> Self {
        todo!()
    }

    // ---- what QUIC delivered

    /// The caller has opened its first unidirectional stream: it becomes the control stream and SETTINGS are queued on it.
    /// Call once, as early as QUIC allows to write (a server before the handshake ends), before opening anything else.
    /// QPACK streams are not needed without a dynamic table.
    pub fn control_opened(&mut self, _stream: u64) -> Result<(), Misuse> {
        todo!()
    }

    /// Bytes of a peer-opened stream, or of a CONNECT stream, in order. `fin`: this was the end of the stream.
    pub fn receive(&mut self, _stream: u64, _chunk: Bytes, _fin: bool) -> Routed {
        todo!()
    }

    /// The peer reset a stream that is not (yet) the caller's own, with this HTTP/3 code. True: it was known here.
    pub fn stream_reset(&mut self, _stream: u64, _code: u64) -> bool {
        todo!()
    }

    /// The peer asked to stop sending on the control stream or a CONNECT stream. True: it was known here.
    pub fn stream_stopped(&mut self, _stream: u64, _code: u64) -> bool {
        todo!()
    }

    /// A QUIC datagram: session and payload, or None if it is to be dropped (unknown session; malformed ones also fail
    /// the connection).
    pub fn datagram(&mut self, _data: Bytes) -> Option<(u64, Bytes)> {
        todo!()
    }

    // ---- what to do, what happened

    /// Next thing to do on the QUIC connection.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }

    /// Next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    // ---- operations

    /// Client: ask for a session on `stream`, a bidirectional stream the caller has just opened; its id names the session.
    /// The request leaves at once if the peer's SETTINGS are known and right behind them otherwise. Streams of the session
    /// may be opened and written as soon as [`Event::SettingsReceived`] was seen, before the answer (optimistic first flight).
    pub fn connect(&mut self, _stream: u64, _request: Request) -> Result<(), Misuse> {
        todo!()
    }

    /// Server: agree with 200 and these extra fields. Held streams of the session are released.
    pub fn accept(&mut self, _session: u64, _headers: &[Field]) -> Result<(), Misuse> {
        todo!()
    }

    /// Server: refuse with a status of 300..=599 and these fields. Held streams of the session are stopped.
    pub fn reject(
        &mut self,
        _session: u64,
        _status: u16,
        _headers: &[Field],
    ) -> Result<(), Misuse> {
        todo!()
    }

    /// End an accepted session with a code and a reason of at most 1024 bytes (CLOSE_WEBTRANSPORT_SESSION and FIN). A client
    /// that closes before the answer gives the request up. No event follows; the caller ends the session's streams with
    /// [`error::SESSION_GONE`](crate::error::SESSION_GONE) itself.
    pub fn close(&mut self, _session: u64, _code: u32, _reason: &str) -> Result<(), Misuse> {
        todo!()
    }

    /// Ask the peer to end an open session soon (DRAIN_WEBTRANSPORT_SESSION). The session goes on meanwhile.
    pub fn drain(&mut self, _session: u64) -> Result<(), Misuse> {
        todo!()
    }

    /// Take no new sessions (GOAWAY); those there go on.
    pub fn goaway(&mut self) -> Result<(), Misuse> {
        todo!()
    }

    /// Whether the peer's SETTINGS are in and allow WebTransport.
    pub fn ready(&self) -> bool {
        todo!()
    }

    /// Whether a session is accepted and not over.
    pub fn is_open(&self, _session: u64) -> bool {
        todo!()
    }
}

/// First bytes of every stream opened for a session: 0x41 or 0x54 and the session id.
pub fn stream_header(_session: u64, _bidirectional: bool) -> Bytes {
    todo!()
}

/// First bytes of every datagram of a session: its quarter stream id (RFC 9297 §2.1).
pub fn datagram_prefix(_session: u64) -> Bytes {
    todo!()
}
