//! QUIC-LB (draft-ietf-quic-load-balancers-21): connection IDs that tell a load balancer which server issued them.
//!
//! Owns how server IDs are put into connection IDs and read back. Must not do I/O, look at a clock or make randomness:
//! it is passed in, 20 octets for each connection ID and 32 for each supply of nonces.
//!
//! # Theory of operation
//!
//! Three parties share a [`Config`]. The *configuration agent* makes it and gives every server a [`ServerId`]. A
//! *server* issues connection IDs through its [`Issuer`]. A *balancer* keeps all active configurations in a
//! [`ConfigSet`] and asks it which server a packet is for; it remembers nothing about clients.
//!
//! ```text
//!             3 bits    5 bits        1..15 octets   4..18 octets
//!           +--------+-------------+--------------+--------------+ - - - - -+
//!           | config | length or   |  server ID   |    nonce     |  filling
//!           | ID     | random bits |  encrypted together, or not |  ignored
//!           +--------+-------------+--------------+--------------+ - - - - -+
//! ```
//!
//! | server ID + nonce | with a key | AES operations of a balancer |
//! |---|---|---|
//! | 16 octets | single-pass: one block of AES-128 | 1 |
//! | 5 to 19 octets, not 16 | four-pass: a Feistel network around AES-128 | 3, or 4 if the server ID is the longer part |
//!
//! **Rotation.** The config ID is one of seven codepoints. A new configuration goes to the balancers first
//! ([`ConfigSet::insert`]), then to the servers ([`Issuer::rotate`]), which never issue under the old one again and move
//! their connections over. When no packet with the old codepoint comes any more, the balancers drop it
//! ([`ConfigSet::remove`]), and only then may the codepoint serve again.
//!
//! **Unroutable.** Four things make a connection ID say nothing ([`Unroutable`]): codepoint 0b111, a codepoint without
//! configuration, too few octets, and, in long headers of self-describing configurations, a wrong length. That the
//! server is not active is a fifth, which the caller sees. Clients make their first connection ID up, so noise can
//! decode to a server ID; long server IDs make it unlikely that this is a live server's. No input costs more than a
//! routable connection ID does.
//!
//! **Nonces.** A nonce that comes twice shows that two connections are on one server, and gives one client the stateless
//! reset token of another. [`Nonces`] counts, refuses to go round, and says what a restart has to heed.
//!
//! **Errata.** Where draft and its own test vectors disagree, this crate follows what independent implementations agree
//! on: the config ID in the first octet is the configuration's, and undoing the third pass clears bits of the right half.
//!
//! # Example
//!
//! ```
//! use legato_quic_lb::{Config, ConfigId, ConfigSet, Issuer, Key, Lengths, Nonces, ServerId};
//!
//! let config = Config::encrypted(ConfigId::new(0)?, Lengths::new(8, 8)?, &Key::new(*b"sixteen octets!!"));
//! let server: ServerId = "c000020711512ca7".parse()?;
//!
//! let mut issuer = Issuer::new(config.cid_len())?;
//! issuer.rotate(config.clone(), server, Nonces::new([1; 32]))?; // from a random source
//! let cid = issuer.issue(&[2; 20])?; // from a random source, too
//!
//! let mut balancer = ConfigSet::new();
//! balancer.insert(config)?;
//! assert_eq!(balancer.decode(&cid)?.server_id, server);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod cipher;
mod config;
mod config_set;
mod error;
mod ids;
mod issuer;
mod nonce;

pub use cipher::Key;
pub use config::{Config, ConfigId, FirstOctet, Lengths};
pub use config_set::{ConfigSet, Decoded};
pub use error::{ConfigError, IssueError, Unroutable};
pub use ids::{ConnectionId, ServerId, MAX_CID_LEN, MAX_SERVER_ID_LEN};
pub use issuer::Issuer;
pub use nonce::Nonces;
