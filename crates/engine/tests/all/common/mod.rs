//! A virtual network between inline endpoints: latency, loss, reordering, duplication, address translation, all seeded.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use bytes::Bytes;
use legato_engine::{
    fingerprint, ClosedBy, ConnectTarget, Datagram, EndpointKeys, Event, EventKind, FailureKind,
    Identity, Inline, Settings,
};

pub const SECOND: u64 = 1_000_000;

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn server_address() -> SocketAddr {
    address("10.0.0.1:4433")
}

/// An identity and the hash of its certificate.
pub fn identity() -> (Identity, [u8; 32]) {
    identity_valid(-1, 10)
}

/// An identity that is valid from and until this many days from now.
pub fn identity_valid(first: i64, last: i64) -> (Identity, [u8; 32]) {
    let day = |days: i64| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let days = now.as_secs() as i64 / 86_400 + days;
        let (year, month, day) = civil(days);
        rcgen::date_time_ymd(year, month, day)
    };
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = day(first);
    params.not_after = day(last);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let der = certificate.der().to_vec();
    let hash = fingerprint(&der);
    (
        Identity {
            certificate_chain: vec![der],
            private_key: key.serialize_der(),
        },
        hash,
    )
}

fn civil(days: i64) -> (i32, u8, u8) {
    let mut year = 1970;
    let mut left = days;
    let leap = |year: i32| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let months = [
        31,
        if leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    (year, month as u8 + 1, left as u8 + 1)
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
        let server = Inline::server(
            &[server_address()],
            &identity,
            server,
            &EndpointKeys::default(),
            1,
        )
        .unwrap();
        let client = Inline::client(client, 2).unwrap();
        (Self::new(vec![server, client]), hash)
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

/// Bytes that tell where they belong.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}
