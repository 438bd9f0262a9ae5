//! The balancer's decision about anything that anybody sends, and the header between balancers and servers.
//!
//! Owns the promises: who gets packets, and who never does. Must not know the order of the rules; tests beside the crate
//! fix that.

use std::net::{IpAddr, SocketAddr};

use legato_forwarder::{
    Arrival, Backend, Direction, Reason, Route, SipKey, State, TagKeys, Tunnel, Verdict, View,
    ViewSettings, PLACES,
};
use legato_quic_lb::{Config, ConfigId, Key, Lengths, ServerId};

const NETWORK: [u8; 3] = [10, 0, 0];
const KEY: [u8; 16] = [1; 16];

/// A server as numbers; few different ones, so that some collide.
#[derive(Debug, Clone, bolero::TypeGenerator)]
pub struct Server {
    name: u8,
    host: u8,
    state: u8,
    since: u64,
    weight: u32,
}

/// A balancer's knowledge.
#[derive(Debug, Clone, bolero::TypeGenerator)]
pub struct Fleet {
    servers: Vec<Server>,
    encrypted: bool,
    derived: bool,
    grace: u64,
}

/// Where a datagram is from.
#[derive(Debug, Clone, bolero::TypeGenerator)]
pub enum From {
    /// Anybody with an IPv4 address.
    V4([u8; 4], u16),
    /// Anybody with an IPv6 address.
    V6([u8; 16], u16),
    /// The address of a server, or one beside it.
    Server(u8, bool),
    /// The balancer itself.
    Itself,
}

/// What a datagram is, roughly.
#[derive(Debug, Clone, bolero::TypeGenerator)]
pub enum Datagram {
    /// Any octets.
    Noise(Vec<u8>),
    /// A short header with the connection ID of a server.
    Named(u8, Vec<u8>),
    /// A short header with an address in the connection ID.
    Addressed([u8; 4], u16, Vec<u8>),
    /// Sealed with the right key: whether it is a reply, and for whom.
    Sealed(bool, From, Vec<u8>),
    /// The same with one bit turned.
    Forged(bool, From, Vec<u8>, u8),
}

fn balancer() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 443))
}

fn host(number: u8) -> SocketAddr {
    let [a, b, c] = NETWORK;
    SocketAddr::from(([a, b, c, number % 8], 7000))
}

fn keys() -> TagKeys {
    TagKeys::new(SipKey::new(KEY))
}

fn config(encrypted: bool) -> Config {
    let id = ConfigId::new(0).expect("a codepoint");
    let lengths = Lengths::new(8, 8).expect("legal lengths");
    match encrypted {
        true => Config::encrypted(id, lengths, &Key::new([3; 16])),
        false => Config::plaintext(id, lengths),
    }
}

fn name(number: u8) -> ServerId {
    ServerId::new(&[number % 8; 8]).expect("8 octets")
}

impl From {
    fn address(&self) -> SocketAddr {
        match self {
            Self::V4(address, port) => (*address, *port).into(),
            Self::V6(address, port) => (*address, *port).into(),
            Self::Server(number, beside) => {
                let mut address = host(*number);
                address.set_port(7000 + u16::from(*beside));
                address
            }
            Self::Itself => balancer(),
        }
    }
}

impl Datagram {
    fn octets(&self, config: &Config) -> Vec<u8> {
        let named = |id: &ServerId, rest: &[u8]| {
            let cid = config
                .encode(id, &[5; 8], &[0; 20])
                .expect("8 and 8 octets");
            [&[0x40][..], &cid, rest].concat()
        };
        let sealed = |reply: bool, client: &From, rest: &[u8]| {
            let direction = if reply {
                Direction::Reply
            } else {
                Direction::Request
            };
            [&keys().header(direction, client.address())[..], rest].concat()
        };
        match self {
            Self::Noise(octets) => octets.clone(),
            Self::Named(number, rest) => named(&name(*number), rest),
            Self::Addressed(address, port, rest) => {
                let address = std::net::SocketAddrV4::new((*address).into(), *port);
                named(&ServerId::from_ipv4(address), rest)
            }
            Self::Sealed(reply, client, rest) => sealed(*reply, client, rest),
            Self::Forged(reply, client, rest, bit) => {
                let mut octets = sealed(*reply, client, rest);
                let bits = 8 * keys().header(Direction::Reply, client.address()).len();
                let bit = usize::from(*bit) % bits;
                octets[bit / 8] ^= 1 << (bit % 8);
                octets
            }
        }
    }
}

