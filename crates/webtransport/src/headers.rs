//! Fields of requests and responses, and the rules that make a message well formed (RFC 9114 §4.2 and §4.3).
//!
//! Must not know streams or sessions.

use bytes::Bytes;

use crate::error::{Fault, Misuse, H3_MESSAGE_ERROR};
use crate::qpack::{self, Line};

/// The `:protocol` of a session request (RFC 9220 §3).
const PROTOCOL: &str = "webtransport";
/// How draft-02 marks requests and answers; Chromium and Firefox send the first, older clients look for the second.
const DRAFT02_REQUEST: (&str, &[u8]) = ("sec-webtransport-http3-draft02", b"1");
const DRAFT02_ANSWER: (&str, &[u8]) = ("sec-webtransport-http3-draft", b"draft02");

/// One field line. Names are lower case; values are bytes because HTTP promises no charset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Lower-case name.
    pub name: String,
    /// Value as sent.
    pub value: Vec<u8>,
}

impl Field {
    /// A field from anything that turns into a name and a value.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }

    fn parts(&self) -> (&str, &[u8]) {
        (&self.name, &self.value)
    }
}

/// What a client asks for when it opens a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Host and port, the `:authority`.
    pub authority: String,
    /// Absolute path with query, the `:path`.
    pub path: String,
    /// The `origin` field; browsers always send it.
    pub origin: Option<String>,
    /// All other fields, in order of arrival, without pseudo-header fields.
    pub headers: Vec<Field>,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A WebTransport session.
    Session(Request),
    /// An extended CONNECT for some other protocol.
    OtherProtocol,
    /// Anything else; the path is empty for a plain CONNECT.
    Other { method: String, path: String },
}

const MALFORMED: Fault = Fault::stream(H3_MESSAGE_ERROR);

/// Pseudo-header fields and the rest, each checked on its own.
#[derive(Default)]
struct Message {
    pseudo: Vec<(String, String)>,
    fields: Vec<Field>,
}

impl Message {
    fn decode(block: Bytes, limit: usize) -> Result<Self, Fault> {
        let mut message = Self::default();
        for line in qpack::decode(block, limit)? {
            message.add(line)?;
        }
        Ok(message)
    }

    fn add(&mut self, (name, value): Line) -> Result<(), Fault> {
        let name = String::from_utf8(name).map_err(|_| MALFORMED)?;
        if !allowed_value(&value) {
            return Err(MALFORMED);
        }
        if name.starts_with(':') {
            let value = String::from_utf8(value).map_err(|_| MALFORMED)?;
            let repeated = self.pseudo.iter().any(|(known, _)| *known == name);
            if repeated || !self.fields.is_empty() {
                return Err(MALFORMED);
            }
            self.pseudo.push((name, value));
        } else {
            let field = Field { name, value };
            if !allowed_field(&field) {
                return Err(MALFORMED);
            }
            self.fields.push(field);
        }
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pseudo.iter().position(|(known, _)| known == name)?;
        Some(self.pseudo.swap_remove(at).1)
    }
}

/// RFC 9110 §5.5: visible characters, blanks and bytes of other charsets, no blank at either end.
fn allowed_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let legal = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    value.iter().all(legal) && !blank(value.first()) && !blank(value.last())
}

/// RFC 9110 §5.6.2, without upper case (RFC 9114 §4.2).
fn allowed_name(name: &str) -> bool {
    let legal =
        |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9') || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(legal)
}

/// A regular field that HTTP/3 allows: nothing that speaks about a TCP connection.
fn allowed_field(field: &Field) -> bool {
    allowed_name(&field.name)
        && allowed_value(&field.value)
        && match field.name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
                false
            }
            "te" => field.value == b"trailers",
            _ => true,
        }
}

