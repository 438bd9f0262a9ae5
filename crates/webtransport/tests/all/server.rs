//! A server against the bytes of browsers and of worse peers.

use crate::support::*;
use bytes::Bytes;
use legato_webtransport::{error, Config, Connection, Event, Field, Output, Role, Routed};

#[test]
fn a_session_from_first_byte_to_last() {
    let mut server = server();
    server.control_opened(server_uni(0)).unwrap();
    let first = outputs(&mut server);
    let [Output::Write {
        stream: 3,
        data,
        fin: false,
    }] = &first[..]
    else {
        panic!("{first:?}");
    };
    assert_eq!(data[..2], [0x00, 0x04], "control stream, SETTINGS");

    assert_eq!(
        feed(&mut server, client_uni(0), BROWSER_SETTINGS),
        Routed::Consumed
    );
    assert_eq!(events(&mut server), [Event::SettingsReceived]);
    assert!(server.ready());

    assert_eq!(feed(&mut server, 0, CONNECT), Routed::Consumed);
    let asked = events(&mut server);
    assert_eq!(
        asked,
        [Event::SessionRequested {
            session: 0,
            request: request()
        }]
    );
    assert!(!server.is_open(0));

    server.accept(0, &[]).unwrap();
    let answer = Output::Write {
        stream: 0,
        data: Bytes::from_static(OK),
        fin: false,
    };
    assert_eq!(outputs(&mut server), [answer]);
    assert!(server.is_open(0));

    assert_eq!(feed(&mut server, 0, CLOSE), Routed::Consumed);
    let reason = String::from("bye");
    let closed = Event::SessionClosed {
        session: 0,
        code: 7,
        reason,
        abrupt: None,
    };
    assert_eq!(events(&mut server), [closed]);
    let end = Output::Write {
        stream: 0,
        data: Bytes::new(),
        fin: true,
    };
    assert_eq!(outputs(&mut server), [end]);
    assert_eq!(finish(&mut server, 0, &[]), Routed::Consumed);
    assert!(!server.is_open(0));
    assert!(events(&mut server).is_empty() && outputs(&mut server).is_empty());
}

#[test]
fn the_answer_to_draft_02_says_so() {
    let mut server = server();
    feed(&mut server, client_uni(0), BROWSER_SETTINGS);
    let mark = b"\x27\x17sec-webtransport-http3-draft02\x011";
    let block = [&CONNECT[2..], mark].concat();
    let frame = [&[0x01, 0x40, block.len() as u8], &block[..]].concat();
    feed(&mut server, 0, &frame);
    server.accept(0, &[Field::new("x", "y")]).unwrap();
    let mut client = client_asking();
    let Some(Output::Write { data, .. }) = outputs(&mut server).pop() else {
        panic!("no answer");
    };
    client.receive(0, data, false);
    let headers = vec![
        Field::new("sec-webtransport-http3-draft", "draft02"),
        Field::new("x", "y"),
    ];
    let accepted = Event::SessionAccepted {
        session: 0,
        status: 200,
        headers,
    };
    assert_eq!(events(&mut client), [accepted]);
}

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
fn refusal() {
    let mut server = server();
    feed(&mut server, client_uni(0), BROWSER_SETTINGS);
    feed(&mut server, 0, CONNECT);
    feed(&mut server, client_uni(1), &[0x40, 0x54, 0x00]);
    assert_eq!(
        server.reject(0, 200, &[]),
        Err(error::Misuse::InvalidArgument)
    );
    server.reject(0, 404, &[]).unwrap();
    let sent = outputs(&mut server);
    let answer = Output::Write {
        stream: 0,
        data: Bytes::from_static(NOT_FOUND),
        fin: true,
    };
    let gone = Output::Stop {
        stream: client_uni(1),
        code: error::SESSION_GONE,
    };
    assert_eq!(sent, [answer, gone]);
    assert_eq!(server.accept(0, &[]), Err(error::Misuse::UnknownSession));
    assert_eq!(
        feed(&mut server, 0, CLOSE),
        Routed::Consumed,
        "whatever still comes is dropped"
    );
    assert_eq!(finish(&mut server, 0, &[]), Routed::Consumed);
    assert!(outputs(&mut server).is_empty());
}

#[test]
fn a_request_before_settings_waits_for_them() {
    let mut server = server();
    feed(&mut server, 0, CONNECT);
    assert_eq!(events(&mut server), []);
    assert_eq!(server.accept(0, &[]), Err(error::Misuse::WrongState));
    feed(&mut server, client_uni(0), BROWSER_SETTINGS);
    let requested = Event::SessionRequested {
        session: 0,
        request: request(),
    };
    assert_eq!(events(&mut server), [Event::SettingsReceived, requested]);
}

