//! The decision: what happens to a datagram.
//!
//! Owns the order of the rules. Must not know sockets or clocks, and remembers nothing from one packet to the next.

use std::net::{IpAddr, SocketAddr};

use legato_quic_lb::{ConfigId, Decoded, ServerId};

use crate::encapsulation::{is_a_clients, looks_encapsulated, Direction};
use crate::invariant::{destination, Destination, NoPacket};
use crate::view::{Micros, State, View};
use crate::{Reason, Route};

/// A datagram as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The UDP payload.
    pub datagram: &'a [u8],
    /// Who sent it.
    pub from: SocketAddr,
    /// Where it arrived: the address that was hit.
    pub at: SocketAddr,
}

/// A server that a packet goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its place among the view's backends; none if only the connection ID names it.
    pub backend: Option<u16>,
    /// Where it takes encapsulated packets.
    pub address: SocketAddr,
    /// Why this one.
    pub route: Route,
    /// The configuration that the connection ID was issued under, if it led there.
    pub config: Option<ConfigId>,
}

/// What happens to a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It goes to a server, encapsulated.
    Forward(Target),
    /// It is a server's reply and goes to the client, without its header, from the address where it arrived.
    Reply {
        /// To whom.
        client: SocketAddr,
        /// What the client gets.
        payload: &'a [u8],
        /// The place among the view's backends of the server that sent it; none if it is not in the list.
        backend: Option<u16>,
    },
    /// It goes nowhere.
    Drop(Reason),
}

impl View {
    /// Decides about a datagram that arrived at the balancer.
    ///
    /// | from | begins like | verdict |
    /// |---|---|---|
    /// | a listed server | anything | reply if genuine, else dropped |
    /// | an allowed address, if addresses are derived | encapsulation | reply if genuine, else a client's packet |
    /// | a balancer, this one included | anything | dropped |
    /// | anybody else | encapsulation | dropped if genuine, else a client's packet |
    /// | anybody else | anything else | a client's packet |
    ///
    /// So a packet passes one balancer at most in each direction, and nobody but servers makes it send to a client.
    pub fn judge<'a>(&self, arrival: Arrival<'a>, now: Micros) -> Verdict<'a> {
        let Arrival { datagram, from, at } = arrival;
        let backend = self.by_address.get(&from).copied();
        if backend.is_some() || looks_encapsulated(datagram) {
            if let Some(verdict) = self.encapsulated(arrival, backend) {
                return verdict;
            }
        }
        if from == at || self.balancers.contains(&from) {
            return Verdict::Drop(Reason::Loop);
        }
        if datagram.len() > self.settings.max_payload {
            return Verdict::Drop(Reason::TooLarge);
        }
        match self.decide(datagram, from, now) {
            Ok(target) => Verdict::Forward(target),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// The verdict about what a server sends or what looks encapsulated; none if it may be a client's packet.
    fn encapsulated<'a>(&self, arrival: Arrival<'a>, backend: Option<u16>) -> Option<Verdict<'a>> {
        let opened = match self.settings.tag_keys.open(arrival.datagram) {
            Ok(opened) => opened,
            Err(refused) if backend.is_some() => return Some(Verdict::Drop(refused.into())),
            Err(_) => return None,
        };
        let from = arrival.from;
        let is_server = backend.is_some() || self.settings.derived && self.is_allowed(from.ip());
        let client = opened.client;
        let is_ours = client == arrival.at
            || self.balancers.contains(&client)
            || self.by_address.contains_key(&client);
        Some(match opened.direction {
            Direction::Request => Verdict::Drop(Reason::Loop),
            Direction::Reply if !is_server => Verdict::Drop(Reason::Stranger),
            Direction::Reply if is_ours => Verdict::Drop(Reason::ReplyClient),
            Direction::Reply => Verdict::Reply {
                client,
                payload: opened.payload,
                backend,
            },
        })
    }

    /// Decides about a client's packet: its connection ID leads the way if it can, whatever kind of packet it is; else
    /// the client's address does.
    pub fn decide(&self, packet: &[u8], client: SocketAddr, now: Micros) -> Result<Target, Reason> {
        if !is_a_clients(client) {
            return Err(Reason::NoClient);
        }
        let configs = &self.settings.configs;
        let decoded = match destination(packet) {
            Ok(Destination::Long(id)) => configs.decode_long(id),
            Ok(Destination::Short(octets)) => configs.decode(octets),
            Err(NoPacket::Truncated) => return Err(Reason::Truncated),
            Err(NoPacket::VersionNegotiation) => return Err(Reason::VersionNegotiation),
        };
        let why = match decoded {
            Ok(decoded) => match self.named(decoded, now)? {
                Ok(target) => return Ok(target),
                Err(why) => why,
            },
            Err(unroutable) => unroutable.into(),
        };
        self.hashed(client, why).ok_or(Reason::NoServer)
    }

    /// The server that a connection ID names, or why it has to be hashed after all.
    fn named(&self, decoded: Decoded, now: Micros) -> Result<Result<Target, Route>, Reason> {
        let target = |backend, address, route| Target {
            backend,
            address,
            route,
            config: Some(decoded.config),
        };
        let listed = self.by_id.get(&decoded.server_id).copied();
        let derived = || self.derived(decoded.config, decoded.server_id);
        let address = match listed {
            Some(_) => None,
            None => derived(),
        };
        let listed = listed.or_else(|| self.by_address.get(&address?).copied());
        let Some(index) = listed else {
            let derived = address.map(|address| target(None, address, Route::DerivedAddress));
            return Ok(derived.ok_or(Route::UnknownServer));
        };
        let backend = &self.settings.backends[usize::from(index)];
        match backend.state {
            State::Joining | State::Ready | State::Draining => Ok(Ok(target(
                Some(index),
                backend.address,
                Route::ConnectionId,
            ))),
            State::Dead { since } if now.saturating_sub(since) < self.settings.grace => {
                Err(Reason::DeadServer)
            }
            State::Dead { .. } => Ok(Err(Route::DeadServer)),
        }
    }

    /// The address in a server ID. In clear anybody could write one, so the configuration has to be encrypted.
    fn derived(&self, config: ConfigId, id: ServerId) -> Option<SocketAddr> {
        if !self.settings.derived || !self.settings.configs.get(config)?.is_encrypted() {
            return None;
        }
        let address = SocketAddr::V4(id.to_ipv4()?);
        let usable = self.is_allowed(address.ip()) && is_a_clients(address);
        (usable && !self.balancers.contains(&address)).then_some(address)
    }

    /// The server for new connections of this client.
    ///
    /// Only the client's half of the four addresses is hashed. The other half may differ between balancers that stand
    /// side by side, and they are to agree.
    fn hashed(&self, client: SocketAddr, route: Route) -> Option<Target> {
        let mut octets = [0; 18];
        let used = match client.ip() {
            IpAddr::V4(address) => {
                octets[..4].copy_from_slice(&address.octets());
                4
            }
            IpAddr::V6(address) => {
                octets[..16].copy_from_slice(&address.octets());
                16
            }
        };
        octets[used..used + 2].copy_from_slice(&client.port().to_be_bytes());
        let hash = self.settings.hash_key.hash(&octets[..used + 2]);
        let index = self.table.member(hash)?;
        Some(Target {
            backend: Some(index),
            address: self.settings.backends[usize::from(index)].address,
            route,
            config: None,
        })
    }
}
