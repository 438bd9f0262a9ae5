//! What a server makes of requests: sessions it takes, refuses or cannot have, and everything else.

use crate::support::*;
use legato_webtransport::{error, Config, Connection, Event, Output, Role, Routed};

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
    let answer = write(0, NOT_FOUND, true);
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
    let answer = write(0, NOT_FOUND, true);
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
    assert_eq!(outputs(&mut server), [write(3, &[0x07, 0x01, 0x04], false)]);
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
fn stopped_before_an_answer() {
    let mut server = server_with_session();
    assert!(!server.stream_stopped(4, 5), "nothing was read of it yet");
    feed(&mut server, 4, &GET[..1]);
    assert!(server.stream_stopped(4, 5));
    let cancelled = Some(error::H3_REQUEST_CANCELLED);
    assert_eq!(stream_codes(&mut server, 4), (Some(5), cancelled));
    assert_eq!(events(&mut server), []);
}