#[test]
fn a_client_without_datagrams_gets_no_session_but_answers() {
    for early in [true, false] {
        let mut server = server();
        if early {
            feed(&mut server, 0, CONNECT);
        }
        feed(&mut server, client_uni(0), &[0x00, 0x04, 0x00]);
        if !early {
            feed(&mut server, 0, CONNECT);
        }
        let unmet = Some(error::REQUIREMENTS_NOT_MET);
        assert_eq!(stream_codes(&mut server, 0), (unmet, unmet));
        assert_eq!(events(&mut server), []);
        finish(&mut server, 4, GET);
        assert!(matches!(
            outputs(&mut server)[0],
            Output::Write {
                stream: 4,
                fin: true,
                ..
            }
        ));
    }
}

#[test]
fn other_requests_get_a_status_and_harm_nobody() {
    let other_requests = |_: &str, path: &str| if path == "/" { 404 } else { 405 };
    let config = Config {
        other_requests,
        ..Config::default()
    };
    let mut server = Connection::new(Role::Server, config);
    feed(&mut server, client_uni(0), BROWSER_SETTINGS);
    let body = [GET, &[0x00, 0x02, 1, 2]].concat();
    assert_eq!(finish(&mut server, 0, &body), Routed::Ignored);
    let answer = Output::Write {
        stream: 0,
        data: Bytes::from_static(NOT_FOUND),
        fin: true,
    };
    let stop = Output::Stop {
        stream: 0,
        code: error::H3_NO_ERROR,
    };
    assert_eq!(outputs(&mut server), [answer, stop]);
    feed(&mut server, 4, CONNECT);
    assert!(server.accept(4, &[]).is_ok());
}

#[test]
fn other_protocols_are_not_implemented() {
    let mut server = server_with_session();
    let frame = CONNECT.to_vec();
    let at = frame.len() - "webtransport".len();
    feed(&mut server, 4, &[&frame[..at], b"connect-udpx"].concat());
    let sent = outputs(&mut server);
    let Output::Write {
        stream: 4,
        data,
        fin: true,
    } = &sent[0]
    else {
        panic!("{sent:?}");
    };
    let mut client = client_asking();
    client.receive(0, data.clone(), true);
    let refused = Event::SessionRefused {
        session: 0,
        status: 501,
        headers: vec![],
    };
    assert_eq!(events(&mut client), [refused]);
}

#[test]
fn more_sessions_than_allowed_are_rejected() {
    let mut server = server_with_session();
    assert_eq!(feed(&mut server, 4, CONNECT), Routed::Ignored);
    let rejected = Some(error::H3_REQUEST_REJECTED);
    assert_eq!(stream_codes(&mut server, 4), (rejected, rejected));
    server.close(0, 0, "").unwrap();
    feed(&mut server, 8, CONNECT);
    assert!(server.accept(8, &[]).is_ok());
}

