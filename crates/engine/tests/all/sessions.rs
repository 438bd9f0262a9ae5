//! Sessions over a virtual network: opening, refusing and ending.

use crate::common::*;
use legato_engine::{ClosedBy, EventKind, FailureKind, Inline, Settings};

#[test]
fn a_session_opens_and_says_where_it_comes_from() {
    let (network, ..) = Network::connected();
    let EventKind::SessionRequested(_, request) = &network.server().log.events[0].kind else {
        panic!("the first event is the request");
    };
    assert_eq!(
        (request.path.as_str(), request.authority.as_str()),
        ("/legato/v1", "localhost:4433")
    );
    assert_eq!(request.local, server_address());
    assert_eq!(request.remote.ip().to_string(), "10.0.0.2");
}

#[test]
fn first_bytes_arrive_after_one_and_a_half_round_trips() {
    let (mut network, hash) = Network::pair(Settings::default(), Settings::default());
    network.weather.latency_us = 50_000;
    let front = network.client().front();
    let session = front.connect(target(hash)).unwrap();
    let stream = front.open_stream(session, false).unwrap();
    front.send(stream, pattern(640).into(), false).unwrap();
    network.run_to(|network| !network.server().log.data.is_empty());
    assert!(network.now <= 152_000, "{} us", network.now);
}

#[test]
fn a_refused_request_carries_its_status() {
    let (mut network, hash) = Network::pair(Settings::default(), Settings::default());
    network.nodes[0].accepts = false;
    let session = network.client().front().connect(target(hash)).unwrap();
    network.run_to(|network| !network.server().log.requested.is_empty());
    let theirs = network.server().log.requested[0];
    network
        .server()
        .front()
        .reject(theirs, 404, Vec::new())
        .unwrap();
    network.run_to(|network| !network.client().log.refused.is_empty());
    assert_eq!(network.client().log.refused, [(session, 404)]);
}

#[test]
fn a_server_that_takes_no_more_says_so() {
    let (mut network, hash) = Network::pair(Settings::default(), Settings::default());
    network.server().front().refuse_new(Some(503)).unwrap();
    network.client().front().connect(target(hash)).unwrap();
    network.run_to(|network| !network.client().log.refused.is_empty());
    assert_eq!(network.client().log.refused[0].1, 503);
    network.server().front().refuse_new(None).unwrap();
    let again = network.meet(hash);
    assert_eq!(network.client().log.opened, [again]);
}

#[test]
fn too_many_connections_are_refused() {
    let settings = Settings {
        max_connections: 1,
        ..Settings::default()
    };
    let (mut network, hash) = Network::pair(settings, Settings::default());
    network.meet(hash);
    let second = network.client().front().connect(target(hash)).unwrap();
    network.run_to(|network| !network.client().log.failed.is_empty());
    let (session, _, kind) = &network.client().log.failed[0];
    assert_eq!((*session, *kind), (second, FailureKind::Refused));
}

#[test]
fn each_side_hears_how_the_other_ends() {
    for closer in [0, 1] {
        let (mut network, theirs, ours) = Network::connected();
        let sessions = [theirs, ours];
        network.nodes[closer]
            .front()
            .close(sessions[closer], 7, "enough".into())
            .unwrap();
        network.run_for(SECOND);
        let expect = |by| (by, 7, "enough".to_owned());
        assert_eq!(
            network.nodes[closer].log.closed[&sessions[closer]],
            expect(ClosedBy::Local)
        );
        let other = 1 - closer;
        assert_eq!(
            network.nodes[other].log.closed[&sessions[other]],
            expect(ClosedBy::Peer)
        );
        network.run_for(10 * SECOND);
        assert!(
            network
                .nodes
                .iter()
                .all(|node| node.inline.next_timeout().is_none()),
            "the connection is gone"
        );
    }
}

#[test]
fn what_was_finished_before_the_end_still_arrives() {
    let (mut network, theirs, _) = Network::connected();
    network.server().say(theirs, false, pattern(3000), true);
    network.run_to(|network| !network.client().log.finished.is_empty());
    network
        .server()
        .front()
        .close(theirs, 0, String::new())
        .unwrap();
    network.run_to(|network| !network.client().log.closed.is_empty());
    assert_eq!(
        network.client().log.data.values().next().unwrap(),
        &pattern(3000)
    );
}