/// Reads the header block of a request.
pub(crate) fn decode_request(block: Bytes, limit: usize) -> Result<Asked, Fault> {
    let mut message = Message::decode(block, limit)?;
    let method = message
        .take(":method")
        .filter(|method| !method.is_empty())
        .ok_or(MALFORMED)?;
    let (scheme, authority) = (message.take(":scheme"), message.take(":authority"));
    let (path, protocol) = (message.take(":path"), message.take(":protocol"));
    if !message.pseudo.is_empty() {
        return Err(MALFORMED);
    }
    if method == "CONNECT" && protocol.is_none() {
        if scheme.is_some() || path.is_some() || authority.is_none() {
            return Err(MALFORMED);
        }
        return Ok(Asked::Other {
            method,
            path: String::new(),
        });
    }
    let path = path
        .filter(|path| path.starts_with('/') || path == "*")
        .ok_or(MALFORMED)?;
    scheme.ok_or(MALFORMED)?;
    let Some(protocol) = protocol else {
        return Ok(Asked::Other { method, path });
    };
    let authority = authority
        .filter(|authority| !authority.is_empty())
        .ok_or(MALFORMED)?;
    if method != "CONNECT" {
        return Err(MALFORMED);
    }
    if protocol != PROTOCOL {
        return Ok(Asked::OtherProtocol);
    }
    let origin = message
        .fields
        .iter()
        .position(|field| field.name == "origin");
    let origin = origin.map(|at| String::from_utf8(message.fields.remove(at).value));
    let origin = origin.transpose().map_err(|_| MALFORMED)?;
    Ok(Asked::Session(Request {
        authority,
        path,
        origin,
        headers: message.fields,
    }))
}

/// Reads the header block of a response: status and fields.
pub(crate) fn decode_response(block: Bytes, limit: usize) -> Result<(u16, Vec<Field>), Fault> {
    let mut message = Message::decode(block, limit)?;
    let status = message.take(":status").ok_or(MALFORMED)?;
    let digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    let status = status
        .parse()
        .ok()
        .filter(|status| digits && (100..600).contains(status));
    if !message.pseudo.is_empty() {
        return Err(MALFORMED);
    }
    Ok((status.ok_or(MALFORMED)?, message.fields))
}

/// The header block of a session request.
pub(crate) fn encode_request(request: &Request) -> Result<Vec<u8>, Misuse> {
    let pseudo: [(&str, &[u8]); 5] = [
        (":method", b"CONNECT"),
        (":scheme", b"https"),
        (":authority", request.authority.as_bytes()),
        (":path", request.path.as_bytes()),
        (":protocol", PROTOCOL.as_bytes()),
    ];
    let origin = request
        .origin
        .as_ref()
        .map(|origin| ("origin", origin.as_bytes()));
    let legal = !request.authority.is_empty()
        && request.path.starts_with('/')
        && pseudo
            .iter()
            .chain(&origin)
            .all(|(_, value)| allowed_value(value))
        && request.headers.iter().all(allowed_field);
    if !legal {
        return Err(Misuse::InvalidArgument);
    }
    let fields = request.headers.iter().map(Field::parts);
    Ok(qpack::encode(
        pseudo
            .into_iter()
            .chain([DRAFT02_REQUEST])
            .chain(origin)
            .chain(fields),
    ))
}

/// The header block of a response. `draft02`: the request was marked so.
pub(crate) fn encode_response(
    status: u16,
    fields: &[Field],
    draft02: bool,
) -> Result<Vec<u8>, Misuse> {
    if !fields.iter().all(allowed_field) {
        return Err(Misuse::InvalidArgument);
    }
    let status = status.to_string();
    let mark = draft02.then_some(DRAFT02_ANSWER);
    let lines = [(":status", status.as_bytes())].into_iter().chain(mark);
    Ok(qpack::encode(lines.chain(fields.iter().map(Field::parts))))
}