impl Fleet {
    fn settings(&self) -> ViewSettings {
        let mut settings = ViewSettings::new(SipKey::new([2; 16]), keys());
        settings
            .configs
            .insert(config(self.encrypted))
            .expect("the set is empty");
        let servers = self.servers.iter().map(|server| Backend {
            server_ids: vec![name(server.name)],
            address: host(server.host),
            state: match server.state % 4 {
                0 => State::Joining,
                1 => State::Ready,
                2 => State::Draining,
                _ => State::Dead {
                    since: server.since,
                },
            },
            weight: server.weight,
        });
        settings.backends = servers.collect();
        let [a, b, c] = NETWORK;
        settings.allowed = vec![format!("{a}.{b}.{c}.0/24").parse().expect("a network")];
        settings.derived = self.derived;
        settings.grace = self.grace;
        settings
    }

    fn view(&self) -> Option<View> {
        let settings = self.settings();
        let mut names: Vec<_> = self
            .servers
            .iter()
            .map(|server| name(server.name))
            .collect();
        let mut hosts: Vec<_> = settings
            .backends
            .iter()
            .map(|server| server.address)
            .collect();
        names.sort_unstable();
        names.dedup();
        hosts.sort_unstable();
        hosts.dedup();
        // The host 0 of the network is an address like any other here.
        let legal = names.len() == self.servers.len() && hosts.len() == self.servers.len();
        let view = View::new(settings);
        assert_eq!(view.is_ok(), legal, "{view:?}");
        view.ok()
    }
}

/// Packets reach servers of the list or allowed addresses, replies come from servers with the key, and none of both goes to
/// a balancer.
pub fn judge(fleet: &Fleet, datagram: &Datagram, from: &From, now: u64) {
    let Some(view) = fleet.view() else {
        return;
    };
    let octets = datagram.octets(&config(fleet.encrypted));
    let from = from.address();
    let arrival = Arrival {
        datagram: &octets,
        from,
        at: balancer(),
    };
    let listed = |address| {
        view.backends()
            .iter()
            .position(|server| server.address == address)
    };
    let allowed = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().starts_with(&NETWORK),
        IpAddr::V6(_) => false,
    };
    match view.judge(arrival, now) {
        Verdict::Forward(target) => {
            assert_eq!(listed(from), None);
            assert_ne!(from, balancer());
            assert_eq!(target.backend.map(usize::from), listed(target.address));
            match target.backend.map(|at| &view.backends()[usize::from(at)]) {
                None => {
                    assert!(fleet.derived && fleet.encrypted && allowed(target.address.ip()));
                    assert_eq!(target.route, Route::DerivedAddress);
                }
                Some(server) if target.route == Route::ConnectionId => {
                    assert!(!matches!(server.state, State::Dead { .. }));
                }
                Some(server) => assert!(server.state == State::Ready && server.weight > 0),
            }
        }
        Verdict::Reply {
            client,
            payload,
            backend,
        } => {
            assert!(matches!(datagram, Datagram::Sealed(true, ..)));
            assert_eq!(backend.map(usize::from), listed(from));
            assert!(backend.is_some() || fleet.derived && allowed(from.ip()));
            assert!(listed(client).is_none() && client != balancer());
            assert!(!payload.is_empty() && octets.ends_with(payload));
        }
        Verdict::Drop(reason) => {
            let about_sockets = [
                Reason::OtherFamily,
                Reason::SendBlocked,
                Reason::SendTooLarge,
            ];
            assert!(!about_sockets.contains(&reason));
        }
    }
    let places = view.places();
    assert!(places.is_empty() || places.len() == PLACES);
    assert!(places
        .iter()
        .all(|at| view.backends()[usize::from(*at)].state == State::Ready));
}

/// A server believes what is sealed, as it was sealed, and nothing that differs by a bit.
pub fn tunnel(datagram: &Datagram, from: &From) {
    let octets = datagram.octets(&config(true));
    let [a, b, c] = NETWORK;
    let network = format!("{a}.{b}.{c}.0/24").parse().expect("a network");
    let received = Tunnel::new(keys(), vec![network]).receive(&octets, from.address());
    let Ok((client, payload)) = received.map(|(client, payload)| (client, payload.to_vec())) else {
        return;
    };
    let Datagram::Sealed(false, sealed, rest) = datagram else {
        panic!("{datagram:?} is not genuine");
    };
    let address = sealed.address();
    assert_eq!(
        (client.ip(), client.port()),
        (address.ip().to_canonical(), address.port())
    );
    assert_eq!(payload, *rest);
}
