//! A virtual network between inline endpoints: latency, loss, reordering, duplication, address translation, all seeded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use bytes::Bytes;
use legato_engine::{
    ClosedBy, ConnectTarget, Datagram, EndpointKeys, Event, EventKind, FailureKind, Identity,
    Inline, Settings,
};

mod identities;

pub use identities::{identity, identity_valid};

pub const SECOND: u64 = 1_000_000;

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn server_address() -> SocketAddr {
    address("10.0.0.1:4433")
}

/// A server at the usual address.
pub fn server_of(
    identity: &Identity,
    settings: Settings,
    keys: &EndpointKeys,
    seed: u64,
) -> Inline {
    Inline::server(&[server_address()], identity, settings, keys, seed).unwrap()
}

pub fn target(hash: [u8; 32]) -> ConnectTarget {
    ConnectTarget {
        addresses: vec![server_address()],
        server_name: "localhost".into(),
        authority: "localhost:4433".into(),
        path: "/legato/v1".into(),
        certificate_hashes: vec![hash],
        ..ConnectTarget::default()
    }
}

/// What one endpoint has reported.
#[derive(Default)]
pub struct Log {
    pub events: Vec<Event>,
    pub requested: Vec<u64>,
    pub opened: Vec<u64>,
    pub refused: Vec<(u64, u16)>,
    pub failed: Vec<(u64, String, FailureKind)>,
    pub streams: Vec<(u64, bool)>,
    pub data: BTreeMap<u64, Vec<u8>>,
    pub finished: BTreeSet<u64>,
    pub reset: BTreeMap<u64, u32>,
    pub stopped: BTreeMap<u64, u32>,
    pub writable: Vec<u64>,
    pub datagrams: Vec<Bytes>,
    pub draining: Vec<u64>,
    pub closed: BTreeMap<u64, (ClosedBy, u32, String)>,
    pub paths: Vec<SocketAddr>,
}

impl Log {
    fn add(&mut self, event: Event) {
        self.events.push(event.clone());
        let Event {
            session,
            stream,
            kind,
        } = event;
        assert!(
            !self.closed.contains_key(&session),
            "an event follows the end of its session: {kind:?}"
        );
        match kind {
            EventKind::SessionRequested(..) => self.requested.push(session),
            EventKind::SessionOpened(..) => self.opened.push(session),
            EventKind::SessionRefused(status, _) => self.refused.push((session, status)),
            EventKind::ConnectFailed(reason, kind) => self.failed.push((session, reason, kind)),
            EventKind::StreamOpened(_, bidirectional) => self.streams.push((stream, bidirectional)),
            EventKind::StreamData(chunks) => {
                self.data.entry(stream).or_default().extend(chunks.concat())
            }
            EventKind::StreamFin => assert!(self.finished.insert(stream)),
            EventKind::StreamReset(code) => drop(self.reset.insert(stream, code)),
            EventKind::StreamStopped(code) => drop(self.stopped.insert(stream, code)),
            EventKind::StreamWritable => self.writable.push(stream),
            EventKind::Datagram(data) => self.datagrams.push(data),
            EventKind::SessionDraining => self.draining.push(session),
            EventKind::SessionClosed(by, code, reason) => {
                drop(self.closed.insert(session, (by, code, reason)))
            }
            EventKind::PathChanged(remote) => self.paths.push(remote),
        }
    }
}

/// An endpoint on the network.
pub struct Node {
    pub inline: Inline,
    pub log: Log,
    /// Answer requests with 200 at once.
    pub accepts: bool,
    /// Take events as they come.
    pub drains: bool,
}

impl Node {
    pub fn front(&self) -> &legato_engine::Front {
        self.inline.front()
    }

    /// Open a stream and send the first of it, or all; returns the stream.
    pub fn say(&self, session: u64, two_way: bool, data: impl Into<Bytes>, fin: bool) -> u64 {
        let stream = self.front().open_stream(session, two_way).unwrap();
        self.front().send(stream, data.into(), fin).unwrap();
        stream
    }
}

/// The fate of datagrams.
pub struct Weather {
    pub latency_us: u64,
    pub jitter_us: u64,
    pub loss_percent: u64,
    pub duplicate_percent: u64,
}

pub struct Network {
    pub now: u64,
    pub nodes: Vec<Node>,
    pub weather: Weather,
    /// What the server sees in place of a client's address.
    pub translation: HashMap<SocketAddr, SocketAddr>,
    /// Every datagram that was sent, in order.
    pub sent: Vec<Datagram>,
    pub blackout: bool,
    flying: BTreeMap<(u64, u64), Datagram>,
    random: u64,
    counter: u64,
}

impl Network {
    pub fn new(nodes: Vec<Inline>) -> Self {
        let nodes = nodes
            .into_iter()
            .map(|inline| Node {
                inline,
                log: Log::default(),
                accepts: true,
                drains: true,
            })
            .collect();
        Self {
            now: 0,
            nodes,
            weather: Weather {
                latency_us: 10_000,
                jitter_us: 0,
                loss_percent: 0,
                duplicate_percent: 0,
            },
            translation: HashMap::new(),
            sent: Vec::new(),
            blackout: false,
            flying: BTreeMap::new(),
            random: 7,
            counter: 0,
        }
    }

