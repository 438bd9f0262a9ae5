//! One QUIC connection with the HTTP/3 state beside it, its sessions and their streams.
//!
//! Owns what belongs to a single connection and the order in which its parts are stepped. Must not know sockets,
//! clocks or other connections. `sessions` and `transfer` hold the two halves of its work.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use legato_webtransport as web;
use quinn_proto::{Connection, Dir, Event as QuicEvent, FrameStats, StreamEvent, StreamId, VarInt};
use rustc_hash::FxHashMap;

use crate::command::{ConnectAttempt, Via};
use crate::driver::Exit;
use crate::event::{Event, EventKind};
use crate::settings::Settings;
use crate::shared::{SessionShared, Share, Shared};
use crate::stats::{micros, SessionStats};
use crate::streams::Stream;

/// How long a connection without sessions is kept so that the peer can read our last words.
const LINGER: Duration = Duration::from_secs(3);
/// How long a client waits for its last words to be acknowledged before it closes the connection.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long an endpoint that shuts down waits for the same.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// Our control stream and our requests go before anything a caller can ask for.
pub(crate) const TOP_PRIORITY: i32 = i32::MAX;

/// Where the handles of an endpoint lead.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) sessions: FxHashMap<u64, usize>,
    pub(crate) streams: FxHashMap<u64, usize>,
}

/// What a connection may use while it is stepped.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) key: usize,
    pub(crate) settings: &'a Settings,
    pub(crate) shared: &'a Shared,
    pub(crate) index: &'a mut Index,
    pub(crate) refuse_new: Option<u16>,
    /// Set when the caller has to be woken.
    pub(crate) notify: &'a mut bool,
    /// What the connection has in the event queue.
    pub(crate) share: Share,
    /// Set when the event queue was too full to read on: how often it had been drained by then.
    pub(crate) stalled: Option<u64>,
}

impl Context<'_> {
    pub(crate) fn emit(&mut self, session: u64, stream: u64, kind: EventKind) {
        let event = Event {
            session,
            stream,
            kind,
        };
        *self.notify |= self.shared.events.push_of(event, &mut self.share);
    }

    /// Whether the event queue takes more of this connection; if not, it is visited again after the next drain.
    pub(crate) fn has_room(&mut self) -> bool {
        // First: a drain behind this must not be taken for one before it.
        let drains = self.shared.events.drains();
        if self.queue_has_room() && !self.shared.events.is_used_up(&self.share) {
            return true;
        }
        self.stalled.get_or_insert(drains);
        false
    }

    fn queue_has_room(&self) -> bool {
        self.shared.events.bytes() < self.settings.event_buffer_bytes
    }
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Client: the connection is not there yet.
    Connecting,
    /// The request is made, not answered.
    Requested,
    /// Agreed upon.
    Open,
}

/// A WebTransport session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) handle: u64,
    /// QUIC stream id of its CONNECT request.
    pub(crate) id: u64,
    pub(crate) progress: Progress,
    pub(crate) shared: Arc<SessionShared>,
}

/// Who reads a QUIC stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// HTTP/3, or not known yet.
    Http,
    /// Nobody until its session is accepted.
    Held,
    /// The session that owns the stream with this handle.
    Session(u64),
}

/// Bytes of HTTP/3 that QUIC would not take yet.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) chunks: VecDeque<Bytes>,
    pub(crate) fin: bool,
}

/// One connection.
pub(crate) struct Peer {
    pub(crate) quic: Connection,
    pub(crate) http: web::Connection,
    pub(crate) role: web::Role,
    pub(crate) via: Via,
    pub(crate) local: SocketAddr,
    /// Our address as the peer sees it, to answer from; None if the socket has only one.
    pub(crate) local_ip: Option<IpAddr>,
    /// The balancer that the peer's last packet came through, to answer through it.
    pub(crate) balancer: Option<SocketAddr>,
    pub(crate) remote: SocketAddr,
    pub(crate) path_changes: u64,
    pub(crate) sessions: Vec<Session>,
    pub(crate) streams: FxHashMap<u64, Stream>,
    pub(crate) routes: FxHashMap<StreamId, Route>,
    pub(crate) backlog: FxHashMap<StreamId, Backlog>,
    /// Handles of streams that wait for the peer's permission, by direction.
    pub(crate) waiting: [VecDeque<u64>; 2],
    pub(crate) readable: Vec<StreamId>,
    pub(crate) datagrams_waiting: bool,
    pub(crate) control_opened: bool,
    pub(crate) established: bool,
    /// Client: what the connection is for, and where else to try.
    pub(crate) attempt: Option<Box<ConnectAttempt>>,
    /// When to give up, whatever QUIC says.
    pub(crate) deadline: Option<Instant>,
    /// A client that has said goodbye and waits for the acknowledgement.
    pub(crate) leaving: bool,
    pub(crate) dirty: bool,
    /// Left unread because the event queue was full.
    pub(crate) stalled: bool,
    /// What it has in the event queue.
    pub(crate) share: Share,
    /// Server: counted among the unfinished handshakes.
    pub(crate) half_open: bool,
}

