//! A view as the program in the kernel reads it: one value with everything in fixed places.
//!
//! Owns the layout, which is that of `struct view` in xdp/layout.h. Must not know how it gets into the kernel.

use std::net::{IpAddr, SocketAddr};

use legato_quic_lb::{Config, FirstOctet, ServerId};

use super::error::XdpError;
use super::tables::Tables;
use crate::{SipKey, State, View, PLACES};

/// The number of the layout; the same as in xdp/layout.h.
pub(crate) const LAYOUT: u32 = 1;

const CONFIGS: usize = 8;
const LISTENERS: usize = 32;
const INTERFACES: usize = 16;
pub(crate) const BACKENDS: usize = 4096;
const NAMES_BITS: u32 = 15;
const ADDRESSES_BITS: u32 = 14;
const PROBES: usize = 16;
const IS_BALANCER: u32 = 0xffff;
/// With a quarter of the slots filled, one of the first seeds serves.
const SEEDS: u64 = 256;

const ADDRESS: usize = 20;
const CONFIG: usize = 4 + 4 * 44;
const BACKEND: usize = ADDRESS + 4 + 8;
const NAME: usize = 24;
const SLOT: usize = ADDRESS + 4;

const AT_SEED: usize = 48;
const AT_INTERFACES: usize = 64;
const AT_TABLES: usize = AT_INTERFACES + 4 * INTERFACES;
const AT_BOXES: usize = AT_TABLES + 8 * 1024;
const AT_CONFIGS: usize = AT_BOXES + 512;
const AT_LISTENERS: usize = AT_CONFIGS + CONFIGS * CONFIG;
const AT_BACKENDS: usize = AT_LISTENERS + LISTENERS * ADDRESS;
const AT_NAMES: usize = AT_BACKENDS + BACKENDS * BACKEND;
const AT_ADDRESSES: usize = AT_NAMES + (NAME << NAMES_BITS);
const AT_PLACES: usize = AT_ADDRESSES + (SLOT << ADDRESSES_BITS);
/// Octets of a view.
pub(crate) const VIEW_SIZE: usize = AT_PLACES + 2 * (PLACES + 3);

const HAS_OTHER_KEY: u32 = 1;
const HAS_PLACES: u32 = 2;
const BELIEVES_DERIVED: u32 = 4;

/// What the program has to know besides the view.
pub(crate) struct Surroundings<'a> {
    /// Where it takes packets; what is beyond the first 32 stays with the plane in userspace.
    pub(crate) listeners: &'a [SocketAddr],
    /// The interfaces that it is attached to, by number.
    pub(crate) interfaces: &'a [u32],
    /// The counter of each backend, in the order of the view.
    pub(crate) meters: &'a [u32],
}

/// Numbers are in the order of this machine, addresses in that of the network.
struct Image(Vec<u8>);

impl Image {
    fn put(&mut self, at: usize, octets: &[u8]) {
        self.0[at..at + octets.len()].copy_from_slice(octets);
    }

    fn put_word(&mut self, at: usize, word: u32) {
        self.put(at, &word.to_ne_bytes());
    }

    fn put_words(&mut self, at: usize, words: &[u32]) {
        for (number, word) in words.iter().enumerate() {
            self.put_word(at + 4 * number, *word);
        }
    }

    fn put_key(&mut self, at: usize, key: &SipKey) {
        self.put(at, key.octets());
    }

    fn put_address(&mut self, at: usize, address: SocketAddr) {
        let family: u16 = match address.ip() {
            IpAddr::V4(ip) => {
                self.put(at, &ip.octets());
                4
            }
            IpAddr::V6(ip) => {
                self.put(at, &ip.octets());
                6
            }
        };
        self.put(at + 16, &address.port().to_be_bytes());
        self.put(at + 18, &family.to_ne_bytes());
    }

    fn put_config(&mut self, config: &Config, tables: &Tables) {
        let at = AT_CONFIGS + usize::from(config.id().get()) * CONFIG;
        let lengths = config.lengths();
        let block = lengths.server_id() + lengths.nonce();
        let cipher = match (config.key(), block) {
            (None, _) => 1,
            (Some(_), 16) => 2,
            (Some(_), _) => 3,
        };
        let described = config.first_octet() == FirstOctet::SelfDescribed;
        let facts = [
            cipher,
            lengths.server_id() as u8,
            block as u8,
            u8::from(described),
        ];
        self.put(at, &facts);
        if let Some(key) = config.key() {
            let keys = match block {
                16 => tables.decryption(key),
                _ => tables.encryption(key),
            };
            self.put_words(at + 4, &keys);
        }
    }

    fn is_free(&self, at: usize, octets: usize) -> bool {
        self.0[at..at + octets].iter().all(|octet| *octet == 0)
    }

    /// Puts names and addresses into their slots. False if one of them is too far from its place.
    fn place(&mut self, view: &View, seed: u64) -> bool {
        self.0[AT_NAMES..AT_PLACES].fill(0);
        self.put(AT_SEED, &seed.to_ne_bytes());
        let names = view
            .by_id
            .iter()
            .all(|(id, backend)| self.place_name(id, *backend, seed));
        let backends = view
            .by_address
            .iter()
            .map(|(address, at)| (*address, u32::from(*at)));
        let balancers = view.balancers.iter().map(|address| (*address, IS_BALANCER));
        names
            && backends
                .chain(balancers)
                .all(|(address, who)| self.place_address(address, who, seed))
    }

