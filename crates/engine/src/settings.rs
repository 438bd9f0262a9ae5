//! What an endpoint can be told: limits, windows, timeouts, target addresses.
//!
//! Owns the values, their defaults and their translation into transport parameters. Must not know sockets or Python.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::{CubicConfig, NewRenoConfig};
use quinn_proto::{IdleTimeout, MtuDiscoveryConfig, QlogConfig, TransportConfig, VarInt};

use crate::error::EngineError;

/// Congestion controllers on offer (RFC 9438, RFC 9002 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Congestion {
    /// CUBIC, RFC 9438.
    #[default]
    Cubic,
    /// NewReno, RFC 9002 §7.3.
    NewReno,
}

/// Largest UDP payload of a client or server with a balancer's header before it.
const MOST_ENCAPSULATED: u16 = 1400;

/// Everything that can be set on an endpoint. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Silence after which a connection is given up. 0: never.
    pub max_idle_ms: u64,
    /// Distance of keep-alive packets. 0: none.
    pub keep_alive_ms: u64,
    /// Time a connection may take until its first session is asked for (server) or answered (client).
    pub handshake_timeout_ms: u64,
    /// UDP payload assumed to pass at first, 1200..=65527.
    pub initial_mtu: u16,
    /// Largest UDP payload that MTU discovery tries. Equal to `initial_mtu`: no discovery.
    pub mtu_upper_bound: u16,
    /// Bytes that a peer may have on its way on all streams together.
    pub receive_window: u64,
    /// Bytes that a peer may have on its way on one stream.
    pub stream_receive_window: u64,
    /// Bytes of a connection kept for retransmission before streams wait.
    pub send_window: u64,
    /// Bytes queued on a stream above which STREAM_WRITABLE will follow once they fall below half of it.
    pub send_buffer_high: usize,
    /// Bytes queued on a stream above which `send` refuses.
    pub send_buffer_limit: usize,
    /// Bytes of undrained events above which nothing more is read from streams.
    pub event_buffer_bytes: usize,
    /// Bidirectional streams that a peer may have open at once.
    pub max_bidi_streams: u32,
    /// Unidirectional streams that a peer may have open at once.
    pub max_uni_streams: u32,
    /// Sessions on one connection.
    pub max_sessions: u64,
    /// Bytes of datagrams waiting in either direction; the oldest give way. 0: no datagrams.
    pub datagram_bytes: usize,
    /// Congestion controller.
    pub congestion: Congestion,
    /// Connections a server holds at once; more are refused.
    pub max_connections: usize,
    /// Unfinished handshakes above which a server demands address validation by Retry (RFC 9000 §8.1.2).
    pub retry_threshold: usize,
    /// Round-trip time assumed before the first sample (RFC 9002 §6.2.2).
    pub initial_rtt_ms: u64,
    /// Folder that gets one qlog file per connection.
    pub qlog_dir: Option<PathBuf>,
    /// File that TLS secrets are appended to, in the format of `SSLKEYLOGFILE`.
    pub key_log_path: Option<PathBuf>,
    /// ALPN protocols, most wanted first.
    pub alpn: Vec<Vec<u8>>,
    /// Length of our connection IDs, 4..=20 bytes.
    pub cid_length: usize,
    /// First bytes of our connection IDs; the rest is random.
    pub cid_prefix: Vec<u8>,
    /// Whether packets come and go with a balancer's header.
    pub encapsulated: bool,
    /// Where clients are asked to go on, one of each family (RFC 9000 §9.6). Those that do not are served where they are.
    pub preferred_addresses: Vec<SocketAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_idle_ms: 30_000,
            keep_alive_ms: 0,
            handshake_timeout_ms: 10_000,
            initial_mtu: 1200,
            mtu_upper_bound: 1452,
            receive_window: 8 << 20,
            stream_receive_window: 2 << 20,
            send_window: 4 << 20,
            send_buffer_high: 256 << 10,
            send_buffer_limit: 64 << 20,
            event_buffer_bytes: 8 << 20,
            max_bidi_streams: 16,
            max_uni_streams: 64,
            max_sessions: 8,
            datagram_bytes: 64 << 10,
            congestion: Congestion::Cubic,
            max_connections: 10_000,
            retry_threshold: 256,
            initial_rtt_ms: 333,
            qlog_dir: None,
            key_log_path: None,
            alpn: vec![b"h3".to_vec()],
            cid_length: 8,
            cid_prefix: Vec::new(),
            encapsulated: false,
            preferred_addresses: Vec::new(),
        }
    }
}

