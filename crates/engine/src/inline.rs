//! An endpoint on a virtual clock with datagrams in memory: the same driver and the same front, stepped by the caller.
//!
//! Owns time in microseconds and the list of datagrams that want to leave. Loss, reordering, rebinding and timeouts are then
//! plain code in a test. Must not know sockets or threads.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::Transmit;
use rustc_hash::FxHashMap;

use crate::command::{Command, NewPath, Via};
use crate::driver::{Arrival, Driver, Exit, Outlet, Sent};
use crate::endpoint::endpoint_config;
use crate::error::EngineError;
use crate::front::{Front, Ground};
use crate::identity::{EndpointKeys, Identity};
use crate::server_secrets::ServerSecrets;
use crate::settings::Settings;
use crate::shared::{lock, Shared};
use crate::tls;

/// A datagram on a virtual network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// Payload.
    pub data: Vec<u8>,
}

/// Which address each virtual socket has.
#[derive(Default)]
struct Addresses {
    by_via: Mutex<FxHashMap<Via, SocketAddr>>,
    next: AtomicU32,
}

impl Addresses {
    fn add(&self, local: SocketAddr) -> Via {
        let via = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.by_via).insert(via, local);
        via
    }

    fn find(&self, local: SocketAddr) -> Option<Via> {
        lock(&self.by_via)
            .iter()
            .find(|(_, &address)| address == local)
            .map(|(&via, _)| via)
    }
}

struct VirtualGround {
    addresses: Arc<Addresses>,
}

impl Ground for VirtualGround {
    fn path(&self, remote: SocketAddr, local: Option<SocketAddr>) -> Result<NewPath, EngineError> {
        // A fresh port on 10.0.0.2, counted from 40000, stands for what an operating system would pick.
        let port = 40_000 + self.addresses.next.load(Ordering::Relaxed) as u16;
        let local =
            local.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), port));
        Ok(NewPath {
            via: self.addresses.add(local),
            local,
            remote,
            socket: None,
        })
    }

    fn wake(&self) {}

    fn hurry(&self) {}

    fn clear_readiness(&self) {}

    fn set_readiness(&self) {}
}

struct Outbox {
    addresses: Arc<Addresses>,
    datagrams: VecDeque<Datagram>,
}

impl Outlet for Outbox {
    fn max_segments(&self, _via: Via) -> usize {
        4
    }

    fn is_blocked(&self, _via: Via) -> bool {
        false
    }

    fn send(&mut self, exit: Exit, transmit: &Transmit, payload: &[u8]) -> Sent {
        let Some(local) = lock(&self.addresses.by_via).get(&exit.via).copied() else {
            return Sent::Done;
        };
        let source = SocketAddr::new(exit.source.unwrap_or(local.ip()), local.port());
        let size = transmit.segment_size.unwrap_or(payload.len()).max(1);
        let destination = transmit.destination;
        self.datagrams
            .extend(payload.chunks(size).map(|data| Datagram {
                source,
                destination,
                data: data.to_vec(),
            }));
        Sent::Done
    }
}

/// A server or client that its caller steps.
pub struct Inline {
    front: Front,
    shared: Arc<Shared>,
    driver: Driver,
    outbox: Outbox,
    base: Instant,
    locals: Vec<SocketAddr>,
    commands: Vec<Command>,
}

impl Inline {
    /// A server with these addresses.
    pub fn server(
        addresses: &[SocketAddr],
        identity: &Identity,
        settings: Settings,
        keys: &EndpointKeys,
        seed: u64,
    ) -> Result<Self, EngineError> {
        let fleet = crate::endpoint::fleet(keys, None)?;
        let secrets = ServerSecrets::new(keys, fleet)?;
        Self::start(settings, keys, Some((identity, secrets)), addresses, seed)
    }

    /// A client.
    pub fn client(settings: Settings, seed: u64) -> Result<Self, EngineError> {
        Self::start(settings, &EndpointKeys::default(), None, &[], seed)
    }

