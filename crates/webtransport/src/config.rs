//! What a connection is told when it begins: its side, and its bounds.

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
    /// Sessions alive at once on one connection; a server tells it in SETTINGS and rejects more.
    pub max_sessions: u64,
    /// Bytes of one encoded header block and, counted as RFC 9114 §4.2.2 does, of the decoded one. Default 16 KiB.
    pub max_header_block: usize,
    /// Streams waiting for their session at once. Default 64.
    pub max_held_streams: usize,
    /// Payload bytes of waiting streams, all together. Default 1 MiB.
    pub max_held_bytes: usize,
    /// Status (200..=599) for a request that is not an extended CONNECT, by method and path. Default: always 405.
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
