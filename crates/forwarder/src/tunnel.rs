//! The server's end of the encapsulation: whom it believes, and what it sends back.
//!
//! Owns the list of balancers. Must not know sockets, connections, or to which balancer a connection's answers go.

use std::fmt;
use std::net::SocketAddr;

use crate::encapsulation::{Direction, Header, Opened, Refused, TagKeys};
use crate::Network;

/// Which balancers a server believes, and under which keys.
///
/// A header names the client that a packet is said to be from. Whoever can forge one can make the server send to anybody,
/// so a packet has to come from a balancer's address and to carry a valid tag.
#[derive(Debug, Clone)]
pub struct Tunnel {
    keys: TagKeys,
    balancers: Vec<Network>,
}

/// Why a server does not take a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Declined {
    /// It is from none of the balancers.
    Stranger,
    /// It is a reply, as servers send them: something loops.
    Reply,
    /// It is not a genuine encapsulated packet.
    Refused(Refused),
}

impl fmt::Display for Declined {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger => out.write_str("not from a balancer"),
            Self::Reply => out.write_str("a reply"),
            Self::Refused(refused) => refused.fmt(out),
        }
    }
}

impl std::error::Error for Declined {}

impl Tunnel {
    /// Believes these balancers.
    pub fn new(keys: TagKeys, balancers: Vec<Network>) -> Self {
        Self { keys, balancers }
    }

    /// The client and its packet in a datagram that came to the encapsulation port.
    pub fn receive<'a>(
        &self,
        datagram: &'a [u8],
        from: SocketAddr,
    ) -> Result<(SocketAddr, &'a [u8]), Declined> {
        let from = from.ip().to_canonical();
        if !self.balancers.iter().any(|known| known.contains(from)) {
            return Err(Declined::Stranger);
        }
        match self.keys.open(datagram) {
            Ok(Opened {
                direction: Direction::Request,
                client,
                payload,
            }) => Ok((client, payload)),
            Ok(_) => Err(Declined::Reply),
            Err(refused) => Err(Declined::Refused(refused)),
        }
    }

    /// What goes before a packet for this client. The datagram is sent to where the client's last one came from.
    pub fn reply(&self, client: SocketAddr) -> Header {
        self.keys.header(Direction::Reply, client)
    }
}
