//! AES as tables: what the program in the kernel looks up instead of computing it (FIPS 197, section 5).
//!
//! Owns the tables and the round keys. Must not know what is encrypted. The program is tried against the crate `aes`.

/// The tables of both directions. Each has four forms, one for each place that an octet has in a column.
pub(crate) struct Tables {
    pub(crate) encrypt: [[u32; 256]; 4],
    pub(crate) decrypt: [[u32; 256]; 4],
    pub(crate) forward: [u8; 256],
    pub(crate) inverse: [u8; 256],
}

/// Round keys: 11 of four words.
pub(crate) type RoundKeys = [u32; 44];

const fn times(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0);
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = (a << 1) ^ ((a >> 7) * 0x1b);
        b >>= 1;
    }
    product
}

/// The substitution of one octet: its inverse in the field, then an affine map.
fn substitute(octet: u8) -> u8 {
    // The group has 255 elements, so the 254th power is the inverse; 0 stays 0.
    let inverse = (0..254).fold(1, |power, _| times(power, octet));
    (0..5).fold(0x63, |sum, by| sum ^ inverse.rotate_left(by))
}

impl Tables {
    pub(crate) fn new() -> Self {
        let mut tables = Self {
            encrypt: [[0; 256]; 4],
            decrypt: [[0; 256]; 4],
            forward: std::array::from_fn(|octet| substitute(octet as u8)),
            inverse: [0; 256],
        };
        for (octet, &substitute) in tables.forward.iter().enumerate() {
            tables.inverse[usize::from(substitute)] = octet as u8;
        }
        for octet in 0..256 {
            let there = column(tables.forward[octet], [2, 1, 1, 3]);
            let back = column(tables.inverse[octet], [14, 9, 13, 11]);
            for place in 0..4 {
                tables.encrypt[place][octet] = there.rotate_right(8 * place as u32);
                tables.decrypt[place][octet] = back.rotate_right(8 * place as u32);
            }
        }
        tables
    }

    /// The round keys of the cipher.
    pub(crate) fn encryption(&self, key: &[u8; 16]) -> RoundKeys {
        let mut keys = [0; 44];
        for (word, octets) in keys.iter_mut().zip(key.chunks_exact(4)) {
            *word = u32::from_be_bytes(octets.try_into().expect("chunks of four"));
        }
        let mut round = 1;
        for at in 4..44 {
            let mut word: u32 = keys[at - 1];
            if at % 4 == 0 {
                word = self.substituted(word.rotate_left(8)) ^ u32::from(round) << 24;
                round = times(round, 2);
            }
            keys[at] = keys[at - 4] ^ word;
        }
        keys
    }

    /// The round keys of the equivalent inverse cipher.
    pub(crate) fn decryption(&self, key: &[u8; 16]) -> RoundKeys {
        let keys = self.encryption(key);
        std::array::from_fn(|at| {
            let word = keys[40 - at / 4 * 4 + at % 4];
            match at / 4 {
                0 | 10 => word,
                _ => unmixed(word),
            }
        })
    }

    fn substituted(&self, word: u32) -> u32 {
        let octets = word.to_be_bytes();
        u32::from_be_bytes(octets.map(|octet| self.forward[usize::from(octet)]))
    }
}

fn column(octet: u8, by: [u8; 4]) -> u32 {
    u32::from_be_bytes(by.map(|factor| times(octet, factor)))
}

/// InvMixColumns of one column.
fn unmixed(word: u32) -> u32 {
    let octets = word.to_be_bytes();
    (0..4).fold(0, |sum, place| {
        sum ^ column(octets[place], [14, 9, 13, 11]).rotate_right(8 * place as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_expand_as_in_the_standard() {
        // FIPS 197, appendix A.1: the second and the last of the round keys.
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let keys = Tables::new().encryption(&key);
        assert_eq!(
            keys[4..8],
            [0xa0fa_fe17, 0x8854_2cb1, 0x23a3_3939, 0x2a6c_7605]
        );
        assert_eq!(
            keys[40..],
            [0xd014_f9a8, 0xc9ee_2589, 0xe13f_0cc8, 0xb663_0ca6]
        );
    }

    #[test]
    fn substitutions_are_those_of_the_standard() {
        let tables = Tables::new();
        assert_eq!(
            [0, 1, 0x53, 0xff].map(|octet: usize| tables.forward[octet]),
            [0x63, 0x7c, 0xed, 0x16]
        );
        assert_eq!(tables.inverse[0x63], 0);
        assert_eq!(tables.encrypt[0][0], 0xc663_63a5);
        assert_eq!(tables.decrypt[1][0], 0x5051_f4a7);
    }
}