/// What became of a connection after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It goes on.
    Alive,
    /// It ended with this error; its sessions still have to be told.
    Lost(quinn_proto::ConnectionError),
}

impl Peer {
    pub(crate) fn new(
        quic: Connection,
        role: web::Role,
        via: Via,
        local: SocketAddr,
        settings: &Settings,
    ) -> Self {
        let config = web::Config {
            max_sessions: settings.max_sessions,
            ..web::Config::default()
        };
        let remote = quic.remote_address();
        let local_ip = quic.local_ip();
        Self {
            quic,
            http: web::Connection::new(role, config),
            role,
            via,
            local,
            local_ip,
            balancer: None,
            remote,
            path_changes: 0,
            sessions: Vec::new(),
            streams: FxHashMap::default(),
            routes: FxHashMap::default(),
            backlog: FxHashMap::default(),
            waiting: [VecDeque::new(), VecDeque::new()],
            readable: Vec::new(),
            datagrams_waiting: false,
            control_opened: false,
            established: false,
            attempt: None,
            deadline: None,
            leaving: false,
            dirty: false,
            stalled: false,
            share: match role {
                web::Role::Server => Share::one_of_many(),
                web::Role::Client => Share::whole(),
            },
            half_open: false,
        }
    }

    /// Work through everything that QUIC has to say and hand it what waits.
    pub(crate) fn step(&mut self, ctx: &mut Context) -> Outcome {
        let mut outcome = Outcome::Alive;
        self.open_control(ctx);
        while let Some(event) = self.quic.poll() {
            match event {
                QuicEvent::HandshakeDataReady => self.open_control(ctx),
                QuicEvent::Connected => self.on_connected(ctx),
                QuicEvent::ConnectionLost { reason } => outcome = Outcome::Lost(reason),
                QuicEvent::Stream(event) => self.on_stream_event(event, ctx),
                QuicEvent::DatagramReceived => self.datagrams_waiting = true,
                QuicEvent::DatagramsUnblocked => {}
            }
        }
        // What came before a loss, perhaps in the same packet, is still the peer's word.
        self.accept_streams(ctx);
        self.read_all(ctx);
        self.read_datagrams(ctx);
        if outcome == Outcome::Alive {
            self.open_waiting(ctx);
            self.farewell(ctx);
        }
        self.track_path(ctx);
        outcome
    }

    fn on_connected(&mut self, ctx: &mut Context) {
        self.established = true;
        self.open_control(ctx);
        self.request_sessions(ctx);
    }

    fn on_stream_event(&mut self, event: StreamEvent, ctx: &mut Context) {
        match event {
            StreamEvent::Opened { .. } => {} // accepted once per step
            StreamEvent::Readable { id } => self.readable.push(id),
            StreamEvent::Writable { id } => self.on_writable(id, ctx),
            StreamEvent::Finished { id } => self.on_finished(id, ctx),
            StreamEvent::Stopped { id, error_code } => self.on_stopped(id, error_code, ctx),
            StreamEvent::Available { .. } => {
                self.open_control(ctx);
                self.request_sessions(ctx);
            }
        }
    }

    /// Open our control stream as soon as QUIC allows: a server does so before the handshake ends (0.5-RTT), so that a
    /// client has SETTINGS in hand when its first flight leaves.
    fn open_control(&mut self, ctx: &mut Context) {
        if self.control_opened || self.quic.is_closed() {
            return;
        }
        let Some(id) = self.quic.streams().open(Dir::Uni) else {
            return;
        };
        self.control_opened = true;
        let _ = self.quic.send_stream(id).set_priority(TOP_PRIORITY);
        // The only misuse possible is to call it twice.
        let _ = self.http.control_opened(id.into());
        self.drain_http(ctx);
    }