#[test]
fn goaway_refuses_what_comes_later() {
    let mut server = server();
    assert_eq!(
        server.goaway(),
        Err(error::Misuse::WrongState),
        "no control stream yet"
    );
    server.control_opened(server_uni(0)).unwrap();
    feed(&mut server, client_uni(0), BROWSER_SETTINGS);
    feed(&mut server, 0, CONNECT);
    outputs(&mut server);
    server.goaway().unwrap();
    server.goaway().unwrap();
    let data = Bytes::from_static(&[0x07, 0x01, 0x04]);
    assert_eq!(
        outputs(&mut server),
        [Output::Write {
            stream: 3,
            data,
            fin: false
        }]
    );
    server.accept(0, &[]).unwrap();
    feed(&mut server, 4, CONNECT);
    let rejected = Some(error::H3_REQUEST_REJECTED);
    assert_eq!(stream_codes(&mut server, 4), (rejected, rejected));
    assert!(matches!(
        feed(&mut server, 8, &[0x40, 0x41, 0x00]),
        Routed::Session { session: 0, .. }
    ));
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

#[test]
fn how_sessions_break() {
    let abrupt = |code| {
        [Event::SessionClosed {
            session: 0,
            code: 0,
            reason: String::new(),
            abrupt: Some(code),
        }]
    };
    let mut server = server_with_session();
    assert!(server.stream_reset(0, 0x10c));
    assert_eq!(events(&mut server), abrupt(0x10c));
    assert_eq!(
        stream_codes(&mut server, 0),
        (Some(error::H3_REQUEST_CANCELLED), None)
    );

    let mut server = server_with_session();
    assert!(server.stream_stopped(0, 0x10c));
    assert_eq!(events(&mut server), abrupt(0x10c));
    assert_eq!(
        stream_codes(&mut server, 0),
        (Some(0x10c), Some(error::H3_REQUEST_CANCELLED))
    );

    let mut server = server_with_session();
    finish(&mut server, 0, &[]);
    let clean = Event::SessionClosed {
        session: 0,
        code: 0,
        reason: String::new(),
        abrupt: None,
    };
    assert_eq!(events(&mut server), [clean]);

    let malformed: [&[u8]; 3] = [
        &[0x00, 0x03, 0x68, 0x43, 0x02], // a close without a code
        &[&CLOSE[..1], &[0x0b], &CLOSE[2..], &[0]].concat(), // bytes behind a close
        &[0x00, 0x01, 0x68],             // end inside a capsule
    ];
    for bytes in malformed {
        let mut server = server_with_session();
        finish(&mut server, 0, bytes);
        let (reset, _) = stream_codes(&mut server, 0);
        assert_eq!(reset, Some(error::H3_MESSAGE_ERROR), "{bytes:x?}");
        assert_eq!(events(&mut server).len(), 1);
        assert!(!server.is_open(0));
    }
}

#[test]
fn bytes_behind_a_close_in_a_later_packet() {
    let mut server = server_with_session();
    let longer = [&CLOSE[..1], &[0x0b], &CLOSE[2..]].concat();
    assert_eq!(feed(&mut server, 0, &longer), Routed::Consumed);
    assert_eq!(feed(&mut server, 0, &[0]), Routed::Ignored);
    assert_eq!(
        stream_codes(&mut server, 0).1,
        Some(error::H3_MESSAGE_ERROR)
    );
}

#[test]
fn stopped_before_an_answer() {
    let mut server = server_with_session();
    assert!(!server.stream_stopped(4, 5), "nothing was read of it yet");
    feed(&mut server, 4, &GET[..1]);
    assert!(server.stream_stopped(4, 5));
    let cancelled = Some(error::H3_REQUEST_CANCELLED);
    assert_eq!(stream_codes(&mut server, 4), (Some(5), cancelled));
    assert_eq!(events(&mut server), []);
}

#[test]
fn draining_is_told_and_asked() {
    let mut server = server_with_session();
    feed(&mut server, 0, DRAIN);
    assert_eq!(events(&mut server), [Event::SessionDraining { session: 0 }]);
    server.drain(0).unwrap();
    let data = Bytes::from_static(DRAIN);
    assert_eq!(
        outputs(&mut server),
        [Output::Write {
            stream: 0,
            data,
            fin: false
        }]
    );
    assert!(server.is_open(0));
}

#[test]
fn closing() {
    let mut server = server_with_session();
    assert_eq!(
        server.close(0, 1, &"x".repeat(1025)),
        Err(error::Misuse::InvalidArgument)
    );
    server.close(0, 7, "bye").unwrap();
    let data = Bytes::from_static(CLOSE);
    assert_eq!(
        outputs(&mut server),
        [Output::Write {
            stream: 0,
            data,
            fin: true
        }]
    );
    assert_eq!(
        server.close(0, 7, "bye"),
        Err(error::Misuse::UnknownSession)
    );
    assert_eq!(feed(&mut server, 0, DRAIN), Routed::Consumed);
    assert_eq!(
        finish(&mut server, 0, CLOSE),
        Routed::Consumed,
        "both sides closed at once"
    );
    assert_eq!(events(&mut server), []);
    assert_eq!(outputs(&mut server), []);
}

#[test]
fn misuse_changes_nothing() {
    let mut server = server_with_session();
    assert_eq!(server.accept(0, &[]), Err(error::Misuse::WrongState));
    assert_eq!(server.reject(0, 404, &[]), Err(error::Misuse::WrongState));
    assert_eq!(server.connect(4, request()), Err(error::Misuse::WrongRole));
    assert_eq!(
        server.control_opened(server_uni(1)),
        Err(error::Misuse::WrongState)
    );
    assert_eq!(
        server.control_opened(client_uni(1)),
        Err(error::Misuse::InvalidArgument)
    );
    assert_eq!(server.drain(4), Err(error::Misuse::UnknownSession));
    assert!(!server.stream_reset(40, 0) && !server.stream_stopped(40, 0));
    feed(&mut server, 4, &[]);
    assert!(outputs(&mut server).is_empty() && events(&mut server).is_empty());
    let mut server = crate::support::server();
    feed(&mut server, client_uni(0), BROWSER_SETTINGS);
    feed(&mut server, 0, CONNECT);
    let bad = Field::new("Bad", "");
    assert_eq!(
        server.accept(0, &[bad]),
        Err(error::Misuse::InvalidArgument)
    );
    assert_eq!(server.close(0, 0, ""), Err(error::Misuse::WrongState));
    assert_eq!(server.drain(0), Err(error::Misuse::WrongState));
    assert!(outputs(&mut server).is_empty());
    assert!(server.accept(0, &[]).is_ok());
}