    /// A server and a client, connected, and the session at each.
    pub fn connected() -> (Self, u64, u64) {
        Self::connected_with(Settings::default(), Settings::default())
    }

    pub fn connected_with(server: Settings, client: Settings) -> (Self, u64, u64) {
        let (mut network, hash) = Self::pair(server, client);
        let session = network.nodes[1].front().connect(target(hash)).unwrap();
        network.run_for(SECOND);
        assert_eq!(network.nodes[1].log.opened, [session]);
        let theirs = network.nodes[0].log.requested[0];
        (network, theirs, session)
    }

    /// A server and a client that have not met.
    pub fn pair(server: Settings, client: Settings) -> (Self, [u8; 32]) {
        let (identity, hash) = identity();
        let server = server_of(&identity, server, &EndpointKeys::default(), 1);
        let client = Inline::client(client, 2).unwrap();
        (Self::new(vec![server, client]), hash)
    }

    /// This server and a client that have not met.
    pub fn of(server: Inline) -> Self {
        Self::new(vec![
            server,
            Inline::client(Settings::default(), 2).unwrap(),
        ])
    }

    /// Open a session; returns what it is called at the client.
    pub fn meet(&mut self, hash: [u8; 32]) -> u64 {
        let session = self.client().front().connect(target(hash)).unwrap();
        self.run_to(|network| network.client().log.opened.last() == Some(&session));
        session
    }

    /// The server goes without a word, and this one comes in its place.
    pub fn replace_server(&mut self, server: Inline) {
        self.nodes[0] = Self::of(server).nodes.swap_remove(0);
    }

    fn chance(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below.max(1)
    }

    /// Put a datagram on the wire.
    pub fn launch(&mut self, datagram: Datagram, delay: u64) {
        self.counter += 1;
        self.flying
            .insert((self.now + delay, self.counter), datagram);
    }

    fn collect(&mut self) {
        for index in 0..self.nodes.len() {
            for mut datagram in self.nodes[index].inline.poll_transmit(self.now) {
                self.sent.push(datagram.clone());
                if let Some(&seen) = self.translation.get(&datagram.source) {
                    datagram.source = seen;
                }
                if self.blackout || self.chance(100) < self.weather.loss_percent {
                    continue;
                }
                let copies = 1 + usize::from(self.chance(100) < self.weather.duplicate_percent);
                for _ in 0..copies {
                    let jitter = self.chance(self.weather.jitter_us + 1);
                    let delay = self.weather.latency_us + jitter;
                    self.launch(datagram.clone(), delay);
                }
            }
            self.drain(index);
        }
    }

    pub fn drain(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if !node.drains {
            return;
        }
        for event in node.inline.front().drain().unwrap_or_default() {
            if node.accepts && matches!(event.kind, EventKind::SessionRequested(..)) {
                node.inline
                    .front()
                    .accept(event.session, Vec::new())
                    .unwrap();
            }
            node.log.add(event);
        }
    }

    /// Let time pass until nothing happens before `until`.
    pub fn run_until(&mut self, until: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            self.collect();
            self.collect(); // commands that draining caused
            if done(self) {
                return true;
            }
            let arrival = self.flying.keys().next().map(|&(when, _)| when);
            let timers = self
                .nodes
                .iter()
                .filter_map(|node| node.inline.next_timeout());
            let next = timers.chain(arrival).min().unwrap_or(u64::MAX);
            if next > until {
                self.now = until;
                return false;
            }
            self.now = self.now.max(next);
            while let Some(entry) = self.flying.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let mut datagram = entry.remove();
                let back = self
                    .translation
                    .iter()
                    .find(|(_, &seen)| seen == datagram.destination);
                if let Some((&private, _)) = back {
                    datagram.destination = private;
                }
                for node in &mut self.nodes {
                    node.inline.handle_datagram(self.now, &datagram);
                }
            }
            for node in &mut self.nodes {
                if node
                    .inline
                    .next_timeout()
                    .is_some_and(|when| when <= self.now)
                {
                    node.inline.handle_timeout(self.now);
                }
            }
        }
    }

    pub fn run_for(&mut self, time: u64) {
        self.run_until(self.now + time, |_| false);
    }

    /// Run until `done`, at most 60 seconds.
    pub fn run_to(&mut self, done: impl FnMut(&Self) -> bool) {
        assert!(
            self.run_until(self.now + 60 * SECOND, done),
            "it did not happen within 60 seconds"
        );
    }

    pub fn server(&self) -> &Node {
        &self.nodes[0]
    }

    pub fn client(&self) -> &Node {
        &self.nodes[1]
    }
}

/// Whether a datagram is a Retry packet (RFC 9000 §17.2.5): who sends it wants the other's address proved first.
pub fn is_retry(datagram: &Datagram) -> bool {
    datagram.data[0] & 0xf0 == 0xf0
}

/// Bytes that tell where they belong.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}
