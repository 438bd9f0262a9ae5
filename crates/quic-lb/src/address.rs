//! Server IDs that are derived from the address at which the balancer reaches a server.
//!
//! Owns the two layouts; both have 8 octets. Must not know which addresses are allowed: whoever sends packets to an
//! address from here first looks whether it is one of his servers, or anybody could aim him at anybody.
//!
//! | family | octets |
//! |---|---|
//! | IPv4 | address (4), port (2), check (2): the Internet checksum (RFC 1071) of the six before |
//! | IPv6 | the last 64 bits of the address; network and port are the balancer's configuration |
//!
//! A connection ID made up without the key decrypts to noise, and the check lets one in 65536 of that pass. These IDs
//! belong into encrypted configurations only: in clear they would publish the addresses inside.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use crate::ServerId;

impl ServerId {
    /// The ID of the server at an IPv4 address and port.
    pub fn from_ipv4(address: SocketAddrV4) -> Self {
        let [a, b, c, d] = address.ip().octets();
        let [e, f] = address.port().to_be_bytes();
        let [g, h] = check([a, b, c, d, e, f]).to_be_bytes();
        Self::of_eight([a, b, c, d, e, f, g, h])
    }

    /// The address inside an ID that [`ServerId::from_ipv4`] made; nothing if the length or the check is wrong.
    pub fn to_ipv4(self) -> Option<SocketAddrV4> {
        let [a, b, c, d, e, f, g, h]: [u8; 8] = (*self).try_into().ok()?;
        let address = SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([e, f]));
        (check([a, b, c, d, e, f]) == u16::from_be_bytes([g, h])).then_some(address)
    }

    /// The ID of the server at an IPv6 address, for fleets within one /64.
    pub fn from_ipv6(address: Ipv6Addr) -> Self {
        Self::of_eight((address.to_bits() as u64).to_be_bytes())
    }

    /// The address inside an ID that [`ServerId::from_ipv6`] made, in the /64 of `network`; nothing if the length is
    /// wrong. Every ID of 8 octets is an address, so only the list of servers tells forgeries.
    pub fn to_ipv6(self, network: Ipv6Addr) -> Option<Ipv6Addr> {
        let interface: [u8; 8] = (*self).try_into().ok()?;
        let mut octets = network.octets();
        octets[8..].copy_from_slice(&interface);
        Some(octets.into())
    }

    fn of_eight(octets: [u8; 8]) -> Self {
        Self::from_bits(u128::from(u64::from_be_bytes(octets)) << 64, 8)
    }
}

/// The Internet checksum of address and port.
fn check([a, b, c, d, e, f]: [u8; 6]) -> u16 {
    let words = [[a, b], [c, d], [e, f]].map(|pair| u32::from(u16::from_be_bytes(pair)));
    let sum: u32 = words.iter().sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_and_port_come_back() {
        let address: SocketAddrV4 = "192.0.2.7:4433".parse().unwrap();
        let id = ServerId::from_ipv4(address);
        // c000 + 0207 + 1151 = d358; its complement is 2ca7.
        assert_eq!(id.to_string(), "c000020711512ca7");
        assert_eq!(id.to_ipv4(), Some(address));
    }

    #[test]
    fn carries_are_folded_twice() {
        // ffff + ffff + ffff = 2fffd, folded ffff; ffff + ffff + 1 = 1ffff, folded 10000, folded again 1.
        for (address, id) in [
            ("255.255.255.255:65535", "ffffffffffff0000"),
            ("255.255.255.255:1", "ffffffff0001fffe"),
        ] {
            let address: SocketAddrV4 = address.parse().unwrap();
            assert_eq!(ServerId::from_ipv4(address).to_string(), id);
            assert_eq!(ServerId::from_ipv4(address).to_ipv4(), Some(address));
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let id = ServerId::from_ipv4("10.1.2.3:443".parse().unwrap());
        for bit in 0..64 {
            let mut octets: [u8; 8] = (*id).try_into().unwrap();
            octets[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ServerId::new(&octets).unwrap().to_ipv4(), None, "bit {bit}");
        }
        assert_eq!(ServerId::new(&[0; 8]).unwrap().to_ipv4(), None);
        assert_eq!(ServerId::new(&[0; 7]).unwrap().to_ipv4(), None);
    }

    #[test]
    fn an_ipv6_address_comes_back_within_its_network() {
        let address: Ipv6Addr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        let id = ServerId::from_ipv6(address);
        assert_eq!(id.to_string(), "0003000400050006");
        assert_eq!(id.to_ipv6("2001:db8:1:2::".parse().unwrap()), Some(address));
        assert_eq!(ServerId::new(&[1]).unwrap().to_ipv6(address), None);
    }
}
