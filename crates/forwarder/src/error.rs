//! What is wrong with a view or a plane: the operator's mistake or the system's refusal, never a peer's doing.
//!
//! Owns the errors and their wording. Must not hold key material.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use legato_quic_lb::ServerId;

use crate::maglev::MAX_MEMBERS;

/// Why a view is refused. The one before stays in force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewError {
    /// Two servers have one name, so that connection IDs would not tell them apart.
    ServerIdTwice(ServerId, SocketAddr, SocketAddr),
    /// Two servers have one address.
    AddressTwice(SocketAddr),
    /// A server has no name.
    NoServerId(SocketAddr),
    /// No server can have this address.
    NoAddress(SocketAddr),
    /// The address is outside the allowed networks.
    NotAllowed(SocketAddr),
    /// The address is a balancer's.
    IsBalancer(SocketAddr),
    /// More servers than the table of new connections can balance.
    TooManyBackends(usize),
    /// Addresses in connection IDs are to be believed, but not which ones.
    DerivedWithoutAllowed,
}

impl fmt::Display for ViewError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerIdTwice(id, one, other) => write!(
                out,
                "servers {one} and {other} have the same server ID {id}: give each its own"
            ),
            Self::AddressTwice(address) => write!(
                out,
                "server {address} is listed twice: list it once, with all its server IDs"
            ),
            Self::NoServerId(address) => {
                write!(out, "server {address} has no server ID: give it one")
            }
            Self::NoAddress(address) => write!(
                out,
                "{address} cannot be a server's address: it needs a port and the address of one host"
            ),
            Self::NotAllowed(address) => write!(
                out,
                "server {address} is outside the allowed networks: add its network or remove the server"
            ),
            Self::IsBalancer(address) => write!(
                out,
                "server {address} is also listed as a balancer: packets would go round in a circle"
            ),
            Self::TooManyBackends(count) => write!(
                out,
                "{count} servers: a balancer takes {MAX_MEMBERS}, divide them among several"
            ),
            Self::DerivedWithoutAllowed => out.write_str(
                "addresses in connection IDs need a list of allowed networks, or the balancer would send to anybody",
            ),
        }
    }
}

impl std::error::Error for ViewError {}

/// Why a plane does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlaneError {
    /// There is nothing to listen on.
    NoListener,
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// An inherited descriptor is no bound UDP socket.
    Inherited(io::Error),
    /// The system refuses a thread or what it needs.
    System(io::Error),
}

impl fmt::Display for PlaneError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoListener => out.write_str("no address to listen on: name at least one"),
            Self::Listen(address, error) => {
                write!(out, "cannot listen on UDP {address}: {error}")
            }
            Self::Inherited(error) => write!(
                out,
                "an inherited file descriptor is no UDP socket of a balancer: {error}"
            ),
            Self::System(error) => write!(out, "cannot start forwarding: {error}"),
        }
    }
}

impl std::error::Error for PlaneError {}
