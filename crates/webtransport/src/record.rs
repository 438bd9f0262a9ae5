//! Type-length-value records, the common shape of HTTP/3 frames (RFC 9114 §7.1) and capsules (RFC 9297 §3.2).
//!
//! Owns the cutting of a byte stream into records, however it is chunked. Must not know any type: a policy says for
//! each header what to do with the value, before any of it is kept.

use bytes::{Buf, Bytes, BytesMut};

use crate::varint::{self, Partial};

/// What to do with the value of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Collect it and hand it over in one piece. The policy has checked the length.
    Whole,
    /// Hand it over as it arrives, uncopied.
    Pieces,
    /// Forget it as it arrives.
    Skip,
}

/// A record, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Type and complete value.
    Whole(u64, Bytes),
    /// Some bytes of a value handed over in pieces, never none.
    Part(Bytes),
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Kind,
    Length {
        kind: u64,
    },
    Value {
        kind: u64,
        treatment: Treatment,
        missing: u64,
        collected: BytesMut,
    },
}

/// Cuts one stream.
#[derive(Debug, Default)]
pub(crate) struct RecordReader {
    number: Partial,
    state: State,
}

impl RecordReader {
    /// A reader for a stream whose first type was read elsewhere.
    pub(crate) fn with_kind(kind: u64) -> Self {
        Self {
            number: Partial::default(),
            state: State::Length { kind },
        }
    }

    /// Whether the stream may end here.
    pub(crate) fn between_records(&self) -> bool {
        matches!(self.state, State::Kind) && !self.number.started()
    }

    /// The next piece in `chunk`; None when the chunk is used up. The policy sees type and length of each record once.
    pub(crate) fn next<E>(
        &mut self,
        chunk: &mut Bytes,
        policy: impl Fn(u64, u64) -> Result<Treatment, E>,
    ) -> Result<Option<Piece>, E> {
        loop {
            match &mut self.state {
                State::Kind => match self.number.feed(chunk) {
                    Some(kind) => self.state = State::Length { kind },
                    None => return Ok(None),
                },
                State::Length { kind } => match self.number.feed(chunk) {
                    Some(missing) => {
                        let (kind, treatment) = (*kind, policy(*kind, missing)?);
                        let collected = BytesMut::new();
                        self.state = State::Value {
                            kind,
                            treatment,
                            missing,
                            collected,
                        };
                    }
                    None => return Ok(None),
                },
                State::Value {
                    treatment: Treatment::Whole,
                    ..
                } => {
                    return Ok(self.collect(chunk));
                }
                State::Value { missing: 0, .. } => self.state = State::Kind,
                State::Value {
                    treatment, missing, ..
                } => {
                    let available = chunk
                        .len()
                        .min(usize::try_from(*missing).unwrap_or(usize::MAX));
                    if available == 0 {
                        return Ok(None);
                    }
                    *missing -= available as u64;
                    let part = chunk.split_to(available);
                    if *treatment == Treatment::Pieces {
                        return Ok(Some(Piece::Part(part)));
                    }
                }
            }
        }
    }

    /// Takes what belongs to a value that is wanted whole; without a copy if the chunk holds all of it.
    fn collect(&mut self, chunk: &mut Bytes) -> Option<Piece> {
        let State::Value {
            kind,
            missing,
            collected,
            ..
        } = &mut self.state
        else {
            return None;
        };
        let available = chunk
            .len()
            .min(usize::try_from(*missing).unwrap_or(usize::MAX));
        let kind = *kind;
        *missing -= available as u64;
        if *missing > 0 {
            collected.extend_from_slice(&chunk[..available]);
            chunk.advance(available);
            return None;
        }
        let value = if collected.is_empty() {
            chunk.split_to(available)
        } else {
            collected.extend_from_slice(&chunk[..available]);
            chunk.advance(available);
            std::mem::take(collected).freeze()
        };
        self.state = State::Kind;
        Some(Piece::Whole(kind, value))
    }
}

/// Appends a whole record.
pub(crate) fn encode(kind: u64, value: &[u8], out: &mut Vec<u8>) {
    varint::encode(kind, out);
    varint::encode(value.len() as u64, out);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &[u8] = &[
        0x04, 0x02, 0xaa, 0xbb, // whole
        0x00, 0x03, 1, 2, 3, // pieces
        0x40, 0x21, 0x01, 0xff, // skipped, two-byte type
        0x04, 0x00, // whole and empty
    ];

    fn policy(kind: u64, length: u64) -> Result<Treatment, u64> {
        match kind {
            _ if length > 100 => Err(length),
            4 => Ok(Treatment::Whole),
            0 => Ok(Treatment::Pieces),
            _ => Ok(Treatment::Skip),
        }
    }

    #[test]
    fn one_chunk() {
        let mut chunk = Bytes::from_static(WIRE);
        let mut reader = RecordReader::default();
        let mut next = || reader.next(&mut chunk, policy).unwrap();
        assert_eq!(
            next(),
            Some(Piece::Whole(4, Bytes::from_static(&[0xaa, 0xbb])))
        );
        assert_eq!(next(), Some(Piece::Part(Bytes::from_static(&[1, 2, 3]))));
        assert_eq!(next(), Some(Piece::Whole(4, Bytes::new())));
        assert_eq!(next(), None);
        assert!(reader.between_records());
    }

    #[test]
    fn byte_by_byte() {
        let mut reader = RecordReader::default();
        let (mut wholes, mut parts) = (Vec::new(), Vec::new());
        for byte in WIRE {
            let mut chunk = Bytes::copy_from_slice(&[*byte]);
            while let Some(piece) = reader.next(&mut chunk, policy).unwrap() {
                match piece {
                    Piece::Whole(kind, value) => wholes.push((kind, value.to_vec())),
                    Piece::Part(part) => parts.extend_from_slice(&part),
                }
            }
            assert!(chunk.is_empty());
        }
        assert_eq!(wholes, [(4, vec![0xaa, 0xbb]), (4, vec![])]);
        assert_eq!(parts, [1, 2, 3]);
    }

    #[test]
    fn the_policy_stops_a_huge_claim_before_anything_is_kept() {
        let mut chunk = Bytes::from_static(&[0x04, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        let refused = RecordReader::default().next(&mut chunk, policy);
        assert_eq!(refused, Err(varint::MAX));
    }

    #[test]
    fn a_cut_record_shows() {
        let mut reader = RecordReader::default();
        assert!(reader.between_records());
        reader
            .next(&mut Bytes::from_static(&[0x40]), policy)
            .unwrap();
        assert!(!reader.between_records());
        reader
            .next(&mut Bytes::from_static(&[0x21, 0x02, 1]), policy)
            .unwrap();
        assert!(!reader.between_records());
        reader.next(&mut Bytes::from_static(&[1]), policy).unwrap();
        assert!(
            reader.between_records(),
            "the last byte of a value ends its record"
        );
    }

    #[test]
    fn encoding() {
        let mut out = Vec::new();
        encode(0x78ae, &[7], &mut out);
        assert_eq!(out, [0x80, 0x00, 0x78, 0xae, 0x01, 7]);
    }
}
