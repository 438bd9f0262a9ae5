//! A server against peers that break the rules of HTTP/3, and against what it has to skip.

use crate::support::*;
use legato_webtransport::{error, Event, Output, Routed};

/// What is wrong, the stream it comes on, what goes before, the bytes, and the connection error that follows.
type Case = (&'static str, u64, &'static [u8], &'static [u8], u64);

const CONTROL: u64 = client_uni(0);
const OTHER: u64 = client_uni(4);
const REQUEST: u64 = client_bidi(1);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("no SETTINGS", CONTROL, &[], &[0x00, 0x07, 0x01, 0x00], error::H3_MISSING_SETTINGS),
    ("reserved frame first", CONTROL, &[], &[0x00, 0x21, 0x00], error::H3_MISSING_SETTINGS),
    ("SETTINGS twice", CONTROL, BROWSER_SETTINGS, &[0x04, 0x00], error::H3_FRAME_UNEXPECTED),
    ("a setting twice", CONTROL, &[], &[0x00, 0x04, 0x04, 0x33, 1, 0x33, 1], error::H3_SETTINGS_ERROR),
    ("a setting of HTTP/2", CONTROL, &[], &[0x00, 0x04, 0x02, 0x02, 0x00], error::H3_SETTINGS_ERROR),
    ("SETTINGS cut short", CONTROL, &[], &[0x00, 0x04, 0x01, 0x33], error::H3_FRAME_ERROR),
    ("huge SETTINGS", CONTROL, &[], &[0x00, 0x04, 0x80, 0x01, 0x00, 0x00], error::H3_EXCESSIVE_LOAD),
    ("DATA on control", CONTROL, BROWSER_SETTINGS, &[0x00, 0x01, 0x00], error::H3_FRAME_UNEXPECTED),
    ("HEADERS on control", CONTROL, BROWSER_SETTINGS, &[0x01, 0x00], error::H3_FRAME_UNEXPECTED),
    ("PING of HTTP/2", CONTROL, BROWSER_SETTINGS, &[0x06, 0x00], error::H3_FRAME_UNEXPECTED),
    ("empty GOAWAY", CONTROL, BROWSER_SETTINGS, &[0x07, 0x00], error::H3_FRAME_ERROR),
    ("long GOAWAY", CONTROL, BROWSER_SETTINGS, &[0x07, 0x02, 0x00, 0x00], error::H3_FRAME_ERROR),
    ("GOAWAY grows", CONTROL, BROWSER_SETTINGS, &[0x07, 0x01, 4, 0x07, 0x01, 8], error::H3_ID_ERROR),
    ("MAX_PUSH_ID shrinks", CONTROL, BROWSER_SETTINGS, &[0x0d, 0x01, 4, 0x0d, 0x01, 3], error::H3_ID_ERROR),
    ("CANCEL_PUSH", CONTROL, BROWSER_SETTINGS, &[0x03, 0x01, 0x00], error::H3_ID_ERROR),
    ("session on control", CONTROL, BROWSER_SETTINGS, &[0x40, 0x41, 0x00], error::H3_FRAME_ERROR),
    ("push by a client", OTHER, &[], &[0x01], error::H3_STREAM_CREATION_ERROR),
    ("dynamic table", OTHER, &[], &[0x02, 0x3f], error::QPACK_ENCODER_STREAM_ERROR),
    ("acknowledgement", OTHER, &[], &[0x03, 0x80], error::QPACK_DECODER_STREAM_ERROR),
    ("uni stream of no session", OTHER, &[], &[0x40, 0x54, 0x01], error::H3_ID_ERROR),
    ("bidi stream of no session", REQUEST, &[], &[0x40, 0x41, 0x02], error::H3_ID_ERROR),
    ("DATA first", REQUEST, &[], &[0x00, 0x00], error::H3_FRAME_UNEXPECTED),
    ("SETTINGS on request", REQUEST, &[], &[0x04, 0x00], error::H3_FRAME_UNEXPECTED),
    ("GOAWAY on request", REQUEST, &[], &[0x07, 0x01, 0x00], error::H3_FRAME_UNEXPECTED),
    ("PUSH_PROMISE", REQUEST, &[], &[0x05, 0x00], error::H3_FRAME_UNEXPECTED),
    ("frame of HTTP/2", REQUEST, &[], &[0x08, 0x00], error::H3_FRAME_UNEXPECTED),
    ("late session", REQUEST, &[], &[0x21, 0x00, 0x40, 0x41, 0x00], error::H3_FRAME_ERROR),
    ("HEADERS twice", REQUEST, CONNECT, CONNECT, error::H3_FRAME_UNEXPECTED),
    ("dynamic field", REQUEST, &[], &[0x01, 0x03, 0x02, 0x00, 0x80], error::QPACK_DECOMPRESSION_FAILED),
    ("empty block", REQUEST, &[], &[0x01, 0x00], error::QPACK_DECOMPRESSION_FAILED),
];