    /// End a connection whose sessions were closed: how they were closed is worth a moment.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.leaving = self.is_client();
        self.deadline = Some(now + LAST_WORDS);
    }

    /// Leave a finished connection: a client closes it once its last words are acknowledged.
    fn farewell(&mut self, ctx: &mut Context) {
        if !self.leaving || self.quic.is_closed() {
            return;
        }
        // The control stream stays open for as long as the connection does.
        let handed_over =
            self.backlog.is_empty() && self.streams.values().all(Stream::is_handed_over);
        if handed_over && self.quic.streams().send_streams() <= usize::from(self.control_opened) {
            self.close_quic(ctx.now, web::error::H3_NO_ERROR, "");
        }
    }

    /// Whether a client could try another address of its target.
    pub(crate) fn has_more_addresses(&self) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|attempt| !attempt.paths.is_empty())
    }

    /// Set the deadline of a connection that has just lost its last session.
    pub(crate) fn on_last_session_gone(&mut self, now: Instant, said_goodbye: bool) {
        match self.role {
            web::Role::Server => self.deadline = Some(now + LINGER),
            web::Role::Client if said_goodbye && self.established => {
                self.leaving = true;
                self.deadline = Some(now + FAREWELL);
            }
            web::Role::Client => self.close_quic(now, web::error::H3_NO_ERROR, ""),
        }
    }

    pub(crate) fn close_quic(&mut self, now: Instant, code: u64, reason: &str) {
        let code = VarInt::from_u64(code).unwrap_or(VarInt::MAX);
        self.quic
            .close(now, code, Bytes::copy_from_slice(reason.as_bytes()));
    }

    /// Answer from the address that the last authentic packet came to. `authentic` counts frames: they are only counted
    /// after decryption, so a forged packet cannot move our address.
    pub(crate) fn track_local(&mut self, exit: Exit, local: SocketAddr, authentic: bool) {
        if self.role == web::Role::Server && authentic {
            self.via = exit.via;
            self.local = local;
            self.local_ip = exit.source;
            self.balancer = exit.balancer;
        }
    }

    /// The way to the peer.
    pub(crate) fn exit(&self) -> Exit {
        Exit {
            via: self.via,
            source: self.local_ip,
            balancer: self.balancer,
        }
    }

    pub(crate) fn frames_received(&self) -> u64 {
        let FrameStats {
            acks,
            crypto,
            ping,
            stream,
            datagram,
            path_challenge,
            path_response,
            ..
        } = self.quic.stats().frame_rx;
        acks + crypto + ping + stream + datagram + path_challenge + path_response
    }

    fn track_path(&mut self, ctx: &mut Context) {
        let remote = self.quic.remote_address();
        if remote == self.remote {
            return;
        }
        self.remote = remote;
        self.path_changes += 1;
        // Not told later, so not held back for what else the connection has there.
        if ctx.queue_has_room() {
            for session in &self.sessions {
                ctx.emit(session.handle, 0, EventKind::PathChanged(remote));
            }
        }
    }

    pub(crate) fn publish(&mut self) {
        if self.sessions.is_empty() {
            return;
        }
        let stats = self.quic.stats();
        let figures = SessionStats {
            rtt_us: micros(stats.path.rtt),
            min_rtt_us: micros(stats.path.min_rtt),
            congestion_window: stats.path.cwnd,
            congestion_events: stats.path.congestion_events,
            lost_packets: stats.path.lost_packets,
            lost_bytes: stats.path.lost_bytes,
            sent_packets: stats.path.sent_packets,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            datagrams_sent: stats.udp_tx.datagrams,
            datagrams_received: stats.udp_rx.datagrams,
            mtu: stats.path.current_mtu,
            path_changes: self.path_changes,
            local: self.local,
            remote: self.remote,
        };
        let room = if self.established {
            self.quic.datagrams().max_size().unwrap_or(0)
        } else {
            0
        };
        for session in &self.sessions {
            let prefix = web::datagram_prefix(session.id).len();
            session.shared.publish(figures, room.saturating_sub(prefix));
        }
    }
}
