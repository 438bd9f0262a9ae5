//! Packets of all kinds for the tests of the program in the kernel: sound ones, and everything that peers may make up.
//!
//! Owns the fleet and its traffic. The same seed gives the same packets.

use std::net::{IpAddr, SocketAddr};

use legato_forwarder::{Backend, Direction, SipKey, State, TagKeys, ViewSettings};
use legato_quic_lb::{Config, ConfigId, FirstOctet, Key, Lengths, ServerId};

/// After all that is dead, before the grace time of some is over.
pub const GRACE: u64 = 1 << 60;
/// When some die.
pub const NOW: u64 = 1 << 40;

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The same numbers in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

pub fn keys(seed: u8) -> TagKeys {
    TagKeys::new(SipKey::new([seed; 16]))
}

/// Every cipher, odd and even blocks, server IDs shorter and longer than half of them, and no configuration 6.
pub fn configs() -> Vec<Config> {
    let made = |id: u8, server_id, nonce, is_encrypted| {
        let id = ConfigId::new(id).unwrap();
        let lengths = Lengths::new(server_id, nonce).unwrap();
        if is_encrypted {
            Config::encrypted(id, lengths, &Key::new([id.get() + 1; 16]))
        } else {
            Config::plaintext(id, lengths)
        }
    };
    vec![
        made(0, 8, 8, true),
        made(1, 3, 4, false).with_first_octet(FirstOctet::Random),
        made(2, 3, 4, true),
        made(3, 10, 5, true).with_cid_len(20).unwrap(),
        made(4, 10, 6, true).with_first_octet(FirstOctet::Random),
        made(5, 8, 11, true),
    ]
}

pub fn name(config: &Config, number: u8) -> ServerId {
    ServerId::new(&vec![number; config.lengths().server_id()]).unwrap()
}

pub const STATES: [State; 6] = [
    State::Ready,
    State::Ready,
    State::Draining,
    State::Joining,
    State::Dead { since: 1 },
    State::Dead { since: NOW },
];

pub fn backends(states: &[State]) -> Vec<Backend> {
    let families = ["10.9.0.", "2001:db8:9::"];
    let numbered = families
        .iter()
        .flat_map(|family| states.iter().map(move |state| (family, *state)));
    let mut made: Vec<Backend> = Vec::new();
    for (number, (family, state)) in (1u8..).zip(numbered) {
        let ip: IpAddr = format!("{family}{number}").parse().unwrap();
        let mut server_ids: Vec<_> = configs()
            .iter()
            .map(|config| name(config, number))
            .collect();
        server_ids.sort();
        server_ids.dedup();
        made.push(Backend {
            server_ids,
            address: SocketAddr::new(ip, 7000),
            state,
            weight: u32::from(number),
        });
    }
    made
}

pub fn settings(states: &[State], grace: u64) -> ViewSettings {
    let keys = keys(1).also_accepting(SipKey::new([2; 16]));
    let mut settings = ViewSettings::new(SipKey::new([3; 16]), keys);
    for config in configs() {
        settings.configs.insert(config).unwrap();
    }
    settings.backends = backends(states);
    settings.grace = grace;
    settings.balancers = vec![address("192.0.2.200:443"), address("[2001:db8::200]:443")];
    settings
}

pub fn listeners() -> [SocketAddr; 2] {
    [address("198.51.100.1:443"), address("[2001:db8:1::1]:443")]
}

/// Makes up datagrams for the listeners.
pub struct Traffic {
    random: Random,
    servers: Vec<SocketAddr>,
}

