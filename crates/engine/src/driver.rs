//! All connections of one endpoint, without sockets and without a clock.
//!
//! Owns the QUIC endpoint, its connections and their deadlines. Datagrams, commands and the time go in; transmits go to an
//! [`Outlet`], events to the shared queue. Work is proportional to the connections touched, never to all of them.
//! Must not know sockets, threads or Python. How connections begin and end is in `lifecycle`.

mod lifecycle;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::{
    ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, EndpointConfig, EndpointEvent,
    ServerConfig, Transmit,
};
use rustc_hash::FxHashMap;

use crate::command::{Command, Via};
use crate::event::FailureKind;
use crate::peer::{Context, Index, Outcome, Peer};
use crate::settings::Settings;
use crate::shared::Shared;

/// Transmits of one connection in a row before others get their turn.
const BURST: usize = 16;
/// Answers of the endpoint itself (Retry, version negotiation, resets) that may wait; more are dropped.
const MAX_REPLIES: usize = 256;

/// What became of a transmit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Gone, or lost like any datagram may be.
    Done,
    /// The outlet keeps it and can take no more until it says so.
    Blocked,
}

/// Where datagrams leave: sockets, or a list in memory.
pub trait Outlet {
    /// Datagrams of one size that may be handed over as one (GSO).
    fn max_segments(&self, via: Via) -> usize;
    /// Whether transmits through this socket have to wait.
    fn is_blocked(&self, via: Via) -> bool;
    /// Send the payload of `transmit`.
    fn send(&mut self, exit: Exit, transmit: &Transmit, payload: &[u8]) -> Sent;
}

/// The way that datagrams leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Socket.
    pub via: Via,
    /// Our address, if the socket has several.
    pub source: Option<IpAddr>,
    /// The balancer that carries them on, if the socket is a tunnel's.
    pub balancer: Option<SocketAddr>,
}

/// Where a datagram came from and which of our addresses it was sent to.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Socket.
    pub via: Via,
    /// Sender.
    pub remote: SocketAddr,
    /// Our address, as far as the system tells.
    pub local_ip: Option<IpAddr>,
    /// The balancer that it came through.
    pub balancer: Option<SocketAddr>,
    /// Congestion mark.
    pub ecn: Option<EcnCodepoint>,
}

impl Arrival {
    /// The way back.
    pub(crate) fn exit(&self) -> Exit {
        Exit {
            via: self.via,
            source: self.local_ip,
            balancer: self.balancer,
        }
    }
}

/// The driver of one endpoint.
pub struct Driver {
    endpoint: Endpoint,
    server: Option<Arc<ServerConfig>>,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    peers: Vec<Option<Box<Peer>>>,
    count: usize,
    half_open: usize,
    index: Index,
    timers: crate::timers::Timers,
    dirty: VecDeque<usize>,
    stalled: Vec<usize>,
    /// How often the event queue had been drained when the first of them stalled.
    stalled_at: u64,
    blocked: FxHashMap<Via, Vec<usize>>,
    locals: FxHashMap<Via, SocketAddr>,
    /// Sockets out of use; true for those that may still receive for a while.
    released: Vec<(Via, bool)>,
    replies: VecDeque<(Arrival, Transmit, Vec<u8>)>,
    refuse_new: Option<u16>,
    shutting_down: bool,
    notify: bool,
    buffer: Vec<u8>,
}

