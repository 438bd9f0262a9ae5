//! Whom a client trusts: certificates by hash and by root, their time, and new ones.

use crate::common::*;
use legato_engine::{ConnectTarget, EndpointKeys, FailureKind, Settings};

#[test]
fn only_the_pinned_certificate_is_trusted_and_only_while_valid() {
    for (first, last, spoil, good) in [
        (-1, 10, 0, true),
        (-1, 10, 1, false),
        (-20, -2, 0, false),
        (2, 10, 0, false),
    ] {
        let (identity, mut hash) = identity_valid(first, last);
        hash[0] ^= spoil;
        let server = server_of(&identity, Settings::default(), &EndpointKeys::default(), 1);
        let mut network = Network::of(server);
        network.client().front().connect(target(hash)).unwrap();
        network.run_for(SECOND);
        let log = &network.client().log;
        assert_eq!(!log.opened.is_empty(), good);
        if !good {
            assert_eq!(
                log.failed[0].2,
                FailureKind::Certificate,
                "{}",
                log.failed[0].1
            );
        }
    }
}

#[test]
fn roots_are_trusted_for_their_names_only() {
    for (name, good) in [("localhost", true), ("elsewhere.example", false)] {
        let (identity, _) = identity();
        let root = identity.certificate_chain[0].clone();
        let server = server_of(&identity, Settings::default(), &EndpointKeys::default(), 1);
        let mut network = Network::of(server);
        let target = ConnectTarget {
            certificate_hashes: Vec::new(),
            roots: vec![root],
            server_name: name.into(),
            ..target([0; 32])
        };
        network.client().front().connect(target).unwrap();
        network.run_for(SECOND);
        assert_eq!(!network.client().log.opened.is_empty(), good);
    }
}

#[test]
fn no_common_protocol_is_told_as_such() {
    let client = Settings {
        alpn: vec![b"other".to_vec()],
        ..Settings::default()
    };
    let (mut network, hash) = Network::pair(Settings::default(), client);
    network.client().front().connect(target(hash)).unwrap();
    network.run_to(|network| !network.client().log.failed.is_empty());
    assert_eq!(network.client().log.failed[0].2, FailureKind::Tls);
}

#[test]
fn a_new_certificate_serves_new_connections_and_leaves_old_ones_alone() {
    let (mut network, theirs, ours) = Network::connected();
    let (fresh, hash) = identity();
    network.server().front().set_identity(&fresh).unwrap();
    network.run_for(SECOND);
    let second = network.client().front().connect(target(hash)).unwrap();
    network.run_to(|network| network.client().log.opened == [ours, second]);
    network
        .server()
        .front()
        .send_datagram(theirs, "still here".into())
        .unwrap();
    network.run_to(|network| !network.client().log.datagrams.is_empty());
}
