//! All connections of one endpoint, without sockets and without a clock.
//!
//! Owns the QUIC endpoint, its connections and their deadlines. Datagrams, commands and the time go in; transmits go to an
//! [`Outlet`], events to the shared queue. Work is proportional to the connections touched, never to all of them.
//! Must not know sockets, threads or Python.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use legato_webtransport as web;
use quinn_proto::{
    ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, EndpointConfig, EndpointEvent,
    Incoming, ServerConfig, Transmit,
};
use rustc_hash::FxHashMap;

use crate::command::{Command, ConnectAttempt, Via};
use crate::event::{Event, EventKind, FailureKind};
use crate::peer::{Context, Index, Outcome, Peer, Progress, Session};
use crate::qlog;
use crate::settings::Settings;
use crate::shared::{SessionShared, Shared};

/// Transmits of one connection in a row before others get their turn.
const BURST: usize = 16;
/// Answers of the endpoint itself (Retry, version negotiation, resets) that may wait; more are dropped.
const MAX_REPLIES: usize = 256;
/// How long a client waits for any answer from one address before it tries the next (RFC 8305 §5 says 250 ms).
const NEXT_ADDRESS: Duration = Duration::from_millis(300);

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
    /// Send the payload of `transmit` from `source`, if that is given.
    fn send(
        &mut self,
        via: Via,
        source: Option<IpAddr>,
        transmit: &Transmit,
        payload: &[u8],
    ) -> Sent;
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
    /// Congestion mark.
    pub ecn: Option<EcnCodepoint>,
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
                let moved = (arrival.via, local_ip) != (peer.via, peer.local_ip);
                if moved && !peer.is_client() {
                    let before = peer.frames_received();
                    peer.quic.handle_event(event);
                    let authentic = peer.frames_received() > before;
                    peer.track_local(arrival.via, local, local_ip, authentic);
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
            Command::Accept { session, headers } => self.with_session(now, session, |peer, ctx| {
                peer.accept(session, &headers, ctx)
            }),
            Command::Reject {
                session,
                status,
                headers,
            } => {
                self.with_session(now, session, |peer, ctx| {
                    peer.reject(session, status, &headers, ctx)
                });
            }
            Command::Close {
                session,
                code,
                reason,
            } => {
                self.with_session(now, session, |peer, ctx| {
                    peer.close_session(session, code, &reason, ctx)
                });
            }
            Command::Drain { session } => {
                self.with_session(now, session, |peer, ctx| peer.drain_session(session, ctx))
            }
            Command::OpenStream {
                session,
                stream,
                bidirectional,
                shared,
            } => {
                self.with_session(now, session, |peer, ctx| {
                    peer.open_stream(session, stream, bidirectional, shared, ctx)
                });
            }
            Command::Send { stream, data, fin } => {
                self.with_stream(now, stream, |peer, ctx| peer.send(stream, data, fin, ctx))
            }
            Command::Reset { stream, code } => {
                self.with_stream(now, stream, |peer, ctx| peer.reset(stream, code, ctx))
            }
            Command::Stop { stream, code } => {
                self.with_stream(now, stream, |peer, ctx| peer.stop(stream, code, ctx))
            }
            Command::SetPriority { stream, priority } => {
                self.with_stream(now, stream, |peer, _| peer.set_priority(stream, priority));
            }
            Command::Pause { stream } => {
                self.with_stream(now, stream, |peer, _| peer.set_paused(stream, true))
            }
            Command::Resume { stream } => {
                self.with_stream(now, stream, |peer, _| peer.set_paused(stream, false))
            }
            Command::Datagram { session, data } => {
                self.with_session(now, session, |peer, _| peer.send_datagram(session, &data))
            }
            Command::Migrate { session, path } => {
                self.add_local(path.via, path.local);
                let mut old = None;
                self.with_session(now, session, |peer, _| {
                    old = Some(std::mem::replace(&mut peer.via, path.via));
                    peer.local = path.local;
                    peer.path_changes += 1;
                    peer.quic.local_address_changed();
                });
                self.released.push((old.unwrap_or(path.via), true));
            }
            Command::SetServerConfig { config } => {
                self.server = Some(config.clone());
                self.endpoint.set_server_config(Some(config));
            }
            Command::RefuseNew { status } => self.refuse_new = status,
            Command::Shutdown { code, reason } => self.close_all(now, code, &reason),
        }
    }

    /// Let due deadlines pass.
    pub(crate) fn handle_timeouts(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop_due(now) {
            let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) else {
                continue;
            };
            peer.quic.handle_timeout(now);
            if peer.deadline.is_some_and(|deadline| deadline <= now) {
                self.on_deadline(now, key);
            }
            self.mark(key);
        }
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

    /// A client's socket was told that nobody listens at the other end (ICMP).
    pub(crate) fn on_unreachable(&mut self, now: Instant, via: Via) {
        let found = self.peers.iter().position(|peer| {
            peer.as_ref().is_some_and(|peer| {
                peer.via == via && peer.is_client() && peer.quic.is_handshaking()
            })
        });
        if let Some(key) = found {
            self.give_up_address(
                now,
                key,
                "nobody listens at that address",
                FailureKind::Refused,
            );
            self.mark(key);
        }
    }

    // ---- what comes out

    /// Step every connection that something happened to and send what they have to say. True: there is more to do at once.
    pub(crate) fn flush(&mut self, now: Instant, outlet: &mut dyn Outlet) -> bool {
        while let Some((arrival, transmit, payload)) = self.replies.pop_front() {
            if outlet.is_blocked(arrival.via)
                || outlet.send(arrival.via, arrival.local_ip, &transmit, &payload) == Sent::Blocked
            {
                break;
            }
        }
        self.replies.clear();
        if !self.stalled.is_empty() && self.shared.events.bytes() < self.settings.event_buffer_bytes
        {
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
        !self.dirty.is_empty()
            || (!self.stalled.is_empty()
                && self.shared.events.bytes() < self.settings.event_buffer_bytes)
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
        self.dirty.is_empty() && self.blocked.is_empty()
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

    fn with_session(
        &mut self,
        now: Instant,
        session: u64,
        act: impl FnOnce(&mut Peer, &mut Context),
    ) {
        if let Some(&key) = self.index.sessions.get(&session) {
            self.with_peer(now, key, act);
        }
    }

    fn with_stream(
        &mut self,
        now: Instant,
        stream: u64,
        act: impl FnOnce(&mut Peer, &mut Context),
    ) {
        if let Some(&key) = self.index.streams.get(&stream) {
            self.with_peer(now, key, act);
        }
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
            stalled: false,
        };
        act(peer, &mut ctx);
        if ctx.stalled && !std::mem::replace(&mut peer.stalled, true) {
            self.stalled.push(key);
        }
        if ctx.stalled {
            self.shared.events.set_stalled();
        }
    }

    fn reply(&mut self, arrival: Arrival, transmit: Transmit, payload: Vec<u8>) {
        if self.replies.len() < MAX_REPLIES {
            self.replies.push_back((arrival, transmit, payload));
        }
    }

    fn admit(&mut self, now: Instant, incoming: Incoming, arrival: Arrival) {
        let mut reply = Vec::new();
        let full = self.count >= self.settings.max_connections
            || self.shared.events.bytes() >= self.settings.event_buffer_bytes;
        if full || self.shutting_down {
            let transmit = self.endpoint.refuse(incoming, &mut reply);
            return self.reply(arrival, transmit, reply);
        }
        if self.half_open >= self.settings.retry_threshold && !incoming.remote_address_validated() {
            if let Ok(transmit) = self.endpoint.retry(incoming, &mut reply) {
                self.reply(arrival, transmit, reply);
            }
            return;
        }
        let config = match (&self.server, &self.settings.qlog_dir) {
            (Some(server), Some(folder)) => {
                let mut config = ServerConfig::clone(server);
                let log = qlog::open(folder, &format!("server-{}", incoming.orig_dst_cid()), now);
                config.transport_config(Arc::new(self.settings.transport(log)));
                Some(Arc::new(config))
            }
            _ => None,
        };
        match self.endpoint.accept(incoming, now, &mut reply, config) {
            Ok((handle, connection)) => {
                let local = self.local_of(arrival);
                let mut peer = Peer::new(
                    connection,
                    web::Role::Server,
                    arrival.via,
                    local,
                    &self.settings,
                );
                peer.deadline =
                    Some(now + Duration::from_millis(self.settings.handshake_timeout_ms));
                peer.half_open = true;
                self.half_open += 1;
                self.insert(handle, peer);
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.reply(arrival, transmit, reply);
                }
            }
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

    fn connect(
        &mut self,
        now: Instant,
        session: u64,
        shared: Arc<SessionShared>,
        attempt: Box<ConnectAttempt>,
    ) {
        let sessions = vec![Session {
            handle: session,
            id: u64::MAX,
            progress: Progress::Connecting,
            shared,
        }];
        for path in &attempt.paths {
            self.add_local(path.via, path.local);
        }
        self.start(now, attempt, sessions);
    }

    /// Begin a connection to the next address of an attempt; returns its key, or reports the failure.
    fn start(
        &mut self,
        now: Instant,
        mut attempt: Box<ConnectAttempt>,
        sessions: Vec<Session>,
    ) -> Option<usize> {
        let path = attempt.paths.pop()?;
        let mut config = attempt.config.clone();
        let name = format!("client-{}", path.via);
        let log = self
            .settings
            .qlog_dir
            .as_ref()
            .and_then(|folder| qlog::open(folder, &name, now));
        config.transport_config(Arc::new(self.settings.transport(log)));
        let started = self
            .endpoint
            .connect(now, config, path.remote, &attempt.target.server_name);
        let (handle, connection) = match started {
            Ok(started) => started,
            Err(error) => {
                self.released.push((path.via, false));
                self.released
                    .extend(attempt.paths.iter().map(|path| (path.via, false)));
                for session in sessions {
                    let kind = EventKind::ConnectFailed(error.to_string(), FailureKind::Protocol);
                    self.notify |= self.shared.events.push(Event {
                        session: session.handle,
                        stream: 0,
                        kind,
                    });
                }
                return None;
            }
        };
        let mut peer = Peer::new(
            connection,
            web::Role::Client,
            path.via,
            path.local,
            &self.settings,
        );
        let patience = Duration::from_millis(self.settings.handshake_timeout_ms);
        let more = !attempt.paths.is_empty();
        peer.deadline = Some(
            now + if more {
                patience.min(NEXT_ADDRESS)
            } else {
                patience
            },
        );
        for session in &sessions {
            self.index.sessions.insert(session.handle, handle.0);
        }
        peer.sessions = sessions;
        peer.attempt = Some(attempt);
        peer.publish();
        self.insert(handle, peer);
        Some(handle.0)
    }

    fn on_deadline(&mut self, now: Instant, key: usize) {
        let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) else {
            return;
        };
        peer.deadline = None;
        if peer.sessions.is_empty() {
            peer.close_quic(now, web::error::H3_NO_ERROR, "");
            return;
        }
        if peer.has_more_addresses() && peer.quic.stats().udp_rx.datagrams > 0 {
            // Somebody answers there: the address is good, the rest of the handshake gets its full time.
            peer.deadline = Some(now + Duration::from_millis(self.settings.handshake_timeout_ms));
            return;
        }
        self.give_up_address(
            now,
            key,
            "the server did not answer in time",
            FailureKind::Timeout,
        );
    }

    /// Close a connection that came to nothing; a client goes on with the next address if there is one.
    fn give_up_address(&mut self, now: Instant, key: usize, reason: &str, kind: FailureKind) {
        let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) else {
            return;
        };
        peer.close_quic(now, web::error::H3_NO_ERROR, "");
        if !self.try_next_address(now, key) {
            self.in_context(now, key, |peer, ctx| peer.fail_all(reason, kind, ctx));
        }
        self.mark(key);
    }

    /// Hand the sessions of a client's failed connection to a connection to the next address; false if there is none.
    fn try_next_address(&mut self, now: Instant, key: usize) -> bool {
        let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) else {
            return false;
        };
        if peer.established || !peer.has_more_addresses() {
            return false;
        }
        let Some(attempt) = peer.attempt.take() else {
            return false;
        };
        let sessions = std::mem::take(&mut peer.sessions);
        let streams = std::mem::take(&mut peer.streams);
        let waiting = std::mem::take(&mut peer.waiting);
        let Some(next) = self.start(now, attempt, sessions) else {
            return true;
        };
        for &handle in streams.keys() {
            self.index.streams.insert(handle, next);
        }
        if let Some(peer) = self.peers.get_mut(next).and_then(Option::as_mut) {
            peer.streams = streams;
            peer.waiting = waiting;
        }
        true
    }

    fn close_all(&mut self, now: Instant, code: u32, reason: &str) {
        self.shutting_down = true;
        for key in 0..self.peers.len() {
            let sessions: Vec<u64> = match &self.peers[key] {
                Some(peer) => peer.sessions.iter().map(|session| session.handle).collect(),
                None => continue,
            };
            self.in_context(now, key, |peer, ctx| {
                for &session in &sessions {
                    peer.close_session(session, code, reason, ctx);
                }
                peer.close_quic(now, web::error::H3_NO_ERROR, reason);
            });
            self.mark(key);
        }
    }

    /// Step one connection and send what it has to say.
    fn visit(&mut self, now: Instant, key: usize, outlet: &mut dyn Outlet) {
        let Some(peer) = self.peers.get_mut(key).and_then(Option::as_mut) else {
            return;
        };
        peer.dirty = false;
        drain_endpoint_events(&mut self.endpoint, peer, key);
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
            outlet.send(via, peer.local_ip, &transmit, &self.buffer[..transmit.size]);
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
