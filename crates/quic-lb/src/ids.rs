//! Server IDs and connection IDs: short octet strings that live on the stack.
//!
//! Owns their lengths and how they are printed. Must not know how one is made from the other.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use crate::ConfigError;

/// The longest connection ID of QUIC versions 1 and 2.
pub const MAX_CID_LEN: usize = 20;

/// The longest server ID: a connection ID also holds the first octet and a nonce of 4.
pub const MAX_SERVER_ID_LEN: usize = 15;

/// Names one server within a configuration, 1 to 15 octets. It prints and parses as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    // The ID, zeros, and its length in the last octet: comparing and hashing look at all of it at once.
    octets: [u8; MAX_SERVER_ID_LEN + 1],
}

impl ServerId {
    /// The server ID with these octets.
    pub fn new(octets: &[u8]) -> Result<Self, ConfigError> {
        if octets.is_empty() || octets.len() > MAX_SERVER_ID_LEN {
            return Err(ConfigError::ServerId);
        }
        let mut padded = [0; 16];
        padded[..octets.len()].copy_from_slice(octets);
        Ok(Self::from_bits(u128::from_be_bytes(padded), octets.len()))
    }

    /// The most significant `len` octets of `bits`; 1 to 15.
    pub(crate) fn from_bits(bits: u128, len: usize) -> Self {
        let id = bits & u128::MAX << (128 - 8 * len);
        Self {
            octets: (id | len as u128).to_be_bytes(),
        }
    }
}

impl Deref for ServerId {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets[..usize::from(self.octets[MAX_SERVER_ID_LEN])]
    }
}

impl FromStr for ServerId {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|digit| digit.to_digit(16).map(|value| value as u8))
            .collect();
        let digits = digits.ok_or(ConfigError::ServerId)?;
        if digits.len() % 2 != 0 {
            return Err(ConfigError::ServerId);
        }
        let octets: Vec<u8> = digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect();
        Self::new(&octets)
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal(self, out)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ServerId({self})")
    }
}

/// A connection ID that a server issues, at most 20 octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    // Octets behind `len` are zero, so that comparing and hashing may look at all of them.
    octets: [u8; MAX_CID_LEN],
    len: u8,
}

impl ConnectionId {
    /// The first `len` of `octets`.
    pub(crate) fn from_front(octets: &[u8; MAX_CID_LEN], len: usize) -> Self {
        let mut cid = Self {
            octets: [0; MAX_CID_LEN],
            len: len as u8,
        };
        cid.octets[..len].copy_from_slice(&octets[..len]);
        cid
    }
}

impl Deref for ConnectionId {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal(self, out)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ConnectionId({self})")
    }
}

fn hexadecimal(octets: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    octets
        .iter()
        .try_for_each(|octet| write!(out, "{octet:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_id_reads_back_what_it_prints() {
        let id = ServerId::new(&[0x0a, 0xff, 0x00]).unwrap();
        assert_eq!(id.to_string(), "0aff00");
        assert_eq!("0aff00".parse(), Ok(id));
        assert_eq!("0AFF00".parse(), Ok(id));
        assert_eq!(format!("{id:?}"), "ServerId(0aff00)");
    }

    #[test]
    fn no_octets_too_many_and_no_digits_are_refused() {
        for text in ["", "0", "xy", "+1", "00000000000000000000000000000000", "é"] {
            assert_eq!(
                text.parse::<ServerId>(),
                Err(ConfigError::ServerId),
                "{text}"
            );
        }
    }

    #[test]
    fn trailing_zeros_count() {
        assert_ne!(
            ServerId::new(&[1]).unwrap(),
            ServerId::new(&[1, 0]).unwrap()
        );
    }
}
