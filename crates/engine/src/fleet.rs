//! One server as a member of a fleet: connection IDs that name it, and the secrets that it shares with the others.
//!
//! Owns the keys in use and how they are replaced while connections go on. Must not know connections, sockets or where
//! keys come from.
//!
//! # Rotation
//!
//! The first generation is in use, all of them are accepted. When another one comes first, connection IDs are issued
//! under it from then on. A connection gets fresh IDs, and its old ones retired (Retire Prior To, RFC 9000 §19.15), once
//! in each lifetime of connection IDs, so a generation is out of use one lifetime after the change. quinn renews by its
//! own timer only, therefore the lifetime is part of the member and does not change.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use aws_lc_rs::aead::{Aad, Nonce, RandomizedNonceKey, AES_256_GCM, NONCE_LEN};
use aws_lc_rs::{hkdf, hmac};
use legato_forwarder::{Declined, Network, TagKeys, Tunnel};
use legato_quic_lb::{Config, ConfigId, Issuer, Nonces, ServerId, MAX_CID_LEN};
use quinn_proto::crypto::{AeadKey, CryptoError, HandshakeTokenKey, HmacKey};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use rustc_hash::FxHashMap;
use rustls::server::ProducesTickets;

use crate::error::EngineError;
use crate::randomness::random;
use crate::shared::lock;
use crate::steering::Steering;
use crate::tls::{derive, TICKET_LIFETIME};

/// How long a connection keeps its connection IDs, unless the member says otherwise.
pub const DEFAULT_CID_LIFETIME: Duration = Duration::from_secs(600);
/// Nonces that are passed over to find one that leads to this worker. With n workers each leads there with 1/n.
const DRAWS: usize = 4096;

/// Secrets of one generation, shared by the fleet.
#[derive(Clone)]
pub struct Generation {
    /// How connection IDs are made.
    pub config: Config,
    /// Key of stateless reset tokens of these connection IDs (RFC 9000 §10.3.2).
    pub reset_key: [u8; 32],
    /// Key of Retry and NEW_TOKEN tokens (RFC 9000 §8.1).
    pub token_key: [u8; 32],
    /// Key of TLS session tickets (RFC 8446 §4.6.1).
    pub ticket_key: [u8; 32],
}

/// Where and from whom a server takes encapsulated packets (`wire/ENCAPSULATION.md`).
#[derive(Clone)]
pub struct TunnelSettings {
    /// Hosts and ports of its own to listen on.
    pub addresses: Vec<(String, u16)>,
    /// Keys of the encapsulation.
    pub keys: TagKeys,
    /// Whose packets are believed.
    pub balancers: Vec<Network>,
}

/// What makes a server a member of a fleet.
#[derive(Clone)]
pub struct FleetMember {
    /// Its name in connection IDs. None: derived from the address of its tunnel, or random without one.
    pub server_id: Option<ServerId>,
    /// The generation in use, then others that are accepted.
    pub generations: Vec<Generation>,
    /// Its door for balancers.
    pub tunnel: Option<TunnelSettings>,
    /// Which of several processes on one port it is.
    pub steering: Option<Steering>,
    /// How long connections keep their connection IDs.
    pub cid_lifetime: Duration,
}

impl fmt::Debug for FleetMember {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FleetMember")
            .field("server_id", &self.server_id)
            .field("generations", &self.generations.len())
            .field("tunnel", &self.tunnel.is_some())
            .finish_non_exhaustive()
    }
}

impl FleetMember {
    fn current(&self) -> Result<&Generation, EngineError> {
        let current = self.generations.first();
        current.ok_or_else(|| EngineError::settings("a member of a fleet needs keys"))
    }

    /// Its server ID, given the first address of its tunnel.
    pub(crate) fn name(&self, tunnel: Option<SocketAddr>) -> Result<ServerId, EngineError> {
        let refused = |error: legato_quic_lb::ConfigError| EngineError::settings(error.to_string());
        if let Some(id) = self.server_id {
            return Ok(id);
        }
        match tunnel {
            Some(address) if address.ip().is_unspecified() => Err(EngineError::settings(format!(
                "the server ID cannot be derived from {address}: name the one address at which balancers reach this \
                 server, or give it a server ID"
            ))),
            Some(SocketAddr::V4(address)) => Ok(ServerId::from_ipv4(address)),
            Some(SocketAddr::V6(address)) => Ok(ServerId::from_ipv6(*address.ip())),
            None => {
                let length = self.current()?.config.lengths().server_id();
                ServerId::new(&random::<{ MAX_CID_LEN }>()[..length]).map_err(refused)
            }
        }
    }
}

