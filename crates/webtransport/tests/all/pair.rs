//! A client and a server talking over links that cut, delay and reorder across streams.

use std::collections::{BTreeMap, VecDeque};

use crate::support::*;
use bytes::Bytes;
use legato_webtransport::{
    datagram_prefix, error, stream_header, Connection, Event, Field, Output, Routed,
};
use proptest::prelude::*;

/// What one direction of one stream has under way.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    fin: bool,
}

/// One direction of a QUIC connection, and what its receiver made of it.
#[derive(Default)]
struct Link {
    lanes: BTreeMap<u64, Lane>,
    /// Streams that the receiver no longer feeds to its connection.
    own: BTreeMap<u64, Vec<u8>>,
    held: Vec<u64>,
    ignored: Vec<u64>,
    events: Vec<Event>,
}

impl Link {
    fn write(&mut self, stream: u64, data: &[u8], fin: bool) {
        let lane = self.lanes.entry(stream).or_default();
        lane.bytes.extend(data);
        lane.fin |= fin;
    }

    fn take(&mut self, sender: &mut Connection) {
        for output in outputs(sender) {
            match output {
                Output::Write { stream, data, fin } => self.write(stream, &data, fin),
                other => panic!("nothing breaks here: {other:?}"),
            }
        }
    }

    /// Delivers up to `size` bytes of one stream.
    fn deliver(&mut self, receiver: &mut Connection, pick: usize, size: usize) {
        let ready: Vec<u64> = self
            .lanes
            .iter()
            .filter(|(id, lane)| !self.held.contains(id) && (lane.fin || !lane.bytes.is_empty()))
            .map(|(id, _)| *id)
            .collect();
        let Some(&stream) = ready.get(pick % ready.len().max(1)) else {
            return;
        };
        let lane = self.lanes.get_mut(&stream).unwrap();
        let chunk: Bytes = lane.bytes.drain(..size.min(lane.bytes.len())).collect();
        let fin = lane.fin && lane.bytes.is_empty();
        if fin {
            self.lanes.remove(&stream);
        }
        if let Some(mine) = self.own.get_mut(&stream) {
            mine.extend_from_slice(&chunk);
        } else if !self.ignored.contains(&stream) {
            match receiver.receive(stream, chunk, fin) {
                Routed::Consumed => {}
                Routed::Held => self.held.push(stream),
                Routed::Ignored => self.ignored.push(stream),
                Routed::Session { payload, .. } => {
                    self.own.insert(stream, payload.to_vec());
                }
            }
        }
        for event in events(receiver) {
            if let Event::StreamReleased {
                stream, payload, ..
            } = &event
            {
                self.held.retain(|held| held != stream);
                self.own.insert(*stream, payload.to_vec());
            }
            self.events.push(event);
        }
    }

    fn is_idle(&self) -> bool {
        self.lanes
            .iter()
            .all(|(id, lane)| self.held.contains(id) || (lane.bytes.is_empty() && !lane.fin))
    }
}