#[test]
fn a_wish_to_end_arrives() {
    let (mut network, theirs, ours) = Network::connected();
    network.server().front().drain_session(theirs).unwrap();
    network.run_to(|network| network.client().log.draining == [ours]);
}

#[test]
fn a_shutdown_tells_everybody_and_then_nothing_works() {
    let (mut network, _, ours) = Network::connected();
    let now = network.now;
    network.nodes[0].inline.shutdown(now);
    network.run_to(|network| network.client().log.closed.contains_key(&ours));
    assert!(network.server().front().refuse_new(None).is_err());
}

#[test]
fn silence_ends_a_session_after_the_idle_timeout() {
    let settings = Settings {
        max_idle_ms: 5_000,
        ..Settings::default()
    };
    let (mut network, theirs, ours) = Network::connected_with(settings, Settings::default());
    network.blackout = true;
    network.run_for(7 * SECOND);
    assert_eq!(network.server().log.closed[&theirs].0, ClosedBy::Transport);
    assert_eq!(network.client().log.closed[&ours].0, ClosedBy::Transport);
}

#[test]
fn keep_alive_outlasts_the_idle_timeout() {
    let settings = Settings {
        max_idle_ms: 5_000,
        ..Settings::default()
    };
    let client = Settings {
        keep_alive_ms: 2_000,
        ..Settings::default()
    };
    let (mut network, ..) = Network::connected_with(settings, client);
    network.run_for(60 * SECOND);
    assert!(network.nodes.iter().all(|node| node.log.closed.is_empty()));
}

#[test]
fn nobody_there_is_a_timeout() {
    let (mut network, hash) = Network::pair(Settings::default(), Settings::default());
    network.blackout = true;
    let session = network.client().front().connect(target(hash)).unwrap();
    network.run_to(|network| !network.client().log.failed.is_empty());
    let (failed, _, kind) = &network.client().log.failed[0];
    assert_eq!((*failed, *kind), (session, FailureKind::Timeout));
    assert!(network.now <= 10 * SECOND + 1000);
}

#[test]
fn the_next_address_is_tried_and_early_bytes_follow() {
    let (mut network, hash) = Network::pair(Settings::default(), Settings::default());
    let mut target = target(hash);
    target.addresses.insert(0, address("10.9.9.9:1"));
    let front = network.client().front();
    let session = front.connect(target).unwrap();
    let stream = front.open_stream(session, true).unwrap();
    front.send(stream, pattern(5000).into(), true).unwrap();
    network.run_to(|network| !network.server().log.finished.is_empty());
    assert_eq!(
        network.server().log.data.values().next().unwrap(),
        &pattern(5000)
    );
    assert!((300_000..600_000).contains(&network.now), "{}", network.now);
}

#[test]
fn many_sessions_live_side_by_side() {
    let (mut network, hash) = Network::pair(Settings::default(), Settings::default());
    let mut sent = Vec::new();
    for number in 0..200u32 {
        let front = network.client().front();
        let session = front.connect(target(hash)).unwrap();
        let stream = front.open_stream(session, true).unwrap();
        let text = format!("call {number} ").repeat(50).into_bytes();
        front.send(stream, text.clone().into(), true).unwrap();
        sent.push(text);
    }
    network.run_to(|network| network.server().log.finished.len() == 200);
    let mut received: Vec<Vec<u8>> = network.server().log.data.values().cloned().collect();
    received.sort();
    sent.sort();
    assert_eq!(received, sent);
}