/// Where a client connects to and what it asks for there.
#[derive(Debug, Clone, Default)]
pub struct ConnectTarget {
    /// Addresses of the server, tried in this order.
    pub addresses: Vec<SocketAddr>,
    /// Name to verify the certificate against and to send as SNI.
    pub server_name: String,
    /// `:authority` of the request.
    pub authority: String,
    /// `:path` of the request, absolute, with query.
    pub path: String,
    /// `origin` of the request.
    pub origin: Option<String>,
    /// Further request fields.
    pub headers: Vec<(String, String)>,
    /// SHA-256 of acceptable leaf certificates in DER. If there are any, nothing else is trusted.
    pub certificate_hashes: Vec<[u8; 32]>,
    /// Trust anchors in DER.
    pub roots: Vec<Vec<u8>>,
    /// Whether the trust anchors of the machine count too.
    pub system_roots: bool,
}

impl Settings {
    /// Reject values that contradict each other or the protocol; the error names the setting.
    pub fn validate(&self) -> Result<(), EngineError> {
        let bad = |text: &str| Err(EngineError::settings(text));
        if !(1200..=65_527).contains(&self.initial_mtu) {
            return bad("initial_mtu must be 1200 to 65527 bytes");
        }
        if self.mtu_upper_bound < self.initial_mtu || self.mtu_upper_bound > 65_527 {
            return bad("mtu_upper_bound must be at least initial_mtu and at most 65527 bytes");
        }
        if !(4..=20).contains(&self.cid_length) {
            return bad("cid_length must be 4 to 20 bytes");
        }
        if self.cid_prefix.len() + 4 > self.cid_length {
            return bad("cid_prefix must leave at least 4 random bytes of cid_length");
        }
        if self.max_bidi_streams == 0 || self.max_uni_streams < 3 {
            return bad("max_bidi_streams must be at least 1 and max_uni_streams at least 3");
        }
        if self.max_sessions == 0 {
            return bad("max_sessions must be at least 1");
        }
        if VarInt::from_u64(self.receive_window).is_err() || self.receive_window < 16_384 {
            return bad("receive_window must be 16384 to 2^62-1 bytes");
        }
        if VarInt::from_u64(self.stream_receive_window).is_err()
            || self.stream_receive_window < 16_384
        {
            return bad("stream_receive_window must be 16384 to 2^62-1 bytes");
        }
        if self.send_window < 16_384 {
            return bad("send_window must be at least 16384 bytes");
        }
        if self.send_buffer_high == 0 || self.send_buffer_limit < self.send_buffer_high {
            return bad("send_buffer_high must be at least 1 and send_buffer_limit no smaller");
        }
        if self.event_buffer_bytes == 0 {
            return bad("event_buffer_bytes must be at least 1");
        }
        if self.initial_rtt_ms == 0 || self.handshake_timeout_ms == 0 {
            return bad("initial_rtt_ms and handshake_timeout_ms must be at least 1");
        }
        if self.max_idle_ms >= 1 << 32 {
            return bad("max_idle_ms must be below 2^32");
        }
        if self.alpn.is_empty()
            || self
                .alpn
                .iter()
                .any(|name| name.is_empty() || name.len() > 255)
        {
            return bad("alpn needs at least one name of 1 to 255 bytes");
        }
        Ok(())
    }

