//! One configuration: what a configuration agent hands to servers and balancers alike.
//!
//! Owns the layout of connection IDs and the choice of cipher. Must not know which configuration is the newest or which
//! nonces are used up.

use std::fmt;

use crate::cipher::{FourPass, Key, SinglePass};
use crate::ids::MAX_CID_LEN;
use crate::{ConfigError, ConnectionId, ServerId, Unroutable};

/// The most octets of server ID and nonce together.
pub(crate) const MAX_BLOCK_LEN: usize = MAX_CID_LEN - 1;

/// The codepoint of a configuration: three bits, of which 0b111 means "unroutable" and is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigId(u8);

impl ConfigId {
    /// How many codepoints there are.
    pub const COUNT: usize = 7;

    /// The codepoint 0 to 6.
    pub const fn new(id: u8) -> Result<Self, ConfigError> {
        if id < Self::COUNT as u8 {
            Ok(Self(id))
        } else {
            Err(ConfigError::ConfigId(id))
        }
    }

    /// The codepoint in the high three bits of a first octet; nothing if it is 0b111.
    pub(crate) fn of(first_octet: u8) -> Option<Self> {
        Self::new(first_octet >> 5).ok()
    }

    /// The codepoint as a number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for ConfigId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// How long server ID and nonce are. They decide the cipher, too: 16 octets together are one pass, all else is four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    server_id: u8,
    nonce: u8,
}

impl Lengths {
    /// `server_id` octets, at least 1, and `nonce` octets, at least 4; at most 19 together.
    pub const fn new(server_id: usize, nonce: usize) -> Result<Self, ConfigError> {
        if server_id < 1
            || nonce < 4
            || server_id > MAX_BLOCK_LEN
            || nonce > MAX_BLOCK_LEN
            || server_id + nonce > MAX_BLOCK_LEN
        {
            return Err(ConfigError::Lengths { server_id, nonce });
        }
        Ok(Self {
            server_id: server_id as u8,
            nonce: nonce as u8,
        })
    }

    /// Octets of the server ID.
    pub const fn server_id(self) -> usize {
        self.server_id as usize
    }

    /// Octets of the nonce.
    pub const fn nonce(self) -> usize {
        self.nonce as usize
    }

    /// Octets that a balancer reads behind the first one.
    pub(crate) const fn block(self) -> usize {
        self.server_id() + self.nonce()
    }
}

/// What the low five bits of the first octet hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstOctet {
    /// The length of the connection ID behind the first octet. Every server of the configuration does so.
    SelfDescribed,
    /// Random bits.
    Random,
    /// Zeros, which say nothing either.
    Zero,
}

#[derive(Clone)]
enum Algorithm {
    Plaintext,
    SinglePass(Box<SinglePass>),
    FourPass(Box<FourPass>),
}

/// One configuration of QUIC-LB. Server and balancer must agree on all of it.
#[derive(Clone)]
pub struct Config {
    id: ConfigId,
    lengths: Lengths,
    cid_len: usize,
    first_octet: FirstOctet,
    algorithm: Algorithm,
    key: Option<Key>,
}

impl Config {
    /// Server IDs in clear. Whoever sees two connection IDs sees whether they lead to one server, so servers should not
    /// offer migration: no NEW_CONNECTION_ID except at a rotation, and `disable_active_migration`.
    pub fn plaintext(id: ConfigId, lengths: Lengths) -> Self {
        Self {
            id,
            lengths,
            cid_len: 1 + lengths.block(),
            first_octet: FirstOctet::SelfDescribed,
            algorithm: Algorithm::Plaintext,
            key: None,
        }
    }

    /// Encrypted server IDs: single-pass if the lengths sum to 16, four-pass otherwise.
    pub fn encrypted(id: ConfigId, lengths: Lengths, key: &Key) -> Self {
        let algorithm = if lengths.block() == 16 {
            Algorithm::SinglePass(Box::new(SinglePass::new(key)))
        } else {
            Algorithm::FourPass(Box::new(FourPass::new(key)))
        };
        Self {
            algorithm,
            key: Some(key.clone()),
            ..Self::plaintext(id, lengths)
        }
    }

    /// What the network load balancer of AWS understands: 16 octets, of which the first is 0, the next 8 are the
    /// registered server ID in clear and 7 are nonce.
    pub fn aws_nlb() -> Self {
        let lengths = Lengths {
            server_id: 8,
            nonce: 7,
        };
        Self::plaintext(ConfigId(0), lengths).with_first_octet(FirstOctet::Zero)
    }

