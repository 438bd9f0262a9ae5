//! Capsules of a session (RFC 9297 §3, draft-ietf-webtrans-http3-15 §5 and §6): close and drain. Others are skipped.

use bytes::{Buf, Bytes};

use crate::error::{Fault, H3_MESSAGE_ERROR};
use crate::record::{self, Piece, RecordReader, Treatment};

const CLOSE_SESSION: u64 = 0x2843;
const DRAIN_SESSION: u64 = 0x78ae;
const CODE_BYTES: usize = 4;

/// Bytes that the reason of a close may have.
pub(crate) const MAX_REASON: usize = 1024;

const MALFORMED: Fault = Fault::stream(H3_MESSAGE_ERROR);

/// A capsule that means something here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Capsule {
    /// The session is over.
    Close { code: u32, reason: String },
    /// The session should end soon.
    Drain,
}

/// Reads the capsules of one session, however they are cut into DATA frames.
#[derive(Debug, Default)]
pub(crate) struct CapsuleReader {
    records: RecordReader,
}

fn policy(kind: u64, length: u64) -> Result<Treatment, Fault> {
    match kind {
        CLOSE_SESSION if length > (CODE_BYTES + MAX_REASON) as u64 => Err(MALFORMED),
        CLOSE_SESSION => Ok(Treatment::Whole),
        DRAIN_SESSION if length > 0 => Err(MALFORMED),
        DRAIN_SESSION => Ok(Treatment::Whole),
        _ => Ok(Treatment::Skip),
    }
}

impl CapsuleReader {
    /// The next capsule in `chunk`; None when it is used up.
    pub(crate) fn next(&mut self, chunk: &mut Bytes) -> Result<Option<Capsule>, Fault> {
        match self.records.next(chunk, policy)? {
            Some(Piece::Whole(CLOSE_SESSION, value)) => decode_close(value).map(Some),
            Some(_) => Ok(Some(Capsule::Drain)),
            None => Ok(None),
        }
    }

    /// Whether the stream of capsules may end here (RFC 9297 §3.3).
    pub(crate) fn between_capsules(&self) -> bool {
        self.records.between_records()
    }
}

fn decode_close(mut value: Bytes) -> Result<Capsule, Fault> {
    let code = value.try_get_u32().map_err(|_| MALFORMED)?;
    let reason = String::from_utf8(value.into()).map_err(|_| MALFORMED)?;
    Ok(Capsule::Close { code, reason })
}

/// Appends CLOSE_WEBTRANSPORT_SESSION; the reason has at most [`MAX_REASON`] bytes.
pub(crate) fn encode_close(code: u32, reason: &str, out: &mut Vec<u8>) {
    let value = [&code.to_be_bytes(), reason.as_bytes()].concat();
    record::encode(CLOSE_SESSION, &value, out);
}

/// Appends DRAIN_WEBTRANSPORT_SESSION.
pub(crate) fn encode_drain(out: &mut Vec<u8>) {
    record::encode(DRAIN_SESSION, &[], out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &[u8]) -> Result<Vec<Capsule>, Fault> {
        let mut reader = CapsuleReader::default();
        let mut seen = Vec::new();
        for byte in wire {
            let mut chunk = Bytes::copy_from_slice(&[*byte]);
            while let Some(capsule) = reader.next(&mut chunk)? {
                seen.push(capsule);
            }
        }
        assert_eq!(
            read_at_once(wire),
            Ok(seen.iter().map(|c| format!("{c:?}")).collect())
        );
        Ok(seen)
    }

    fn read_at_once(wire: &[u8]) -> Result<Vec<String>, Fault> {
        let (mut reader, mut chunk) = (CapsuleReader::default(), Bytes::copy_from_slice(wire));
        let mut seen = Vec::new();
        while let Some(capsule) = reader.next(&mut chunk)? {
            seen.push(format!("{capsule:?}"));
        }
        Ok(seen)
    }

    const CLOSE: &[u8] = &[0x68, 0x43, 0x07, 0x00, 0x00, 0x01, 0xa4, b'b', b'y', b'e'];
    const DRAIN: &[u8] = &[0x80, 0x00, 0x78, 0xae, 0x00];
    const GREASE: &[u8] = &[0x17, 0x03, 0x68, 0x43, 0x00];

    #[test]
    fn the_known_ones_among_others() {
        let close = Capsule::Close {
            code: 420,
            reason: "bye".into(),
        };
        let wire = [GREASE, DRAIN, GREASE, CLOSE].concat();
        assert_eq!(read(&wire), Ok(vec![Capsule::Drain, close]));
        let empty = [0x68, 0x43, 0x04, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(
            read(&empty),
            Ok(vec![Capsule::Close {
                code: u32::MAX,
                reason: String::new()
            }])
        );
    }

    #[test]
    fn our_bytes() {
        let mut out = Vec::new();
        encode_close(420, "bye", &mut out);
        assert_eq!(out, CLOSE);
        out.clear();
        encode_drain(&mut out);
        assert_eq!(out, DRAIN);
    }

    #[test]
    fn malformed() {
        let cases: [&[u8]; 4] = [
            &[0x68, 0x43, 0x03, 0, 0, 0],          // no room for the code
            &[0x68, 0x43, 0x05, 0, 0, 0, 0, 0xff], // not UTF-8
            &[0x68, 0x43, 0x44, 0x05],             // 1029 bytes
            &[0x80, 0x00, 0x78, 0xae, 0x01],       // a drain with a value
        ];
        for wire in cases {
            assert_eq!(read(wire), Err(MALFORMED), "{wire:x?}");
        }
    }

    #[test]
    fn the_longest_reason_passes() {
        let reason = "r".repeat(MAX_REASON);
        let mut out = Vec::new();
        encode_close(1, &reason, &mut out);
        assert_eq!(read(&out), Ok(vec![Capsule::Close { code: 1, reason }]));
    }

    #[test]
    fn a_cut_capsule_shows() {
        let mut reader = CapsuleReader::default();
        assert!(reader.between_capsules());
        reader.next(&mut Bytes::from_static(&CLOSE[..5])).unwrap();
        assert!(!reader.between_capsules());
    }
}
