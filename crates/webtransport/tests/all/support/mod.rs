//! Literal bytes and short ways to look at a connection, for all tests of this crate.

use bytes::Bytes;
use legato_webtransport::{Config, Connection, Event, Output, Role, Routed};

/// Stream ids as QUIC numbers them: who opened, which direction, how many before.
pub const fn client_bidi(n: u64) -> u64 {
    n * 4
}
pub const fn server_bidi(n: u64) -> u64 {
    n * 4 + 1
}
pub const fn client_uni(n: u64) -> u64 {
    n * 4 + 2
}
pub const fn server_uni(n: u64) -> u64 {
    n * 4 + 3
}

/// A control stream that begins as Firefox 153 begins it: draft-02 and datagrams.
pub const BROWSER_SETTINGS: &[u8] = &[
    0x00, // control stream
    0x04, 0x12, // SETTINGS, 18 bytes
    0x07, 0x14, // QPACK_BLOCKED_STREAMS 20
    0xab, 0x60, 0x37, 0x42, 0x01, // ENABLE_WEBTRANSPORT
    0x80, 0xff, 0xd2, 0x77, 0x01, // H3_DATAGRAM of draft-04
    0x33, 0x01, // H3_DATAGRAM
    0x08, 0x01, // ENABLE_CONNECT_PROTOCOL
    0x21, 0x05, // reserved
];

/// CONNECT https://localhost/legato/v1 for WebTransport, as a HEADERS frame without Huffman code.
pub const CONNECT: &[u8] =
    b"\x01\x33\x00\x00\xcf\xd7\x50\x09localhost\x51\x0a/legato/v1\x27\x02:protocol\x0cwebtransport";

/// GET https://localhost/ as a HEADERS frame.
pub const GET: &[u8] = b"\x01\x10\x00\x00\xd1\xd7\x50\x09localhost\xc1";

/// A server's control stream with the least that a client needs.
pub const SERVER_SETTINGS: &[u8] = &[
    0x00, 0x04, 0x09, 0x08, 0x01, 0x33, 0x01, 0xab, 0x60, 0x37, 0x42, 0x01,
];

/// `:status 200` and `:status 404` as HEADERS frames.
pub const OK: &[u8] = &[0x01, 0x03, 0x00, 0x00, 0xd9];
pub const NOT_FOUND: &[u8] = &[0x01, 0x03, 0x00, 0x00, 0xdb];

/// CLOSE_WEBTRANSPORT_SESSION(7, "bye") and DRAIN_WEBTRANSPORT_SESSION, each in a DATA frame.
pub const CLOSE: &[u8] = b"\x00\x0a\x68\x43\x07\x00\x00\x00\x07bye";
pub const DRAIN: &[u8] = &[0x00, 0x05, 0x80, 0x00, 0x78, 0xae, 0x00];

pub fn server() -> Connection {
    Connection::new(Role::Server, Config::default())
}

pub fn client() -> Connection {
    Connection::new(Role::Client, Config::default())
}

pub fn feed(connection: &mut Connection, stream: u64, bytes: &[u8]) -> Routed {
    connection.receive(stream, Bytes::copy_from_slice(bytes), false)
}

pub fn finish(connection: &mut Connection, stream: u64, bytes: &[u8]) -> Routed {
    connection.receive(stream, Bytes::copy_from_slice(bytes), true)
}

pub fn outputs(connection: &mut Connection) -> Vec<Output> {
    std::iter::from_fn(|| connection.poll_output()).collect()
}

pub fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

/// Bytes that a connection says on a stream, and whether they are its last.
pub fn write(stream: u64, data: &[u8], fin: bool) -> Output {
    let data = Bytes::copy_from_slice(data);
    Output::Write { stream, data, fin }
}

/// What a connection has to say, which is all on one stream.
pub fn written(connection: &mut Connection, on: u64, last: bool) -> Bytes {
    let said = outputs(connection);
    match &said[..] {
        [Output::Write { stream, data, fin }] if (*stream, *fin) == (on, last) => data.clone(),
        _ => panic!("{said:?}"),
    }
}

/// The code with which the connection was closed.
pub fn close_code(connection: &mut Connection) -> Option<u64> {
    outputs(connection)
        .into_iter()
        .find_map(|output| match output {
            Output::Close { code, .. } => Some(code),
            _ => None,
        })
}

/// The codes with which a stream was reset and stopped.
pub fn stream_codes(connection: &mut Connection, wanted: u64) -> (Option<u64>, Option<u64>) {
    let (mut reset, mut stopped) = (None, None);
    for output in outputs(connection) {
        match output {
            Output::Reset { stream, code } if stream == wanted => reset = Some(code),
            Output::Stop { stream, code } if stream == wanted => stopped = Some(code),
            _ => {}
        }
    }
    (reset, stopped)
}

/// A server with an open session on stream 0 and nothing left to drain.
pub fn server_with_session() -> Connection {
    let mut server = server();
    server.control_opened(server_uni(0)).unwrap();
    assert_eq!(
        feed(&mut server, client_uni(0), BROWSER_SETTINGS),
        Routed::Consumed
    );
    assert_eq!(feed(&mut server, 0, CONNECT), Routed::Consumed);
    server.accept(0, &[]).unwrap();
    outputs(&mut server);
    events(&mut server);
    server
}

/// A client that has asked for a session on stream 0 and has not been answered.
pub fn client_asking() -> Connection {
    let mut client = client();
    client.control_opened(client_uni(0)).unwrap();
    client.connect(0, request()).unwrap();
    assert_eq!(
        feed(&mut client, server_uni(0), SERVER_SETTINGS),
        Routed::Consumed
    );
    outputs(&mut client);
    events(&mut client);
    client
}

pub fn client_with_session() -> Connection {
    let mut client = client_asking();
    assert_eq!(feed(&mut client, 0, OK), Routed::Consumed);
    events(&mut client);
    client
}

pub fn request() -> legato_webtransport::Request {
    legato_webtransport::Request {
        authority: "localhost".into(),
        path: "/legato/v1".into(),
        ..Default::default()
    }
}