#[test]
fn broken_rules_of_http3() {
    for &(what, stream, before, bytes, code) in CASES {
        for size in [1, usize::MAX] {
            let mut server = server();
            server.control_opened(server_uni(0)).unwrap();
            outputs(&mut server);
            for chunk in [before, bytes].concat().chunks(size) {
                feed(&mut server, stream, chunk);
            }
            assert_eq!(close_code(&mut server), Some(code), "{what}");
            assert!(matches!(
                events(&mut server).last(),
                Some(Event::ConnectionFailed { .. })
            ));
            assert_eq!(feed(&mut server, 0, CONNECT), Routed::Ignored);
            assert_eq!(server.goaway(), Err(error::Misuse::ConnectionOver));
        }
    }
}

#[test]
fn critical_streams_stay_open() {
    for kind in [0x00, 0x02, 0x03] {
        for reset in [true, false] {
            let mut server = server();
            let first = if kind == 0 { BROWSER_SETTINGS } else { &[kind] };
            feed(&mut server, client_uni(5), first);
            if reset {
                server.stream_reset(client_uni(5), 0);
            } else {
                finish(&mut server, client_uni(5), &[]);
            }
            assert_eq!(
                close_code(&mut server),
                Some(error::H3_CLOSED_CRITICAL_STREAM)
            );
        }
        let mut server = server();
        let first = if kind == 0 { BROWSER_SETTINGS } else { &[kind] };
        feed(&mut server, client_uni(5), first);
        feed(&mut server, client_uni(6), first);
        assert_eq!(
            close_code(&mut server),
            Some(error::H3_STREAM_CREATION_ERROR)
        );
    }
    let mut server = server_with_session();
    assert!(server.stream_stopped(server_uni(0), 0));
    assert_eq!(
        close_code(&mut server),
        Some(error::H3_CLOSED_CRITICAL_STREAM)
    );
}

#[test]
fn an_end_inside_a_frame() {
    for end in 2..CONNECT.len() {
        let mut server = server();
        finish(&mut server, 0, &CONNECT[..end]);
        assert_eq!(close_code(&mut server), Some(error::H3_FRAME_ERROR));
    }
    for nothing in [&[][..], &[0x40], &[0x40, 0x41], &[0x21, 0x00]] {
        let mut server = server();
        finish(&mut server, 0, nothing);
        let incomplete = Some(error::H3_REQUEST_INCOMPLETE);
        assert_eq!(stream_codes(&mut server, 0), (incomplete, incomplete));
    }
}

#[test]
fn malformed_and_oversized_requests_end_their_stream_only() {
    let mut server = server();
    feed(&mut server, client_uni(0), BROWSER_SETTINGS);
    feed(&mut server, 0, &[0x01, 0x03, 0x00, 0x00, 0xcf]);
    let malformed = Some(error::H3_MESSAGE_ERROR);
    assert_eq!(stream_codes(&mut server, 0), (malformed, malformed));

    assert_eq!(
        feed(&mut server, 4, &[0x01, 0x80, 0x01, 0x00, 0x00]),
        Routed::Ignored
    );
    let sent = outputs(&mut server);
    assert!(
        matches!(
            sent[0],
            Output::Write {
                stream: 4,
                fin: true,
                ..
            }
        ),
        "431"
    );
    assert_eq!(
        sent[1],
        Output::Stop {
            stream: 4,
            code: error::H3_NO_ERROR
        }
    );

    feed(&mut server, 8, CONNECT);
    assert!(server.accept(8, &[]).is_ok());
}

#[test]
fn the_unknown_is_skipped_without_keeping_it() {
    let mut server = server();
    let grease = [&[0x21, 0x44, 0x00][..], &[7; 0x400]].concat();
    let control = [
        BROWSER_SETTINGS,
        &grease,
        &[0x80, 0x0f, 0x07, 0x00, 0x01, 0x00],
    ]
    .concat();
    assert_eq!(feed(&mut server, client_uni(0), &control), Routed::Consumed);
    assert_eq!(
        feed(&mut server, client_uni(1), &[0x02, 0x20]),
        Routed::Consumed
    );
    assert_eq!(
        feed(&mut server, client_uni(2), &[0x03, 0x44]),
        Routed::Consumed
    );
    assert_eq!(
        feed(&mut server, client_uni(3), &[0x21, 1, 2, 3]),
        Routed::Ignored
    );
    let stop = Output::Stop {
        stream: client_uni(3),
        code: error::H3_STREAM_CREATION_ERROR,
    };
    assert_eq!(outputs(&mut server), [stop]);
    feed(
        &mut server,
        0,
        &[
            &grease[..],
            CONNECT,
            &grease,
            &[0x00, 0x03, 0x17, 0x01, 0xff],
        ]
        .concat(),
    );
    assert!(server.accept(0, &[]).is_ok());
    feed(
        &mut server,
        0,
        &[0x00, 0x09, 0x17, 0xbf, 0xff, 0xff, 0xff, 1, 2, 3, 4],
    );
    assert!(server.is_open(0));
    assert_eq!(close_code(&mut server), None);
}
