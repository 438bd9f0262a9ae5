//! Streams and datagrams over a virtual network: order, ends, pressure, priorities.

use crate::common::*;
use legato_engine::Settings;

/// Send from node `from` on a new stream and return the stream's bytes at the other end.
fn carry(
    network: &mut Network,
    from: usize,
    session: u64,
    bidirectional: bool,
    data: &[u8],
) -> Vec<u8> {
    let front = network.nodes[from].front();
    let stream = front.open_stream(session, bidirectional).unwrap();
    front.send(stream, data.to_vec().into(), true).unwrap();
    let other = 1 - from;
    let before = network.nodes[other].log.finished.len();
    network.run_to(|network| network.nodes[other].log.finished.len() > before);
    let (stream, two_way) = *network.nodes[other].log.streams.last().unwrap();
    assert_eq!(two_way, bidirectional);
    network.nodes[other]
        .log
        .data
        .remove(&stream)
        .unwrap_or_default()
}

#[test]
fn streams_go_both_ways_from_both_sides() {
    let (mut network, theirs, ours) = Network::connected();
    for (from, session) in [(0, theirs), (1, ours)] {
        for bidirectional in [false, true] {
            for length in [0, 1, 1000, 300_000] {
                let data = pattern(length);
                assert!(carry(&mut network, from, session, bidirectional, &data) == data);
            }
        }
    }
}

#[test]
fn an_answer_comes_back_on_the_same_stream() {
    let (mut network, _, ours) = Network::connected();
    let stream = network.client().say(ours, true, "question", true);
    network.run_to(|network| !network.server().log.finished.is_empty());
    let theirs = network.server().log.streams[0].0;
    network
        .server()
        .front()
        .send(theirs, "answer".into(), true)
        .unwrap();
    network.run_to(|network| network.client().log.finished.contains(&stream));
    assert_eq!(network.client().log.data[&stream], b"answer");
}

#[test]
fn single_bytes_keep_their_order() {
    let (mut network, _, ours) = Network::connected();
    let stream = network.client().front().open_stream(ours, false).unwrap();
    let data = pattern(2000);
    for byte in &data {
        network
            .client()
            .front()
            .send(stream, vec![*byte].into(), false)
            .unwrap();
        network.run_for(100);
    }
    network
        .client()
        .front()
        .send(stream, Default::default(), true)
        .unwrap();
    network.run_to(|network| !network.server().log.finished.is_empty());
    assert!(network.server().log.data.values().next().unwrap() == &data);
}

#[test]
fn a_reset_drops_what_waits_and_carries_its_code() {
    let (mut network, _, ours) = Network::connected();
    let stream = network.client().say(ours, false, pattern(10_000_000), true);
    network.run_for(50_000);
    network.client().front().reset(stream, 0xffff_ffff).unwrap();
    network.run_to(|network| !network.server().log.reset.is_empty());
    let (received, code) = network.server().log.reset.iter().next().unwrap();
    assert_eq!(*code, 0xffff_ffff);
    assert!(network.server().log.data[received].len() < 5_000_000);
    assert!(network
        .client()
        .front()
        .send(stream, "x".into(), false)
        .is_err());
}

#[test]
fn stopping_a_stream_tells_the_sender() {
    let (mut network, theirs, _) = Network::connected();
    let stream = network.server().say(theirs, false, pattern(100), false);
    network.run_to(|network| !network.client().log.streams.is_empty());
    let received = network.client().log.streams[0].0;
    network.client().front().stop(received, 3).unwrap();
    network.nodes[0].drains = false;
    network.run_for(SECOND);
    network.nodes[0].drains = true;
    network.drain(0);
    assert_eq!(network.server().log.stopped[&stream], 3);
    // The caller has only just heard: sending once more is no mistake yet, later it is.
    network
        .server()
        .front()
        .send(stream, "late".into(), false)
        .unwrap();
    network.drain(0);
    assert!(network
        .server()
        .front()
        .send(stream, "later".into(), false)
        .is_err());
}