impl Driver {
    /// A driver without connections. `server` is what a listening endpoint accepts with.
    pub(crate) fn new(
        config: EndpointConfig,
        server: Option<Arc<ServerConfig>>,
        settings: Arc<Settings>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            endpoint: Endpoint::new(Arc::new(config), server.clone(), true, None),
            server,
            settings,
            shared,
            peers: Vec::new(),
            count: 0,
            half_open: 0,
            index: Index::default(),
            timers: crate::timers::Timers::default(),
            dirty: VecDeque::new(),
            stalled: Vec::new(),
            stalled_at: 0,
            blocked: FxHashMap::default(),
            locals: FxHashMap::default(),
            released: Vec::new(),
            replies: VecDeque::new(),
            refuse_new: None,
            shutting_down: false,
            notify: false,
            buffer: Vec::new(),
        }
    }

    /// Make a socket known by its address.
    pub(crate) fn add_local(&mut self, via: Via, local: SocketAddr) {
        self.locals.insert(via, local);
    }

    // ---- what goes in

    /// Take one datagram.
    pub(crate) fn handle_datagram(&mut self, now: Instant, arrival: Arrival, data: BytesMut) {
        // A panic while a datagram is decoded must cost that datagram, not the endpoint.
        let _ = catch_unwind(AssertUnwindSafe(|| self.route(now, arrival, data)));
    }

    fn route(&mut self, now: Instant, arrival: Arrival, data: BytesMut) {
        let Arrival {
            remote,
            local_ip,
            ecn,
            ..
        } = arrival;
        let mut reply = Vec::new();
        match self
            .endpoint
            .handle(now, remote, local_ip, ecn, data, &mut reply)
        {
            None => {}
            Some(DatagramEvent::Response(transmit)) => self.reply(arrival, transmit, reply),
            Some(DatagramEvent::NewConnection(incoming)) => self.admit(now, incoming, arrival),
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let local = self.local_of(arrival);
                let Some(peer) = self.peers.get_mut(handle.0).and_then(Option::as_mut) else {
                    return;
                };
                let moved = arrival.exit() != peer.exit();
                if moved && !peer.is_client() {
                    let before = peer.frames_received();
                    peer.quic.handle_event(event);
                    let authentic = peer.frames_received() > before;
                    peer.track_local(arrival.exit(), local, authentic);
                } else {
                    peer.quic.handle_event(event);
                }
                self.mark(handle.0);
            }
        }
    }

    /// Do what the caller wants done.
    pub(crate) fn apply(&mut self, now: Instant, command: Command) {
        match command {
            Command::Connect {
                session,
                shared,
                attempt,
            } => self.connect(now, session, shared, attempt),
            Command::Session(session, command) => {
                if let Some(&key) = self.index.sessions.get(&session) {
                    self.with_peer(now, key, |peer, ctx| {
                        peer.perform_session(session, command, ctx);
                    });
                }
            }
            Command::Stream(stream, command) => {
                if let Some(&key) = self.index.streams.get(&stream) {
                    self.with_peer(now, key, |peer, ctx| {
                        peer.perform_stream(stream, command, ctx);
                    });
                }
            }
            Command::Migrate { session, path } => self.migrate(now, session, path),
            Command::SetServerConfig(config) => {
                self.server = Some(config.clone());
                self.endpoint.set_server_config(Some(config));
            }
            Command::RefuseNew(status) => self.refuse_new = status,
            Command::Shutdown { code, reason } => self.close_all(now, code, &reason),
        }
    }

    /// Let due deadlines pass.
    pub(crate) fn handle_timeouts(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop_due(now) {
            // A panic costs the connection, as in `flush`.
            if catch_unwind(AssertUnwindSafe(|| self.on_timer(now, key))).is_err() {
                self.bury(now, key);
            }
        }
    }

    fn on_timer(&mut self, now: Instant, key: usize) {
        let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) else {
            return;
        };
        peer.quic.handle_timeout(now);
        if peer.deadline.is_some_and(|deadline| deadline <= now) {
            self.on_deadline(now, key);
        }
        self.mark(key);
    }

    /// When to come back even if nothing arrives.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The outlet takes transmits through this socket again.
    pub(crate) fn on_unblocked(&mut self, via: Via) {
        for key in self.blocked.remove(&via).unwrap_or_default() {
            self.mark(key);
        }
    }

    // ---- what comes out

    /// Step every connection that something happened to and send what they have to say. True: there is more to do at once.
    pub(crate) fn flush(&mut self, now: Instant, outlet: &mut dyn Outlet) -> bool {
        while let Some((arrival, transmit, payload)) = self.replies.pop_front() {
            if outlet.is_blocked(arrival.via)
                || outlet.send(arrival.exit(), &transmit, &payload) == Sent::Blocked
            {
                break;
            }
        }
        self.replies.clear();
        if self.may_go_on() {
            for key in std::mem::take(&mut self.stalled) {
                if let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) {
                    peer.stalled = false;
                    peer.revisit();
                }
                self.mark(key);
            }
        }
        for _ in 0..self.dirty.len() {
            let Some(key) = self.dirty.pop_front() else {
                break;
            };
            let stepped = catch_unwind(AssertUnwindSafe(|| self.visit(now, key, outlet)));
            if stepped.is_err() {
                self.bury(now, key);
            }
        }
        self.has_work()
    }

    /// Whether there is something to do that no timer or socket will announce.
    pub(crate) fn has_work(&self) -> bool {
        !self.dirty.is_empty() || self.may_go_on()
    }

    /// Whether connections wait for a drain that has been.
    fn may_go_on(&self) -> bool {
        !self.stalled.is_empty() && self.shared.events.drains() != self.stalled_at
    }

    /// Whether the caller has to be woken; asking clears it.
    pub(crate) fn take_notify(&mut self) -> bool {
        std::mem::take(&mut self.notify)
    }

    /// Sockets that no connection sends through any more; true for those that may still receive for a while.
    pub(crate) fn take_released(&mut self) -> Vec<(Via, bool)> {
        for (via, _) in &self.released {
            self.locals.remove(via);
            self.blocked.remove(via);
        }
        std::mem::take(&mut self.released)
    }

    /// Whether the shutdown is complete: everybody was told.
    pub(crate) fn is_idle(&self) -> bool {
        let mut peers = self.peers.iter().flatten();
        self.dirty.is_empty() && self.blocked.is_empty() && peers.all(|peer| peer.quic.is_closed())
    }

    // ---- inside

    fn mark(&mut self, key: usize) {
        if let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) {
            if !std::mem::replace(&mut peer.dirty, true) {
                self.dirty.push_back(key);
            }
        }
    }

    fn local_of(&self, arrival: Arrival) -> SocketAddr {
        let bound = self.locals.get(&arrival.via).copied();
        let bound = bound.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        SocketAddr::new(arrival.local_ip.unwrap_or(bound.ip()), bound.port())
    }

    /// Act on a connection and have it stepped afterwards.
    fn with_peer(&mut self, now: Instant, key: usize, act: impl FnOnce(&mut Peer, &mut Context)) {
        // A panic costs the connection, as in `flush`.
        if catch_unwind(AssertUnwindSafe(|| self.in_context(now, key, act))).is_err() {
            return self.bury(now, key);
        }
        self.mark(key);
    }

    fn in_context(&mut self, now: Instant, key: usize, act: impl FnOnce(&mut Peer, &mut Context)) {
        let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) else {
            return;
        };
        let mut ctx = Context {
            now,
            key,
            settings: &self.settings,
            shared: &self.shared,
            index: &mut self.index,
            refuse_new: self.refuse_new,
            notify: &mut self.notify,
            share: peer.share,
            stalled: None,
        };
        act(peer, &mut ctx);
        peer.share = ctx.share;
        let Some(drains) = ctx.stalled else {
            return;
        };
        if !std::mem::replace(&mut peer.stalled, true) {
            if self.stalled.is_empty() {
                self.stalled_at = drains;
            }
            self.stalled.push(key);
        }
        self.shared.events.set_stalled();
    }

    fn reply(&mut self, arrival: Arrival, transmit: Transmit, payload: Vec<u8>) {
        if self.replies.len() < MAX_REPLIES {
            self.replies.push_back((arrival, transmit, payload));
        }
    }

    fn insert(&mut self, handle: ConnectionHandle, peer: Peer) {
        let key = handle.0;
        if key >= self.peers.len() {
            self.peers.resize_with(key + 1, || None);
        }
        self.peers[key] = Some(Box::new(peer));
        self.count += 1;
        self.mark(key);
    }

    /// Step one connection and send what it has to say.
    fn visit(&mut self, now: Instant, key: usize, outlet: &mut dyn Outlet) {
        let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) else {
            return;
        };
        peer.dirty = false;
        // The key of a drained connection is free once the endpoint hears of it, and the next address must not get it yet.
        if !peer.quic.is_drained() {
            drain_endpoint_events(&mut self.endpoint, peer, key);
        }
        let mut outcome = Outcome::Alive;
        self.in_context(now, key, |peer, ctx| outcome = peer.step(ctx));
        if let Outcome::Lost(error) = outcome {
            if !self.try_next_address(now, key) {
                self.in_context(now, key, |peer, ctx| peer.on_lost(&error, ctx));
            }
        }
        let more = self.transmit(now, key, outlet);
        let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) else {
            return;
        };
        if peer.half_open && (peer.established || peer.quic.is_closed()) {
            peer.half_open = false;
            self.half_open -= 1;
        }
        if peer.established {
            if let Some(attempt) = &mut peer.attempt {
                self.released
                    .extend(attempt.paths.drain(..).map(|path| (path.via, false)));
            }
        }
        peer.publish();
        drain_endpoint_events(&mut self.endpoint, peer, key);
        if peer.quic.is_drained() {
            return self.remove(key);
        }
        let quic = peer.quic.poll_timeout();
        let earliest = quic.into_iter().chain(peer.deadline).min();
        self.timers.set(key, earliest);
        if more {
            self.mark(key);
        }
    }

    /// Send until the connection has nothing to say, its turn is over (true) or the socket is full.
    fn transmit(&mut self, now: Instant, key: usize, outlet: &mut dyn Outlet) -> bool {
        let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) else {
            return false;
        };
        let via = peer.via;
        let segments = outlet.max_segments(via);
        for _ in 0..BURST {
            if outlet.is_blocked(via) {
                self.blocked.entry(via).or_default().push(key);
                return false;
            }
            self.buffer.clear();
            let Some(transmit) = peer.quic.poll_transmit(now, segments, &mut self.buffer) else {
                return false;
            };
            outlet.send(peer.exit(), &transmit, &self.buffer[..transmit.size]);
        }
        true
    }

    /// Forget a connection that QUIC has finished with.
    fn remove(&mut self, key: usize) {
        self.timers.set(key, None);
        let Some(peer) = self.peers.get_mut(key).and_then(Option::take) else {
            return;
        };
        self.count -= 1;
        if peer.half_open {
            self.half_open -= 1;
        }
        if peer.is_client() {
            self.released.push((peer.via, false));
            if let Some(attempt) = &peer.attempt {
                self.released
                    .extend(attempt.paths.iter().map(|path| (path.via, false)));
            }
        }
    }

    /// Get rid of a connection whose code has panicked: its sessions end, the others go on.
    fn bury(&mut self, now: Instant, key: usize) {
        let told = catch_unwind(AssertUnwindSafe(|| {
            self.in_context(now, key, |peer, ctx| {
                peer.fail_all(
                    "the engine failed on this connection; this is a bug",
                    FailureKind::Closed,
                    ctx,
                );
            });
        }));
        drop(told);
        self.endpoint
            .handle_event(ConnectionHandle(key), EndpointEvent::drained());
        self.remove(key);
    }
}

fn drain_endpoint_events(endpoint: &mut Endpoint, peer: &mut Peer, key: usize) {
    while let Some(event) = peer.quic.poll_endpoint_events() {
        if let Some(answer) = endpoint.handle_event(ConnectionHandle(key), event) {
            peer.quic.handle_event(answer);
        }
    }
}
