//! Error codes: HTTP/3 (RFC 9114 §8.1, RFC 9204 §6, RFC 9297 §5.2), WebTransport (draft-ietf-webtrans-http3 §9.5) and the
//! mapping between stream codes of an application and HTTP/3 codes (§4.4 there). Owns no state.

/// Nothing went wrong.
pub const H3_NO_ERROR: u64 = 0x100;
/// The stream is bound to a session that was closed.
pub const SESSION_GONE: u64 = 0x170d_7b68;
/// The stream waited for a session that did not come, or too many such streams waited.
pub const BUFFERED_STREAM_REJECTED: u64 = 0x3994_bd84;

const FIRST: u64 = 0x52e4_a40f_a8db;

/// The HTTP/3 code that carries an application's stream code in RESET_STREAM and STOP_SENDING.
pub fn to_http3(code: u32) -> u64 {
    let code = u64::from(code);
    FIRST + code + code / 0x1e
}

/// The application's stream code carried by an HTTP/3 code, or None if it carries none.
pub fn from_http3(code: u64) -> Option<u32> {
    let shifted = code.checked_sub(FIRST)?;
    if code.checked_sub(0x21)? % 0x1f == 0 {
        return None;
    }
    u32::try_from(shifted - shifted / 0x1f).ok()
}

/// The caller asked for something that the state of the connection or the rules of HTTP do not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misuse {
    /// No such session, or it has ended.
    UnknownSession,
    /// The session exists but is not in the state that this needs (say, accepted twice).
    WrongState,
    /// This operation belongs to the other role.
    WrongRole,
    /// A status outside 200..=599 or of the wrong class, a field name or value that HTTP forbids, or an over-long reason.
    InvalidArgument,
    /// The connection has failed or was closed.
    ConnectionOver,
}

impl std::fmt::Display for Misuse {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::UnknownSession => "no such session",
            Self::WrongState => "the session is not in a state that allows this",
            Self::WrongRole => "this operation belongs to the other role",
            Self::InvalidArgument => "status, field or reason not allowed by HTTP",
            Self::ConnectionOver => "the connection is over",
        })
    }
}

impl std::error::Error for Misuse {}