    /// The same with other low bits in the first octet. The default is [`FirstOctet::SelfDescribed`].
    pub fn with_first_octet(self, first_octet: FirstOctet) -> Self {
        Self {
            first_octet,
            ..self
        }
    }

    /// The same with connection IDs of `cid_len` octets, filled up with random ones that balancers ignore. All servers
    /// of a configuration must agree, and a server whose stack knows one length keeps it through rotations.
    pub fn with_cid_len(self, cid_len: usize) -> Result<Self, ConfigError> {
        let least = 1 + self.lengths.block();
        if cid_len < least || cid_len > MAX_CID_LEN {
            return Err(ConfigError::CidLen {
                asked: cid_len,
                least,
                most: MAX_CID_LEN,
            });
        }
        Ok(Self { cid_len, ..self })
    }

    /// The codepoint.
    pub fn id(&self) -> ConfigId {
        self.id
    }

    /// Lengths of server ID and nonce.
    pub fn lengths(&self) -> Lengths {
        self.lengths
    }

    /// Octets of a connection ID, first octet and filling included.
    pub fn cid_len(&self) -> usize {
        self.cid_len
    }

    /// Whether server IDs are hidden. If not, servers should not offer migration.
    pub fn is_encrypted(&self) -> bool {
        !matches!(self.algorithm, Algorithm::Plaintext)
    }

    /// What the low five bits of the first octet hold.
    pub fn first_octet(&self) -> FirstOctet {
        self.first_octet
    }

    /// The key of encrypted server IDs, for whoever decrypts them by means of his own.
    pub fn key(&self) -> Option<&[u8; 16]> {
        self.key.as_ref().map(Key::octets)
    }

    /// Builds a connection ID from a nonce of the caller's choice; the octets that are neither it nor the server ID are
    /// taken from `random`. Each nonce may serve once for a key and server ID: [`Issuer`](crate::Issuer) sees to that.
    pub fn encode(
        &self,
        server_id: &ServerId,
        nonce: &[u8],
        random: &[u8; MAX_CID_LEN],
    ) -> Result<ConnectionId, ConfigError> {
        self.check_server_id(server_id)?;
        if nonce.len() != self.lengths.nonce() {
            return Err(ConfigError::NonceLen {
                given: nonce.len(),
                configured: self.lengths.nonce(),
            });
        }
        let mut octets = *random;
        let low_bits = match self.first_octet {
            FirstOctet::SelfDescribed => (self.cid_len - 1) as u8,
            FirstOctet::Random => random[0] & 0x1f,
            FirstOctet::Zero => 0,
        };
        octets[0] = self.id.0 << 5 | low_bits;
        let block = &mut octets[1..=self.lengths.block()];
        block[..server_id.len()].copy_from_slice(server_id);
        block[server_id.len()..].copy_from_slice(nonce);
        match &self.algorithm {
            Algorithm::Plaintext => {}
            Algorithm::SinglePass(cipher) => {
                let block: &mut [u8; 16] = block.try_into().expect("single-pass blocks have 16");
                *block = cipher.encrypt(*block);
            }
            Algorithm::FourPass(cipher) => cipher.encrypt(block),
        }
        Ok(ConnectionId::from_front(&octets, self.cid_len))
    }

    pub(crate) fn check_server_id(&self, server_id: &ServerId) -> Result<(), ConfigError> {
        if server_id.len() != self.lengths.server_id() {
            return Err(ConfigError::ServerIdLen {
                given: server_id.len(),
                configured: self.lengths.server_id(),
            });
        }
        Ok(())
    }

    /// The server ID in octets that begin with the connection ID; more may follow. The codepoint was looked at before.
    pub(crate) fn server_id(&self, octets: &[u8]) -> Result<ServerId, Unroutable> {
        let len = self.lengths.block();
        if octets.len() <= len {
            return Err(Unroutable::TooShort);
        }
        // Packets are longer than connection IDs, so the copy of unknown length is the rare case.
        let block: [u8; MAX_BLOCK_LEN] = match octets[1..].first_chunk() {
            Some(block) => *block,
            None => {
                let mut padded = [0; MAX_BLOCK_LEN];
                padded[..octets.len() - 1].copy_from_slice(&octets[1..]);
                padded
            }
        };
        let wanted = self.lengths.server_id();
        let front = u128::from_be_bytes(*block.first_chunk().expect("19 octets are more than 16"));
        Ok(ServerId::from_bits(
            match &self.algorithm {
                Algorithm::Plaintext => front,
                Algorithm::SinglePass(cipher) => cipher.decrypt(front),
                Algorithm::FourPass(cipher) => cipher.decrypt_front(&block, len, wanted),
            },
            wanted,
        ))
    }