struct Keys {
    codepoint: u8,
    reset: hmac::Key,
    token: hkdf::Prk,
    ticket: RandomizedNonceKey,
}

impl Keys {
    fn new(generation: &Generation) -> Result<Self, EngineError> {
        let ticket = derive(&generation.ticket_key, b"legato session tickets");
        let reset = derive(&generation.reset_key, b"legato stateless reset");
        Ok(Self {
            codepoint: generation.config.id().get(),
            reset: hmac::Key::new(hmac::HMAC_SHA256, &reset),
            token: hkdf::Salt::new(hkdf::HKDF_SHA256, b"legato address tokens")
                .extract(&generation.token_key),
            ticket: RandomizedNonceKey::new(&AES_256_GCM, &ticket)
                .map_err(|_| EngineError::settings("the ticket key cannot be used"))?,
        })
    }
}

/// What is replaced as a whole.
struct Live {
    keys: Vec<Keys>,
    tunnel: Option<Arc<Tunnel>>,
}

impl Live {
    fn new(member: &FleetMember) -> Result<Self, EngineError> {
        let tunnel = member.tunnel.as_ref();
        Ok(Self {
            keys: member
                .generations
                .iter()
                .map(Keys::new)
                .collect::<Result<_, _>>()?,
            tunnel: tunnel
                .map(|tunnel| Arc::new(Tunnel::new(tunnel.keys.clone(), tunnel.balancers.clone()))),
        })
    }
}

/// A member at work. All that QUIC asks of it goes through the traits below.
pub(crate) struct Fleet {
    server_id: ServerId,
    cid_len: usize,
    cid_lifetime: Duration,
    steering: Option<Steering>,
    issuer: Mutex<Issuer>,
    live: RwLock<Live>,
    declined: Mutex<FxHashMap<Declined, u64>>,
}

impl Fleet {
    pub(crate) fn new(member: &FleetMember, server_id: ServerId) -> Result<Arc<Self>, EngineError> {
        let current = &member.current()?.config;
        let refused = |error: legato_quic_lb::ConfigError| EngineError::settings(error.to_string());
        let mut issuer = Issuer::new(current.cid_len()).map_err(refused)?;
        issuer
            .rotate(current.clone(), server_id, Nonces::new(random()))
            .map_err(refused)?;
        Ok(Arc::new(Self {
            server_id,
            cid_len: current.cid_len(),
            cid_lifetime: member.cid_lifetime,
            steering: member.steering,
            issuer: Mutex::new(issuer),
            live: RwLock::new(Live::new(member)?),
            declined: Mutex::default(),
        }))
    }

    /// Go on under these keys. What the member was started with otherwise stays.
    pub(crate) fn replace(&self, member: &FleetMember) -> Result<(), EngineError> {
        let current = &member.current()?.config;
        let live = Live::new(member)?;
        let mut issuer = lock(&self.issuer);
        if !issuer.config().is_some_and(|old| self.same(old, current)) {
            issuer
                .rotate(current.clone(), self.server_id, Nonces::new(random()))
                .map_err(|error| EngineError::settings(error.to_string()))?;
        }
        drop(issuer);
        let mut place = self
            .live
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *place = live;
        Ok(())
    }

    /// Whether two configurations make the same connection IDs; keys are not shown, so they are tried.
    fn same(&self, one: &Config, other: &Config) -> bool {
        let probe = |config: &Config| {
            let nonce = [0; MAX_CID_LEN];
            config.encode(&self.server_id, &nonce[..config.lengths().nonce()], &nonce)
        };
        one.lengths() == other.lengths() && probe(one) == probe(other)
    }

    /// Its name in connection IDs.
    pub(crate) fn server_id(&self) -> ServerId {
        self.server_id
    }

    /// What seals and opens encapsulated packets now.
    pub(crate) fn tunnel(&self) -> Option<Arc<Tunnel>> {
        self.read(|live| live.tunnel.clone())
    }

    /// Count a datagram that the tunnel did not take.
    pub(crate) fn decline(&self, why: Declined) {
        *lock(&self.declined).entry(why).or_default() += 1;
    }

    /// How many datagrams the tunnel did not take, by reason.
    pub(crate) fn declined(&self) -> Vec<(Declined, u64)> {
        let counts = lock(&self.declined);
        counts.iter().map(|(&why, &count)| (why, count)).collect()
    }

