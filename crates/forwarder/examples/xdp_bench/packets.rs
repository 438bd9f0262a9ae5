//! What is forwarded: frames of callers and servers, and views that know the way.
//!
//! Owns the fleet. Must not know how anything is measured.

use std::net::SocketAddr;

use legato_forwarder::{Backend, Direction, SipKey, State, TagKeys, View, ViewSettings};
use legato_quic_lb::{Config, ConfigId, Key, Lengths, ServerId};

pub const BALANCER: &str = "198.51.100.1";
const PAYLOAD: usize = 120;
const SERVERS: u8 = 3;

/// Kinds of packets whose cost is told apart.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// To a server, whose name is in clear.
    Plaintext,
    /// To a server, whose name is one block of AES.
    Encrypted,
    /// To a server, whose name takes three blocks.
    FourPass,
    /// A first packet, whose caller's address is hashed.
    Hashed,
    /// From a server.
    Reply,
}

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::Plaintext,
        Self::Encrypted,
        Self::FourPass,
        Self::Hashed,
        Self::Reply,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Encrypted => "encrypted",
            Self::FourPass => "four_pass",
            Self::Hashed => "hashed",
            Self::Reply => "reply",
        }
    }

    fn config(self) -> Config {
        let id = ConfigId::new(1).expect("a codepoint");
        let lengths = |server_id, nonce| Lengths::new(server_id, nonce).expect("legal lengths");
        match self {
            Self::Plaintext => Config::plaintext(id, lengths(8, 8)),
            Self::FourPass => Config::encrypted(id, lengths(4, 4), &Key::new([3; 16])),
            _ => Config::encrypted(id, lengths(8, 8), &Key::new([3; 16])),
        }
    }

    fn name_of(self, server: u8) -> ServerId {
        let octets = vec![0xa0 | server; self.config().lengths().server_id()];
        ServerId::new(&octets).expect("a legal length")
    }

    pub fn view(self) -> View {
        let mut settings = ViewSettings::new(SipKey::new([1; 16]), keys());
        settings.configs.insert(self.config()).expect("it is empty");
        settings.backends = (0..SERVERS)
            .map(|number| Backend {
                server_ids: vec![self.name_of(number)],
                address: server(number),
                state: State::Ready,
                weight: 1,
            })
            .collect();
        View::new(settings).expect("servers that differ")
    }

    /// A frame of this caller, or for it.
    pub fn frame(self, number: u16) -> Vec<u8> {
        let caller = SocketAddr::from(([192, 0, 2, number as u8], 50_000 + number));
        let serving = number as u8 % SERVERS;
        let config = self.config();
        let nonce = [number.to_be_bytes()[1]; 16];
        let nonce = &nonce[..config.lengths().nonce()];
        let cid = config
            .encode(&self.name_of(serving), nonce, &[0; 20])
            .expect("right lengths");
        let mut packet = [&[0x40][..], &cid].concat();
        if self == Self::Hashed {
            packet = [&[0xc0, 0, 0, 0, 1, 8, 0xe7][..], &[9; 8]].concat();
        }
        packet.resize(PAYLOAD, 0x55);
        match self {
            Self::Reply => {
                let header = keys().header(Direction::Reply, caller);
                ethernet(server(serving), &[&header[..], &packet].concat())
            }
            _ => ethernet(caller, &packet),
        }
    }
}

fn keys() -> TagKeys {
    TagKeys::new(SipKey::new([2; 16]))
}

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, number + 1], 4434))
}

/// A frame for the balancer. The checksum of UDP is wrong, which costs a router the same.
fn ethernet(from: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let SocketAddr::V4(from) = from else {
        unreachable!("all addresses here are of version 4")
    };
    let to: std::net::Ipv4Addr = BALANCER.parse().expect("an address");
    let udp = (8 + payload.len() as u16).to_be_bytes();
    let total = (28 + payload.len() as u16).to_be_bytes();
    let check = 0x1234u16.to_be_bytes();
    let mut ip = [
        &[0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 17, 0, 0][..],
        &from.ip().octets(),
        &to.octets(),
    ]
    .concat();
    let words = ip.chunks_exact(2);
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    ip[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
    [
        &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..],
        &ip,
        &from.port().to_be_bytes(),
        &443u16.to_be_bytes(),
        &udp,
        &check,
        payload,
    ]
    .concat()
}