/// A whole call with steps in the order that `choices` gives; what each side saw at the end.
fn call(choices: &[(usize, usize)]) -> (Link, Link) {
    let (mut client, mut server) = (client(), server());
    let (mut up, mut down) = (Link::default(), Link::default());
    client.control_opened(client_uni(0)).unwrap();
    server.control_opened(server_uni(0)).unwrap();
    client.connect(0, request()).unwrap();
    // The optimistic first flight may overtake everything else.
    up.write(client_bidi(1), &stream_header(0, true), false);
    up.write(client_bidi(1), b"hello", false);
    up.write(client_uni(1), &stream_header(0, false), false);
    up.write(client_uni(1), b"speech", true);
    let mut choices = choices.iter().copied().cycle();
    let (mut answered, mut closed) = (false, false);
    loop {
        up.take(&mut client);
        down.take(&mut server);
        let (pick, size) = choices.next().unwrap();
        if pick % 2 == 0 {
            up.deliver(&mut server, pick / 2, size);
        } else {
            down.deliver(&mut client, pick / 2, size);
        }
        let asked = |event: &Event| matches!(event, Event::SessionRequested { .. });
        if !answered && up.events.iter().any(asked) {
            answered = true;
            server.accept(0, &[Field::new("x", "y")]).unwrap();
            for event in events(&mut server) {
                if let Event::StreamReleased {
                    stream, payload, ..
                } = &event
                {
                    up.held.retain(|held| held != stream);
                    up.own.insert(*stream, payload.to_vec());
                }
            }
            down.write(server_uni(1), &stream_header(0, false), false);
            down.write(server_uni(1), b"reply", true);
            server.drain(0).unwrap();
        }
        if answered && !closed && up.is_idle() && down.is_idle() {
            closed = true;
            client.close(0, 7, "bye").unwrap();
            up.take(&mut client);
        }
        if closed && up.is_idle() && down.is_idle() {
            return (up, down);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_call_ends_the_same_however_it_is_delivered(
        choices in prop::collection::vec((0usize..64, 1usize..40), 1..60)
    ) {
        // Both directions move in every cycle.
        let choices = [&choices[..], &[(0, 7), (1, 7)]].concat();
        let (up, mut down) = call(&choices);
        down.events.retain(|event| !matches!(event, Event::StreamReleased { .. }));
        prop_assert_eq!(&up.own[&client_bidi(1)], b"hello");
        prop_assert_eq!(&up.own[&client_uni(1)], b"speech");
        prop_assert_eq!(&down.own[&server_uni(1)], b"reply");
        let reason = String::from("bye");
        let closed = Event::SessionClosed { session: 0, code: 7, reason, abrupt: None };
        prop_assert_eq!(up.events.last(), Some(&closed));
        let headers = vec![
            Field::new("sec-webtransport-http3-draft", "draft02"),
            Field::new("x", "y"),
        ];
        let expected = [
            Event::SettingsReceived,
            Event::SessionAccepted { session: 0, status: 200, headers },
            Event::SessionDraining { session: 0 },
        ];
        prop_assert_eq!(&down.events, &expected);
    }

    /// Whatever a peer sends and the caller does, nothing panics and the queues make sense.
    #[test]
    fn nothing_panics(
        steps in prop::collection::vec(
            (0u64..16, 0u8..12, prop::collection::vec(any::<u8>(), 0..24), any::<bool>()), 0..40),
        as_server in any::<bool>(),
    ) {
        let mut connection = if as_server { server_with_session() } else { client_asking() };
        for (stream, what, bytes, fin) in steps {
            match what {
                0 => { connection.stream_reset(stream, 5); }
                1 => { connection.stream_stopped(stream, 5); }
                2 => { connection.datagram(bytes.into()); }
                3 => { let _ = connection.close(stream, 1, "x"); }
                4 => { let _ = connection.accept(stream, &[]); }
                5 => { let _ = connection.goaway(); }
                _ => { connection.receive(stream, bytes.into(), fin); }
            }
            let closes = outputs(&mut connection)
                .iter()
                .filter(|output| matches!(output, Output::Close { .. }))
                .count();
            let failed = events(&mut connection)
                .iter()
                .any(|event| matches!(event, Event::ConnectionFailed { .. }));
            prop_assert_eq!(closes, usize::from(failed));
        }
    }
}

#[test]
fn datagrams_reach_the_other_side() {
    let mut server = server_with_session();
    let wire = [&datagram_prefix(0)[..], b"beat"].concat();
    assert_eq!(
        server.datagram(wire.into()),
        Some((0, Bytes::from_static(b"beat")))
    );
    let mut client = client_asking();
    let wire = Bytes::from_static(&[0x00, 1]);
    assert_eq!(client.datagram(wire.clone()), None, "not accepted yet");
    feed(&mut client, 0, OK);
    assert_eq!(client.datagram(wire), Some((0, Bytes::from_static(&[1]))));
}

#[test]
fn codes_survive_the_way_through_http3() {
    for code in [0, 1, 29, 30, 31, 255, 65_535, u32::MAX] {
        assert_eq!(error::from_http3(error::to_http3(code)), Some(code));
    }
}
