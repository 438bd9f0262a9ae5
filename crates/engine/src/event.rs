//! What an endpoint reports. Owns the vocabulary; must not know how things come about or who listens.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::shared::{SessionShared, StreamShared};

/// A header field with text made of it; bytes outside UTF-8 are replaced.
pub type TextField = (String, String);

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// `:path` with query.
    pub path: String,
    /// `:authority`.
    pub authority: String,
    /// `origin`, which browsers always send.
    pub origin: Option<String>,
    /// Other fields.
    pub headers: Vec<TextField>,
    /// Address of the client.
    pub remote: SocketAddr,
    /// Our address that the client used.
    pub local: SocketAddr,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// The other side, in order.
    Peer,
    /// This side.
    Local,
    /// The connection underneath: silence, reset, protocol error.
    Transport,
}

impl ClosedBy {
    /// The word that crosses into Python.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Local => "local",
            Self::Transport => "transport",
        }
    }
}

/// Why a client's connection came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Nobody answered in time.
    Timeout,
    /// The host answered that nobody listens there, or the server takes no more connections.
    Refused,
    /// The certificate is not one to trust.
    Certificate,
    /// TLS failed for another reason, among them no common protocol (ALPN).
    Tls,
    /// Something answered that does not speak this version of QUIC, HTTP/3 or WebTransport.
    Protocol,
    /// The connection ended before the session was answered.
    Closed,
}

impl FailureKind {
    /// The word that crosses into Python.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Certificate => "certificate",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Closed => "closed",
        }
    }
}

/// Something that happened to a session. Handles are unique within an endpoint and never used again.
#[derive(Debug, Clone)]
pub struct Event {
    /// Session that it concerns.
    pub session: u64,
    /// Stream that it concerns, or 0.
    pub stream: u64,
    /// What it is.
    pub kind: EventKind,
}

/// The kinds of events. For one stream they come in the order in which the peer caused them.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// Server: somebody asks for a session; answer with `accept` or `reject`.
    SessionRequested(Arc<SessionShared>, Box<SessionRequest>),
    /// Client: the server agreed.
    SessionOpened(u16, Vec<TextField>),
    /// Client: the server answered with a status outside 2xx; the session is over.
    SessionRefused(u16, Vec<TextField>),
    /// Client: no answer came; the session is over.
    ConnectFailed(String, FailureKind),
    /// The peer opened a stream; true if it goes both ways.
    StreamOpened(Arc<StreamShared>, bool),
    /// Bytes of a stream, in order; several chunks if they arrived between two drains.
    StreamData(Vec<Bytes>),
    /// The peer finished sending; all its bytes were delivered.
    StreamFin,
    /// The peer abandoned sending, with this code.
    StreamReset(u32),
    /// The peer wants no more of what we send, with this code; what was queued is dropped.
    StreamStopped(u32),
    /// A stream whose queue had been too long can take more.
    StreamWritable,
    /// An unreliable message.
    Datagram(Bytes),
    /// The peer wishes the session to end soon.
    SessionDraining,
    /// The session is over; nothing follows.
    SessionClosed(ClosedBy, u32, String),
    /// The peer is reached at a new address.
    PathChanged(SocketAddr),
}

/// What a field takes besides its characters: two strings, each with memory of its own.
const FIELD_WEIGHT: usize = 96;

impl EventKind {
    /// Bytes that it brings along, as far as the peer decides about them; those of streams are weighed by themselves.
    pub(crate) fn payload(&self) -> usize {
        match self {
            Self::Datagram(data) => data.len(),
            Self::SessionRequested(_, request) => request.weight(),
            Self::SessionOpened(_, headers) | Self::SessionRefused(_, headers) => weight(headers),
            Self::ConnectFailed(reason, _) | Self::SessionClosed(_, _, reason) => reason.len(),
            _ => 0,
        }
    }
}

impl SessionRequest {
    fn weight(&self) -> usize {
        let origin = self.origin.as_ref().map_or(0, String::len);
        self.path.len() + self.authority.len() + origin + weight(&self.headers)
    }
}

fn weight(fields: &[TextField]) -> usize {
    let each = fields.iter();
    each.map(|(name, value)| name.len() + value.len() + FIELD_WEIGHT)
        .sum()
}
