//! How connections begin and end: admission, attempts over several addresses, deadlines, shutdown.
//!
//! Owns the policy of the driver; the mechanism (stepping, sending, routing) is in the parent module.

use std::sync::Arc;
use std::time::{Duration, Instant};

use legato_webtransport as web;
use quinn_proto::{Incoming, ServerConfig};

use super::{Arrival, Driver};
use crate::command::{ConnectAttempt, NewPath, Via};
use crate::event::{Event, EventKind, FailureKind};
use crate::peer::{Peer, Progress, Session};
use crate::qlog;
use crate::shared::SessionShared;

/// How long a client waits for any answer from one address before it tries the next (RFC 8305 §5 says 250 ms).
const NEXT_ADDRESS: Duration = Duration::from_millis(300);

impl Driver {
    // ---- server

    /// Decide about a connection that somebody begins: refuse it, have the address proved, or take it.
    pub(super) fn admit(&mut self, now: Instant, incoming: Incoming, arrival: Arrival) {
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
                peer.balancer = arrival.balancer;
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

    // ---- client

    pub(super) fn connect(
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

    pub(super) fn on_deadline(&mut self, now: Instant, key: usize) {
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
    pub(super) fn try_next_address(&mut self, now: Instant, key: usize) -> bool {
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

    pub(super) fn close_all(&mut self, now: Instant, code: u32, reason: &str) {
        self.shutting_down = true;
        for key in 0..self.peers.len() {
            let sessions: Vec<u64> = match &self.peers[key] {
                Some(peer) => peer.sessions.iter().map(|session| session.handle).collect(),
                None => continue,
            };
            self.with_peer(now, key, |peer, ctx| {
                for &session in &sessions {
                    peer.close_session(session, code, reason, ctx);
                }
                peer.leave(now);
            });
        }
    }

    /// Send a client's connection through another socket from now on.
    pub(super) fn migrate(&mut self, now: Instant, session: u64, path: NewPath) {
        self.add_local(path.via, path.local);
        let mut left = path.via;
        if let Some(&key) = self.index.sessions.get(&session) {
            self.with_peer(now, key, |peer, _| {
                left = std::mem::replace(&mut peer.via, path.via);
                peer.local = path.local;
                peer.path_changes += 1;
                peer.quic.local_address_changed();
            });
        }
        self.released.push((left, true));
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
}
