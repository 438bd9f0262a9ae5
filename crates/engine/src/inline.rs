//! An endpoint on a virtual clock with datagrams in memory: the same driver and the same front, stepped by the caller.
//!
//! Owns time in microseconds and the list of datagrams that want to leave. Loss, reordering, rebinding and timeouts are then
//! plain code in a test. Must not know sockets or threads.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::Transmit;
use rustc_hash::FxHashMap;

use crate::command::{Command, NewPath, Via};
use crate::driver::{Arrival, Driver, Exit, Outlet, Sent};
use crate::endpoint::endpoint_config;
use crate::error::EngineError;
use crate::front::{Front, Ground};
use crate::identity::{EndpointKeys, Identity};
use crate::server_secrets::ServerSecrets;
use crate::settings::Settings;
use crate::shared::{lock, Shared};
use crate::tls;

/// A datagram on a virtual network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// Payload.
    pub data: Vec<u8>,
}

/// Which address each virtual socket has.
#[derive(Default)]
struct Addresses {
    by_via: Mutex<FxHashMap<Via, SocketAddr>>,
    next: AtomicU32,
}

impl Addresses {
    fn add(&self, local: SocketAddr) -> Via {
        let via = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.by_via).insert(via, local);
        via
    }

    fn find(&self, local: SocketAddr) -> Option<Via> {
        lock(&self.by_via)
            .iter()
            .find(|(_, &address)| address == local)
            .map(|(&via, _)| via)
    }
}

struct VirtualGround {
    addresses: Arc<Addresses>,
}

impl Ground for VirtualGround {
    fn path(&self, remote: SocketAddr, local: Option<SocketAddr>) -> Result<NewPath, EngineError> {
        // A fresh port on 10.0.0.2, counted from 40000, stands for what an operating system would pick.
        let port = 40_000 + self.addresses.next.load(Ordering::Relaxed) as u16;
        let local =
            local.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), port));
        Ok(NewPath {
            via: self.addresses.add(local),
            local,
            remote,
            socket: None,
        })
    }

    fn wake(&self) {}

    fn hurry(&self) {}

    fn clear_readiness(&self) {}

    fn set_readiness(&self) {}
}

struct Outbox {
    addresses: Arc<Addresses>,
    datagrams: VecDeque<Datagram>,
}

impl Outlet for Outbox {
    fn max_segments(&self, _via: Via) -> usize {
        4
    }

    fn is_blocked(&self, _via: Via) -> bool {
        false
    }

    fn send(&mut self, exit: Exit, transmit: &Transmit, payload: &[u8]) -> Sent {
        let Some(local) = lock(&self.addresses.by_via).get(&exit.via).copied() else {
            return Sent::Done;
        };
        let source = SocketAddr::new(exit.source.unwrap_or(local.ip()), local.port());
        let size = transmit.segment_size.unwrap_or(payload.len()).max(1);
        let destination = transmit.destination;
        self.datagrams
            .extend(payload.chunks(size).map(|data| Datagram {
                source,
                destination,
                data: data.to_vec(),
            }));
        Sent::Done
    }
}

/// A server or client that its caller steps.
pub struct Inline {
    front: Front,
    shared: Arc<Shared>,
    driver: Driver,
    outbox: Outbox,
    base: Instant,
    locals: Vec<SocketAddr>,
    commands: Vec<Command>,
}

impl Inline {
    /// A server with these addresses.
    pub fn server(
        addresses: &[SocketAddr],
        identity: &Identity,
        settings: Settings,
        keys: &EndpointKeys,
        seed: u64,
    ) -> Result<Self, EngineError> {
        let fleet = crate::endpoint::fleet(keys, None)?;
        let secrets = ServerSecrets::new(keys, fleet)?;
        Self::start(settings, keys, Some((identity, secrets)), addresses, seed)
    }

    /// A client.
    pub fn client(settings: Settings, seed: u64) -> Result<Self, EngineError> {
        Self::start(settings, &EndpointKeys::default(), None, &[], seed)
    }