#[test]
fn a_paused_stream_holds_the_sender_back_and_loses_nothing() {
    let settings = Settings {
        stream_receive_window: 100_000,
        ..Settings::default()
    };
    let (mut network, _, ours) = Network::connected_with(settings, Settings::default());
    let data = pattern(1_000_000);
    let stream = network
        .client()
        .say(ours, false, data[..10].to_vec(), false);
    network.run_to(|network| !network.server().log.streams.is_empty());
    let received = network.server().log.streams[0].0;
    network.server().front().pause(received).unwrap();
    network
        .client()
        .front()
        .send(stream, data[10..].to_vec().into(), true)
        .unwrap();
    network.run_for(10 * SECOND);
    assert!(network
        .server()
        .log
        .data
        .get(&received)
        .is_none_or(|data| data.len() < 1000));
    assert!(
        network
            .client()
            .front()
            .send(stream, Default::default(), false)
            .is_err(),
        "finished"
    );
    network.server().front().resume(received).unwrap();
    network.run_to(|network| network.server().log.finished.contains(&received));
    assert!(network.server().log.data[&received] == data);
}

#[test]
fn a_caller_who_does_not_drain_is_not_flooded_and_loses_nothing() {
    let settings = Settings {
        event_buffer_bytes: 200_000,
        ..Settings::default()
    };
    let (mut network, _, ours) = Network::connected_with(settings, Settings::default());
    network.nodes[0].drains = false;
    let data = pattern(20_000_000);
    for _ in 0..2 {
        network.client().say(ours, false, data.clone(), true);
    }
    network.run_for(10 * SECOND);
    let held: u64 = network
        .server()
        .front()
        .drain()
        .unwrap()
        .iter()
        .map(weight)
        .sum();
    assert!(held < 300_000, "{held} bytes waited");
    network.nodes[0].drains = true;
    // What was just taken is gone for this test; a stream that is opened now arrives whole.
    assert!(carry(&mut network, 1, ours, false, &pattern(50_000)) == pattern(50_000));
}

#[test]
fn a_peer_who_sends_a_lot_leaves_room_for_the_others() {
    let (mut network, _, ours) = Network::connected();
    network.nodes[0].drains = false;
    let data = pattern(500_000);
    network.client().say(ours, false, data.clone(), true);
    for _ in 0..500 {
        let beat = pattern(8).into();
        network.client().front().send_datagram(ours, beat).unwrap();
    }
    network.run_for(SECOND);
    let first = network.server().front().drain().unwrap();
    let size: usize = first.iter().map(|event| 128 + weight(event) as usize).sum();
    assert!(
        size < 64 << 10,
        "{size} bytes of one peer stood before the others"
    );
    let mut taken: u64 = first.iter().map(weight).sum();
    while taken < data.len() as u64 {
        network.run_for(SECOND / 100);
        let batch = network.server().front().drain().unwrap();
        assert!(!batch.is_empty(), "{taken} bytes came and no more");
        taken += batch.iter().map(weight).sum::<u64>();
    }
}

fn weight(event: &legato_engine::Event) -> u64 {
    match &event.kind {
        legato_engine::EventKind::StreamData(chunks) => {
            chunks.iter().map(|chunk| chunk.len() as u64).sum()
        }
        _ => 0,
    }
}

#[test]
fn a_full_send_buffer_refuses_and_tells_when_there_is_room() {
    let client = Settings {
        send_buffer_high: 10_000,
        send_buffer_limit: 1_000_000,
        ..Settings::default()
    };
    let (mut network, _, ours) = Network::connected_with(Settings::default(), client);
    let front = network.client().front();
    let stream = front.open_stream(ours, false).unwrap();
    assert_eq!(
        front.send(stream, pattern(900_000).into(), false).unwrap(),
        900_000
    );
    assert!(front.send(stream, pattern(100_001).into(), false).is_err());
    network.run_to(|network| !network.client().log.writable.is_empty());
    assert_eq!(network.client().log.writable, [stream]);
    assert!(network
        .client()
        .front()
        .send(stream, pattern(100_001).into(), true)
        .is_ok());
}

