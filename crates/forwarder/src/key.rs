//! Keyed hashing: SipHash-2-4 under a key of 16 octets.
//!
//! Owns key material and wipes it. Must not know what is hashed.

use std::fmt;

use siphasher::sip::SipHasher24;
use zeroize::Zeroize;

/// A key of the fleet's secrets, the same at every balancer. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct SipKey([u8; 16]);

impl SipKey {
    /// The key with these octets.
    pub const fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    #[cfg(target_os = "linux")]
    pub(crate) const fn octets(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn hash(&self, octets: &[u8]) -> u64 {
        SipHasher24::new_with_key(&self.0).hash(octets)
    }
}

impl Drop for SipKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SipKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SipKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_siphash_2_4() {
        // Appendix A of the paper: the octets 0 to 14 under the key 0 to 15.
        let key = SipKey::new(std::array::from_fn(|at| at as u8));
        let octets: Vec<u8> = (0..15).collect();
        assert_eq!(key.hash(&octets), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", SipKey::new([0xab; 16])), "SipKey(..)");
    }
}