    fn read<T>(&self, act: impl FnOnce(&Live) -> T) -> T {
        act(&self
            .live
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    fn issue(&self) -> ConnectionId {
        let mut issuer = lock(&self.issuer);
        let mut cid = None;
        for _ in 0..DRAWS {
            // Without nonces left there is only what balancers hash; a rotation mends it.
            let drawn = issuer.issue(&random());
            let drawn = drawn.unwrap_or_else(|_| issuer.unroutable(&random()));
            cid = Some(drawn);
            if self
                .steering
                .is_none_or(|steering| steering.is_ours(&drawn))
            {
                break;
            }
        }
        cid.map_or(ConnectionId::new(&[]), |cid| ConnectionId::new(&cid))
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Fleet")
            .field("server_id", &self.server_id)
            .finish_non_exhaustive()
    }
}

/// Makes connection IDs for QUIC.
pub(crate) struct RoutableCids(pub(crate) Arc<Fleet>);

impl ConnectionIdGenerator for RoutableCids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.0.issue()
    }

    /// Whether any server of the fleet may have issued it: a packet for one that is gone gets a stateless reset here.
    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        let codepoint = cid.first().map(|first| first >> 5);
        let known = codepoint.is_some_and(|codepoint| {
            usize::from(codepoint) == ConfigId::COUNT
                || self
                    .0
                    .read(|live| live.keys.iter().any(|keys| keys.codepoint == codepoint))
        });
        if known && cid.len() == self.0.cid_len {
            Ok(())
        } else {
            Err(InvalidCid)
        }
    }

    fn cid_len(&self) -> usize {
        self.0.cid_len
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        Some(self.0.cid_lifetime)
    }
}

/// Makes the reset token of a connection ID with the key of its generation, so that tokens outlive a rotation.
pub(crate) struct ResetKeys(pub(crate) Arc<Fleet>);

impl ResetKeys {
    fn with<T>(&self, cid: &[u8], act: impl FnOnce(&hmac::Key) -> T) -> T {
        let codepoint = cid.first().map(|first| first >> 5);
        self.0.read(|live| {
            let own = live
                .keys
                .iter()
                .find(|keys| Some(keys.codepoint) == codepoint);
            act(&own.unwrap_or(&live.keys[0]).reset)
        })
    }
}

impl HmacKey for ResetKeys {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        self.with(data, |key| HmacKey::sign(key, data, signature_out));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.with(data, |key| HmacKey::verify(key, data, signature))
    }
}

/// Seals address tokens with the key in use and opens them with any.
pub(crate) struct TokenKeys(pub(crate) Arc<Fleet>);

impl HandshakeTokenKey for TokenKeys {
    fn aead_from_hkdf(&self, random_bytes: &[u8]) -> Box<dyn AeadKey> {
        Box::new(TokenRing(self.0.read(|live| {
            let keys = live.keys.iter();
            keys.map(|keys| keys.token.aead_from_hkdf(random_bytes))
                .collect()
        })))
    }
}

struct TokenRing(Vec<Box<dyn AeadKey>>);

impl AeadKey for TokenRing {
    fn seal(&self, data: &mut Vec<u8>, additional_data: &[u8]) -> Result<(), CryptoError> {
        self.0[0].seal(data, additional_data)
    }

    fn open<'a>(
        &self,
        data: &'a mut [u8],
        additional_data: &[u8],
    ) -> Result<&'a mut [u8], CryptoError> {
        for key in &self.0 {
            // A key that does not fit may spoil what it is tried on.
            let mut copy = data.to_vec();
            if let Ok(opened) = key.open(&mut copy, additional_data) {
                let plain = &mut data[..opened.len()];
                plain.copy_from_slice(opened);
                return Ok(plain);
            }
        }
        Err(CryptoError)
    }
}

/// Seals TLS session tickets with the key in use and opens them with any.
#[derive(Debug)]
pub(crate) struct TicketKeys(pub(crate) Arc<Fleet>);

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.read(|live| seal_ticket(&live.keys[0].ticket, plain))
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.0.read(|live| {
            let mut keys = live.keys.iter();
            keys.find_map(|keys| open_ticket(&keys.ticket, ticket))
        })
    }
}

/// A ticket: AES-256-GCM with a random nonce in front.
pub(crate) fn seal_ticket(key: &RandomizedNonceKey, plain: &[u8]) -> Option<Vec<u8>> {
    let mut sealed = plain.to_vec();
    let nonce = key
        .seal_in_place_append_tag(Aad::empty(), &mut sealed)
        .ok()?;
    Some([&nonce.as_ref()[..], &sealed].concat())
}

/// What is in a ticket that was sealed with this key.
pub(crate) fn open_ticket(key: &RandomizedNonceKey, ticket: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = ticket.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut plain = sealed.to_vec();
    let length = key
        .open_in_place(nonce, Aad::empty(), &mut plain)
        .ok()?
        .len();
    plain.truncate(length);
    Some(plain)
}
