//! Error codes and the two kinds of failure. Owns no state.
//!
//! HTTP/3 codes: RFC 9114 §8.1, RFC 9204 §6, RFC 9297 §5.2. WebTransport codes and the mapping between an application's
//! stream codes and HTTP/3 codes: draft-ietf-webtrans-http3-15 §9.5 and §4.4.

/// Nothing went wrong.
pub const H3_NO_ERROR: u64 = 0x100;
/// The peer opened a stream that it may not open.
pub const H3_STREAM_CREATION_ERROR: u64 = 0x103;
/// A stream that has to stay open was closed.
pub const H3_CLOSED_CRITICAL_STREAM: u64 = 0x104;
/// A frame came where it is not allowed.
pub const H3_FRAME_UNEXPECTED: u64 = 0x105;
/// A frame's layout or size is wrong.
pub const H3_FRAME_ERROR: u64 = 0x106;
/// The peer asks for too much.
pub const H3_EXCESSIVE_LOAD: u64 = 0x107;
/// An id was used wrongly.
pub const H3_ID_ERROR: u64 = 0x108;
/// A forbidden or repeated setting.
pub const H3_SETTINGS_ERROR: u64 = 0x109;
/// The control stream began with something other than SETTINGS.
pub const H3_MISSING_SETTINGS: u64 = 0x10a;
/// The request was not looked at; the peer may try again.
pub const H3_REQUEST_REJECTED: u64 = 0x10b;
/// The request, or its answer, is no longer wanted.
pub const H3_REQUEST_CANCELLED: u64 = 0x10c;
/// The request ended too early.
pub const H3_REQUEST_INCOMPLETE: u64 = 0x10d;
/// The message is malformed.
pub const H3_MESSAGE_ERROR: u64 = 0x10e;
/// A header block could not be decoded.
pub const QPACK_DECOMPRESSION_FAILED: u64 = 0x200;
/// An instruction on the encoder stream is wrong.
pub const QPACK_ENCODER_STREAM_ERROR: u64 = 0x201;
/// An instruction on the decoder stream is wrong.
pub const QPACK_DECODER_STREAM_ERROR: u64 = 0x202;
/// A datagram's layout is wrong.
pub const H3_DATAGRAM_ERROR: u64 = 0x33;
/// The stream is bound to a session that is over.
pub const SESSION_GONE: u64 = 0x170d_7b68;
/// The stream waited for a session that did not come, or too many such streams waited.
pub const BUFFERED_STREAM_REJECTED: u64 = 0x3994_bd84;
/// The peer's SETTINGS leave out something that WebTransport needs.
pub const REQUIREMENTS_NOT_MET: u64 = 0x212c_0d48;

/// First and last code of the range that carries application codes.
const FIRST: u64 = 0x52e4_a40f_a8db;
const LAST: u64 = 0x52e5_ac98_3162;

/// The HTTP/3 code that carries an application's stream code in RESET_STREAM and STOP_SENDING. Every 31st code of the
/// range is reserved by HTTP/3 (RFC 9114 §8.1) and left out.
pub const fn to_http3(code: u32) -> u64 {
    let code = code as u64;
    FIRST + code + code / 0x1e
}

/// The application's stream code carried by an HTTP/3 code; None for reserved codes and those outside the range.
pub const fn from_http3(code: u64) -> Option<u32> {
    if code < FIRST || code > LAST || (code - 0x21) % 0x1f == 0 {
        return None;
    }
    let shifted = code - FIRST;
    Some((shifted - shifted / 0x1f) as u32)
}

/// The caller asked for something that the state of the connection or the rules of HTTP do not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misuse {
    /// No such session, or it has ended.
    UnknownSession,
    /// The session, or the connection, is not in a state that allows this (say, accepted twice).
    WrongState,
    /// This operation belongs to the other role.
    WrongRole,
    /// A status of the wrong class, a field that HTTP forbids, a wrong stream id or an over-long reason.
    InvalidArgument,
    /// The connection has failed.
    ConnectionOver,
}

impl std::fmt::Display for Misuse {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::UnknownSession => "no such session",
            Self::WrongState => "not possible in this state",
            Self::WrongRole => "this operation belongs to the other role",
            Self::InvalidArgument => "status, field, stream or reason not allowed",
            Self::ConnectionOver => "the connection is over",
        })
    }
}

impl std::error::Error for Misuse {}

/// What the peer did wrong, and how far the damage goes (RFC 9114 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Ends the connection.
    Connection {
        /// HTTP/3 code.
        code: u64,
        /// For people who read traces.
        reason: &'static str,
    },
    /// Ends one stream, both directions.
    Stream {
        /// HTTP/3 code.
        code: u64,
    },
    /// The header block of a message is larger than the limit.
    HeaderBlockTooLarge,
}

impl Fault {
    pub(crate) const fn connection(code: u64, reason: &'static str) -> Self {
        Self::Connection { code, reason }
    }

    pub(crate) const fn stream(code: u64) -> Self {
        Self::Stream { code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_range() {
        assert_eq!(to_http3(0), 0x52e4_a40f_a8db);
        assert_eq!(to_http3(0x1d), 0x52e4_a40f_a8f8);
        assert_eq!(
            to_http3(0x1e),
            0x52e4_a40f_a8fa,
            "0x52e4a40fa8f9 is reserved"
        );
        assert_eq!(to_http3(u32::MAX), 0x52e5_ac98_3162);
        assert_eq!(from_http3(0x52e5_ac98_3162), Some(u32::MAX));
    }

    #[test]
    fn reserved_and_foreign_codes_carry_nothing() {
        for code in [
            0,
            0x20,
            H3_NO_ERROR,
            SESSION_GONE,
            FIRST - 1,
            0x52e4_a40f_a8f9,
            LAST + 1,
            u64::MAX,
        ] {
            assert_eq!(from_http3(code), None, "{code:#x}");
        }
    }

    #[test]
    fn round_trip_without_reserved_codes() {
        for code in (0..2000).chain((0..64).map(|bit| u32::MAX >> (bit / 2))) {
            let carried = to_http3(code);
            assert_ne!((carried - 0x21) % 0x1f, 0);
            assert_eq!(from_http3(carried), Some(code));
        }
    }
}
