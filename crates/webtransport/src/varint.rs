//! Variable-length integers (RFC 9000 §16). Must not know what they mean.

use bytes::{Buf, Bytes};

/// Largest value that fits.
pub(crate) const MAX: u64 = (1 << 62) - 1;

/// Appends `value` in its shortest form. Callers pass values up to [`MAX`]; larger ones lose their upper two bits.
pub(crate) fn encode(value: u64, out: &mut Vec<u8>) {
    debug_assert!(value <= MAX);
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Takes one integer off the front of a complete buffer; None if it is cut short (the rest is then used up).
pub(crate) fn take(buffer: &mut Bytes) -> Option<u64> {
    Partial::default().feed(buffer)
}

/// An integer of which any number of bytes may have arrived.
#[derive(Debug, Default, Clone)]
pub(crate) struct Partial {
    value: u64,
    /// Bytes still to come; 0 before the first.
    missing: u8,
}

impl Partial {
    /// Whether some but not all bytes have arrived.
    pub(crate) fn started(&self) -> bool {
        self.missing > 0
    }

    /// Takes what it needs off `chunk`; Some when complete, and ready for the next integer.
    pub(crate) fn feed(&mut self, chunk: &mut Bytes) -> Option<u64> {
        if self.missing == 0 {
            if !chunk.has_remaining() {
                return None;
            }
            let first = chunk.get_u8();
            self.missing = (1 << (first >> 6)) - 1;
            self.value = u64::from(first & 0x3f);
        }
        while self.missing > 0 {
            if !chunk.has_remaining() {
                return None;
            }
            self.value = self.value << 8 | u64::from(chunk.get_u8());
            self.missing -= 1;
        }
        Some(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9000 Appendix A.1, and the edges of each length.
    const SAMPLES: [(u64, &[u8]); 9] = [
        (0, &[0x00]),
        (37, &[0x25]),
        (63, &[0x3f]),
        (64, &[0x40, 0x40]),
        (15_293, &[0x7b, 0xbd]),
        (16_384, &[0x80, 0x00, 0x40, 0x00]),
        (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
        (
            151_288_809_941_952_652,
            &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
        ),
        (MAX, &[0xff; 8]),
    ];

    #[test]
    fn samples_both_ways() {
        for (value, bytes) in SAMPLES {
            let mut out = Vec::new();
            encode(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(take(&mut Bytes::from_static(bytes)), Some(value));
        }
    }

    #[test]
    fn longer_forms_are_read() {
        assert_eq!(take(&mut Bytes::from_static(&[0x40, 0x25])), Some(37));
    }

    #[test]
    fn byte_by_byte() {
        for (value, bytes) in SAMPLES {
            let mut partial = Partial::default();
            for (at, byte) in bytes.iter().enumerate() {
                let got = partial.feed(&mut Bytes::copy_from_slice(&[*byte]));
                assert_eq!(got, (at + 1 == bytes.len()).then_some(value));
                assert_eq!(partial.started(), at + 1 < bytes.len());
            }
        }
    }

    #[test]
    fn leaves_the_rest_alone() {
        let mut chunk = Bytes::from_static(&[0x7b, 0xbd, 9]);
        assert_eq!(take(&mut chunk), Some(15_293));
        assert_eq!(&chunk[..], [9]);
    }
}
