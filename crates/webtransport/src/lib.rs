//! HTTP/3 and WebTransport as bytes in, bytes out: the thin part that a WebTransport server and client need.
//!
//! Owns: stream types, frames, SETTINGS, QPACK without a dynamic table, the CONNECT exchange, session capsules,
//! datagram prefixes, error codes. Must not know: sockets, time, threads, QUIC packets, audio, Python.
//!
//! One [`Connection`] stands beside one QUIC connection. The caller feeds it what QUIC delivered and drains two
//! queues after each feeding: [`Connection::poll_output`] (what to do on the QUIC connection) and
//! [`Connection::poll_event`] (what happened). Payload of WebTransport streams never passes through: a stream is
//! asked about until [`Routed::Session`] comes back and is the caller's own from then on.

mod connection;
pub mod error;
mod event;
mod headers;

pub use connection::{datagram_prefix, stream_header, Config, Connection, Role};
pub use event::{Event, Output, Routed};
pub use headers::{Field, Request};
