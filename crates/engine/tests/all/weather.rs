//! Bad networks and bad peers: loss, reordering, duplication, changed addresses, garbage, replay, restarts.

use std::collections::HashSet;

use crate::common::*;
use legato_engine::{ClosedBy, ConnectionIdLayout, Datagram, EndpointKeys, Inline, Settings};

/// Send both ways through whatever the network does and compare every byte.
fn survives(network: &mut Network, theirs: u64, ours: u64, length: usize) {
    let data = pattern(length);
    network.client().say(ours, false, data.clone(), true);
    network.server().say(theirs, false, data.clone(), true);
    let before = (
        network.server().log.finished.len(),
        network.client().log.finished.len(),
    );
    network.run_to(|network| {
        network.server().log.finished.len() > before.0
            && network.client().log.finished.len() > before.1
    });
    for node in &network.nodes {
        let last = node.log.streams.last().unwrap().0;
        assert!(node.log.data[&last] == data);
    }
}

#[test]
fn a_fifth_of_all_packets_may_be_lost() {
    let (mut network, theirs, ours) = Network::connected();
    network.weather.loss_percent = 20;
    survives(&mut network, theirs, ours, 300_000);
    assert!(network.client().front().stats(ours).unwrap().lost_packets > 0);
}

#[test]
fn a_handshake_survives_loss() {
    for seed in 0..10 {
        let (mut network, hash) = Network::pair(Settings::default(), Settings::default());
        network.weather.loss_percent = 20;
        network.run_for(seed); // moves the dice
        network.meet(hash);
    }
}

#[test]
fn reordering_and_duplication_change_nothing() {
    let (mut network, theirs, ours) = Network::connected();
    network.weather.jitter_us = 30_000;
    network.weather.duplicate_percent = 30;
    survives(&mut network, theirs, ours, 300_000);
}

#[test]
fn a_client_whose_port_and_address_change_unawares_goes_on() {
    let (mut network, theirs, ours) = Network::connected();
    let client = network.client().front().stats(ours).unwrap().local;
    let mut expected = Vec::new();
    for seen in ["10.0.0.2:55555", "10.0.7.7:55555"] {
        network.translation.insert(client, address(seen));
        expected.push(address(seen));
        survives(&mut network, theirs, ours, 100_000);
        assert_eq!(network.server().log.paths, expected);
    }
    assert_eq!(
        network.server().front().stats(theirs).unwrap().path_changes,
        2
    );
}

#[test]
fn a_client_moves_to_another_address_on_purpose() {
    let (mut network, theirs, ours) = Network::connected();
    network
        .client()
        .front()
        .migrate(ours, Some(address("10.1.1.1:1111")))
        .unwrap();
    survives(&mut network, theirs, ours, 100_000);
    assert_eq!(network.server().log.paths, [address("10.1.1.1:1111")]);
    assert_eq!(
        network.client().front().stats(ours).unwrap().local,
        address("10.1.1.1:1111")
    );
    network.client().front().migrate(ours, None).unwrap();
    survives(&mut network, theirs, ours, 100_000);
}

#[test]
fn moving_in_the_middle_of_a_transfer_loses_nothing() {
    let (mut network, _, ours) = Network::connected();
    let data = pattern(200_000);
    let stream = network.client().front().open_stream(ours, false).unwrap();
    for (number, chunk) in data.chunks(2_000).enumerate() {
        network
            .client()
            .front()
            .send(stream, chunk.to_vec().into(), false)
            .unwrap();
        network.run_for(20_000);
        if number % 25 == 10 {
            network.client().front().migrate(ours, None).unwrap();
        }
    }
    network
        .client()
        .front()
        .send(stream, Default::default(), true)
        .unwrap();
    network.run_to(|network| !network.server().log.finished.is_empty());
    assert!(network.server().log.data.values().next().unwrap() == &data);
    assert_eq!(network.server().log.paths.len(), 4);
}

#[test]
fn answers_leave_from_the_address_that_was_hit() {
    let (identity, hash) = identity();
    let addresses = [address("10.0.0.1:4433"), address("10.0.0.9:4433")];
    let server = Inline::server(
        &addresses,
        &identity,
        Settings::default(),
        &EndpointKeys::default(),
        1,
    );
    let mut network = Network::of(server.unwrap());
    for hit in addresses {
        let mut target = target(hash);
        target.addresses = vec![hit];
        let session = network.client().front().connect(target).unwrap();
        network.run_to(|network| network.client().log.opened.contains(&session));
        let local = network.client().front().stats(session).unwrap().local;
        let answered: Vec<_> = network
            .sent
            .iter()
            .filter(|datagram| datagram.destination == local)
            .collect();
        assert!(!answered.is_empty() && answered.iter().all(|datagram| datagram.source == hit));
    }
}

#[test]
fn above_the_threshold_addresses_must_be_proved_first() {
    let settings = Settings {
        retry_threshold: 0,
        ..Settings::default()
    };
    let (mut network, hash) = Network::pair(settings, Settings::default());
    network.meet(hash);
    let first = network
        .sent
        .iter()
        .find(|datagram| datagram.source == server_address())
        .unwrap();
    assert!(is_retry(first));
    assert!(first.data.len() < 300);
}

