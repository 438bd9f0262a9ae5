//! QUIC v1 with HTTP/3 and WebTransport on top, as servers and clients of voice calls need it.
//!
//! Owns packets, encryption, connections, sessions, streams and the thread they live on. Must not know audio, events of a
//! dialogue, agents or Python.
//!
//! Three layers, each usable without the next: [`driver`] (pure: datagrams, commands and time in; transmits and events
//! out), [`Front`] (what a caller may ask, checked at once and queued), and around both either [`Endpoint`] (sockets and a
//! thread) or [`Inline`] (a virtual clock and a list of datagrams).

mod certificate;
mod cid;
mod command;
pub mod driver;
mod endpoint;
mod error;
mod event;
mod fleet;
mod front;
mod identity;
mod inline;
mod peer;
mod qlog;
mod randomness;
mod reactor;
mod readiness;
mod rhythm;
mod server_secrets;
mod sessions;
mod settings;
mod shared;
mod socket;
mod stats;
mod steering;
mod streams;
mod timers;
mod tls;
mod transfer;

pub use certificate::{fingerprint, validity};
pub use cid::{CidFactory, PrefixedCids};
pub use endpoint::Endpoint;
pub use error::EngineError;
pub use event::{ClosedBy, Event, EventKind, FailureKind, SessionRequest};
pub use fleet::{FleetMember, Generation, TunnelSettings, DEFAULT_CID_LIFETIME};
pub use front::Front;
pub use identity::{ConnectionIdLayout, EndpointKeys, Identity};
pub use inline::{Datagram, Inline};
pub use randomness::random;
pub use settings::{Congestion, ConnectTarget, Settings};
pub use shared::{SessionShared, StreamShared};
pub use stats::SessionStats;
pub use steering::{Steering, MAX_WORKERS};
