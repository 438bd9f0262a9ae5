//! Nonces that never come twice.
//!
//! Owns the counter and where it begins. Must not know configurations or server IDs.

use std::fmt;

use crate::cipher::{FourPass, Key};
use crate::IssueError;

/// The supply of nonces of one server under one configuration: a counter that starts at a random value.
///
/// A restarted server has to be sure not to repeat nonces of its former life under the same key. With 8 octets or more,
/// a new random start is enough: if each life issues 2^30 connection IDs, two of them overlap with a probability of
/// 2^-33. With 4 to 7 octets it is not; such a server keeps the random octets and, ahead of time, a bound of
/// [`used`](Self::used), and continues with [`resume`](Self::resume), or gets a new key with every start.
#[derive(Clone)]
pub struct Nonces {
    start: u128,
    used: u64,
    scramble: FourPass,
}

impl Nonces {
    /// A fresh supply. The octets must be secret and uniformly random.
    pub fn new(random: [u8; 32]) -> Self {
        Self::resume(random, 0)
    }

    /// The supply of the same octets, of which `used` nonces may be spent.
    pub fn resume(random: [u8; 32], used: u64) -> Self {
        let (start, scramble) = random.split_at(16);
        Self {
            start: u128::from_be_bytes(start.try_into().expect("16 octets")),
            used,
            scramble: FourPass::new(&Key::new(scramble.try_into().expect("16 octets"))),
        }
    }

    /// How many nonces are spent.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// How many nonces of `len` octets are left; agents watch it and rotate in time.
    pub fn remaining(&self, len: usize) -> u64 {
        let all = match len {
            0..8 => 1 << (8 * len),
            _ => u64::MAX,
        };
        all.saturating_sub(self.used)
    }

    /// The next nonce, for configurations that encrypt it. `nonce` has 4 to 18 octets.
    pub(crate) fn next(&mut self, nonce: &mut [u8]) -> Result<(), IssueError> {
        if self.remaining(nonce.len()) == 0 {
            return Err(IssueError::NoncesExhausted);
        }
        let counter = self.start.wrapping_add(u128::from(self.used)).to_be_bytes();
        self.used += 1;
        let padding = nonce.len().saturating_sub(16);
        let (zeros, low) = nonce.split_at_mut(padding);
        zeros.fill(0);
        low.copy_from_slice(&counter[16 - low.len()..]);
        Ok(())
    }

    /// The next nonce, for configurations in clear: the counter under a cipher of its own, which keeps every nonce
    /// different but unlike its neighbours.
    pub(crate) fn next_scrambled(&mut self, nonce: &mut [u8]) -> Result<(), IssueError> {
        self.next(nonce)?;
        self.scramble.encrypt(nonce);
        Ok(())
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Nonces")
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn take(nonces: &mut Nonces, len: usize) -> Result<Vec<u8>, IssueError> {
        let mut nonce = vec![0xee; len];
        nonces.next(&mut nonce).map(|()| nonce)
    }

    #[test]
    fn the_counter_starts_at_random_and_wraps() {
        let mut random = [0; 32];
        random[12..16].copy_from_slice(&[0xff, 0xff, 0xff, 0xfe]);
        let mut nonces = Nonces::new(random);
        assert_eq!(take(&mut nonces, 4).unwrap(), [0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(take(&mut nonces, 4).unwrap(), [0xff, 0xff, 0xff, 0xff]);
        assert_eq!(take(&mut nonces, 4).unwrap(), [0, 0, 0, 0]);
        assert_eq!(nonces.used(), 3);
    }

    #[test]
    fn the_last_nonce_is_the_one_before_the_first() {
        let random = [0x55; 32];
        let last = (1u64 << 32) - 1;
        let mut nonces = Nonces::resume(random, last);
        assert_eq!(nonces.remaining(4), 1);
        assert_eq!(take(&mut nonces, 4).unwrap(), [0x55, 0x55, 0x55, 0x54]);
        assert_eq!(nonces.remaining(4), 0);
        assert_eq!(take(&mut nonces, 4), Err(IssueError::NoncesExhausted));
        assert_eq!(take(&mut nonces, 4), Err(IssueError::NoncesExhausted));
        assert_eq!(nonces.used(), last + 1);
    }

    #[test]
    fn a_counter_at_its_end_does_not_overflow() {
        for len in 4..=18 {
            let mut nonces = Nonces::resume([0xff; 32], u64::MAX);
            assert_eq!(take(&mut nonces, len), Err(IssueError::NoncesExhausted));
            assert_eq!(nonces.used(), u64::MAX);
        }
        let mut nonces = Nonces::resume([0xff; 32], u64::MAX - 1);
        assert!(take(&mut nonces, 8).is_ok());
        assert_eq!(take(&mut nonces, 8), Err(IssueError::NoncesExhausted));
    }

    #[test]
    fn a_resumed_supply_goes_on_where_it_was() {
        let mut whole = Nonces::new([9; 32]);
        let expected: Vec<_> = (0..20).map(|_| take(&mut whole, 7).unwrap()).collect();
        let mut resumed = Nonces::resume([9; 32], 10);
        for nonce in &expected[10..] {
            assert_eq!(&take(&mut resumed, 7).unwrap(), nonce);
        }
    }

    #[test]
    fn scrambled_nonces_differ_in_every_octet_and_never_repeat() {
        for len in 4..=18 {
            let mut nonces = Nonces::new([1; 32]);
            let mut seen = HashSet::new();
            let mut changed = vec![0; len];
            let mut before = vec![0; len];
            for _ in 0..2000 {
                let mut nonce = vec![0; len];
                nonces.next_scrambled(&mut nonce).unwrap();
                for (at, octet) in nonce.iter().enumerate() {
                    changed[at] += usize::from(*octet != before[at]);
                }
                before.clone_from(&nonce);
                assert!(seen.insert(nonce));
            }
            assert!(changed.iter().all(|times| *times > 1900), "{changed:?}");
        }
    }
}
