//! What a connection tells its caller. Owns the vocabulary only; must not know how it comes about.

use bytes::Bytes;

use crate::headers::{Field, Request};

/// The answer to [`Connection::receive`](crate::Connection::receive): who deals with the rest of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routed {
    /// The bytes were HTTP/3 (or not enough to tell yet); keep feeding this stream here.
    Consumed,
    /// The stream belongs to a session that does not exist yet. Do not read it any further until
    /// [`Event::StreamReleased`] names it, so that QUIC flow control bounds what the peer can park; an
    /// [`Output::Stop`] ends it if it overstays.
    Held,
    /// The stream belongs to an open session and its header is complete. `payload` is the untouched rest of the
    /// chunk (often empty; the `fin` passed in still applies to it). Never feed this stream here again.
    Session {
        /// Session, named by the QUIC stream id of its CONNECT request.
        session: u64,
        /// Bytes of the chunk behind the stream header.
        payload: Bytes,
    },
    /// Nothing on this stream matters any more: stop feeding it. An [`Output::Stop`] for it may be waiting.
    Ignored,
}

/// Something to do on the QUIC connection, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write `data` on `stream` behind everything written before; `fin` ends the sending side.
    Write {
        /// QUIC stream id.
        stream: u64,
        /// Bytes, possibly none.
        data: Bytes,
        /// Whether the sending side ends here.
        fin: bool,
    },
    /// Abandon the sending side (RESET_STREAM).
    Reset {
        /// QUIC stream id.
        stream: u64,
        /// HTTP/3 error code.
        code: u64,
    },
    /// Ask the peer to stop sending (STOP_SENDING) and read no more of the stream.
    Stop {
        /// QUIC stream id.
        stream: u64,
        /// HTTP/3 error code.
        code: u64,
    },
    /// Close the QUIC connection as an application. Nothing follows.
    Close {
        /// HTTP/3 error code.
        code: u64,
        /// For people who read traces.
        reason: &'static str,
    },
}

/// Something that happened. Session ids are QUIC stream ids of CONNECT requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer's SETTINGS are in and allow WebTransport; waiting CONNECT requests leave now.
    SettingsReceived,
    /// Server: a client asks for a session; answer with `accept` or `reject`.
    SessionRequested {
        /// The session.
        session: u64,
        /// What it asks for.
        request: Request,
    },
    /// Client: the server agreed.
    SessionAccepted {
        /// The session.
        session: u64,
        /// 2xx.
        status: u16,
        /// Response fields without pseudo-header fields.
        headers: Vec<Field>,
    },
    /// Client: the server answered with something other than 2xx; the session is over.
    SessionRefused {
        /// The session.
        session: u64,
        /// 3xx to 5xx.
        status: u16,
        /// Response fields without pseudo-header fields.
        headers: Vec<Field>,
    },
    /// A held stream may be read now; from here on it is the caller's, as after [`Routed::Session`].
    StreamReleased {
        /// The session.
        session: u64,
        /// QUIC stream id.
        stream: u64,
        /// What had arrived behind the stream header.
        payload: Bytes,
        /// Whether the peer's end of stream was already seen.
        fin: bool,
    },
    /// The peer wishes the session to end soon (DRAIN_WEBTRANSPORT_SESSION, or GOAWAY for the whole connection). Told once.
    SessionDraining {
        /// The session.
        session: u64,
    },
    /// The session ended, not by our `close`. The caller resets and stops its remaining streams with
    /// [`error::SESSION_GONE`](crate::error::SESSION_GONE).
    SessionClosed {
        /// The session.
        session: u64,
        /// Application code of the peer; 0 if it gave none.
        code: u32,
        /// Reason of the peer, at most 1024 bytes; empty if it gave none.
        reason: String,
        /// None after a clean close; the HTTP/3 code if the CONNECT stream broke off, in either direction.
        abrupt: Option<u64>,
    },
    /// The connection broke a rule of HTTP/3 (or the peer cannot do WebTransport); [`Output::Close`] is queued and
    /// every session is over without further events.
    ConnectionFailed {
        /// HTTP/3 error code.
        code: u64,
        /// For people who read traces.
        reason: &'static str,
    },
}
