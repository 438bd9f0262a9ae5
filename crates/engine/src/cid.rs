//! Connection IDs: how ours look and whether one that arrives could be ours.
//!
//! Owns the generator that is used when none is plugged in. Must not know connections or sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

use crate::identity::ConnectionIdLayout;

/// Makes the generator of one endpoint. All IDs of an endpoint have one length, because short headers do not carry it.
pub type CidFactory = Arc<dyn Fn() -> Box<dyn ConnectionIdGenerator> + Send + Sync>;

/// A fixed prefix followed by random bytes.
pub struct PrefixedCids {
    layout: ConnectionIdLayout,
    random: Randomness,
}

enum Randomness {
    System(SystemRandom),
    Seeded(Mutex<u64>),
}

impl PrefixedCids {
    /// A factory of generators for `layout`; with a seed the IDs repeat from run to run (for tests on a virtual clock).
    pub fn factory(layout: ConnectionIdLayout, seed: Option<u64>) -> CidFactory {
        Arc::new(move || {
            Box::new(Self {
                layout: layout.clone(),
                random: match seed {
                    Some(seed) => Randomness::Seeded(Mutex::new(seed)),
                    None => Randomness::System(SystemRandom::new()),
                },
            })
        })
    }

    fn fill(&self, bytes: &mut [u8]) {
        match &self.random {
            Randomness::System(source) => source
                .fill(bytes)
                .expect("the system's random source never fails once it has started"),
            Randomness::Seeded(state) => {
                let mut state = state
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                for byte in bytes {
                    *state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    *byte = (*state >> 56) as u8;
                }
            }
        }
    }
}

impl ConnectionIdGenerator for PrefixedCids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0u8; 20];
        let cid = &mut bytes[..self.layout.length];
        let (prefix, rest) = cid.split_at_mut(self.layout.prefix.len());
        prefix.copy_from_slice(&self.layout.prefix);
        self.fill(rest);
        ConnectionId::new(cid)
    }

    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        if cid.len() == self.layout.length && cid.starts_with(&self.layout.prefix) {
            Ok(())
        } else {
            Err(InvalidCid)
        }
    }

    fn cid_len(&self) -> usize {
        self.layout.length
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> ConnectionIdLayout {
        ConnectionIdLayout {
            length: 12,
            prefix: vec![7, 8],
        }
    }

    #[test]
    fn ids_carry_the_prefix_and_differ() {
        let mut generator = PrefixedCids::factory(layout(), None)();
        let (first, second) = (generator.generate_cid(), generator.generate_cid());
        assert_eq!(first.len(), 12);
        assert_eq!(first[..2], [7, 8]);
        assert_ne!(first, second);
        assert!(generator.validate(&first).is_ok());
    }

    #[test]
    fn foreign_ids_are_told_apart() {
        let generator = PrefixedCids::factory(layout(), None)();
        assert!(generator.validate(&ConnectionId::new(&[1; 12])).is_err());
        assert!(generator.validate(&ConnectionId::new(&[7, 8, 1])).is_err());
    }

    #[test]
    fn a_seed_repeats_the_ids() {
        let factory = PrefixedCids::factory(layout(), Some(5));
        assert_eq!(factory().generate_cid(), factory().generate_cid());
    }
}
