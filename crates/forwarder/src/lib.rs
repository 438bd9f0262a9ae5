//! The balancer's data plane: packets of QUIC find the server that their connection ID names, and nothing is remembered.
//!
//! Owns the decision about each packet, the encapsulation between balancers and servers, and moving packets with
//! sockets. Must not know calls, where servers are discovered, or how health is probed: it is handed a [`View`].
//!
//! # Theory of operation
//!
//! ```text
//!   client ── QUIC ──► balancer ── header + QUIC ──► server        View::judge ─► Verdict::Forward
//!   client ◄── QUIC ── balancer ◄── header + QUIC ── server        View::judge ─► Verdict::Reply
//! ```
//!
//! There is no table of connections. A packet whose connection ID names a server goes there, from whatever address and
//! in whatever header. Every other packet goes where the hash of its source address leads, among the servers that are
//! ready. As servers only issue connection IDs that name them, that is the first flight of a connection, and what a
//! restarted or a second balancer decides is the same. The header tells the server who the client is, and the server
//! puts it before its replies, which therefore need no memory either.
//!
//! A [`View`] holds all that decisions depend on, never changes, and is replaced as a whole. Time is passed in.
//!
//! # What the program in the kernel mirrors
//!
//! | table | key | value |
//! |---|---|---|
//! | configurations | codepoint, 0 to 6 | lengths, cipher, expanded key |
//! | names | server ID, padded to 16 octets with its length | backend |
//! | backends | number | address, state, end of the grace time |
//! | addresses | address and port of a backend or balancer | backend, or "balancer" |
//! | places ([`View::places`]) | SipHash-2-4 of the client's address and port, modulo 65537 | backend |
//! | keys | constants | hash key, two tag keys |
//!
//! All of it is one value of a map, which [`xdp`] writes anew for each view. Reading a packet takes fixed offsets and no
//! loop, hashing 18 or 20 octets at most. There is no allocation and no division but the modulo. Where an address in a
//! connection ID would have to be believed, the program sees that by the checksum of
//! [`ServerId::from_ipv4`](legato_quic_lb::ServerId::from_ipv4) and leaves the packet to userspace.

mod encapsulation;
mod error;
#[cfg(target_os = "linux")]
mod interfaces;
mod invariant;
mod judge;
mod key;
mod maglev;
mod network;
#[cfg(target_os = "linux")]
mod plane;
mod reason;
mod tunnel;
mod view;
#[cfg(target_os = "linux")]
pub mod xdp;

pub use encapsulation::{Direction, Header, Opened, Refused, TagKeys, OVERHEAD_V4, OVERHEAD_V6};
pub use error::{PlaneError, ViewError};
pub use judge::{Arrival, Target, Verdict};
pub use key::SipKey;
pub use maglev::{MAX_MEMBERS, PLACES};
pub use network::{Network, NetworkError};
#[cfg(target_os = "linux")]
pub use plane::{Plane, Statistics, Totals, Traffic};
pub use reason::{Reason, Route};
pub use tunnel::{Declined, Tunnel};
pub use view::{Backend, Micros, State, View, ViewSettings, DEFAULT_GRACE, DEFAULT_MAX_PAYLOAD};
