//! To which session a stream or a datagram belongs, and what becomes of those without one.

use crate::support::*;
use bytes::Bytes;
use legato_webtransport::{error, Config, Connection, Event, Role, Routed};

#[test]
fn streams_of_an_open_session_are_handed_over_uncopied() {
    let mut server = server_with_session();
    let chunk = Bytes::from_static(&[0x40, 0x41, 0x00, 1, 2, 3]);
    let routed = server.receive(client_bidi(1), chunk.clone(), false);
    let Routed::Session {
        session: 0,
        payload,
    } = routed
    else {
        panic!("{routed:?}");
    };
    assert_eq!(payload.as_ptr(), chunk[3..].as_ptr());
    assert_eq!(payload.len(), 3);
    assert_eq!(feed(&mut server, client_uni(1), &[0x40]), Routed::Consumed);
    assert_eq!(feed(&mut server, client_uni(1), &[0x54]), Routed::Consumed);
    let routed = finish(&mut server, client_uni(1), &[0x00]);
    assert_eq!(
        routed,
        Routed::Session {
            session: 0,
            payload: Bytes::new()
        }
    );
}

#[test]
fn streams_wait_for_their_session() {
    let mut server = server();
    let early = finish(&mut server, client_uni(3), &[0x40, 0x54, 0x00, 9]);
    assert_eq!(early, Routed::Held, "before SETTINGS and CONNECT");
    feed(&mut server, client_uni(0), BROWSER_SETTINGS);
    feed(&mut server, 0, CONNECT);
    assert_eq!(
        feed(&mut server, client_bidi(1), &[0x40, 0x41, 0x00]),
        Routed::Held
    );
    assert_eq!(
        feed(&mut server, client_bidi(1), &[8]),
        Routed::Held,
        "fed although held"
    );
    events(&mut server);
    server.accept(0, &[]).unwrap();
    let released = |stream, payload: &[u8], fin| Event::StreamReleased {
        session: 0,
        stream,
        payload: Bytes::copy_from_slice(payload),
        fin,
    };
    assert_eq!(
        events(&mut server),
        [
            released(client_uni(3), &[9], true),
            released(client_bidi(1), &[8], false)
        ]
    );
}

#[test]
fn too_many_waiting_streams_are_turned_away() {
    let config = Config {
        max_held_streams: 2,
        max_held_bytes: 10,
        ..Config::default()
    };
    let mut server = Connection::new(Role::Server, config);
    assert_eq!(
        feed(&mut server, client_uni(1), &[0x40, 0x54, 0x00, 1, 2]),
        Routed::Held
    );
    assert_eq!(
        feed(&mut server, client_uni(2), &[0x40, 0x54, 0x00]),
        Routed::Held
    );
    assert_eq!(
        feed(&mut server, client_bidi(9), &[0x40, 0x41, 0x00]),
        Routed::Ignored
    );
    let rejected = Some(error::BUFFERED_STREAM_REJECTED);
    assert_eq!(
        stream_codes(&mut server, client_bidi(9)),
        (rejected, rejected)
    );
    assert_eq!(feed(&mut server, client_uni(2), &[0; 9]), Routed::Ignored);
    assert_eq!(stream_codes(&mut server, client_uni(2)), (None, rejected));
    assert!(server.stream_reset(client_uni(1), 0), "the peer gave up");
    feed(&mut server, client_uni(0), BROWSER_SETTINGS);
    feed(&mut server, 0, CONNECT);
    events(&mut server);
    server.accept(0, &[]).unwrap();
    assert_eq!(events(&mut server), []);
}

#[test]
fn streams_of_a_session_that_is_over_are_turned_away() {
    let mut server = server_with_session();
    server.close(0, 0, "").unwrap();
    outputs(&mut server);
    assert_eq!(
        feed(&mut server, client_bidi(1), &[0x40, 0x41, 0x00, 1]),
        Routed::Ignored
    );
    let gone = Some(error::SESSION_GONE);
    assert_eq!(stream_codes(&mut server, client_bidi(1)), (gone, gone));
    assert_eq!(
        feed(&mut server, client_uni(1), &[0x40, 0x54, 0x00, 1]),
        Routed::Ignored
    );
    assert_eq!(stream_codes(&mut server, client_uni(1)), (None, gone));
    assert_eq!(server.datagram(Bytes::from_static(&[0x00, 1])), None);
}

#[test]
fn datagrams() {
    let mut server = server_with_session();
    let payload = Bytes::from_static(&[1, 2]);
    assert_eq!(
        server.datagram(Bytes::from_static(&[0, 1, 2])),
        Some((0, payload))
    );
    assert_eq!(
        server.datagram(Bytes::from_static(&[0])),
        Some((0, Bytes::new()))
    );
    assert_eq!(
        server.datagram(Bytes::from_static(&[1, 1, 2])),
        None,
        "stream 4 is no session"
    );
    assert_eq!(close_code(&mut server), None);
    for malformed in [&[][..], &[0x40], &[0xd0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut server = server_with_session();
        assert_eq!(server.datagram(Bytes::copy_from_slice(malformed)), None);
        assert_eq!(close_code(&mut server), Some(error::H3_DATAGRAM_ERROR));
    }
}
