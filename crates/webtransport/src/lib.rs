//! HTTP/3 and WebTransport as bytes in, bytes out: the thin part that a WebTransport server and client need.
//!
//! Owns: stream types, frames, SETTINGS, QPACK without a dynamic table, the CONNECT exchange, session capsules,
//! datagram prefixes, error codes. Must not know: sockets, time, threads, QUIC packets, audio, Python.
//!
//! One [`Connection`] stands beside one QUIC connection. The caller feeds it what QUIC delivered and drains two
//! queues after each feeding: [`Connection::poll_output`] (what to do on the QUIC connection) and
//! [`Connection::poll_event`] (what happened). Payload of WebTransport streams never passes through: a stream is
//! asked about until [`Routed::Session`] comes back and is the caller's own from then on.
//!
//! What it speaks: HTTP/3 (RFC 9114), QPACK (RFC 9204), extended CONNECT (RFC 9220), HTTP datagrams (RFC 9297) and
//! WebTransport over HTTP/3 in the form that drafts 02 and 07 share. Requests for anything but a session are answered
//! with a bare status.

mod capsule;
mod config;
mod connection;
mod control;
pub mod error;
mod event;
mod exchange;
mod headers;
mod held;
mod qpack;
mod record;
mod routing;
mod sessions;
mod settings;
mod varint;

pub use config::{Config, Role};
pub use connection::Connection;
pub use event::{Event, Output, Routed};
pub use headers::{Field, Request};
pub use routing::{datagram_prefix, stream_header};

/// The parsers one by one, for fuzzing. Not part of the API.
#[doc(hidden)]
pub mod parsers {
    use bytes::Bytes;

    /// Decodes a header block; the number of fields, or None.
    pub fn header_block(block: Bytes, limit: usize) -> Option<usize> {
        crate::qpack::decode(block, limit)
            .ok()
            .map(|lines| lines.len())
    }

    /// Decodes a header block as request and as response; whether each is well formed.
    pub fn message(block: Bytes, limit: usize) -> (bool, bool) {
        let response = crate::headers::decode_response(block.clone(), limit).is_ok();
        (
            crate::headers::decode_request(block, limit).is_ok(),
            response,
        )
    }

    /// Decodes the payload of a SETTINGS frame.
    pub fn settings(payload: Bytes) -> bool {
        crate::settings::PeerSettings::decode(payload).is_ok()
    }

    /// Reads chunks as capsules; the debug form of each, and whether all went well.
    pub fn capsules(chunks: impl Iterator<Item = Bytes>) -> (Vec<String>, bool) {
        let mut reader = crate::capsule::CapsuleReader::default();
        let mut seen = Vec::new();
        for mut chunk in chunks {
            loop {
                match reader.next(&mut chunk) {
                    Ok(Some(capsule)) => seen.push(format!("{capsule:?}")),
                    Ok(None) => break,
                    Err(_) => return (seen, false),
                }
            }
        }
        (seen, true)
    }
}