#[test]
fn mistakes_are_told_at_once() {
    let (mut network, theirs, ours) = Network::connected();
    let front = network.server().front();
    assert!(front.open_stream(999, true).is_err(), "no such session");
    assert!(
        front.send(999, "x".into(), false).is_err(),
        "no such stream"
    );
    assert!(
        front.close(theirs, 0, "x".repeat(1025)).is_err(),
        "a long reason"
    );
    assert!(
        front.reject(theirs, 200, Vec::new()).is_err(),
        "a status that is no refusal"
    );
    assert!(front
        .accept(theirs, vec![("bad name".into(), "x".into())])
        .is_err());
    assert!(
        front.migrate(theirs, None).is_err(),
        "a server does not migrate"
    );
    let stream = front.open_stream(theirs, false).unwrap();
    front.send(stream, "x".into(), true).unwrap();
    assert!(
        front.send(stream, "x".into(), false).is_err(),
        "after the end"
    );
    network
        .client()
        .front()
        .close(ours, 0, String::new())
        .unwrap();
    network.run_for(SECOND);
    network.drain(0);
    let front = network.server().front();
    assert!(
        front.open_stream(theirs, false).is_err(),
        "the session is over and the caller knows"
    );
    front.close(theirs, 0, String::new()).unwrap();
}

#[test]
fn bytes_that_come_before_the_answer_wait_for_it() {
    let (mut network, hash) = Network::pair(Settings::default(), Settings::default());
    network.nodes[0].accepts = false;
    let front = network.client().front();
    let session = front.connect(target(hash)).unwrap();
    for number in 0..5 {
        let stream = front.open_stream(session, number % 2 == 0).unwrap();
        front.send(stream, pattern(20_000).into(), true).unwrap();
    }
    network.run_for(5 * SECOND);
    assert!(network.server().log.streams.is_empty());
    let theirs = network.server().log.requested[0];
    network.server().front().accept(theirs, Vec::new()).unwrap();
    network.run_to(|network| network.server().log.finished.len() == 5);
    let log = &network.server().log;
    assert!(log.data.values().all(|data| data == &pattern(20_000)));
}

#[test]
fn requests_weigh_what_they_bring_along() {
    let settings = Settings {
        event_buffer_bytes: 64 << 10,
        ..Settings::default()
    };
    let (mut network, hash) = Network::pair(settings, Settings::default());
    network.nodes[0].drains = false;
    for _ in 0..50 {
        let target = legato_engine::ConnectTarget {
            headers: vec![("padding".into(), "x".repeat(10_000))],
            ..target(hash)
        };
        network.client().front().connect(target).unwrap();
    }
    network.run_for(SECOND);
    let waiting = network.server().front().drain().unwrap().len();
    assert!((6..10).contains(&waiting), "{waiting} requests waited");
}

#[test]
fn whoever_wants_no_answer_on_a_stream_that_waits_is_heard_when_it_is_let_in() {
    let (mut network, hash) = Network::pair(Settings::default(), Settings::default());
    network.nodes[0].accepts = false;
    let front = network.client().front();
    let session = front.connect(target(hash)).unwrap();
    let stream = front.open_stream(session, true).unwrap();
    front.send(stream, "question".into(), true).unwrap();
    network.run_to(|network| !network.server().log.requested.is_empty());
    network.client().front().stop(stream, 7).unwrap();
    network.run_for(SECOND);
    let theirs = network.server().log.requested[0];
    network.server().front().accept(theirs, Vec::new()).unwrap();
    network.run_to(|network| !network.server().log.finished.is_empty());
    assert!(network.server().log.stopped.values().eq([&7]));
}

#[test]
fn a_flood_of_first_packets_is_answered_cheaply_and_forgotten() {
    let settings = Settings {
        retry_threshold: 20,
        ..Settings::default()
    };
    let (mut network, hash) = Network::pair(settings, Settings::default());
    for number in 0..200u16 {
        let mut flooder = Inline::client(Settings::default(), u64::from(number)).unwrap();
        flooder.front().connect(target(hash)).unwrap();
        for mut datagram in flooder.poll_transmit(0) {
            datagram.source = address(&format!("10.66.0.1:{}", 1000 + number));
            network.launch(datagram, 1000);
        }
    }
    network.run_for(10_000);
    let answers = network
        .sent
        .iter()
        .filter(|datagram| datagram.source == server_address());
    assert_eq!(answers.filter(|datagram| is_retry(datagram)).count(), 180);
    let session = network.meet(hash);
    network.run_for(25 * SECOND);
    network
        .client()
        .front()
        .close(session, 0, String::new())
        .unwrap();
    network.run_for(10 * SECOND);
    assert!(
        network.server().inline.next_timeout().is_none(),
        "nothing is left"
    );
}
