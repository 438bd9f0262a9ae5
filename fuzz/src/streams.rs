//! Single parsers, and one stream cut in two ways: chunking must not change what comes out.

use bytes::Bytes;
use legato_webtransport::{parsers, Config, Connection, Event, Output, Role, Routed};

use crate::fragments::{self, Fragment};

/// QPACK header blocks: decoded size stays within the limit (each field counts at least 32 bytes).
pub fn header_block(input: &[Fragment], limit: u16) {
    let block = Bytes::from(fragments::bytes(input));
    let fields = parsers::header_block(block.clone(), limit.into());
    assert!(fields.unwrap_or(0) * 32 <= usize::from(limit));
    let (request, response) = parsers::message(block, limit.into());
    assert!(!(request && response), "no message is both");
}

/// Payloads of SETTINGS frames.
pub fn settings(input: &[Fragment]) {
    parsers::settings(fragments::bytes(input).into());
}

/// Capsules, whole and in pieces.
pub fn capsules(input: &[Fragment], size: u8) {
    let bytes = fragments::bytes(input);
    let size = usize::from(size).max(1);
    let whole = parsers::capsules([Bytes::copy_from_slice(&bytes)].into_iter());
    let cut = parsers::capsules(bytes.chunks(size).map(Bytes::copy_from_slice));
    assert_eq!(whole, cut);
}

/// Where the stream under test finds its connection.
#[derive(Debug, Clone, Copy, bolero::TypeGenerator)]
pub enum Setting {
    /// A server that has read nothing.
    FreshServer,
    /// A server with SETTINGS and an open session on stream 0.
    BusyServer,
    /// A client that waits for SETTINGS.
    FreshClient,
    /// A client with an open session on stream 0.
    BusyClient,
}

const CLIENT_CONTROL: &[u8] = &[0x00, 0x04, 0x02, 0x33, 0x01];
const SERVER_CONTROL: &[u8] = &[
    0x00, 0x04, 0x09, 0x08, 0x01, 0x33, 0x01, 0xab, 0x60, 0x37, 0x42, 0x01,
];
const CONNECT: &[u8] = b"\x01\x20\x00\x00\xcf\xd7\x50\x01a\xc1\x27\x02:protocol\x0cwebtransport";
const OK: &[u8] = &[0x01, 0x03, 0x00, 0x00, 0xd9];

fn connection(setting: Setting) -> Connection {
    let config = || Config {
        max_held_bytes: 40,
        max_header_block: 256,
        ..Config::default()
    };
    let (mut server, mut client) = (
        Connection::new(Role::Server, config()),
        Connection::new(Role::Client, config()),
    );
    let request = legato_webtransport::Request {
        authority: "a".into(),
        path: "/".into(),
        ..Default::default()
    };
    let mut connection = match setting {
        Setting::FreshServer => server,
        Setting::BusyServer => {
            server.receive(2, Bytes::from_static(CLIENT_CONTROL), false);
            server.receive(0, Bytes::from_static(CONNECT), false);
            server.accept(0, &[]).expect("the session was requested");
            server
        }
        Setting::FreshClient => {
            client.connect(0, request).expect("a fine request");
            client
        }
        Setting::BusyClient => {
            client.connect(0, request).expect("a fine request");
            client.receive(3, Bytes::from_static(SERVER_CONTROL), false);
            client.receive(0, Bytes::from_static(OK), false);
            assert!(client.is_open(0));
            client
        }
    };
    while connection.poll_event().is_some() || connection.poll_output().is_some() {}
    connection
}

/// What one stream led to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Session and payload, once the stream became one of a session.
    session: Option<(u64, Vec<u8>)>,
    held: bool,
    ignored: bool,
    outputs: Vec<Output>,
    events: Vec<Event>,
}

fn outcome<'a>(
    setting: Setting,
    stream: u64,
    chunks: impl Iterator<Item = &'a [u8]>,
    fin: bool,
) -> Outcome {
    let mut connection = connection(setting);
    let (mut session, mut held, mut ignored) = (None::<(u64, Vec<u8>)>, false, false);
    let mut chunks = chunks.peekable();
    while let Some(chunk) = chunks.next() {
        if let Some((_, payload)) = &mut session {
            payload.extend_from_slice(chunk);
            continue;
        }
        let fin = fin && chunks.peek().is_none();
        match connection.receive(stream, Bytes::copy_from_slice(chunk), fin) {
            Routed::Consumed => {}
            Routed::Held => held = true,
            Routed::Ignored => ignored = true,
            Routed::Session {
                session: id,
                payload,
            } => session = Some((id, payload.to_vec())),
        }
        if ignored {
            // Whether it was held before is a matter of timing.
            held = false;
            break;
        }
    }
    let outputs = std::iter::from_fn(|| connection.poll_output()).collect();
    let events = std::iter::from_fn(|| connection.poll_event()).collect();
    Outcome {
        session,
        held,
        ignored,
        outputs,
        events,
    }
}

/// One stream, whole and in pieces.
pub fn chunking(setting: Setting, stream: u8, input: &[Fragment], size: u8, fin: bool) {
    let bytes = fragments::bytes(input);
    let stream = u64::from(stream % 16);
    let cut = outcome(
        setting,
        stream,
        bytes.chunks(usize::from(size % 32).max(1)),
        fin,
    );
    let whole = outcome(setting, stream, bytes.chunks(bytes.len().max(1)), fin);
    assert_eq!(whole, cut);
}
