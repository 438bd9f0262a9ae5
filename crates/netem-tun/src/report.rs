//! What the program says, as JSON. Owns the names of its fields.

use legato_netem::{gateway, Addressing, Direction, Network, Statistics};
use serde_json::{json, Value};

use crate::lateness::Lateness;
use crate::places::{Places, Wire};

/// Every network that has a name.
pub fn library() -> Value {
    let about = |name: &str| {
        let network = Network::named(name).expect("a test reads every file of the library");
        json!({"name": name, "about": network.about(), "length_ms": network.length_us() as f64 / 1000.0})
    };
    Network::names().map(about).collect()
}

/// Where the places are.
pub fn ready(places: &Places, network: &Network) -> Value {
    let (server4, server6) = gateway::SERVER;
    let (client4, client6) = gateway::client(0);
    let v6 = |address: std::net::Ipv6Addr| places.ipv6.then(|| address.to_string());
    json!({
        "event": "ready",
        "network": network.name(),
        "about": network.about(),
        "wire": if places.wire == Wire::Tun { "tun" } else { "veth" },
        "user_namespace": places.user_namespace,
        "client": {"namespace": places.client.path(), "ipv4": client4.to_string(), "ipv6": v6(client6)},
        "server": {"namespace": places.server.path(), "ipv4": server4.to_string(), "ipv6": v6(server6)},
    })
}

/// The client's addresses have changed.
pub fn changed(since_begin_us: u64, now: Addressing) -> Value {
    json!({
        "event": "addresses",
        "at_ms": since_begin_us as f64 / 1000.0,
        "rebound_ports": now.ports,
        "rebound_addresses": now.addresses,
        "roams": now.roams,
        "client": gateway::client(now.roams).0.to_string(),
    })
}

/// What became of one direction's packets.
pub struct Account {
    pub statistics: Statistics,
    /// Dropped by the interface before the link could read them.
    pub dropped_by_kernel: u64,
    /// To or from an address that is not the client's any more.
    pub misaddressed: u64,
    /// The receiving side's kernel did not take them.
    pub refused: u64,
    pub lateness: Lateness,
}

/// The end: what happened in each direction.
pub fn done(accounts: &[Account; 2]) -> Value {
    let [up, down] = Direction::BOTH.map(|direction| account(&accounts[direction as usize]));
    json!({"event": "done", "up": up, "down": down})
}

fn account(account: &Account) -> Value {
    let s = &account.statistics;
    let gone = s.lost + s.lost_in_burst + s.queue_full + s.blackout + s.too_much_in_flight;
    json!({
        "packets": s.pushed,
        "bytes": s.pushed_bytes,
        "delivered": s.delivered,
        "delivered_bytes": s.delivered_bytes,
        "under_way": s.pushed + s.duplicated - s.delivered - gone,
        "duplicated": s.duplicated,
        "reordered": s.reordered,
        "lost": s.lost,
        "lost_in_burst": s.lost_in_burst,
        "queue_full": s.queue_full,
        "blackout": s.blackout,
        "too_much_in_flight": s.too_much_in_flight,
        "misaddressed": account.misaddressed,
        "refused": account.refused,
        "dropped_by_kernel": account.dropped_by_kernel,
        "late_us": {
            "p50": account.lateness.per_mille(500),
            "p99": account.lateness.per_mille(990),
            "p999": account.lateness.per_mille(999),
        },
    })
}