    /// Whether a long header's connection ID describes its own length rightly, if this configuration does so at all.
    pub(crate) fn describes(&self, dcid: &[u8]) -> bool {
        self.first_octet != FirstOctet::SelfDescribed
            || usize::from(dcid[0] & 0x1f) + 1 == dcid.len()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self.algorithm {
            Algorithm::Plaintext => "plaintext",
            Algorithm::SinglePass(_) => "single-pass",
            Algorithm::FourPass(_) => "four-pass",
        };
        out.debug_struct("Config")
            .field("id", &self.id.0)
            .field("server_id_len", &self.lengths.server_id)
            .field("nonce_len", &self.lengths.nonce)
            .field("cid_len", &self.cid_len)
            .field("first_octet", &self.first_octet)
            .field("algorithm", &algorithm)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(server_id: usize, nonce: usize) -> Config {
        let lengths = Lengths::new(server_id, nonce).unwrap();
        Config::encrypted(ConfigId(2), lengths, &Key::new([0xab; 16]))
    }

    #[test]
    fn lengths_outside_the_draft_are_refused() {
        let legal = (0..=300).flat_map(|server_id| (0..=300).map(move |nonce| (server_id, nonce)));
        let legal = legal.filter(|(server_id, nonce)| Lengths::new(*server_id, *nonce).is_ok());
        assert_eq!(legal.count(), 120);
        assert!(Lengths::new(1, 3).is_err());
        assert!(Lengths::new(0, 4).is_err());
        assert!(Lengths::new(15, 5).is_err());
        assert!(Lengths::new(usize::MAX, usize::MAX).is_err());
    }

    #[test]
    fn the_eighth_codepoint_is_nobodys() {
        assert!(ConfigId::new(6).is_ok());
        for id in 7..=255 {
            assert_eq!(ConfigId::new(id), Err(ConfigError::ConfigId(id)));
        }
    }

    #[test]
    fn a_total_length_holds_the_block_and_ends_at_20() {
        assert!(config(3, 4).with_cid_len(7).is_err());
        assert_eq!(config(3, 4).with_cid_len(8).unwrap().cid_len(), 8);
        assert_eq!(config(3, 4).with_cid_len(20).unwrap().cid_len(), 20);
        let error = config(3, 4).with_cid_len(21).unwrap_err();
        assert_eq!(
            error.to_string(),
            "connection IDs of 21 octets: use 8 to 20"
        );
    }

    #[test]
    fn no_key_is_printed() {
        let lengths = Lengths::new(8, 8).unwrap();
        let shown = format!(
            "{:?}",
            Config::encrypted(ConfigId(2), lengths, &Key::new([0xab; 16]))
        );
        assert_eq!(
            shown,
            "Config { id: 2, server_id_len: 8, nonce_len: 8, cid_len: 17, first_octet: SelfDescribed, \
             algorithm: \"single-pass\" }"
        );
    }

    #[test]
    fn wrong_lengths_are_named() {
        let config = config(3, 4);
        let id = ServerId::new(&[1, 2]).unwrap();
        let error = config.encode(&id, &[0; 4], &[0; 20]).unwrap_err();
        assert_eq!(
            error,
            ConfigError::ServerIdLen {
                given: 2,
                configured: 3
            }
        );
        let id = ServerId::new(&[1, 2, 3]).unwrap();
        let error = config.encode(&id, &[0; 5], &[0; 20]).unwrap_err();
        assert_eq!(
            error,
            ConfigError::NonceLen {
                given: 5,
                configured: 4
            }
        );
    }

    #[test]
    fn the_first_octet_describes_the_length_or_says_nothing() {
        let id = ServerId::new(&[1, 2, 3]).unwrap();
        let first = |config: Config| config.encode(&id, &[0; 4], &[0xff; 20]).unwrap()[0];
        assert_eq!(first(config(3, 4)), 2 << 5 | 7);
        assert_eq!(first(config(3, 4).with_cid_len(20).unwrap()), 2 << 5 | 19);
        assert_eq!(
            first(config(3, 4).with_first_octet(FirstOctet::Random)),
            2 << 5 | 0x1f
        );
        assert_eq!(
            first(config(3, 4).with_first_octet(FirstOctet::Zero)),
            2 << 5
        );
    }
}
