//! What can be shown of the driver only from inside: panics, sockets that are let go. Through the inline mode.

use std::any::Any;

use quinn_proto::congestion::{Controller, ControllerFactory};
use quinn_proto::ServerConfig;

use super::*;
use crate::event::{ClosedBy, Event, EventKind};
use crate::settings::ConnectTarget;

/// An outlet on which every send is a bug of ours.
struct Broken;

impl Outlet for Broken {
    fn max_segments(&self, _via: Via) -> usize {
        1
    }

    fn is_blocked(&self, _via: Via) -> bool {
        false
    }

    fn send(&mut self, _: Exit, _: &Transmit, _: &[u8]) -> Sent {
        panic!("injected");
    }
}

/// Let both sides talk until they have nothing more to say; returns what the server and the client report.
fn talk(server: &mut Inline, client: &mut Inline, now: u64) -> [Vec<Event>; 2] {
    loop {
        let there = client.poll_transmit(now);
        let back = server.poll_transmit(now);
        if there.is_empty() && back.is_empty() {
            return [server, client].map(|side| side.front().drain().unwrap());
        }
        for datagram in there {
            server.handle_datagram(now, &datagram);
        }
        for datagram in back {
            client.handle_datagram(now, &datagram);
        }
    }
}

/// Congestion control with a bug of ours.
struct BrokenControl;

impl ControllerFactory for BrokenControl {
    fn build(self: Arc<Self>, _: Instant, _: u16) -> Box<dyn Controller> {
        Box::new(Self)
    }
}

impl Controller for BrokenControl {
    fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, _: u64) {
        panic!("injected");
    }

    fn on_mtu_update(&mut self, _: u16) {}

    fn window(&self) -> u64 {
        1 << 20
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self)
    }

    fn initial_window(&self) -> u64 {
        1 << 20
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// A server, and what is asked of it.
fn localhost() -> (Identity, ConnectTarget) {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let der = key.cert.der().to_vec();
    let target = ConnectTarget {
        addresses: vec![SocketAddr::from(([10, 0, 0, 1], 4433))],
        server_name: "localhost".into(),
        authority: "localhost".into(),
        path: "/".into(),
        certificate_hashes: vec![crate::fingerprint(&der)],
        ..ConnectTarget::default()
    };
    let identity = Identity {
        certificate_chain: vec![der],
        private_key: key.signing_key.serialize_der(),
    };
    (identity, target)
}

/// A server and a client with two sessions, each on a connection of its own; what the server calls them.
struct Pair {
    server: Inline,
    client: Inline,
    doomed: u64,
    other: u64,
}

impl Pair {
    /// `spoil` may change how the server treats the first connection.
    fn new(spoil: impl FnOnce(&mut ServerConfig)) -> Self {
        let (identity, target) = localhost();
        let (settings, keys) = (Settings::default(), EndpointKeys::default());
        let mut server =
            Inline::server(&target.addresses, &identity, settings.clone(), &keys, 1).unwrap();
        let mut client = Inline::client(settings.clone(), 2).unwrap();
        let secrets = ServerSecrets::new(&keys, None).unwrap();
        let sound = secrets.config(&identity, &settings, None).unwrap();
        let mut spoilt = ServerConfig::clone(&sound);
        spoil(&mut spoilt);
        let [doomed, other] = [Arc::new(spoilt), sound].map(|config| {
            let now = server.base;
            server.driver.apply(now, Command::SetServerConfig(config));
            client.front().connect(target.clone()).unwrap();
            let [asked, _] = talk(&mut server, &mut client, 0);
            server.front().accept(asked[0].session, Vec::new()).unwrap();
            talk(&mut server, &mut client, 0);
            asked[0].session
        });
        Self {
            server,
            client,
            doomed,
            other,
        }
    }

    fn only_the_first_has_ended(&mut self, now: u64) {
        let told = self.server.front().drain().unwrap();
        assert!(
            matches!(&told[..], [Event { session, kind: EventKind::SessionClosed(ClosedBy::Transport, 0, reason), .. }]
                if *session == self.doomed && reason.contains("bug")),
            "{told:?}"
        );
        let stream = self.server.front().open_stream(self.other, false).unwrap();
        self.server
            .front()
            .send(stream, "alive".into(), true)
            .unwrap();
        let [_, heard] = talk(&mut self.server, &mut self.client, now);
        assert!(heard.iter().any(
            |event| matches!(&event.kind, EventKind::StreamData(chunks) if chunks.concat() == b"alive")
        ));
    }
}

#[test]
fn a_panic_ends_one_connection_and_leaves_the_others() {
    let mut pair = Pair::new(|_| {});
    let server = &mut pair.server;
    server.front().drain_session(pair.doomed).unwrap();
    server.shared.commands.take(&mut server.commands);
    for command in std::mem::take(&mut server.commands) {
        server.driver.apply(server.base, command);
    }
    server.driver.flush(server.base, &mut Broken);
    pair.only_the_first_has_ended(1);
}

#[test]
fn so_does_a_panic_when_a_deadline_passes() {
    let mut pair = Pair::new(|config| {
        let mut transport = Settings::default().transport(None);
        transport.congestion_controller_factory(Arc::new(BrokenControl));
        config.transport_config(Arc::new(transport));
    });
    // The first of two packets is lost, which is judged by time once the second is acknowledged.
    let stream = pair.server.front().open_stream(pair.doomed, false).unwrap();
    let mut say = |now| {
        let front = pair.server.front();
        front.send(stream, "word".into(), false).unwrap();
        pair.server.poll_transmit(now)
    };
    assert!(!say(10).is_empty());
    for datagram in say(20) {
        pair.client.handle_datagram(20, &datagram);
    }
    for datagram in pair.client.poll_transmit(20) {
        pair.server.handle_datagram(20, &datagram);
    }
    let due = pair.server.next_timeout().unwrap();
    pair.server.handle_timeout(due);
    pair.only_the_first_has_ended(due);
}

#[test]
fn an_address_that_falls_silent_is_left_for_good() {
    let (identity, mut target) = localhost();
    let keys = EndpointKeys::default();
    let settings = Settings::default();
    let mut server = Inline::server(&target.addresses, &identity, settings, &keys, 1).unwrap();
    let impatient = Settings {
        max_idle_ms: 1000,
        ..Settings::default()
    };
    let mut client = Inline::client(impatient, 2).unwrap();
    let other = SocketAddr::from(([10, 0, 0, 9], 4433));
    target.addresses.push(other);
    client.front().connect(target).unwrap();
    for datagram in client.poll_transmit(0) {
        server.handle_datagram(0, &datagram);
    }
    let mut answer = server.poll_transmit(0).remove(0);
    // The first of several packets, with the server's hello; no more of the handshake comes.
    answer.data.truncate(300);
    client.handle_datagram(0, &answer);
    let mut now = 0;
    while !client
        .poll_transmit(now)
        .iter()
        .any(|datagram| datagram.destination == other)
    {
        now = client.next_timeout().unwrap();
        client.handle_timeout(now);
    }
    assert_eq!(lock(&client.outbox.addresses.by_via).len(), 1);
}
