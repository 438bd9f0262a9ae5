//! What a balancer knows at one moment: configurations, servers, keys. It never changes; a new one takes its place.
//!
//! Owns what is legal and the tables made of it. Must not know packets, sockets or where the knowledge comes from.

use std::net::{IpAddr, SocketAddr};

use legato_quic_lb::{ConfigSet, ServerId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::encapsulation::is_a_clients;
use crate::error::ViewError;
use crate::maglev::{Maglev, Member, MAX_MEMBERS};
use crate::{Network, SipKey, TagKeys};

/// Microseconds on the machine's monotonic clock, the one that Python calls `time.monotonic()`.
pub type Micros = u64;

/// What a client's packet may have at most, unless the view says otherwise: an Ethernet frame of 1500 less IPv6 and UDP
/// (48) and the longer header (28).
pub const DEFAULT_MAX_PAYLOAD: usize = 1424;

/// How long packets for a dead server are dropped, unless the view says otherwise.
pub const DEFAULT_GRACE: Micros = 3_000_000;

/// What is known about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has not answered a probe yet: it keeps the connections it may have, and gets no new ones.
    Joining,
    /// It takes new connections.
    Ready,
    /// It keeps its connections and gets no new ones.
    Draining,
    /// It is gone. For the grace time packets for it are dropped, because it may be a restart; then another server gets
    /// them and resets the connection.
    Dead {
        /// Since when.
        since: Micros,
    },
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Its names in connection IDs; while configurations with different lengths are active, it has one for each.
    pub server_ids: Vec<ServerId>,
    /// Where it takes encapsulated packets.
    pub address: SocketAddr,
    /// Whether it takes connections.
    pub state: State,
    /// Its share of new connections in relation to the others'. 0 is none.
    pub weight: u32,
}

/// Everything that a view is made of.
#[derive(Debug, Clone)]
pub struct ViewSettings {
    /// The configurations under which connection IDs are read.
    pub configs: ConfigSet,
    /// The servers.
    pub backends: Vec<Backend>,
    /// Where packets may be sent: all servers have to be in one of these networks. Empty means wherever the servers are.
    pub allowed: Vec<Network>,
    /// Whether an encrypted connection ID with an allowed IPv4 address ([`ServerId::from_ipv4`]) leads there even if no
    /// such server is in the list. It needs `allowed`.
    pub derived: bool,
    /// Other balancers, as clients see them. What comes from there is dropped.
    pub balancers: Vec<SocketAddr>,
    /// Decides which server a new connection goes to; the same at all balancers, and secret, so that nobody can aim at
    /// one server.
    pub hash_key: SipKey,
    /// Authenticate the encapsulation.
    pub tag_keys: TagKeys,
    /// How long packets for a dead server are dropped.
    pub grace: Micros,
    /// Larger packets of clients are dropped.
    pub max_payload: usize,
}

impl ViewSettings {
    /// No servers and no configurations yet.
    pub fn new(hash_key: SipKey, tag_keys: TagKeys) -> Self {
        Self {
            configs: ConfigSet::new(),
            backends: Vec::new(),
            allowed: Vec::new(),
            derived: false,
            balancers: Vec::new(),
            hash_key,
            tag_keys,
            grace: DEFAULT_GRACE,
            max_payload: DEFAULT_MAX_PAYLOAD,
        }
    }
}

/// An immutable snapshot that decides about packets; see [`View::judge`].
#[derive(Debug, Clone)]
pub struct View {
    pub(crate) settings: ViewSettings,
    pub(crate) by_id: FxHashMap<ServerId, u16>,
    pub(crate) by_address: FxHashMap<SocketAddr, u16>,
    pub(crate) balancers: FxHashSet<SocketAddr>,
    pub(crate) table: Maglev,
}

impl View {
    /// Checks the settings and builds the tables. It takes milliseconds.
    pub fn new(settings: ViewSettings) -> Result<Self, ViewError> {
        if settings.backends.len() > MAX_MEMBERS {
            return Err(ViewError::TooManyBackends(settings.backends.len()));
        }
        if settings.derived && settings.allowed.is_empty() {
            return Err(ViewError::DerivedWithoutAllowed);
        }
        let balancers: FxHashSet<SocketAddr> = settings.balancers.iter().copied().collect();
        let mut by_id = FxHashMap::default();
        let mut by_address = FxHashMap::default();
        for (index, backend) in settings.backends.iter().enumerate() {
            let address = backend.address;
            check_address(&settings, &balancers, address)?;
            if by_address.insert(address, index as u16).is_some() {
                return Err(ViewError::AddressTwice(address));
            }
            if backend.server_ids.is_empty() {
                return Err(ViewError::NoServerId(address));
            }
            for &id in &backend.server_ids {
                if let Some(other) = by_id.insert(id, index as u16) {
                    let other = settings.backends[usize::from(other)].address;
                    return Err(ViewError::ServerIdTwice(id, other, address));
                }
            }
        }
        let members = members(&settings.backends);
        Ok(Self {
            table: Maglev::new(members, &settings.hash_key),
            settings,
            by_id,
            by_address,
            balancers,
        })
    }

    /// The same for a balancer that is reached at these addresses: what comes from one of them, or is for one of them,
    /// loops or pretends to.
    #[must_use]
    pub fn standing_at(&self, addresses: &[SocketAddr]) -> Self {
        let mut view = self.clone();
        view.balancers.extend(addresses);
        view
    }

    /// The servers, in the order in which decisions count them.
    pub fn backends(&self) -> &[Backend] {
        &self.settings.backends
    }

    /// The keys that authenticate the encapsulation.
    pub fn tag_keys(&self) -> &TagKeys {
        &self.settings.tag_keys
    }

    /// The table of new connections: which backend is responsible for a hash modulo [`PLACES`](crate::PLACES). Empty if
    /// none is ready.
    pub fn places(&self) -> &[u16] {
        self.table.places()
    }

    pub(crate) fn is_allowed(&self, address: IpAddr) -> bool {
        let allowed = &self.settings.allowed;
        allowed.iter().any(|network| network.contains(address))
    }
}

fn check_address(
    settings: &ViewSettings,
    balancers: &FxHashSet<SocketAddr>,
    address: SocketAddr,
) -> Result<(), ViewError> {
    if !is_a_clients(address) {
        return Err(ViewError::NoAddress(address));
    }
    let allowed = &settings.allowed;
    if !allowed.is_empty() && !allowed.iter().any(|known| known.contains(address.ip())) {
        return Err(ViewError::NotAllowed(address));
    }
    if balancers.contains(&address) {
        return Err(ViewError::IsBalancer(address));
    }
    Ok(())
}

/// Who shares in new connections. A backend goes by its lowest name, so that all balancers call it the same.
fn members(backends: &[Backend]) -> Vec<Member> {
    let ready = backends
        .iter()
        .enumerate()
        .filter(|(_, backend)| backend.state == State::Ready && backend.weight > 0);
    ready
        .filter_map(|(index, backend)| {
            Some(Member {
                index: index as u16,
                name: *backend.server_ids.iter().min()?,
                weight: backend.weight,
            })
        })
        .collect()
}