impl Traffic {
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            random: Random(7),
            servers,
        }
    }

    /// The ECN bits of a packet.
    pub fn ecn(&mut self) -> u8 {
        self.random.below(4) as u8
    }

    fn cid(&mut self) -> Vec<u8> {
        let config = &configs()[self.random.below(6)];
        // Numbers up to 12 are servers; the others nobody knows.
        let number = self.random.below(15) as u8 + 1;
        let nonce = self.random.octets(config.lengths().nonce());
        let filling: [u8; 20] = self.random.octets(20).try_into().unwrap();
        let mut cid = config
            .encode(&name(config, number), &nonce, &filling)
            .unwrap()
            .to_vec();
        match self.random.below(8) {
            0 => cid[0] |= 0xe0,
            1 => cid[0] = 0xc0 | cid[0] & 0x1f,
            2 => cid.truncate(self.random.below(cid.len() + 1)),
            3 => cid.push(0),
            _ => {}
        }
        cid
    }

    fn packet(&mut self) -> Vec<u8> {
        let cid = self.cid();
        let more = self.random.below(60);
        let filling = self.random.octets(more);
        let first = self.random.next() as u8;
        let mut packet = match self.random.below(8) {
            0..=2 => [&[first & 0x7f][..], &cid, &filling].concat(),
            3..=5 => {
                let version = self.random.of(&[1u32, 0x6b33_43cf, 0, 0xfafa_fafa]);
                [
                    &[first | 0x80][..],
                    &version.to_be_bytes(),
                    &[cid.len() as u8],
                    &cid,
                    &[0],
                    &filling,
                ]
                .concat()
            }
            6 => filling,
            _ => self.random.octets(1460),
        };
        if self.random.below(6) == 0 {
            packet.truncate(self.random.below(packet.len() + 1));
        }
        packet
    }

    fn anybody(&mut self, is_v4: bool) -> SocketAddr {
        let port = self.random.next() as u16;
        let texts: &[&str] = if is_v4 {
            &[
                "0.0.0.0",
                "224.0.0.9",
                "239.255.255.255",
                "255.255.255.255",
                "240.0.0.1",
                "192.0.2.200",
                "198.51.100.1",
            ]
        } else {
            &[
                "::",
                "::1",
                "ff02::1",
                "fe80::1",
                "febf::1",
                "::ffff:1.2.3.4",
                "::2:3:4",
                "2001:db8::200",
                "2001:db8:1::1",
            ]
        };
        let ip = match self.random.below(4) {
            0 => self.random.of(texts).parse().unwrap(),
            _ if is_v4 => IpAddr::from(
                <[u8; 4]>::try_from([&[192, 0], &self.random.octets(2)[..]].concat()).unwrap(),
            ),
            _ => IpAddr::from(
                <[u8; 16]>::try_from([&[0x20], &self.random.octets(15)[..]].concat()).unwrap(),
            ),
        };
        SocketAddr::new(ip, if self.random.below(3) == 0 { 443 } else { port })
    }

    fn encapsulated(&mut self) -> Vec<u8> {
        let is_v4 = self.random.below(2) == 0;
        let mut client = self.anybody(is_v4);
        if self.random.below(8) == 0 {
            let servers = self.servers.clone();
            client = self.random.of(&servers);
        }
        let direction = self.random.of(&[
            Direction::Reply,
            Direction::Reply,
            Direction::Reply,
            Direction::Request,
        ]);
        let seed = self.random.of(&[1, 1, 1, 2, 9]);
        let packet = self.packet();
        let mut sealed = [&keys(seed).header(direction, client)[..], &packet].concat();
        match self.random.below(12) {
            0 => sealed.truncate(self.random.below(sealed.len() + 1)),
            1 => sealed[0] ^= 1 << self.random.below(8),
            2 => sealed[1] ^= 1 << self.random.below(8),
            _ => {}
        }
        sealed
    }

    /// A datagram, who sends it, and where it arrives.
    pub fn arrival(&mut self) -> (Vec<u8>, SocketAddr, SocketAddr) {
        let at = self.random.of(&listeners());
        let servers = self.servers.iter().copied();
        let servers: Vec<_> = servers
            .filter(|server| server.is_ipv4() == at.is_ipv4())
            .collect();
        let from = match self.random.below(4) {
            0 => self.random.of(&servers),
            _ => self.anybody(at.is_ipv4()),
        };
        let datagram = match self.random.below(3) {
            0 => self.encapsulated(),
            _ => self.packet(),
        };
        (datagram, from, at)
    }
}
