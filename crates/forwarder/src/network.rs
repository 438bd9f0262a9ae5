//! Networks in CIDR notation, and lists of them that say which addresses are allowed.
//!
//! Owns matching and parsing. Must not know what is allowed there.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A network such as `10.0.0.0/8` or `2001:db8::/32`; an address alone is the network of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of all addresses that share their first `prefix` bits with `address`. Nothing if there are not that
    /// many bits, or if `address` has bits behind them, which hints at a slip of the pen.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let (bits, width) = bits(address);
        let behind = u32::from(width.checked_sub(prefix)?);
        let host = u128::MAX
            .checked_shl(behind)
            .map_or(bits, |kept| bits & !kept);
        (host == 0).then_some(Self { address, prefix })
    }

    /// Whether the address is in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let ((ours, width), (theirs, other)) = (bits(self.address), bits(address));
        let behind = u32::from(width - self.prefix);
        width == other && (ours ^ theirs).checked_shr(behind).unwrap_or(0) == 0
    }
}

/// The address as an integer, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), Ipv6Addr::BITS as u8),
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let parsed = match text.split_once('/') {
            Some((address, prefix)) => address.parse().ok().zip(prefix.parse().ok()),
            None => text.parse().ok().map(|address| {
                let (_, width) = bits(address);
                (address, width)
            }),
        };
        parsed
            .and_then(|(address, prefix)| Self::new(address, prefix))
            .ok_or_else(|| NetworkError(text.into()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

/// The text is no network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError(String);

impl fmt::Display for NetworkError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:?} is no network: write an address, a slash and the number of leading bits, with zeros behind them, \
             such as 10.1.0.0/16 or 2001:db8::/32",
            self.0
        )
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_inside_or_not() {
        for (inside, outside, of) in [
            ("10.255.0.1", "11.0.0.0", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.8", "192.0.2.7"),
            ("192.0.2.6", "192.0.2.8", "192.0.2.6/31"),
            ("255.255.255.255", "::", "0.0.0.0/0"),
            ("2001:db8:ffff::1", "2001:db9::", "2001:db8::/32"),
            ("::1", "::2", "::1/128"),
            ("ffff::", "1.2.3.4", "::/0"),
        ] {
            assert!(network(of).contains(address(inside)), "{inside} in {of}");
            assert!(!network(of).contains(address(outside)), "{outside} in {of}");
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        for text in [
            "",
            "/8",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::1/129",
            "::1/0",
            "1.0.0.0/0",
            "10/8",
            "a/8",
            "::/-1",
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{text:?} is no network")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_network_prints_as_it_is_read() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::1/128"] {
            assert_eq!(network(text).to_string(), text);
        }
    }
}
