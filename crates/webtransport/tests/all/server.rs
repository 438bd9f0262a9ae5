//! A session on a server: opened with the bytes of a browser, used, and ended in every way.

use crate::support::*;
use legato_webtransport::{error, Event, Field, Output, Routed};

#[test]
fn a_session_from_first_byte_to_last() {
    let mut server = server();
    server.control_opened(server_uni(0)).unwrap();
    let data = written(&mut server, 3, false);
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
    let answer = write(0, OK, false);
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
    let end = write(0, &[], true);
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
fn draining_is_told_and_asked() {
    let mut server = server_with_session();
    feed(&mut server, 0, DRAIN);
    assert_eq!(events(&mut server), [Event::SessionDraining { session: 0 }]);
    server.drain(0).unwrap();
    assert_eq!(outputs(&mut server), [write(0, DRAIN, false)]);
    assert!(server.is_open(0));
}

#[test]
fn a_wish_to_end_is_told_once_however_often_it_comes() {
    let mut server = server_with_session();
    feed(&mut server, 0, &DRAIN.repeat(3));
    feed(&mut server, 0, DRAIN);
    assert_eq!(events(&mut server), [Event::SessionDraining { session: 0 }]);
}

#[test]
fn closing() {
    let mut server = server_with_session();
    assert_eq!(
        server.close(0, 1, &"x".repeat(1025)),
        Err(error::Misuse::InvalidArgument)
    );
    server.close(0, 7, "bye").unwrap();
    assert_eq!(outputs(&mut server), [write(0, CLOSE, true)]);
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
