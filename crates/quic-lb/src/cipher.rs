//! The two ciphers of the draft: one AES block, or four Feistel rounds for every other length.
//!
//! Owns keys and blocks. Must not know what the octets mean: server IDs, nonces and first octets are others' business.

use std::fmt;

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes128Enc, Block};
use zeroize::Zeroize;

use crate::config::MAX_BLOCK_LEN;

/// An AES-128 key of a configuration. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Key([u8; 16]);

impl Key {
    /// The key with these octets.
    pub const fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    pub(crate) const fn octets(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key(..)")
    }
}

/// Single-pass encryption: the 16 octets are one AES block.
#[derive(Clone)]
pub(crate) struct SinglePass(Aes128);

impl SinglePass {
    pub(crate) fn new(key: &Key) -> Self {
        Self(Aes128::new(&key.0.into()))
    }

    pub(crate) fn encrypt(&self, octets: [u8; 16]) -> [u8; 16] {
        let mut block = Block::from(octets);
        self.0.encrypt_block(&mut block);
        block.into()
    }

    pub(crate) fn decrypt(&self, block: u128) -> u128 {
        let mut block = Block::from(block.to_be_bytes());
        self.0.decrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }
}

/// Four-pass encryption of 4 to 19 octets. The draft begins at 5; 4 serve to scramble the shortest nonce.
#[derive(Clone)]
pub(crate) struct FourPass(Aes128Enc);

impl FourPass {
    pub(crate) fn new(key: &Key) -> Self {
        Self(Aes128Enc::new(&key.0.into()))
    }

    pub(crate) fn encrypt(&self, octets: &mut [u8]) {
        let mut padded = [0; MAX_BLOCK_LEN];
        padded[..octets.len()].copy_from_slice(octets);
        let mut halves = Halves::split(&padded, octets.len());
        halves.right ^= self.round(&halves, 1, halves.left) & halves.right_mask();
        halves.left ^= self.round(&halves, 2, halves.right) & halves.left_mask();
        halves.right ^= self.round(&halves, 3, halves.left) & halves.right_mask();
        halves.left ^= self.round(&halves, 4, halves.right) & halves.left_mask();
        octets.copy_from_slice(&halves.join()[..octets.len()]);
    }

    /// Decrypts the first `len` of `octets` and gives the first 16 of them, of which the first `wanted` are right: three
    /// rounds restore the left half, and the fourth is only taken for the right one.
    pub(crate) fn decrypt_front(
        &self,
        octets: &[u8; MAX_BLOCK_LEN],
        len: usize,
        wanted: usize,
    ) -> u128 {
        let mut halves = Halves::split(octets, len);
        halves.left ^= self.round(&halves, 4, halves.right) & halves.left_mask();
        halves.right ^= self.round(&halves, 3, halves.left) & halves.right_mask();
        halves.left ^= self.round(&halves, 2, halves.right) & halves.left_mask();
        if wanted > len / 2 {
            halves.right ^= self.round(&halves, 1, halves.left) & halves.right_mask();
        }
        halves.front()
    }

    /// AES over the draft's `expand`: the half, zeros, then the length and the pass in the last two octets.
    fn round(&self, halves: &Halves, pass: u8, half: u128) -> u128 {
        let input = half | (halves.bits as u128 / 4) << 8 | u128::from(pass);
        let mut block = Block::from(input.to_be_bytes());
        self.0.encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }
}

/// Both halves, each in the most significant bits of its integer. A half has four bits for every octet of the whole. If
/// the octets are odd in number, the middle one is divided, and four zero bits stand before the right half.
struct Halves {
    bits: usize,
    left: u128,
    right: u128,
}

impl Halves {
    fn split(octets: &[u8; MAX_BLOCK_LEN], len: usize) -> Self {
        let (high, low) = octets.split_at(16);
        let high = u128::from_be_bytes(high.try_into().expect("16 octets"));
        let low = u128::from(u32::from_be_bytes([low[0], low[1], low[2], 0])) << 96;
        let mut halves = Self {
            bits: 4 * len,
            left: high,
            right: 0,
        };
        halves.left &= halves.left_mask();
        halves.right = (high << halves.bits | low >> (128 - halves.bits)) >> halves.gap();
        halves.right &= halves.right_mask();
        halves
    }

    fn left_mask(&self) -> u128 {
        u128::MAX << (128 - self.bits)
    }

    fn right_mask(&self) -> u128 {
        self.left_mask() >> self.gap()
    }

    /// Zero bits before the right half.
    fn gap(&self) -> usize {
        self.bits % 8
    }

    /// The first 16 octets of the whole.
    fn front(&self) -> u128 {
        self.left | (self.right << self.gap()) >> self.bits
    }

    fn join(&self) -> [u8; 32] {
        let mut octets = [0; 32];
        let back = (self.right << self.gap()) << (128 - self.bits);
        octets[..16].copy_from_slice(&self.front().to_be_bytes());
        octets[16..].copy_from_slice(&back.to_be_bytes());
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encrypted(cipher: &FourPass, plain: &[u8]) -> [u8; MAX_BLOCK_LEN] {
        let mut octets = [0xff; MAX_BLOCK_LEN];
        octets[..plain.len()].copy_from_slice(plain);
        cipher.encrypt(&mut octets[..plain.len()]);
        octets
    }

    #[test]
    fn the_front_of_every_length_comes_back() {
        let cipher = FourPass::new(&Key::new([3; 16]));
        for len in 4..=19 {
            let plain: Vec<u8> = (1..=len).map(|octet| octet * 11).collect();
            let octets = encrypted(&cipher, &plain);
            assert_ne!(octets[..plain.len()], plain);
            for wanted in 1..=plain.len().min(15) {
                let front = cipher.decrypt_front(&octets, plain.len(), wanted);
                assert_eq!(front.to_be_bytes()[..wanted], plain[..wanted]);
            }
        }
    }

    #[test]
    fn half_the_octets_need_three_rounds_and_one_more_needs_four() {
        let cipher = FourPass::new(&Key::new([4; 16]));
        for len in 4..=19u8 {
            let plain: Vec<u8> = (0..len).map(|octet| octet ^ 0xa5).collect();
            let octets = encrypted(&cipher, &plain);
            let front = |wanted| cipher.decrypt_front(&octets, plain.len(), wanted);
            assert_ne!(front(plain.len() / 2), front(plain.len() / 2 + 1));
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", Key::new([0xab; 16])), "Key(..)");
    }
}
