//! The Huffman code of header strings (RFC 7541 Appendix B), which QPACK takes over (RFC 9204 §4.1.2).
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, so the lengths
//! alone define it. Decoding walks one bit at a time, which is enough for the few header blocks of a connection.

/// 256 bytes and the end-of-string mark.
const SYMBOLS: usize = 257;
const END_OF_STRING: usize = 256;
const LONGEST: usize = 30;

/// Length in bits of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// What the lengths imply, computed when the program is compiled.
struct Code {
    /// Code of each symbol, right-aligned.
    codes: [u32; SYMBOLS],
    /// Symbols in order of their codes.
    ordered: [u16; SYMBOLS],
    /// First code of each length.
    first: [u32; LONGEST + 1],
    /// Number of codes of each length.
    count: [u32; LONGEST + 1],
    /// Where the symbols of each length start in `ordered`.
    start: [u32; LONGEST + 1],
}

static CODE: Code = build();

const fn build() -> Code {
    let mut code = Code {
        codes: [0; SYMBOLS],
        ordered: [0; SYMBOLS],
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        start: [0; LONGEST + 1],
    };
    let mut next = 0;
    let mut position = 0;
    let mut length = 1;
    while length <= LONGEST {
        next <<= 1;
        code.first[length] = next;
        code.start[length] = position;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                code.codes[symbol] = next;
                code.ordered[position as usize] = symbol as u16;
                code.count[length] += 1;
                next += 1;
                position += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    code
}

/// Bytes that `plain` takes when encoded.
pub(super) fn encoded_length(plain: &[u8]) -> usize {
    let bits: usize = plain
        .iter()
        .map(|&byte| usize::from(LENGTHS[usize::from(byte)]))
        .sum();
    bits.div_ceil(8)
}

/// Appends the code of `plain`, padded with ones.
pub(super) fn encode(plain: &[u8], out: &mut Vec<u8>) {
    let mut window: u64 = 0;
    let mut held = 0;
    for &byte in plain {
        let symbol = usize::from(byte);
        window = window << LENGTHS[symbol] | u64::from(CODE.codes[symbol]);
        held += u32::from(LENGTHS[symbol]);
        while held >= 8 {
            held -= 8;
            out.push((window >> held) as u8);
        }
    }
    if held > 0 {
        let padding = 8 - held;
        out.push((window << padding) as u8 | ((1u16 << padding) - 1) as u8);
    }
}

/// The plain bytes, or None for a coded end-of-string mark, padding that is not all ones, or padding of a whole byte.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(coded.len());
    let mut code: u32 = 0;
    let mut length = 0;
    for &byte in coded {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            let above = code.wrapping_sub(CODE.first[length]);
            if above < CODE.count[length] {
                let symbol = usize::from(CODE.ordered[(CODE.start[length] + above) as usize]);
                if symbol == END_OF_STRING {
                    return None;
                }
                plain.push(symbol as u8);
                code = 0;
                length = 0;
            } else if length == LONGEST {
                return None;
            }
        }
    }
    let padded_with_ones = length < 8 && code == (1 << length) - 1;
    padded_with_ones.then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    /// RFC 7541 §C.4 and §C.6.
    #[test]
    fn the_strings_of_the_rfc() {
        for (plain, hex) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("302", "6402"),
            ("private", "aec3771a4b"),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                "d07abe941054d444a8200595040b8166e082a62d1bff",
            ),
            (
                "https://www.example.com",
                "9d29ad171863c78f0b97c8e9ae82ae43d3",
            ),
        ] {
            let mut coded = Vec::new();
            encode(plain.as_bytes(), &mut coded);
            assert_eq!(coded, bytes(hex), "{plain}");
            assert_eq!(encoded_length(plain.as_bytes()), coded.len());
            assert_eq!(decode(&coded).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn codes_from_the_rfc_table() {
        assert_eq!(CODE.codes[0], 0x1ff8);
        assert_eq!(CODE.codes[usize::from(b'~')], 0x1ffd);
        assert_eq!(CODE.codes[10], 0x3fff_fffc);
        assert_eq!(CODE.codes[255], 0x3ff_ffee);
        assert_eq!(CODE.codes[END_OF_STRING], 0x3fff_ffff);
    }

    #[test]
    fn every_byte_survives() {
        let plain: Vec<u8> = (0..=255).collect();
        let mut coded = Vec::new();
        encode(&plain, &mut coded);
        assert_eq!(decode(&coded), Some(plain));
    }

    #[test]
    fn bad_endings_are_refused() {
        assert_eq!(
            decode(&[0xff, 0xff, 0xff, 0xff]),
            None,
            "the end-of-string mark"
        );
        assert_eq!(decode(&[0x07, 0xff]), None, "a whole byte of padding");
        assert_eq!(decode(&[0x00]), None, "padding with zeros");
        assert_eq!(decode(&[0x07]), Some(b"0".to_vec()));
        assert_eq!(decode(&[]), Some(Vec::new()));
    }
}
