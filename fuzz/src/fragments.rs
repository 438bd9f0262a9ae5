//! Input that gets past the first byte: well-formed pieces of the protocol, broken and mixed with noise.

use bolero::TypeGenerator;

/// Stretches of bytes that mean something, whole or as beginnings.
const KNOWN: &[&[u8]] = &[
    // Stream types, alone and with a session id.
    &[0x00],
    &[0x01],
    &[0x02],
    &[0x03],
    &[0x40, 0x54, 0x00],
    &[0x40, 0x54, 0x04],
    &[0x40, 0x41, 0x00],
    &[0x40, 0x41, 0x04],
    // A control stream up to the end of SETTINGS: for a server, for a client, too little.
    &[0x00, 0x04, 0x07, 0x33, 0x01, 0xab, 0x60, 0x37, 0x42, 0x01],
    &[
        0x00, 0x04, 0x09, 0x08, 0x01, 0x33, 0x01, 0xab, 0x60, 0x37, 0x42, 0x01,
    ],
    &[0x00, 0x04, 0x00],
    // Frames: GOAWAY, MAX_PUSH_ID, CANCEL_PUSH, a reserved one.
    &[0x07, 0x01, 0x00],
    &[0x0d, 0x01, 0x03],
    &[0x03, 0x01, 0x00],
    &[0x21, 0x02, 0xff, 0xff],
    // HEADERS: a session, a GET, another protocol, 200, 404, 103.
    b"\x01\x33\x00\x00\xcf\xd7\x50\x09localhost\x51\x0a/legato/v1\x27\x02:protocol\x0cwebtransport",
    b"\x01\x10\x00\x00\xd1\xd7\x50\x09localhost\xc1",
    b"\x01\x1d\x00\x00\xcf\xd7\x50\x01a\xc1\x27\x02:protocol\x09websocket",
    &[0x01, 0x03, 0x00, 0x00, 0xd9],
    &[0x01, 0x03, 0x00, 0x00, 0xdb],
    &[0x01, 0x03, 0x00, 0x00, 0xd8],
    // Header blocks without a frame, and lines of them.
    &[0x00, 0x00],
    b"\xcf\xd7\x50\x01a\xc1\x27\x02:protocol\x0cwebtransport",
    &[0xd9],
    &[0xff, 0x23],
    &[0x5f, 0x4b, 0x82, 0x64, 0x02],
    &[
        0x2f, 0x01, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f, 0x89, 0x25, 0xa8, 0x49, 0xe9,
        0x5b, 0xb8, 0xe8, 0xb4, 0xbf,
    ],
    &[0x7f, 0xff, 0xff, 0x03],
    // DATA frames with capsules: close, drain, reserved, two halves of a close.
    b"\x00\x0a\x68\x43\x07\x00\x00\x00\x07bye",
    &[0x00, 0x05, 0x80, 0x00, 0x78, 0xae, 0x00],
    &[0x00, 0x03, 0x17, 0x01, 0xff],
    &[0x00, 0x03, 0x68, 0x43, 0x05],
    &[0x00, 0x05, 0x00, 0x00, 0x00, 0x01, b'x'],
    // Capsules without a frame.
    b"\x68\x43\x07\x00\x00\x00\x07bye",
    &[0x80, 0x00, 0x78, 0xae, 0x00],
    &[0x17, 0x03, 0x01, 0x02, 0x03],
    // Settings without a frame.
    &[0x33, 0x01],
    &[0xab, 0x60, 0x37, 0x42, 0x01],
    &[0xc0, 0x00, 0x00, 0x00, 0xc6, 0x71, 0x70, 0x6a, 0x01],
    // QPACK instructions: capacity 0, a stream cancellation.
    &[0x20],
    &[0x44],
    // The largest integer.
    &[0xff; 8],
];

/// A stretch of input.
#[derive(Debug, Clone, TypeGenerator)]
pub enum Fragment {
    /// Something that means something.
    Known(u8),
    /// The beginning of it.
    Cut(u8, u8),
    /// It with some bits of one byte flipped.
    Flipped(u8, u8, u8),
    /// Noise.
    Noise([u8; 3]),
}

fn known(index: u8) -> &'static [u8] {
    KNOWN[usize::from(index) % KNOWN.len()]
}

/// The bytes that fragments stand for.
pub fn bytes(fragments: &[Fragment]) -> Vec<u8> {
    let mut out = Vec::new();
    for fragment in fragments {
        match fragment {
            Fragment::Known(index) => out.extend_from_slice(known(*index)),
            Fragment::Cut(index, end) => {
                let whole = known(*index);
                out.extend_from_slice(&whole[..usize::from(*end) % whole.len()]);
            }
            Fragment::Flipped(index, at, bits) => {
                let start = out.len();
                out.extend_from_slice(known(*index));
                let length = out.len() - start;
                out[start + usize::from(*at) % length] ^= bits;
            }
            Fragment::Noise(noise) => out.extend_from_slice(noise),
        }
    }
    out
}
