//! The server's half: connection IDs under the newest configuration, and unroutable ones while there is none.
//!
//! Owns the rules of rotation. Must not know connections; retiring their old connection IDs is for the QUIC stack.

use crate::config::ConfigId;
use crate::ids::MAX_CID_LEN;
use crate::{Config, ConfigError, ConnectionId, IssueError, Nonces, ServerId};

/// The fewest octets that the draft asks of an unroutable connection ID.
const MIN_UNROUTABLE_LEN: usize = 8;

/// Issues the connection IDs of one server process. All have one length, because short headers do not carry it.
#[derive(Debug)]
pub struct Issuer {
    cid_len: usize,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    config: Config,
    server_id: ServerId,
    nonces: Nonces,
}

impl Issuer {
    /// An issuer that has no configuration yet; its connection IDs have `cid_len` octets, 8 to 20.
    pub fn new(cid_len: usize) -> Result<Self, ConfigError> {
        if !(MIN_UNROUTABLE_LEN..=MAX_CID_LEN).contains(&cid_len) {
            return Err(ConfigError::CidLen {
                asked: cid_len,
                least: MIN_UNROUTABLE_LEN,
                most: MAX_CID_LEN,
            });
        }
        Ok(Self {
            cid_len,
            current: None,
        })
    }

    /// Replaces the configuration: from here on nothing is issued under the old one. Live connections then need a new
    /// connection ID each, and the old ones retired.
    ///
    /// `nonces` has to be unspent under the new key; processes that share a server ID need a supply each.
    pub fn rotate(
        &mut self,
        config: Config,
        server_id: ServerId,
        nonces: Nonces,
    ) -> Result<(), ConfigError> {
        config.check_server_id(&server_id)?;
        if config.cid_len() != self.cid_len {
            return Err(ConfigError::CidLen {
                asked: config.cid_len(),
                least: self.cid_len,
                most: self.cid_len,
            });
        }
        if let Some(old) = &self.current {
            if old.config.id() == config.id() {
                return Err(ConfigError::CodepointInUse(config.id()));
            }
            if old.config.is_encrypted() != config.is_encrypted() && old.server_id == server_id {
                return Err(ConfigError::ServerIdInClear);
            }
        }
        self.current = Some(Current {
            config,
            server_id,
            nonces,
        });
        Ok(())
    }

    /// The next connection ID. `random` fills what neither server ID nor nonce does, and must be fresh each time.
    ///
    /// After an error, [`unroutable`](Self::unroutable) gives what may be issued instead.
    pub fn issue(&mut self, random: &[u8; MAX_CID_LEN]) -> Result<ConnectionId, IssueError> {
        let current = self.current.as_mut().ok_or(IssueError::NoConfig)?;
        let mut nonce = [0; MAX_CID_LEN];
        let nonce = &mut nonce[..current.config.lengths().nonce()];
        if current.config.is_encrypted() {
            current.nonces.next(nonce)?;
        } else {
            current.nonces.next_scrambled(nonce)?;
        }
        let encoded = current.config.encode(&current.server_id, nonce, random);
        Ok(encoded.expect("the lengths were checked when the configuration came"))
    }

    /// A connection ID that balancers do not decode: codepoint 0b111, its length, random octets. A server gives each
    /// connection at most one of these, and asks the client not to migrate (`disable_active_migration`).
    pub fn unroutable(&self, random: &[u8; MAX_CID_LEN]) -> ConnectionId {
        let mut octets = *random;
        octets[0] = (ConfigId::COUNT as u8) << 5 | (self.cid_len - 1) as u8;
        ConnectionId::from_front(&octets, self.cid_len)
    }

    /// Octets of every connection ID from here.
    pub fn cid_len(&self) -> usize {
        self.cid_len
    }

    /// The newest configuration.
    pub fn config(&self) -> Option<&Config> {
        self.current.as_ref().map(|current| &current.config)
    }

    /// The server ID under the newest configuration.
    pub fn server_id(&self) -> Option<ServerId> {
        self.current.as_ref().map(|current| current.server_id)
    }

    /// The supply of nonces, for those who store how far it is used.
    pub fn nonces(&self) -> Option<&Nonces> {
        self.current.as_ref().map(|current| &current.nonces)
    }