#[test]
fn garbage_and_cuttings_disturb_nobody() {
    let client = Settings {
        keep_alive_ms: 5_000,
        ..Settings::default()
    };
    let (mut network, theirs, ours) = Network::connected_with(Settings::default(), client);
    let mut originals: Vec<Datagram> = network.sent.clone();
    let mut random = 1u64;
    let mut next = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize
    };
    originals.truncate(30);
    for original in &originals {
        for _ in 0..30 {
            let mut datagram = original.clone();
            match next() % 4 {
                0 => datagram.data.truncate(next() % original.data.len()),
                1 => datagram.data[next() % original.data.len()] ^= 1 << (next() % 8),
                2 => datagram.data = (0..next() % 1500).map(|_| next() as u8).collect(),
                _ => datagram
                    .data
                    .iter_mut()
                    .skip(next() % 40)
                    .for_each(|byte| *byte = next() as u8),
            }
            network.launch(datagram, 1000);
        }
    }
    survives(&mut network, theirs, ours, 100_000);
    network.run_for(60 * SECOND);
    // Half-open connections that the noise has begun are gone, the real one is still there.
    survives(&mut network, theirs, ours, 1000);
}

#[test]
fn replayed_datagrams_open_and_repeat_nothing() {
    let (mut network, theirs, ours) = Network::connected();
    survives(&mut network, theirs, ours, 50_000);
    let requests = network.server().log.requested.len();
    for datagram in network.sent.clone() {
        let mut elsewhere = datagram.clone();
        elsewhere.source = address("10.6.6.6:666");
        network.launch(datagram, 1000);
        network.launch(elsewhere, 2000);
    }
    network.run_for(20 * SECOND);
    assert_eq!(network.server().log.requested.len(), requests);
    assert!(
        network.server().log.paths.is_empty(),
        "a replay moves no path"
    );
    survives(&mut network, theirs, ours, 1000);
}

fn keys(layout: ConnectionIdLayout) -> EndpointKeys {
    EndpointKeys {
        reset_key: Some([1; 32]),
        token_key: Some([2; 32]),
        ticket_key: Some([3; 32]),
        connection_id: Some(layout),
        fleet: None,
    }
}

#[test]
fn a_server_that_forgot_everything_resets_with_the_shared_key() {
    let (identity, hash) = identity();
    let layout = ConnectionIdLayout {
        length: 12,
        prefix: vec![9],
    };
    let server = |seed| server_of(&identity, Settings::default(), &keys(layout.clone()), seed);
    let mut network = Network::of(server(1));
    let session = network.meet(hash);
    network.run_for(SECOND);
    network.replace_server(server(3));
    network.client().say(session, false, pattern(1000), true);
    let before = network.now;
    network.run_to(|network| network.client().log.closed.contains_key(&session));
    assert!(network.now < before + SECOND, "a reset, not a timeout");
    assert_eq!(network.client().log.closed[&session].0, ClosedBy::Transport);
}

#[test]
fn tickets_and_address_tokens_are_good_at_every_server_of_a_fleet() {
    let (identity, hash) = identity();
    let layout = ConnectionIdLayout {
        length: 8,
        prefix: Vec::new(),
    };
    let settings = Settings {
        retry_threshold: 0,
        ..Settings::default()
    };
    let server = |seed| server_of(&identity, settings.clone(), &keys(layout.clone()), seed);
    let mut network = Network::of(server(1));
    let first = network.meet(hash);
    network.run_for(SECOND);
    network
        .client()
        .front()
        .close(first, 0, String::new())
        .unwrap();
    network.run_for(10 * SECOND);
    let count = |network: &Network| -> (usize, usize) {
        let from = network
            .sent
            .iter()
            .filter(|datagram| datagram.source == server_address());
        let retries = from.clone().filter(|datagram| is_retry(datagram)).count();
        (retries, from.map(|datagram| datagram.data.len()).sum())
    };
    let (retries, bytes) = count(&network);
    assert_eq!(retries, 1);
    network.replace_server(server(3));
    network.sent.clear();
    network.meet(hash);
    network.run_for(SECOND);
    let (retries_again, bytes_again) = count(&network);
    assert_eq!(
        retries_again, 0,
        "the address token of the first server is good"
    );
    assert!(
        bytes_again < bytes,
        "no certificate is sent to a client with a ticket: {bytes_again} of {bytes} bytes"
    );
}

#[test]
fn connection_ids_follow_the_layout() {
    let (identity, hash) = identity();
    let layout = ConnectionIdLayout {
        length: 15,
        prefix: vec![0xab, 0xcd],
    };
    let server = server_of(&identity, Settings::default(), &keys(layout), 1);
    let mut network = Network::of(server);
    network.meet(hash);
    network.run_for(SECOND);
    let short: HashSet<&[u8]> = network
        .sent
        .iter()
        .filter(|datagram| datagram.destination == server_address() && datagram.data[0] & 0x80 == 0)
        .map(|datagram| &datagram.data[1..16])
        .collect();
    assert!(!short.is_empty() && short.iter().all(|cid| cid.starts_with(&[0xab, 0xcd])));
}
