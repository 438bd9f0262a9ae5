//! A call through every network of `bench/networks`, in virtual time: each byte arrives, and a seed has one outcome.
//!
//! The client sends a frame every 20 ms and so does the server; the network does what its file says, changed addresses
//! included. The outcome is a digest over every packet (when, which way, how long, what became of it) and everything that was
//! delivered (when, where, how much). Keys and certificates are made anew each time, so contents differ but sizes do not.

use std::net::{IpAddr, SocketAddr};

use crate::common::{server_address, target, Network as Nodes, SECOND};
use legato_engine::{fingerprint, Datagram, EndpointKeys, Identity, Inline, Settings};
use legato_netem::gateway::{self, Endpoint, Gateway};
use legato_netem::{Addressing, Direction, Link, Network, Verdict};

const FRAME_US: u64 = 20_000;
const FRAME_BYTES: usize = 160;
const IP_AND_UDP_HEADER: usize = 28;
/// Where an inline client is by itself, and where the emulated network has its clients.
const INLINE_HOME: &str = "10.0.0.2";
/// What the client binds to after a roam.
const PORT: u16 = 41_000;

/// FNV-1a, 64 bits: short, and the same everywhere.
struct Digest(u64);

impl Digest {
    fn add(&mut self, values: &[u64]) {
        for byte in values.iter().flat_map(|value| value.to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Two endpoints, the link between them, and what has been seen.
struct Call {
    nodes: Nodes,
    link: Link<Datagram>,
    gateway: Gateway,
    addressing: Addressing,
    now: u64,
    session: u64,
    digest: Digest,
    /// Bytes delivered so far at the server and at the client.
    delivered: [usize; 2],
}

/// What came of a call.
struct Outcome {
    digest: u64,
    seconds: f64,
    packets: u64,
    lost: u64,
    paths: Vec<SocketAddr>,
    moved: Addressing,
}

impl Call {
    fn new(network: Network, seed: u64) -> Self {
        let (identity, hash) = identity();
        let server = Inline::server(
            &[server_address()],
            &identity,
            Settings::default(),
            &EndpointKeys::default(),
            seed,
        );
        let client = Inline::client(Settings::default(), seed ^ 1);
        let nodes = Nodes::new(vec![server.unwrap(), client.unwrap()]);
        let session = nodes.client().front().connect(target(hash)).unwrap();
        let mut link = Link::new(network, seed);
        link.begin(0);
        Self {
            nodes,
            link,
            gateway: Gateway::default(),
            addressing: Addressing::default(),
            now: 0,
            session,
            digest: Digest(0xcbf2_9ce4_8422_2325),
            delivered: [0; 2],
        }
    }

    /// Let everything happen that happens up to `until`.
    fn run_until(&mut self, until: u64) {
        loop {
            self.follow_addresses();
            self.exchange();
            let timers = self
                .nodes
                .nodes
                .iter()
                .filter_map(|node| node.inline.next_timeout());
            let next = timers
                .chain(self.link.next_deadline())
                .min()
                .unwrap_or(u64::MAX);
            if next > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            self.arrive();
            for node in &mut self.nodes.nodes {
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

    /// Let time pass while something is so.
    fn run_while(&mut self, gives_up: u64, mut holds: impl FnMut(&Nodes) -> bool) {
        while holds(&self.nodes) {
            let name = self.link.network().name();
            assert!(self.now < gives_up, "{name}: it did not happen");
            self.run_until(self.now + FRAME_US);
        }
    }

    /// Connect, send a frame every 20 ms each way, end both streams; what was said, the same both ways.
    fn talk(&mut self, until: u64) -> Vec<u8> {
        self.run_while(20 * SECOND, |nodes| nodes.client().log.opened.is_empty());
        let theirs = self.nodes.server().log.requested[0];
        let sessions = [theirs, self.session];
        let open = |node: usize| {
            self.nodes.nodes[node]
                .front()
                .open_stream(sessions[node], false)
        };
        let streams = [open(0).unwrap(), open(1).unwrap()];
        let mut spoken: Vec<u8> = Vec::new();
        while self.now < until {
            let frame: Vec<u8> = (0..FRAME_BYTES)
                .map(|at| (spoken.len() / 7 + at) as u8)
                .collect();
            spoken.extend(&frame);
            for (node, stream) in streams.into_iter().enumerate() {
                let front = self.nodes.nodes[node].front();
                front.send(stream, frame.clone().into(), false).unwrap();
            }
            self.run_until(self.now + FRAME_US);
        }
        for (node, stream) in streams.into_iter().enumerate() {
            let front = self.nodes.nodes[node].front();
            front.send(stream, Default::default(), true).unwrap();
        }
        spoken
    }

    /// Put on the link what the endpoints want to send, until they have nothing more to say to what they hear.
    fn exchange(&mut self) {
        for _ in 0..3 {
            for (index, direction) in [(1, Direction::Up), (0, Direction::Down)] {
                for datagram in self.nodes.nodes[index].inline.poll_transmit(self.now) {
                    self.send(direction, datagram);
                }
                self.nodes.drain(index);
            }
        }
        for index in 0..2 {
            let bytes = self.nodes.nodes[index]
                .log
                .data
                .values()
                .map(Vec::len)
                .sum();
            if bytes != self.delivered[index] {
                self.delivered[index] = bytes;
                self.digest.add(&[self.now, index as u64, bytes as u64]);
            }
        }
    }

    fn send(&mut self, direction: Direction, mut datagram: Datagram) {
        let size = datagram.data.len();
        if direction == Direction::Up {
            let own = endpoint(at_home(
                datagram.source,
                INLINE_HOME,
                gateway::client(0).0.into(),
            ));
            let Some(seen) = self.gateway.outbound(self.link.addressing(self.now), own) else {
                return;
            };
            datagram.source = SocketAddr::new(seen.ip, seen.port.unwrap());
        }
        let verdict = self.link.push(
            self.now,
            direction,
            (size + IP_AND_UDP_HEADER) as u64,
            datagram,
        );
        let passed = matches!(verdict, Verdict::Passed | Verdict::Duplicated);
        self.digest
            .add(&[self.now, direction as u64, size as u64, passed.into()]);
    }

    fn arrive(&mut self) {
        let due: Vec<_> = self.link.poll(self.now).collect();
        for mut delivery in due {
            if delivery.direction == Direction::Up {
                self.nodes.nodes[0]
                    .inline
                    .handle_datagram(self.now, &delivery.packet);
                continue;
            }
            let state = self.link.addressing(self.now);
            if let Some(own) = self
                .gateway
                .inbound(state, endpoint(delivery.packet.destination))
            {
                let own = SocketAddr::new(own.ip, own.port.unwrap());
                let home = IpAddr::from(gateway::client(0).0);
                delivery.packet.destination =
                    at_home(own, &home.to_string(), INLINE_HOME.parse().unwrap());
                self.nodes.nodes[1]
                    .inline
                    .handle_datagram(self.now, &delivery.packet);
            }
        }
    }

    /// Tell the client that it has another address, as its operating system would; of a NAT it learns nothing.
    fn follow_addresses(&mut self) {
        let state = self.link.addressing(self.now);
        if state.roams != self.addressing.roams {
            let local = SocketAddr::new(gateway::client(state.roams).0.into(), PORT);
            let front = self.nodes.client().front();
            front.migrate(self.session, Some(local)).unwrap();
        }
        self.addressing = state;
    }
}

/// The same address, but for an inline client's home and what it is called on the network.
fn at_home(address: SocketAddr, from: &str, to: IpAddr) -> SocketAddr {
    match address.ip() == from.parse::<IpAddr>().unwrap() {
        true => SocketAddr::new(to, address.port()),
        false => address,
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        protocol: 17,
        ip: address.ip(),
        port: Some(address.port()),
    }
}

/// An identity whose certificate and signatures always have the same size, so that packets do.
fn identity() -> (Identity, [u8; 32]) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.serial_number = Some(rcgen::SerialNumber::from(1u64));
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 1, 1);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let hash = fingerprint(&der);
    let identity = Identity {
        certificate_chain: vec![der],
        private_key: key.serialize_der(),
    };
    (identity, hash)
}

/// Connect, talk both ways until the network's story is over and two seconds more, hang up; compare every byte.
fn call(name: &str, seed: u64) -> Outcome {
    let network = Network::named(name).unwrap();
    let talk_until = network.length_us().clamp(4 * SECOND, 30 * SECOND) + 2 * SECOND;
    let mut call = Call::new(network, seed);
    let spoken = call.talk(talk_until);
    let gives_up = talk_until + 60 * SECOND;
    call.run_while(gives_up, |nodes| {
        nodes.nodes.iter().any(|node| node.log.finished.is_empty())
    });
    for node in &call.nodes.nodes {
        let heard = node.log.data.values().next().unwrap();
        assert!(heard == &spoken, "{name}: bytes differ");
        assert!(node.log.closed.is_empty());
    }
    let seen = Direction::BOTH.map(|direction| call.link.statistics(direction));
    let gone = seen.map(|s| s.lost + s.lost_in_burst + s.queue_full + s.blackout);
    Outcome {
        digest: call.digest.0,
        seconds: call.now as f64 / SECOND as f64,
        packets: seen.iter().map(|s| s.pushed).sum(),
        lost: gone.iter().sum(),
        paths: call.nodes.server().log.paths.clone(),
        moved: call.addressing,
    }
}

#[test]
fn every_byte_arrives_and_a_seed_has_one_outcome() {
    for name in Network::names() {
        let (first, again) = (call(name, 1), call(name, 1));
        println!(
            "{name:12} {:016x}  {:5.1} s  {:5} packets, {:4} lost, server saw {} new addresses",
            first.digest,
            first.seconds,
            first.packets,
            first.lost,
            first.paths.len()
        );
        assert_eq!(
            first.digest, again.digest,
            "{name}: the same seed, another outcome"
        );
    }
}

#[test]
fn another_seed_has_another_outcome() {
    assert_ne!(call("lossy", 1).digest, call("lossy", 2).digest);
}

#[test]
fn the_server_sees_the_addresses_that_the_nat_gives() {
    let outcome = call("rebind", 3);
    let (port, address) = (outcome.paths[0], outcome.paths[1]);
    assert_eq!(outcome.paths.len(), 2);
    assert_eq!(port.ip(), IpAddr::from(gateway::client(0).0));
    assert_eq!(address.ip(), IpAddr::from(gateway::public(1).0));
    assert_ne!(port.port(), address.port());
    assert_eq!(
        outcome.moved,
        Addressing {
            ports: 1,
            addresses: 1,
            roams: 0
        }
    );
}

#[test]
fn a_client_that_roams_is_seen_at_its_new_address() {
    let outcome = call("handover", 3);
    let new = SocketAddr::new(gateway::client(1).0.into(), PORT);
    assert_eq!(outcome.paths, [new]);
    assert_eq!(outcome.moved.roams, 1);
}
