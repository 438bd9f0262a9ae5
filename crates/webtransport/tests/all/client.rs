//! A client against the bytes of servers.

use crate::support::*;
use bytes::Bytes;
use legato_webtransport::{error, Event, Field, Output, Request, Routed};

#[test]
fn the_request_leaves_right_behind_the_settings() {
    let mut client = client();
    client.control_opened(client_uni(0)).unwrap();
    let origin = Some("https://example.org".to_owned());
    client
        .connect(
            0,
            Request {
                origin,
                ..request()
            },
        )
        .unwrap();
    let sent = outputs(&mut client);
    assert_eq!(sent.len(), 1, "only SETTINGS: {sent:?}");
    feed(&mut client, server_uni(0), SERVER_SETTINGS);
    assert_eq!(events(&mut client), [Event::SettingsReceived]);
    let data = written(&mut client, 0, false);
    let mut server = server();
    feed(&mut server, client_uni(0), BROWSER_SETTINGS);
    server.receive(0, data, false);
    let seen = events(&mut server);
    let Some(Event::SessionRequested {
        session: 0,
        request,
    }) = seen.last()
    else {
        panic!("{seen:?}");
    };
    assert_eq!(request.origin.as_deref(), Some("https://example.org"));
    assert_eq!(
        request.headers,
        [Field::new("sec-webtransport-http3-draft02", "1")]
    );
}

#[test]
fn a_request_when_the_settings_are_known_leaves_at_once() {
    let mut client = client();
    feed(&mut client, server_uni(0), SERVER_SETTINGS);
    client.connect(4, request()).unwrap();
    assert!(matches!(
        outputs(&mut client)[..],
        [Output::Write { stream: 4, .. }]
    ));
}

#[test]
fn accepted_after_an_interim_answer() {
    let mut client = client_asking();
    let interim = [0x01, 0x03, 0x00, 0x00, 0xc0 | 24];
    feed(&mut client, 0, &[&interim, OK].concat());
    let accepted = Event::SessionAccepted {
        session: 0,
        status: 200,
        headers: vec![],
    };
    assert_eq!(events(&mut client), [accepted]);
    assert!(client.is_open(0));
}

#[test]
fn refused() {
    let mut client = client_asking();
    assert_eq!(
        finish(&mut client, 0, &[NOT_FOUND, b"\x00\x02no"].concat()),
        Routed::Ignored
    );
    let refused = Event::SessionRefused {
        session: 0,
        status: 404,
        headers: vec![],
    };
    assert_eq!(events(&mut client), [refused]);
    let end = write(0, &[], true);
    assert_eq!(outputs(&mut client)[0], end);
    assert_eq!(client.close(0, 0, ""), Err(error::Misuse::UnknownSession));
}

#[test]
fn a_server_without_webtransport() {
    let incomplete: [&[u8]; 3] = [
        &[0x00, 0x04, 0x00],
        &[0x00, 0x04, 0x04, 0x08, 0x01, 0x33, 0x01],
        &[0x00, 0x04, 0x07, 0x33, 0x01, 0xab, 0x60, 0x37, 0x42, 0x01],
    ];
    for settings in incomplete {
        let mut client = client();
        client.connect(0, request()).unwrap();
        feed(&mut client, server_uni(0), settings);
        assert_eq!(close_code(&mut client), Some(error::REQUIREMENTS_NOT_MET));
        assert!(!client.ready());
    }
}

#[test]
fn streams_of_the_server() {
    let mut client = client_asking();
    assert_eq!(
        feed(&mut client, server_uni(1), &[0x40, 0x54, 0x00, 5]),
        Routed::Held
    );
    assert_eq!(
        feed(&mut client, server_uni(2), &[0x40, 0x54, 0x04]),
        Routed::Ignored,
        "no session"
    );
    feed(&mut client, 0, OK);
    let payload = Bytes::from_static(&[5]);
    let released = Event::StreamReleased {
        session: 0,
        stream: server_uni(1),
        payload,
        fin: false,
    };
    assert_eq!(events(&mut client).last(), Some(&released));
    let routed = feed(&mut client, server_bidi(0), &[0x40, 0x41, 0x00, 6]);
    assert_eq!(
        routed,
        Routed::Session {
            session: 0,
            payload: Bytes::from_static(&[6])
        }
    );
    assert_eq!(
        feed(&mut client, client_uni(7), &[0x00]),
        Routed::Ignored,
        "its own stream"
    );
}