    fn start(
        settings: Settings,
        keys: &EndpointKeys,
        server: Option<(&Identity, ServerSecrets)>,
        locals: &[SocketAddr],
        seed: u64,
    ) -> Result<Self, EngineError> {
        settings.validate()?;
        let settings = Arc::new(settings);
        let shared = Arc::new(Shared::default());
        let key_log = tls::key_log(&settings)?;
        let fleet = server.as_ref().and_then(|(_, secrets)| secrets.fleet());
        let (config, secrets) = match server {
            Some((identity, secrets)) => (
                Some(secrets.config(identity, &settings, key_log.clone())?),
                Some(secrets),
            ),
            None => (None, None),
        };
        let config = Driver::new(
            endpoint_config(&settings, keys, fleet, Some(seed))?,
            config,
            settings.clone(),
            shared.clone(),
        );
        let mut driver = config;
        let addresses = Arc::new(Addresses::default());
        for &local in locals {
            driver.add_local(addresses.add(local), local);
        }
        let ground = VirtualGround {
            addresses: addresses.clone(),
        };
        Ok(Self {
            front: Front::new(shared.clone(), settings, Box::new(ground), secrets, key_log),
            shared,
            driver,
            outbox: Outbox {
                addresses,
                datagrams: VecDeque::new(),
            },
            base: Instant::now(),
            locals: locals.to_vec(),
            commands: Vec::new(),
        })
    }

    /// Everything a caller can do.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Addresses of a server.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.locals
    }

    /// Deliver a datagram. One for an address that is not ours is lost, as it would be.
    pub fn handle_datagram(&mut self, now_us: u64, datagram: &Datagram) {
        let Some(via) = self.outbox.addresses.find(datagram.destination) else {
            return;
        };
        let arrival = Arrival {
            via,
            remote: datagram.source,
            local_ip: (!self.locals.is_empty()).then(|| datagram.destination.ip()),
            balancer: None,
            ecn: None,
        };
        self.driver
            .handle_datagram(self.at(now_us), arrival, BytesMut::from(&datagram.data[..]));
        self.step(now_us);
    }

    /// Carry out what was asked for since the last call and take what wants to leave.
    pub fn poll_transmit(&mut self, now_us: u64) -> Vec<Datagram> {
        self.step(now_us);
        self.outbox.datagrams.drain(..).collect()
    }

    /// When to call `handle_timeout` if nothing arrives; None: not at all.
    pub fn next_timeout(&self) -> Option<u64> {
        let when = self
            .driver
            .next_timeout()?
            .saturating_duration_since(self.base);
        // Rounded up, so that a deadline has come when it is due.
        Some(when.as_nanos().div_ceil(1000) as u64)
    }

    /// Let deadlines up to now pass.
    pub fn handle_timeout(&mut self, now_us: u64) {
        self.driver.handle_timeouts(self.at(now_us));
        self.step(now_us);
    }

    /// Close every connection at this time; take the last datagrams with `poll_transmit`.
    pub fn shutdown(&mut self, now_us: u64) {
        if self.shared.stopped().is_none() {
            self.front.shut_down(0, "");
            self.step(now_us);
            self.shared.stop("the endpoint has been shut down");
        }
    }

    fn at(&self, now_us: u64) -> Instant {
        self.base + Duration::from_micros(now_us)
    }

    fn step(&mut self, now_us: u64) {
        let now = self.at(now_us);
        self.shared.commands.take(&mut self.commands);
        for command in self.commands.drain(..) {
            self.driver.apply(now, command);
        }
        while self.driver.flush(now, &mut self.outbox) {}
        for (via, may_receive) in self.driver.take_released() {
            // The virtual network forgets a left address at once; a real one may still deliver for a while.
            let _ = may_receive;
            lock(&self.outbox.addresses.by_via).remove(&via);
        }
    }
}

#[cfg(test)]
mod tests {
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
}
