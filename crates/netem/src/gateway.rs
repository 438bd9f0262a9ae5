//! The addresses of an emulated network, and the NAT at the client's door.
//!
//! Owns which addresses there are and how the server sees the client's. As long as nothing has changed, the server sees the
//! client's own address. After a rebinding it sees other ports, or another address too, and what it sends to the old ones is
//! dropped, as a NAT that has forgotten them does. After a roam the client has another address of its own, and what leaves from
//! the old one is dropped. Must not know packets.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::network::Addressing;

/// Where the server is.
pub const SERVER: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(10, 77, 0, 1),
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1),
);

/// How many different addresses there are of each kind before they come round again.
const POOL: u32 = 100;
const FIRST_CLIENT: u32 = 1;
const FIRST_PUBLIC: u32 = 101;
const FIRST_MAPPED_PORT: u16 = 1024;

/// The client's own addresses after so many roams.
pub fn client(roams: u32) -> (Ipv4Addr, Ipv6Addr) {
    in_subnet(FIRST_CLIENT + roams % POOL)
}

/// The NAT's public addresses after it got another so many times, at least once.
pub fn public(addresses: u32) -> (Ipv4Addr, Ipv6Addr) {
    in_subnet(FIRST_PUBLIC + (addresses - 1) % POOL)
}

fn in_subnet(subnet: u32) -> (Ipv4Addr, Ipv6Addr) {
    let v4 = Ipv4Addr::new(10, 77, subnet as u8, 2);
    (v4, Ipv6Addr::new(0xfd77, 0, 0, subnet as u16, 0, 0, 0, 2))
}

/// One end of a flow: protocol number, address and, where the protocol has one, port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// As in the IP header: 6 is TCP, 17 is UDP.
    pub protocol: u8,
    /// The address.
    pub ip: IpAddr,
    /// The port, of TCP and UDP.
    pub port: Option<u16>,
}

/// The client's door.
#[derive(Debug, Default)]
pub struct Gateway {
    state: Addressing,
    /// What the client has used since the last change: the NAT lets nothing else in. At most all ports of each protocol.
    open: HashSet<Endpoint>,
}

impl Gateway {
    /// How the server sees a client's endpoint; none: what comes from there is dropped.
    pub fn outbound(&mut self, state: Addressing, private: Endpoint) -> Option<Endpoint> {
        self.update(state);
        if private.ip != pick(client(state.roams), private.ip) {
            return None;
        }
        if !self.translates() {
            return Some(private);
        }
        self.open.insert(private);
        Some(Endpoint {
            ip: self.public_ip(private.ip),
            port: private.port.map(|port| shift(port, self.steps())),
            ..private
        })
    }

    /// Which of the client's endpoints is meant by what the server wrote; none: nobody any more, it is dropped.
    pub fn inbound(&mut self, state: Addressing, public: Endpoint) -> Option<Endpoint> {
        self.update(state);
        if public.ip != self.public_ip(public.ip) {
            return None;
        }
        if !self.translates() {
            return Some(public);
        }
        let private = Endpoint {
            ip: pick(client(state.roams), public.ip),
            port: public.port.map(|port| unshift(port, self.steps())),
            ..public
        };
        self.open.contains(&private).then_some(private)
    }

    fn update(&mut self, state: Addressing) {
        if self.state != state {
            self.state = state;
            self.open.clear();
        }
    }

    fn translates(&self) -> bool {
        self.steps() > 0
    }

    fn steps(&self) -> u32 {
        self.state.ports.saturating_add(self.state.addresses)
    }

    /// The address the server sees, of the family of `like`.
    fn public_ip(&self, like: IpAddr) -> IpAddr {
        match self.state.addresses {
            0 => pick(client(self.state.roams), like),
            changed => pick(public(changed), like),
        }
    }
}

fn pick((v4, v6): (Ipv4Addr, Ipv6Addr), like: IpAddr) -> IpAddr {
    if like.is_ipv4() {
        v4.into()
    } else {
        v6.into()
    }
}

const MAPPED_PORTS: u32 = 0x1_0000 - FIRST_MAPPED_PORT as u32;
/// Odd and without a common factor with the number of ports, so that each step gives a new port for a long time.
const STEP: u32 = 7_919;

fn shift(port: u16, steps: u32) -> u16 {
    turn(port, steps % MAPPED_PORTS * STEP % MAPPED_PORTS)
}

fn unshift(port: u16, steps: u32) -> u16 {
    turn(
        port,
        MAPPED_PORTS - steps % MAPPED_PORTS * STEP % MAPPED_PORTS,
    )
}

fn turn(port: u16, by: u32) -> u16 {
    match port.checked_sub(FIRST_MAPPED_PORT) {
        Some(above) => FIRST_MAPPED_PORT + ((u32::from(above) + by) % MAPPED_PORTS) as u16,
        None => port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(ip: Ipv4Addr, port: u16) -> Endpoint {
        Endpoint {
            protocol: 17,
            ip: ip.into(),
            port: Some(port),
        }
    }

    #[test]
    fn every_port_comes_back() {
        for steps in [1, 2, 99, 64_512, u32::MAX] {
            let mut seen = HashSet::new();
            for port in 0..=u16::MAX {
                assert!(seen.insert(shift(port, steps)));
                assert_eq!(unshift(shift(port, steps), steps), port);
            }
        }
    }

    #[test]
    fn without_a_change_nothing_is_translated() {
        let mut gateway = Gateway::default();
        let own = udp(client(0).0, 40_000);
        assert_eq!(gateway.outbound(Addressing::default(), own), Some(own));
        assert_eq!(gateway.inbound(Addressing::default(), own), Some(own));
    }

    #[test]
    fn a_new_port_replaces_the_old() {
        let mut gateway = Gateway::default();
        let own = udp(client(0).0, 40_000);
        let state = Addressing {
            ports: 1,
            ..Addressing::default()
        };
        assert_eq!(
            gateway.inbound(state, own),
            None,
            "the old port is forgotten"
        );
        let seen = gateway.outbound(state, own).unwrap();
        assert_eq!(seen.ip, own.ip);
        assert_ne!(seen.port, own.port);
        assert_eq!(gateway.inbound(state, seen), Some(own));
        assert_eq!(gateway.inbound(state, own), None);
        let unused = Endpoint {
            port: Some(1),
            ..seen
        };
        assert_eq!(gateway.inbound(state, unused), None);
    }

    #[test]
    fn a_new_address_brings_a_new_port() {
        let mut gateway = Gateway::default();
        for own in [
            udp(client(0).0, 40_000),
            Endpoint {
                ip: client(0).1.into(),
                ..udp(client(0).0, 5)
            },
        ] {
            let state = Addressing {
                addresses: 2,
                ..Addressing::default()
            };
            let seen = gateway.outbound(state, own).unwrap();
            assert_eq!(seen.ip, pick(public(2), own.ip));
            assert_eq!(gateway.inbound(state, seen), Some(own));
            assert_eq!(gateway.inbound(state, own), None);
        }
    }

    #[test]
    fn after_a_roam_the_old_address_is_dead() {
        let mut gateway = Gateway::default();
        let (old, new) = (udp(client(0).0, 40_000), udp(client(1).0, 40_000));
        let state = Addressing {
            roams: 1,
            ..Addressing::default()
        };
        assert_eq!(gateway.outbound(state, old), None);
        assert_eq!(gateway.outbound(state, new), Some(new));
        assert_eq!(gateway.inbound(state, old), None);
        assert_eq!(gateway.inbound(state, new), Some(new));
    }
}