/// Whether a request carries the mark of draft-02.
pub(crate) fn marked_draft02(request: &Request) -> bool {
    request
        .headers
        .iter()
        .any(|field| field.parts() == DRAFT02_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&str, &str)]) -> Result<Asked, Fault> {
        let lines = lines.iter().map(|(name, value)| (*name, value.as_bytes()));
        decode_request(qpack::encode(lines).into(), 4096)
    }

    fn response(lines: &[(&str, &str)]) -> Result<(u16, Vec<Field>), Fault> {
        let lines = lines.iter().map(|(name, value)| (*name, value.as_bytes()));
        decode_response(qpack::encode(lines).into(), 4096)
    }

    const CONNECT: [(&str, &str); 5] = [
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":authority", "localhost:4433"),
        (":path", "/legato/v1?a=b"),
        (":protocol", "webtransport"),
    ];

    #[test]
    fn what_a_browser_asks() {
        let more = [
            ("sec-webtransport-http3-draft02", "1"),
            ("origin", "http://localhost:8000"),
        ];
        let Ok(Asked::Session(asked)) = request(&[&CONNECT[..], &more].concat()) else {
            panic!("not a session request");
        };
        assert_eq!(asked.authority, "localhost:4433");
        assert_eq!(asked.path, "/legato/v1?a=b");
        assert_eq!(asked.origin.as_deref(), Some("http://localhost:8000"));
        assert!(marked_draft02(&asked));
        assert_eq!(
            asked.headers,
            [Field::new("sec-webtransport-http3-draft02", "1")]
        );
    }

    #[test]
    fn other_requests_are_told_apart() {
        let get = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/x"),
        ];
        let other = |method: &str, path: &str| {
            Ok(Asked::Other {
                method: method.into(),
                path: path.into(),
            })
        };
        assert_eq!(request(&get), other("GET", "/x"));
        let options = [(":method", "OPTIONS"), (":scheme", "https"), (":path", "*")];
        assert_eq!(request(&options), other("OPTIONS", "*"));
        assert_eq!(
            request(&[(":method", "CONNECT"), (":authority", "a:1")]),
            other("CONNECT", "")
        );
        let mut websocket = CONNECT;
        websocket[4].1 = "websocket";
        assert_eq!(request(&websocket), Ok(Asked::OtherProtocol));
    }

    #[test]
    fn malformed_requests() {
        for missing in &CONNECT[..4] {
            let lines: Vec<_> = CONNECT.into_iter().filter(|line| line != missing).collect();
            assert_eq!(request(&lines), Err(MALFORMED), "without {}", missing.0);
        }
        for extra in [
            (":path", "/again"),
            (":status", "200"),
            ("Upper", "case"),
            ("", "no name"),
            ("sp ace", "x"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("line", "break\r\nx: y"),
            ("nul", "\0"),
            ("blank", " x"),
        ] {
            assert_eq!(
                request(&[&CONNECT[..], &[extra]].concat()),
                Err(MALFORMED),
                "{extra:?}"
            );
        }
        let late = [
            ("x", "y"),
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/"),
        ];
        assert_eq!(
            request(&late),
            Err(MALFORMED),
            "pseudo-header field behind a field"
        );
        for (at, value) in [(2, ""), (3, ""), (3, "relative"), (0, "GET")] {
            let mut lines = CONNECT;
            lines[at].1 = value;
            assert_eq!(request(&lines), Err(MALFORMED), "{:?}", lines[at]);
        }
    }

    #[test]
    fn responses() {
        let fields = vec![Field::new("retry-after", "5")];
        assert_eq!(
            response(&[(":status", "429"), ("retry-after", "5")]),
            Ok((429, fields))
        );
        for status in ["", "20", "099", "600", "+20", "2000", "abc"] {
            assert_eq!(
                response(&[(":status", status)]),
                Err(MALFORMED),
                "{status:?}"
            );
        }
        assert_eq!(response(&[("server", "x")]), Err(MALFORMED));
        assert_eq!(
            response(&[(":status", "200"), (":path", "/")]),
            Err(MALFORMED)
        );
    }

    #[test]
    fn the_two_sides_understand_each_other() {
        let asked = Request {
            authority: "[::1]:4433".into(),
            path: "/legato/v1".into(),
            origin: Some("https://example.org".into()),
            headers: vec![
                Field::new("authorization", "Bearer x"),
                Field::new("x", b"\xff".to_vec()),
            ],
        };
        let Asked::Session(mut seen) =
            decode_request(encode_request(&asked).unwrap().into(), 4096).unwrap()
        else {
            panic!("not a session request");
        };
        assert_eq!(seen.headers.remove(0).parts(), DRAFT02_REQUEST);
        assert_eq!(seen, asked);
        let block = encode_response(404, &[Field::new("x", "y")], true).unwrap();
        let fields = vec![
            Field::new("sec-webtransport-http3-draft", "draft02"),
            Field::new("x", "y"),
        ];
        assert_eq!(decode_response(block.into(), 4096), Ok((404, fields)));
    }

    #[test]
    fn we_do_not_send_what_we_would_refuse() {
        let good = Request {
            authority: "a".into(),
            path: "/".into(),
            ..Request::default()
        };
        assert!(encode_request(&good).is_ok());
        let bad = [
            Request {
                authority: String::new(),
                ..good.clone()
            },
            Request {
                path: "x".into(),
                ..good.clone()
            },
            Request {
                path: "/\r\n".into(),
                ..good.clone()
            },
            Request {
                origin: Some("\n".into()),
                ..good.clone()
            },
            Request {
                headers: vec![Field::new(":path", "/")],
                ..good.clone()
            },
            Request {
                headers: vec![Field::new("X", "y")],
                ..good
            },
        ];
        for request in bad {
            assert_eq!(
                encode_request(&request),
                Err(Misuse::InvalidArgument),
                "{request:?}"
            );
        }
        assert!(encode_response(200, &[Field::new("upgrade", "x")], false).is_err());
    }
}