#[test]
fn closed_and_drained_by_the_server() {
    let mut client = client_with_session();
    feed(&mut client, 0, DRAIN);
    finish(&mut client, 0, CLOSE);
    let reason = String::from("bye");
    let closed = Event::SessionClosed {
        session: 0,
        code: 7,
        reason,
        abrupt: None,
    };
    assert_eq!(
        events(&mut client),
        [Event::SessionDraining { session: 0 }, closed]
    );
}

#[test]
fn goaway_drains_sessions_and_ends_requests() {
    let mut client = client_with_session();
    client.connect(4, request()).unwrap();
    outputs(&mut client);
    feed(&mut client, server_uni(0), &[0x07, 0x01, 0x04].repeat(2));
    let lost = Event::SessionClosed {
        session: 4,
        code: 0,
        reason: String::new(),
        abrupt: Some(error::H3_REQUEST_REJECTED),
    };
    assert_eq!(
        events(&mut client),
        [Event::SessionDraining { session: 0 }, lost]
    );
    assert_eq!(
        stream_codes(&mut client, 4).0,
        Some(error::H3_REQUEST_REJECTED)
    );
    assert_eq!(client.connect(8, request()), Err(error::Misuse::WrongState));
    assert!(client.is_open(0));
}

#[test]
fn giving_up_before_the_answer() {
    let mut client = client_asking();
    client.close(0, 1, "changed my mind").unwrap();
    let cancelled = Some(error::H3_REQUEST_CANCELLED);
    assert_eq!(stream_codes(&mut client, 0), (cancelled, cancelled));
    assert_eq!(feed(&mut client, 0, OK), Routed::Ignored);
    assert_eq!(events(&mut client), []);
}

#[test]
fn answers_that_break_off() {
    for bytes in [&[][..], &[0x21, 0x00]] {
        let mut client = client_asking();
        finish(&mut client, 0, bytes);
        let abrupt = Some(error::H3_REQUEST_INCOMPLETE);
        let closed = Event::SessionClosed {
            session: 0,
            code: 0,
            reason: String::new(),
            abrupt,
        };
        assert_eq!(events(&mut client), [closed]);
    }
    let mut client = client_asking();
    client.stream_reset(0, error::H3_REQUEST_REJECTED);
    assert!(matches!(
        events(&mut client)[..],
        [Event::SessionClosed {
            abrupt: Some(_),
            ..
        }]
    ));
    let mut client = client_asking();
    feed(&mut client, 0, &[0x01, 0x80, 0x01, 0x00, 0x00]);
    assert_eq!(
        stream_codes(&mut client, 0).0,
        Some(error::H3_EXCESSIVE_LOAD)
    );
}

#[test]
fn broken_rules_of_http3() {
    let cases: [(&str, u64, &[u8], u64); 8] = [
        (
            "MAX_PUSH_ID",
            server_uni(0),
            &[0x0d, 0x01, 0x00],
            error::H3_FRAME_UNEXPECTED,
        ),
        (
            "GOAWAY with a push id",
            server_uni(0),
            &[0x07, 0x01, 0x01],
            error::H3_ID_ERROR,
        ),
        ("push stream", server_uni(1), &[0x01], error::H3_ID_ERROR),
        ("push promise", 0, &[0x05, 0x00], error::H3_ID_ERROR),
        (
            "request by a server",
            server_bidi(0),
            &[0x01],
            error::H3_STREAM_CREATION_ERROR,
        ),
        (
            "trailers",
            0,
            &[1, 3, 0, 0, 0xd9, 1, 3, 0, 0, 0xd9],
            error::H3_FRAME_UNEXPECTED,
        ),
        (
            "session in a stream",
            0,
            &[0x40, 0x41, 0x00],
            error::H3_FRAME_ERROR,
        ),
        (
            "cut header block",
            0,
            &[0x01, 0x01, 0x00],
            error::QPACK_DECOMPRESSION_FAILED,
        ),
    ];
    for (what, stream, bytes, code) in cases {
        let mut client = client_asking();
        feed(&mut client, stream, bytes);
        assert_eq!(close_code(&mut client), Some(code), "{what}");
    }
}

#[test]
fn misuse_changes_nothing() {
    let mut client = client_asking();
    assert_eq!(client.accept(0, &[]), Err(error::Misuse::WrongRole));
    assert_eq!(client.drain(0), Err(error::Misuse::WrongState));
    assert_eq!(
        client.connect(0, request()),
        Err(error::Misuse::InvalidArgument)
    );
    assert_eq!(
        client.connect(2, request()),
        Err(error::Misuse::InvalidArgument)
    );
    let bad = Request {
        path: "x".into(),
        ..request()
    };
    assert_eq!(client.connect(4, bad), Err(error::Misuse::InvalidArgument));
    assert!(outputs(&mut client).is_empty());
}
