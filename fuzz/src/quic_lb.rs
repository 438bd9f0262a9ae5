//! Connection IDs of QUIC-LB: octets that a balancer reads from anybody, and any order of rotations at a server.
//!
//! Owns the promises about both halves. Must not know how anything is encrypted; vectors and a second implementation
//! elsewhere fix that.

use std::collections::HashSet;

use legato_quic_lb::{
    Config, ConfigId, ConfigSet, FirstOctet, Issuer, Key, Lengths, Nonces, ServerId, Unroutable,
};

/// A configuration as numbers, most of them legal.
#[derive(Debug, Clone, bolero::TypeGenerator)]
pub struct Setting {
    id: u8,
    server_id: u8,
    nonce: u8,
    key: Option<[u8; 16]>,
    first_octet: u8,
    filling: u8,
}

impl Setting {
    fn config(&self) -> Option<Config> {
        let id = ConfigId::new(self.id % 8).ok()?;
        let lengths = Lengths::new(
            usize::from(self.server_id % 16),
            usize::from(self.nonce % 20),
        );
        let config = match self.key {
            Some(key) => Config::encrypted(id, lengths.ok()?, &Key::new(key)),
            None => Config::plaintext(id, lengths.ok()?),
        };
        let config = config.with_first_octet(match self.first_octet % 3 {
            0 => FirstOctet::SelfDescribed,
            1 => FirstOctet::Random,
            _ => FirstOctet::Zero,
        });
        let cid_len = config.cid_len() + usize::from(self.filling % 16);
        config.with_cid_len(cid_len).ok()
    }
}

fn set(settings: &[Setting]) -> ConfigSet {
    let mut set = ConfigSet::new();
    for config in settings.iter().filter_map(Setting::config) {
        let taken = set.get(config.id()).is_some();
        assert_eq!(set.insert(config).is_err(), taken);
    }
    set
}

/// What any octets decode to: a server ID of the right length from a configuration that is there, whatever follows.
pub fn decode(settings: &[Setting], octets: &[u8]) {
    let set = set(settings);
    let decoded = set.decode(octets);
    match decoded {
        Ok(decoded) => {
            let config = set.get(decoded.config).expect("an active configuration");
            let lengths = config.lengths();
            assert_eq!(decoded.config.get(), octets[0] >> 5);
            assert_eq!(decoded.server_id.len(), lengths.server_id());
            let (block, _) = octets.split_at(1 + lengths.server_id() + lengths.nonce());
            assert_eq!(set.decode(block), Ok(decoded));
            let (_, short) = block.split_last().expect("6 octets or more");
            assert_eq!(set.decode(short), Err(Unroutable::TooShort));
        }
        Err(Unroutable::ReservedCodepoint) => assert_eq!(octets[0] >> 5, 7),
        Err(Unroutable::UnknownConfig) => {
            assert!(set.iter().all(|config| config.id().get() != octets[0] >> 5));
        }
        Err(Unroutable::TooShort) => assert!(octets.len() < 20),
        Err(Unroutable::WrongLength) => panic!("a short header has no length"),
    }
    match set.decode_long(octets) {
        Err(Unroutable::WrongLength) => assert_ne!(usize::from(octets[0] & 0x1f) + 1, octets.len()),
        long => assert_eq!(long, decoded),
    }
}

/// Something that happens at a server.
#[derive(Debug, Clone, bolero::TypeGenerator)]
pub enum Step {
    /// A configuration arrives: the server ID's octets, the random octets of the nonces, how many nonces are spent.
    Rotate(Setting, [u8; 15], [u8; 32], u64),
    /// A connection needs an ID.
    Issue([u8; 20]),
}

/// Everything issued has one length and leads to the newest server ID, or to nobody; nothing is issued twice under a
/// configuration.
pub fn rotations(cid_len: u8, steps: &[Step]) {
    let Ok(mut issuer) = Issuer::new(8 + usize::from(cid_len % 13)) else {
        panic!("8 to 20 octets");
    };
    let mut seen = HashSet::new();
    for step in steps {
        match step {
            Step::Rotate(setting, server_id, random, used) => {
                let Some(config) = setting.config() else {
                    continue;
                };
                let server_id = ServerId::new(&server_id[..config.lengths().server_id()])
                    .expect("the configuration's length");
                let before = (issuer.server_id(), issuer.remaining());
                let nonces = Nonces::resume(*random, *used);
                match issuer.rotate(config, server_id, nonces) {
                    Ok(()) => seen.clear(),
                    Err(_) => assert_eq!((issuer.server_id(), issuer.remaining()), before),
                }
            }
            Step::Issue(random) => {
                let left = issuer.remaining();
                match issuer.issue(random) {
                    Ok(cid) => {
                        assert_eq!(issuer.remaining(), left - 1);
                        let mut set = ConfigSet::new();
                        let config = issuer.config().expect("it was issued under one");
                        set.insert(config.clone()).expect("the set is empty");
                        let decoded = set.decode_long(&cid).expect("routable");
                        assert_eq!(Some(decoded.server_id), issuer.server_id());
                        assert_eq!(cid.len(), issuer.cid_len());
                        assert!(seen.insert(cid), "{cid} came twice");
                    }
                    Err(_) => {
                        assert_eq!(left, 0);
                        let cid = issuer.unroutable(random);
                        assert_eq!(cid.len(), issuer.cid_len());
                        let decoded = ConfigSet::new().decode_long(&cid);
                        assert_eq!(decoded, Err(Unroutable::ReservedCodepoint));
                    }
                }
            }
        }
    }
}