    /// How many more routable connection IDs can be issued before a rotation is due.
    pub fn remaining(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| {
            current.nonces.remaining(current.config.lengths().nonce())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConfigSet, Key, Lengths, Unroutable};

    fn config(id: u8, server_id: usize, nonce: usize) -> Config {
        let lengths = Lengths::new(server_id, nonce).unwrap();
        Config::encrypted(ConfigId::new(id).unwrap(), lengths, &Key::new([id; 16]))
    }

    fn nonces() -> Nonces {
        Nonces::new([7; 32])
    }

    #[test]
    fn without_configuration_ids_are_unroutable() {
        let mut issuer = Issuer::new(17).unwrap();
        assert_eq!(issuer.issue(&[1; 20]), Err(IssueError::NoConfig));
        assert_eq!(issuer.remaining(), 0);
        let cid = issuer.unroutable(&[1; 20]);
        assert_eq!(cid.to_string(), format!("f0{}", "01".repeat(16)));
        assert_eq!(
            ConfigSet::new().decode(&cid),
            Err(Unroutable::ReservedCodepoint)
        );
    }

    #[test]
    fn the_shortest_unroutable_id_has_eight_octets() {
        assert!(Issuer::new(7).is_err());
        assert!(Issuer::new(21).is_err());
        assert_eq!(
            Issuer::new(8).unwrap().unroutable(&[2; 20]).to_string(),
            "e702020202020202"
        );
    }

    #[test]
    fn after_a_rotation_old_and_new_ids_are_decoded() {
        let (old, new) = (config(0, 8, 8), config(1, 3, 4).with_cid_len(17).unwrap());
        let mut set = ConfigSet::new();
        set.insert(old.clone()).unwrap();
        set.insert(new.clone()).unwrap();
        let mut issuer = Issuer::new(17).unwrap();
        let server = [
            ServerId::new(&[1; 8]).unwrap(),
            ServerId::new(&[2; 3]).unwrap(),
        ];
        issuer.rotate(old, server[0], nonces()).unwrap();
        let before = issuer.issue(&[3; 20]).unwrap();
        issuer.rotate(new, server[1], nonces()).unwrap();
        let after = issuer.issue(&[3; 20]).unwrap();
        assert_eq!(after.len(), before.len());
        for (cid, id, server) in [(before, 0, server[0]), (after, 1, server[1])] {
            let decoded = set.decode(&cid).unwrap();
            assert_eq!((decoded.config.get(), decoded.server_id), (id, server));
        }
        assert_eq!(issuer.server_id(), Some(server[1]));
    }

    #[test]
    fn a_rotation_needs_another_codepoint_and_the_same_length() {
        let mut issuer = Issuer::new(17).unwrap();
        let server = ServerId::new(&[1; 8]).unwrap();
        issuer.rotate(config(3, 8, 8), server, nonces()).unwrap();
        let again = issuer.rotate(config(3, 8, 8), server, nonces());
        assert_eq!(
            again,
            Err(ConfigError::CodepointInUse(ConfigId::new(3).unwrap()))
        );
        let shorter = issuer
            .rotate(config(4, 8, 4), server, nonces())
            .unwrap_err();
        assert_eq!(
            shorter.to_string(),
            "connection IDs of 13 octets: this server needs 17, set the total length"
        );
        let other = issuer.rotate(config(4, 9, 7), server, nonces());
        assert_eq!(
            other,
            Err(ConfigError::ServerIdLen {
                given: 8,
                configured: 9
            })
        );
        assert_eq!(issuer.config().unwrap().id().get(), 3);
    }

    #[test]
    fn a_server_id_is_never_both_in_clear_and_encrypted() {
        let clear = Config::plaintext(ConfigId::new(0).unwrap(), Lengths::new(8, 8).unwrap());
        let mut issuer = Issuer::new(17).unwrap();
        let server = ServerId::new(&[1; 8]).unwrap();
        issuer.rotate(clear.clone(), server, nonces()).unwrap();
        let error = issuer.rotate(config(1, 8, 8), server, nonces());
        assert_eq!(error, Err(ConfigError::ServerIdInClear));
        let other = ServerId::new(&[2; 8]).unwrap();
        issuer.rotate(config(1, 8, 8), other, nonces()).unwrap();
        assert_eq!(
            issuer.rotate(clear, other, nonces()),
            Err(ConfigError::ServerIdInClear)
        );
    }

    #[test]
    fn an_exhausted_issuer_asks_for_a_rotation() {
        let mut issuer = Issuer::new(9).unwrap();
        let server = ServerId::new(&[1; 4]).unwrap();
        let nearly = Nonces::resume([8; 32], (1 << 32) - 2);
        issuer.rotate(config(0, 4, 4), server, nearly).unwrap();
        assert_eq!(issuer.remaining(), 2);
        assert_ne!(
            issuer.issue(&[0; 20]).unwrap(),
            issuer.issue(&[0; 20]).unwrap()
        );
        let error = issuer.issue(&[0; 20]).unwrap_err();
        assert!(error.to_string().contains("rotate"), "{error}");
        assert_eq!(issuer.issue(&[0; 20]), Err(IssueError::NoncesExhausted));
        assert_eq!(issuer.nonces().unwrap().used(), 1 << 32);
        issuer.rotate(config(1, 4, 4), server, nonces()).unwrap();
        assert!(issuer.issue(&[0; 20]).is_ok());
    }
}
