//! Figures of a connection, as its sessions may ask for them. Owns the snapshot; must not know how it is gathered.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Network figures of the connection under a session. Times in microseconds, counted since the connection began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionStats {
    /// Smoothed round-trip time (RFC 9002 §5.3).
    pub rtt_us: u64,
    /// Smallest round-trip time seen on this path.
    pub min_rtt_us: u64,
    /// Congestion window in bytes.
    pub congestion_window: u64,
    /// Times the congestion controller was told of loss or an ECN mark.
    pub congestion_events: u64,
    /// Packets declared lost.
    pub lost_packets: u64,
    /// Bytes in packets declared lost.
    pub lost_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// UDP payload bytes sent.
    pub bytes_sent: u64,
    /// UDP payload bytes received.
    pub bytes_received: u64,
    /// UDP datagrams sent.
    pub datagrams_sent: u64,
    /// UDP datagrams received.
    pub datagrams_received: u64,
    /// Largest UDP payload that is known to pass.
    pub mtu: u16,
    /// Times the peer's address changed, or ours by `migrate`.
    pub path_changes: u64,
    /// Our address on this path.
    pub local: SocketAddr,
    /// The peer's address on this path.
    pub remote: SocketAddr,
}

impl Default for SessionStats {
    fn default() -> Self {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self {
            rtt_us: 0,
            min_rtt_us: 0,
            congestion_window: 0,
            congestion_events: 0,
            lost_packets: 0,
            lost_bytes: 0,
            sent_packets: 0,
            bytes_sent: 0,
            bytes_received: 0,
            datagrams_sent: 0,
            datagrams_received: 0,
            mtu: 0,
            path_changes: 0,
            local: nowhere,
            remote: nowhere,
        }
    }
}

pub(crate) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
