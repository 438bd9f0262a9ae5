//! Encapsulation version 1: what stands before a client's packet between balancer and server, as `wire/ENCAPSULATION.md`
//! defines it.
//!
//! Owns the octets and their authenticity. Must not know which balancers and servers there are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;

use crate::SipKey;

/// Octets that encapsulation adds for a client with an IPv4 address.
pub const OVERHEAD_V4: usize = 8 + TAG;
/// Octets that encapsulation adds for a client with an IPv6 address.
pub const OVERHEAD_V6: usize = 20 + TAG;

const TAG: usize = 8;
/// The upper five bits of the first octet; no packet of QUIC version 1 or 2, STUN or DTLS begins with them (RFC 9443).
const MAGIC: u8 = 0b0000_1000;
const VERSION: u8 = 1;
const REPLY: u8 = 0b01;
const IPV6: u8 = 0b10;

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client, balancer to server.
    Request,
    /// To the client, server to balancer.
    Reply,
}

/// A header with its tag: what stands before the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    octets: [u8; OVERHEAD_V6],
    len: u8,
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

/// A genuine encapsulated packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Which way it goes.
    pub direction: Direction,
    /// Whose packet it is, or for whom.
    pub client: SocketAddr,
    /// The client's or server's UDP payload.
    pub payload: &'a [u8],
}

/// Why a datagram is not a genuine encapsulated packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// It does not begin as encapsulated packets do.
    NotEncapsulated,
    /// It is of a version that this side does not speak.
    Version,
    /// It ends within its header, or there is no packet behind it.
    Truncated,
    /// A reserved flag is set.
    Flags,
    /// The tag is that of neither key.
    Tag,
    /// The client's address is none that a client can have.
    Client,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotEncapsulated => "not encapsulated",
            Self::Version => "unknown version",
            Self::Truncated => "truncated",
            Self::Flags => "reserved flags",
            Self::Tag => "wrong tag",
            Self::Client => "no address of a client",
        })
    }
}

impl std::error::Error for Refused {}

/// The keys that authenticate headers. Two are accepted, so that keys can be changed while packets flow; the first one
/// is sent with.
#[derive(Debug, Clone)]
pub struct TagKeys {
    current: SipKey,
    other: Option<SipKey>,
}

impl TagKeys {
    /// Sends with and accepts `current`.
    pub const fn new(current: SipKey) -> Self {
        Self {
            current,
            other: None,
        }
    }

    /// Accepts `other`, too: the next key until all have it, then the one before until nobody sends with it.
    #[must_use]
    pub fn also_accepting(self, other: SipKey) -> Self {
        Self {
            other: Some(other),
            ..self
        }
    }

    /// The key that is sent with, and the other one that is accepted.
    #[cfg(target_os = "linux")]
    pub(crate) fn both(&self) -> (&SipKey, Option<&SipKey>) {
        (&self.current, self.other.as_ref())
    }

    /// The header for a packet of this client. IPv4 addresses in IPv6 notation are written as IPv4.
    pub fn header(&self, direction: Direction, client: SocketAddr) -> Header {
        let mut octets = [0; OVERHEAD_V6];
        octets[0] = MAGIC | VERSION;
        octets[1] = match direction {
            Direction::Request => 0,
            Direction::Reply => REPLY,
        };
        octets[2..4].copy_from_slice(&client.port().to_be_bytes());
        let len = match client.ip().to_canonical() {
            IpAddr::V4(address) => {
                octets[4..8].copy_from_slice(&address.octets());
                8
            }
            IpAddr::V6(address) => {
                octets[1] |= IPV6;
                octets[4..20].copy_from_slice(&address.octets());
                20
            }
        };
        let tag = self.current.hash(&octets[..len]).to_le_bytes();
        octets[len..len + TAG].copy_from_slice(&tag);
        Header {
            octets,
            len: (len + TAG) as u8,
        }
    }

    /// Reads a datagram. Nothing in it is believed before its tag is checked.
    pub fn open<'a>(&self, datagram: &'a [u8]) -> Result<Opened<'a>, Refused> {
        if !looks_encapsulated(datagram) {
            return Err(Refused::NotEncapsulated);
        }
        if datagram[0] != MAGIC | VERSION {
            return Err(Refused::Version);
        }
        let flags = *datagram.get(1).ok_or(Refused::Truncated)?;
        if flags & !(REPLY | IPV6) != 0 {
            return Err(Refused::Flags);
        }
        let len = if flags & IPV6 == 0 { 8 } else { 20 };
        let (header, rest) = datagram.split_at_checked(len).ok_or(Refused::Truncated)?;
        let (tag, payload) = rest.split_first_chunk::<TAG>().ok_or(Refused::Truncated)?;
        let tag = u64::from_le_bytes(*tag);
        let other = || self.other.as_ref();
        if tag != self.current.hash(header) && other().map(|key| key.hash(header)) != Some(tag) {
            return Err(Refused::Tag);
        }
        if payload.is_empty() {
            return Err(Refused::Truncated);
        }
        let client = client(header);
        if !is_a_clients(client) {
            return Err(Refused::Client);
        }
        Ok(Opened {
            direction: if flags & REPLY == 0 {
                Direction::Request
            } else {
                Direction::Reply
            },
            client,
            payload,
        })
    }
}

/// Whether the first octet is that of an encapsulated packet of any version. A packet of QUIC can begin so if the client
/// was allowed to clear the fixed bit (RFC 9287).
pub(crate) fn looks_encapsulated(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xf8 == MAGIC)
}

/// The address in a header of either length.
fn client(header: &[u8]) -> SocketAddr {
    let port = u16::from_be_bytes([header[2], header[3]]);
    let address = match header[4..].first_chunk::<16>() {
        Some(octets) => Ipv6Addr::from(*octets).into(),
        None => Ipv4Addr::new(header[4], header[5], header[6], header[7]).into(),
    };
    SocketAddr::new(address, port)
}

/// Whether packets can come from there and answers be sent there, to one host. Link-local addresses of IPv6 are missing,
/// because the header does not say which link is meant.
pub(crate) fn is_a_clients(client: SocketAddr) -> bool {
    let one_host = match client.ip() {
        IpAddr::V4(address) => {
            !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
        }
        IpAddr::V6(address) => {
            !address.is_unspecified()
                && !address.is_multicast()
                && !address.is_unicast_link_local()
                && address.to_ipv4_mapped().is_none()
        }
    };
    one_host && client.port() != 0
}