    /// UDP payload that we are willing to receive (RFC 9000 §18.2, max_udp_payload_size).
    pub(crate) fn max_udp_payload(&self) -> u16 {
        if self.encapsulated {
            MOST_ENCAPSULATED
        } else {
            self.mtu_upper_bound.max(1472)
        }
    }

    /// The same for a server behind a balancer, whose header takes room in every packet (`wire/ENCAPSULATION.md` §6).
    pub(crate) fn behind_balancer(self) -> Self {
        Self {
            encapsulated: true,
            mtu_upper_bound: self.mtu_upper_bound.min(MOST_ENCAPSULATED),
            initial_mtu: self.initial_mtu.min(MOST_ENCAPSULATED),
            ..self
        }
    }

    /// Transport parameters and local policy for one connection, or for all if there is no qlog.
    pub(crate) fn transport(&self, qlog: Option<QlogConfig>) -> TransportConfig {
        let mut config = TransportConfig::default();
        let idle = (self.max_idle_ms > 0)
            .then(|| IdleTimeout::try_from(Duration::from_millis(self.max_idle_ms)).ok())
            .flatten();
        let varint = |value: u64| VarInt::from_u64(value).unwrap_or(VarInt::MAX);
        config
            .max_idle_timeout(idle)
            .keep_alive_interval(
                (self.keep_alive_ms > 0).then(|| Duration::from_millis(self.keep_alive_ms)),
            )
            .max_concurrent_bidi_streams(self.max_bidi_streams.into())
            .max_concurrent_uni_streams(self.max_uni_streams.into())
            .receive_window(varint(self.receive_window))
            .stream_receive_window(varint(self.stream_receive_window))
            .send_window(self.send_window)
            .datagram_receive_buffer_size((self.datagram_bytes > 0).then_some(self.datagram_bytes))
            .datagram_send_buffer_size(self.datagram_bytes)
            .initial_mtu(self.initial_mtu)
            .initial_rtt(Duration::from_millis(self.initial_rtt_ms))
            // The spin bit tells observers the round-trip time and serves nobody here.
            .allow_spin(false);
        config.mtu_discovery_config((self.mtu_upper_bound > self.initial_mtu).then(|| {
            let mut discovery = MtuDiscoveryConfig::default();
            discovery.upper_bound(self.mtu_upper_bound);
            discovery
        }));
        match self.congestion {
            Congestion::Cubic => {
                config.congestion_controller_factory(Arc::new(CubicConfig::default()))
            }
            Congestion::NewReno => {
                config.congestion_controller_factory(Arc::new(NewRenoConfig::default()))
            }
        };
        if let Some(qlog) = qlog {
            config.qlog_stream(qlog.into_stream());
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        Settings::default().validate().unwrap();
    }

    #[test]
    fn each_bad_value_is_named() {
        type Spoil = fn(&mut Settings);
        let cases: [(&str, Spoil); 10] = [
            ("initial_mtu", |s| s.initial_mtu = 1199),
            ("mtu_upper_bound", |s| s.mtu_upper_bound = 1199),
            ("cid_length", |s| s.cid_length = 3),
            ("cid_prefix", |s| s.cid_prefix = vec![0; 5]),
            ("max_bidi_streams", |s| s.max_bidi_streams = 0),
            ("receive_window", |s| s.receive_window = 0),
            ("stream_receive_window", |s| {
                s.stream_receive_window = u64::MAX
            }),
            ("send_buffer_high", |s| s.send_buffer_limit = 1),
            ("initial_rtt_ms", |s| s.initial_rtt_ms = 0),
            ("alpn", |s| s.alpn.clear()),
        ];
        for (name, spoil) in cases {
            let mut settings = Settings::default();
            spoil(&mut settings);
            let error = settings.validate().unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
        }
    }
}