    fn place_name(&mut self, id: &ServerId, backend: u16, seed: u64) -> bool {
        let (high, low) = halves(id);
        let first = name_hash(high, low, seed) >> (64 - NAMES_BITS);
        let slots = (0..PROBES)
            .map(|probe| AT_NAMES + ((first as usize + probe) % (1 << NAMES_BITS)) * NAME);
        let Some(at) = slots.into_iter().find(|at| self.is_free(*at, NAME)) else {
            return false;
        };
        self.put(at, &high.to_ne_bytes());
        self.put(at + 8, &low.to_ne_bytes());
        self.put(at + 16, &u64::from(backend).to_ne_bytes());
        true
    }

    fn place_address(&mut self, address: SocketAddr, who: u32, seed: u64) -> bool {
        let first = address_hash(address, seed) >> (64 - ADDRESSES_BITS);
        let slots = (0..PROBES)
            .map(|probe| AT_ADDRESSES + ((first as usize + probe) % (1 << ADDRESSES_BITS)) * SLOT);
        let Some(at) = slots.into_iter().find(|at| self.is_free(*at, SLOT)) else {
            return false;
        };
        self.put_address(at, address);
        self.put_word(at + ADDRESS, who);
        true
    }
}

/// A server ID as two numbers, its length in the lowest octet.
fn halves(id: &ServerId) -> (u64, u64) {
    let mut octets = [0; 16];
    octets[..id.len()].copy_from_slice(id);
    octets[15] = id.len() as u8;
    let whole = u128::from_be_bytes(octets);
    ((whole >> 64) as u64, whole as u64)
}

fn mixed(value: u64, more: u64, factor: u64) -> u64 {
    (value ^ more).wrapping_mul(factor)
}

fn name_hash(high: u64, low: u64, seed: u64) -> u64 {
    let hash = mixed(seed, high, 0x9e37_79b9_7f4a_7c15);
    mixed(hash ^ hash >> 29, low, 0xbf58_476d_1ce4_e5b9)
}

fn address_hash(address: SocketAddr, seed: u64) -> u64 {
    let mut octets = [0; 16];
    match address.ip() {
        IpAddr::V4(ip) => octets[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => octets.copy_from_slice(&ip.octets()),
    }
    let word = |at: usize| {
        u64::from(u32::from_ne_bytes([
            octets[at],
            octets[at + 1],
            octets[at + 2],
            octets[at + 3],
        ]))
    };
    let port = u16::from_ne_bytes(address.port().to_be_bytes());
    let hash = mixed(seed, word(0) << 32 | word(4), 0x9e37_79b9_7f4a_7c15);
    let hash = mixed(
        hash ^ hash >> 29,
        word(8) << 32 | word(12),
        0xbf58_476d_1ce4_e5b9,
    );
    mixed(hash ^ hash >> 32, port.into(), 0x94d0_49bb_1331_11eb)
}

/// The value for the program.
pub(crate) fn image(
    view: &View,
    tables: &Tables,
    around: &Surroundings<'_>,
) -> Result<Vec<u8>, XdpError> {
    let settings = &view.settings;
    let mut image = Image(vec![0; VIEW_SIZE]);
    let (current, other) = settings.tag_keys.both();
    image.put_key(0, &settings.hash_key);
    image.put_key(16, current);
    let mut flags = 0;
    if let Some(other) = other {
        image.put_key(32, other);
        flags |= HAS_OTHER_KEY;
    }
    if settings.derived {
        flags |= BELIEVES_DERIVED;
    }
    if !view.places().is_empty() {
        flags |= HAS_PLACES;
    }
    image.put_word(56, settings.max_payload as u32);
    image.put_word(60, flags);
    image.put_words(
        AT_INTERFACES,
        &around.interfaces[..around.interfaces.len().min(INTERFACES)],
    );
    let forms = tables.encrypt.iter().chain(&tables.decrypt);
    for (number, table) in forms.enumerate() {
        image.put_words(AT_TABLES + 1024 * number, table);
    }
    image.put(AT_BOXES, &tables.forward);
    image.put(AT_BOXES + 256, &tables.inverse);
    for config in settings.configs.iter() {
        image.put_config(config, tables);
    }
    for (number, listener) in around.listeners.iter().take(LISTENERS).enumerate() {
        image.put_address(AT_LISTENERS + number * ADDRESS, *listener);
    }
    for (number, (backend, meter)) in view.backends().iter().zip(around.meters).enumerate() {
        let at = AT_BACKENDS + number * BACKEND;
        image.put_address(at, backend.address);
        image.put_word(at + ADDRESS, *meter);
        image.put(
            at + ADDRESS + 4,
            &dead_until(backend.state, settings.grace).to_ne_bytes(),
        );
    }
    for (number, place) in view.places().iter().enumerate() {
        image.put(AT_PLACES + 2 * number, &place.to_ne_bytes());
    }
    let mut seeds = (1..=SEEDS).map(|seed| seed.wrapping_mul(0xd6e8_feb8_6659_fd93));
    if seeds.any(|seed| image.place(view, seed)) {
        return Ok(image.0);
    }
    Err(XdpError::TooMany {
        names: view.by_id.len(),
        addresses: view.by_address.len() + view.balancers.len(),
    })
}

/// When packets for a dead server are hashed to others, in nanoseconds; 0 for a server that lives.
fn dead_until(state: State, grace: u64) -> u64 {
    match state {
        State::Dead { .. } if grace == 0 => 1,
        State::Dead { since } => since.saturating_add(grace).saturating_mul(1000).max(1),
        State::Joining | State::Ready | State::Draining => 0,
    }
}