    fn start(
        settings: Settings,
        keys: &EndpointKeys,
        server: Option<(&Identity, ServerSecrets)>,
        locals: &[SocketAddr],
        seed: u64,
    ) -> Result<Self, EngineError> {
        settings.validate()?;
        let settings = Arc::new(settings);
        let shared = Arc::new(Shared::default());
        let key_log = tls::key_log(&settings)?;
        let fleet = server.as_ref().and_then(|(_, secrets)| secrets.fleet());
        let (config, secrets) = match server {
            Some((identity, secrets)) => (
                Some(secrets.config(identity, &settings, key_log.clone())?),
                Some(secrets),
            ),
            None => (None, None),
        };
        let config = Driver::new(
            endpoint_config(&settings, keys, fleet, Some(seed))?,
            config,
            settings.clone(),
            shared.clone(),
        );
        let mut driver = config;
        let addresses = Arc::new(Addresses::default());
        for &local in locals {
            driver.add_local(addresses.add(local), local);
        }
        let ground = VirtualGround {
            addresses: addresses.clone(),
        };
        Ok(Self {
            front: Front::new(shared.clone(), settings, Box::new(ground), secrets, key_log),
            shared,
            driver,
            outbox: Outbox {
                addresses,
                datagrams: VecDeque::new(),
            },
            base: Instant::now(),
            locals: locals.to_vec(),
            commands: Vec::new(),
        })
    }

    /// Everything a caller can do.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Addresses of a server.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.locals
    }

    /// Deliver a datagram. One for an address that is not ours is lost, as it would be.
    pub fn handle_datagram(&mut self, now_us: u64, datagram: &Datagram) {
        let Some(via) = self.outbox.addresses.find(datagram.destination) else {
            return;
        };
        let arrival = Arrival {
            via,
            remote: datagram.source,
            local_ip: (!self.locals.is_empty()).then(|| datagram.destination.ip()),
            balancer: None,
            ecn: None,
        };
        self.driver
            .handle_datagram(self.at(now_us), arrival, BytesMut::from(&datagram.data[..]));
        self.step(now_us);
    }

    /// Carry out what was asked for since the last call and take what wants to leave.
    pub fn poll_transmit(&mut self, now_us: u64) -> Vec<Datagram> {
        self.step(now_us);
        self.outbox.datagrams.drain(..).collect()
    }

    /// When to call `handle_timeout` if nothing arrives; None: not at all.
    pub fn next_timeout(&self) -> Option<u64> {
        let when = self
            .driver
            .next_timeout()?
            .saturating_duration_since(self.base);
        // Rounded up, so that a deadline has come when it is due.
        Some(when.as_nanos().div_ceil(1000) as u64)
    }

    /// Let deadlines up to now pass.
    pub fn handle_timeout(&mut self, now_us: u64) {
        self.driver.handle_timeouts(self.at(now_us));
        self.step(now_us);
    }

    /// Close every connection at this time; take the last datagrams with `poll_transmit`.
    pub fn shutdown(&mut self, now_us: u64) {
        if self.shared.stopped().is_none() {
            self.front.shut_down(0, "");
            self.step(now_us);
            self.shared.stop("the endpoint has been shut down");
        }
    }

    fn at(&self, now_us: u64) -> Instant {
        self.base + Duration::from_micros(now_us)
    }

    fn step(&mut self, now_us: u64) {
        let now = self.at(now_us);
        self.shared.commands.take(&mut self.commands);
        for command in self.commands.drain(..) {
            self.driver.apply(now, command);
        }
        while self.driver.flush(now, &mut self.outbox) {}
        for (via, may_receive) in self.driver.take_released() {
            // The virtual network forgets a left address at once; a real one may still deliver for a while.
            let _ = may_receive;
            lock(&self.outbox.addresses.by_via).remove(&via);
        }
    }
}

#[cfg(test)]
mod tests;