#[test]
fn a_small_send_needs_no_word_about_room() {
    let (mut network, _, ours) = Network::connected();
    network.client().say(ours, false, pattern(1000), true);
    network.run_for(SECOND);
    assert!(network.client().log.writable.is_empty());
}

#[test]
fn more_streams_than_allowed_wait_their_turn() {
    let (mut network, _, ours) = Network::connected();
    for _ in 0..500 {
        network.client().say(ours, false, "x", true);
    }
    network.run_to(|network| network.server().log.finished.len() == 500);
}

#[test]
fn urgent_streams_overtake() {
    let (mut network, _, ours) = Network::connected();
    let front = network.client().front();
    let bulk = front.open_stream(ours, false).unwrap();
    front.send(bulk, pattern(2_000_000).into(), true).unwrap();
    let urgent = front.open_stream(ours, false).unwrap();
    front.set_priority(urgent, 10).unwrap();
    front.send(urgent, pattern(100_000).into(), true).unwrap();
    network.run_to(|network| !network.server().log.finished.is_empty());
    let first = network.server().log.finished.iter().next().unwrap();
    assert_eq!(network.server().log.data[first].len(), 100_000);
}

#[test]
fn datagrams_arrive_within_their_size() {
    let (mut network, theirs, ours) = Network::connected();
    let room = network.client().front().max_datagram_size(ours).unwrap();
    assert!(room >= 1000, "{room}");
    network
        .client()
        .front()
        .send_datagram(ours, pattern(room).into())
        .unwrap();
    assert!(network
        .client()
        .front()
        .send_datagram(ours, pattern(room + 1).into())
        .is_err());
    network
        .server()
        .front()
        .send_datagram(theirs, "back".into())
        .unwrap();
    network.run_for(SECOND);
    assert_eq!(network.server().log.datagrams, [pattern(room)]);
    assert_eq!(network.client().log.datagrams, ["back"]);
}

#[test]
fn a_flood_of_datagrams_is_bounded() {
    let settings = Settings {
        event_buffer_bytes: 100_000,
        ..Settings::default()
    };
    let (mut network, _, ours) = Network::connected_with(settings, Settings::default());
    network.nodes[0].drains = false;
    for _ in 0..2000 {
        network
            .client()
            .front()
            .send_datagram(ours, pattern(1000).into())
            .unwrap();
        network.run_for(1000);
    }
    let waiting = network.server().front().drain().unwrap().len();
    assert!(waiting <= 101, "{waiting}");
    network.nodes[0].drains = true;
    network.run_for(SECOND);
    network
        .client()
        .front()
        .send_datagram(ours, "last".into())
        .unwrap();
    network.run_to(|network| {
        network
            .server()
            .log
            .datagrams
            .last()
            .is_some_and(|data| data == "last")
    });
}

#[test]
fn the_end_of_a_session_ends_its_streams_on_both_sides() {
    let (mut network, theirs, ours) = Network::connected();
    let stream = network.client().say(ours, true, pattern(10_000), false);
    network.run_to(|network| !network.server().log.data.is_empty());
    let received = network.server().log.streams[0].0;
    network
        .server()
        .front()
        .close(theirs, 1, String::new())
        .unwrap();
    // Nobody has heard of the end yet, so nothing of this is a mistake.
    network
        .server()
        .front()
        .send(received, "late".into(), false)
        .unwrap();
    network
        .client()
        .front()
        .send(stream, "late".into(), false)
        .unwrap();
    network.run_for(SECOND);
    network.drain(0);
    assert!(network
        .server()
        .front()
        .send(received, "x".into(), false)
        .is_err());
    assert!(network.client().front().open_stream(ours, true).is_err());
}
