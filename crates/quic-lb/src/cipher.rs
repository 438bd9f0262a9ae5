//! The two ciphers of the draft: one AES block, or four Feistel rounds for every other length.
//!
//! Owns keys and blocks. Must not know what the octets mean: server IDs, nonces and first octets are others' business.

use std::fmt;

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes128Enc, Block};
use zeroize::Zeroize;

/// An AES-128 key of a configuration. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Key([u8; 16]);

impl Key {
    /// The key with these octets.
    pub const fn new(octets: [u8; 16]) -> Self {
        Self(octets)
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

    pub(crate) fn decrypt(&self, octets: [u8; 16]) -> [u8; 16] {
        let mut block = Block::from(octets);
        self.0.decrypt_block(&mut block);
        block.into()
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
        let mut halves = Halves::split(octets);
        halves.right ^= self.round(&halves, 1, halves.left) & halves.right_mask();
        halves.left ^= self.round(&halves, 2, halves.right) & halves.left_mask();
        halves.right ^= self.round(&halves, 3, halves.left) & halves.right_mask();
        halves.left ^= self.round(&halves, 4, halves.right) & halves.left_mask();
        halves.join(octets);
    }

    /// Decrypts as much as the first `wanted` octets need: three rounds restore the left half, the fourth the right.
    /// What lies behind `wanted` is unspecified afterwards.
    pub(crate) fn decrypt_front(&self, octets: &mut [u8], wanted: usize) {
        let mut halves = Halves::split(octets);
        halves.left ^= self.round(&halves, 4, halves.right) & halves.left_mask();
        halves.right ^= self.round(&halves, 3, halves.left) & halves.right_mask();
        halves.left ^= self.round(&halves, 2, halves.right) & halves.left_mask();
        if wanted > octets.len() / 2 {
            halves.right ^= self.round(&halves, 1, halves.left) & halves.right_mask();
        }
        halves.join(octets);
    }

    /// AES over the draft's `expand`: the half, zeros, then the length and the pass in the last two octets.
    fn round(&self, halves: &Halves, pass: u8, half: u128) -> u128 {
        let input = half | (halves.len as u128) << 8 | u128::from(pass);
        let mut block = Block::from(input.to_be_bytes());
        self.0.encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }
}

/// Both halves, each in the most significant octets of its integer. They overlap in the middle octet if the length is
/// odd: the left one keeps its high four bits, the right one its low four.
struct Halves {
    len: usize,
    left: u128,
    right: u128,
}

impl Halves {
    fn split(octets: &[u8]) -> Self {
        let len = octets.len();
        let half = len.div_ceil(2);
        let mut halves = Self {
            len,
            left: most_significant(&octets[..half]),
            right: most_significant(&octets[len - half..]),
        };
        halves.left &= halves.left_mask();
        halves.right &= halves.right_mask();
        halves
    }

    /// A half has four bits for every octet of the whole.
    fn left_mask(&self) -> u128 {
        u128::MAX << (128 - 4 * self.len)
    }

    fn right_mask(&self) -> u128 {
        self.left_mask() >> (4 * (self.len % 2))
    }

    fn join(&self, octets: &mut [u8]) {
        let half = self.len.div_ceil(2);
        octets.fill(0);
        octets[..half].copy_from_slice(&self.left.to_be_bytes()[..half]);
        let right = &mut octets[self.len - half..];
        right[0] |= self.right.to_be_bytes()[0];
        right[1..].copy_from_slice(&self.right.to_be_bytes()[1..half]);
    }
}

fn most_significant(octets: &[u8]) -> u128 {
    let mut padded = [0; 16];
    padded[..octets.len()].copy_from_slice(octets);
    u128::from_be_bytes(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back_whole() {
        let cipher = FourPass::new(&Key::new([3; 16]));
        for len in 4..=19 {
            let plain: Vec<u8> = (1..=len).map(|octet| octet * 11).collect();
            let mut octets = plain.clone();
            cipher.encrypt(&mut octets);
            assert_ne!(octets, plain);
            cipher.decrypt_front(&mut octets, plain.len());
            assert_eq!(octets, plain);
        }
    }

    #[test]
    fn the_front_needs_no_fourth_round() {
        let cipher = FourPass::new(&Key::new([4; 16]));
        for len in 4..=19 {
            let plain: Vec<u8> = (0..len).map(|octet| octet ^ 0xa5).collect();
            let mut octets = plain.clone();
            cipher.encrypt(&mut octets);
            let front = plain.len() / 2;
            cipher.decrypt_front(&mut octets, front);
            assert_eq!(octets[..front], plain[..front]);
            assert_ne!(octets, plain);
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", Key::new([0xab; 16])), "Key(..)");
    }
}
