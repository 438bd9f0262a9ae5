//! The synchronous side of an endpoint: every operation a caller has, checked and queued, none of them waiting.
//!
//! Owns what the caller may name (handles of sessions and streams) and the mistakes that are told at once. Runs on the
//! caller's thread only. Must not know how packets move: what the driver does with a command is seen in its events.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use legato_forwarder::Declined;
use legato_quic_lb::ServerId;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::ClientConfig;
use rustc_hash::{FxHashMap, FxHashSet};
use rustls::KeyLog;

use crate::command::{Command, ConnectAttempt, NewPath, SessionCommand, StreamCommand};
use crate::error::EngineError;
use crate::event::{Event, EventKind};
use crate::fleet::FleetMember;
use crate::identity::Identity;
use crate::server_secrets::ServerSecrets;
use crate::settings::{ConnectTarget, Settings};
use crate::shared::{lock, SessionShared, Shared, StreamShared};
use crate::stats::SessionStats;
use crate::tls;

/// Longest reason of a session's end (draft-ietf-webtrans-http3 §5).
const MAX_REASON: usize = 1024;
/// Trust settings whose TLS configuration, and with it their session tickets, are kept for later connections.
const KEPT_CONFIGS: usize = 64;

/// How an endpoint gets its paths and its attention: real sockets and a thread, or neither.
pub(crate) trait Ground: Send + Sync {
    /// A way to `remote`, from `local` if that is given.
    fn path(&self, remote: SocketAddr, local: Option<SocketAddr>) -> Result<NewPath, EngineError>;
    /// A command was queued.
    fn wake(&self);
    /// Commands were queued, and no more will follow for now.
    fn hurry(&self);
    /// Take back the readiness that woke the caller.
    fn clear_readiness(&self);
    /// Wake the caller once more.
    fn set_readiness(&self);
}

struct SessionEntry {
    shared: Arc<SessionShared>,
    streams: FxHashSet<u64>,
}

struct StreamEntry {
    session: u64,
    shared: Arc<StreamShared>,
    can_send: bool,
}

/// What the caller has heard of. Entries leave one drain after the event that ends them, so that a caller who is still
/// working through a batch is not punished for what stands further down in it.
#[derive(Default)]
struct Table {
    sessions: FxHashMap<u64, SessionEntry>,
    streams: FxHashMap<u64, StreamEntry>,
    leaving_sessions: Vec<u64>,
    leaving_streams: Vec<u64>,
}

/// The caller's side of an endpoint.
pub struct Front {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    ground: Box<dyn Ground>,
    secrets: Option<ServerSecrets>,
    key_log: Option<Arc<dyn KeyLog>>,
    table: Mutex<Table>,
    trust: Mutex<FxHashMap<String, ClientConfig>>,
    /// Whether commands wait for `uncork` instead of waking the thread one by one.
    corked: AtomicBool,
}

impl Front {
    pub(crate) fn new(
        shared: Arc<Shared>,
        settings: Arc<Settings>,
        ground: Box<dyn Ground>,
        secrets: Option<ServerSecrets>,
        key_log: Option<Arc<dyn KeyLog>>,
    ) -> Self {
        Self {
            shared,
            settings,
            ground,
            secrets,
            key_log,
            table: Mutex::default(),
            trust: Mutex::default(),
            corked: AtomicBool::new(false),
        }
    }

    // ---- what happened

    /// Take everything that has happened since the last call, in order.
    pub fn drain(&self) -> Result<Vec<Event>, EngineError> {
        self.ground.clear_readiness();
        let (mut drained, stalled) = self.shared.events.drain();
        if stalled {
            self.ground.wake();
        }
        let mut table = lock(&self.table);
        table.remove_leaving();
        for event in &mut drained.events {
            table.learn(event);
        }
        table.leaving_streams.append(&mut drained.finished_streams);
        drop(table);
        let alive = self.check_alive();
        if drained.events.is_empty() {
            alive?;
        } else if alive.is_err() {
            // The thread has said its last. What it woke the caller with was taken back above, perhaps together with word of
            // its end, which the next call is for.
            self.ground.set_readiness();
        }
        Ok(drained.events)
    }

    // ---- sessions

    /// Client: begin a connection and ask for a session on it; returns the session's handle.
    pub fn connect(&self, target: ConnectTarget) -> Result<u64, EngineError> {
        self.check_alive()?;
        check_target(&target)?;
        let config = self.client_config(&target)?;
        let mut paths = Vec::with_capacity(target.addresses.len());
        let mut refused = None;
        for &remote in &target.addresses {
            match self.ground.path(remote, None) {
                Ok(path) => paths.push(path),
                // A machine without IPv6 cannot make that path but may well make another.
                Err(error) => refused = Some(error),
            }
        }
        if let (true, Some(error)) = (paths.is_empty(), refused) {
            return Err(EngineError::Connect(error.to_string()));
        }
        paths.reverse();
        let session = self.shared.new_handle();
        let shared = Arc::new(SessionShared::default());
        let entry = SessionEntry {
            shared: shared.clone(),
            streams: FxHashSet::default(),
        };
        lock(&self.table).sessions.insert(session, entry);
        let attempt = Box::new(ConnectAttempt {
            target,
            config,
            paths,
        });
        self.push(Command::Connect {
            session,
            shared,
            attempt,
        });
        Ok(session)
    }

    /// Server: agree to a session.
    pub fn accept(&self, session: u64, headers: Vec<(String, String)>) -> Result<(), EngineError> {
        check_fields(&headers)?;
        self.on_session(session, SessionCommand::Accept(headers))
    }

    /// Server: answer a request with a status of 300..=599.
    pub fn reject(
        &self,
        session: u64,
        status: u16,
        headers: Vec<(String, String)>,
    ) -> Result<(), EngineError> {
        check_fields(&headers)?;
        if !(300..=599).contains(&status) {
            return Err(EngineError::misuse(
                "a request is rejected with a status of 300 to 599",
            ));
        }
        let mut table = lock(&self.table);
        // No event will follow, so the session leaves here.
        table.leaving_sessions.push(session);
        drop(table);
        self.on_session(session, SessionCommand::Reject(status, headers))
    }

    /// End a session with a code and a reason of at most 1024 bytes.
    pub fn close(&self, session: u64, code: u32, reason: String) -> Result<(), EngineError> {
        if reason.len() > MAX_REASON {
            return Err(EngineError::misuse("a close reason has at most 1024 bytes"));
        }
        self.on_session(session, SessionCommand::Close(code, reason))
    }

    /// Ask the peer to end a session soon.
    pub fn drain_session(&self, session: u64) -> Result<(), EngineError> {
        self.on_session(session, SessionCommand::Drain)
    }

    /// Send a datagram; what does not fit into the path at that moment is lost.
    pub fn send_datagram(&self, session: u64, data: Bytes) -> Result<(), EngineError> {
        if let Some(room) = lock(&self.table)
            .sessions
            .get(&session)
            .map(|entry| entry.shared.max_datagram())
        {
            // Before the handshake the room is unknown and reported as 0; QUIC drops what turns out too large.
            if room > 0 && data.len() > room {
                return Err(EngineError::misuse(format!(
                    "a datagram has at most {room} bytes on this path now"
                )));
            }
        }
        self.on_session(session, SessionCommand::Datagram(data))
    }

    /// Largest datagram payload now; 0 if none can be sent.
    pub fn max_datagram_size(&self, session: u64) -> Result<usize, EngineError> {
        self.session(session)
            .map(|shared| shared.map_or(0, |shared| shared.max_datagram()))
    }

    /// Client: go on from another local address (None: a fresh port), without a reconnect.
    pub fn migrate(&self, session: u64, local: Option<SocketAddr>) -> Result<(), EngineError> {
        self.check_alive()?;
        if self.secrets.is_some() {
            return Err(EngineError::misuse("only a client can migrate"));
        }
        let Some(shared) = self.session(session)? else {
            return Ok(());
        };
        let remote = shared.stats().remote;
        if remote.port() == 0 {
            return Err(EngineError::misuse(
                "the session has no path yet that could be left",
            ));
        }
        let path = self.ground.path(remote, local)?;
        self.push(Command::Migrate { session, path });
        Ok(())
    }

    /// Network figures of the connection under a session, as of the last packet.
    pub fn stats(&self, session: u64) -> Result<SessionStats, EngineError> {
        match self.session(session)? {
            Some(shared) => Ok(shared.stats()),
            None => Err(EngineError::misuse("the session is over")),
        }
    }

    // ---- streams

    /// Open a stream; legal on a client before the session is answered.
    pub fn open_stream(&self, session: u64, bidirectional: bool) -> Result<u64, EngineError> {
        self.check_alive()?;
        let mut table = lock(&self.table);
        if !table.sessions.contains_key(&session) {
            drop(table);
            self.check_known(session)?;
            return Err(EngineError::misuse("the session is over"));
        }
        let stream = self.shared.new_handle();
        let shared = Arc::new(StreamShared::default());
        table.add_stream(
            session,
            stream,
            StreamEntry {
                session,
                shared: shared.clone(),
                can_send: true,
            },
        );
        drop(table);
        let command = SessionCommand::OpenStream {
            stream,
            bidirectional,
            shared,
        };
        self.push(Command::Session(session, command));
        Ok(stream)
    }

    /// Queue bytes, and the end with `fin`; returns how many bytes of the stream wait now.
    pub fn send(&self, stream: u64, data: Bytes, fin: bool) -> Result<usize, EngineError> {
        self.check_alive()?;
        let mut table = lock(&self.table);
        let Some(entry) = table.streams.get_mut(&stream) else {
            drop(table);
            self.check_known(stream)?;
            return Err(EngineError::misuse("the stream is over"));
        };
        if !entry.can_send {
            return Err(EngineError::misuse(
                "nothing can be sent on this stream: finished, reset or incoming only",
            ));
        }
        let limit = self.settings.send_buffer_limit;
        if entry.shared.buffered().saturating_add(data.len()) > limit {
            return Err(EngineError::misuse(format!(
                "more than {limit} bytes wait on this stream: wait until it is writable"
            )));
        }
        entry.can_send = !fin;
        let buffered = entry.shared.add(data.len(), self.settings.send_buffer_high);
        drop(table);
        self.push(Command::Stream(stream, StreamCommand::Send(data, fin)));
        Ok(buffered)
    }

    /// Abandon sending; what waits is dropped.
    pub fn reset(&self, stream: u64, code: u32) -> Result<(), EngineError> {
        self.check_alive()?;
        if let Some(entry) = lock(&self.table).streams.get_mut(&stream) {
            entry.can_send = false;
        }
        self.on_stream(stream, StreamCommand::Reset(code))
    }

    /// Ask the peer to stop sending; nothing more of the stream is delivered.
    pub fn stop(&self, stream: u64, code: u32) -> Result<(), EngineError> {
        self.on_stream(stream, StreamCommand::Stop(code))
    }

    /// Let streams with higher numbers go first.
    pub fn set_priority(&self, stream: u64, priority: i32) -> Result<(), EngineError> {
        self.on_stream(stream, StreamCommand::SetPriority(priority))
    }

    /// Stop delivering a stream; flow control holds the peer back.
    pub fn pause(&self, stream: u64) -> Result<(), EngineError> {
        self.on_stream(stream, StreamCommand::Pause)
    }

    /// Deliver a paused stream again.
    pub fn resume(&self, stream: u64) -> Result<(), EngineError> {
        self.on_stream(stream, StreamCommand::Resume)
    }

    // ---- the endpoint

    /// Let commands gather until `uncork`: the answers to a batch of events cost one wake-up instead of many. What the
    /// network makes the thread do meanwhile takes them along.
    pub fn cork(&self) {
        self.corked.store(true, Ordering::Relaxed);
    }

    /// Let the thread see the commands that have gathered.
    pub fn uncork(&self) {
        self.corked.store(false, Ordering::Relaxed);
        if !self.shared.commands.is_empty() {
            self.ground.hurry();
        }
    }

    /// Server: present this certificate to new connections.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), EngineError> {
        self.check_alive()?;
        let Some(secrets) = &self.secrets else {
            return Err(EngineError::misuse("only a server has an identity"));
        };
        let config = secrets.config(identity, &self.settings, self.key_log.clone())?;
        self.push(Command::SetServerConfig(config));
        Ok(())
    }

    /// Server of a fleet: go on under these keys. Its name and its sockets stay what they were.
    pub fn set_fleet(&self, member: &FleetMember) -> Result<(), EngineError> {
        let fleet = self.secrets.as_ref().and_then(ServerSecrets::fleet);
        let fleet = fleet.ok_or_else(|| {
            EngineError::misuse("only a server that was started in a fleet has its keys")
        })?;
        fleet.replace(member)
    }

    /// How many datagrams a server's tunnel has declined, by reason.
    pub fn tunnel_declined(&self) -> Vec<(Declined, u64)> {
        let fleet = self.secrets.as_ref().and_then(ServerSecrets::fleet);
        fleet.map_or_else(Vec::new, |fleet| fleet.declined())
    }

    /// The name of a server of a fleet in its connection IDs.
    pub fn server_id(&self) -> Option<ServerId> {
        let fleet = self.secrets.as_ref().and_then(ServerSecrets::fleet);
        fleet.map(|fleet| fleet.server_id())
    }

    /// Server: answer all further requests with this status (300..=599), or take them again with None.
    pub fn refuse_new(&self, status: Option<u16>) -> Result<(), EngineError> {
        self.check_alive()?;
        if status.is_some_and(|status| !(300..=599).contains(&status)) {
            return Err(EngineError::misuse(
                "requests are refused with a status of 300 to 599",
            ));
        }
        self.push(Command::RefuseNew(status));
        Ok(())
    }

    pub(crate) fn shut_down(&self, code: u32, reason: &str) {
        self.push(Command::Shutdown {
            code,
            reason: reason.to_owned(),
        });
        // Nobody lets go of a cork behind the end.
        self.uncork();
    }

    // ---- inside

    fn push(&self, command: Command) {
        self.shared.commands.push(command);
        if !self.corked.load(Ordering::Relaxed) {
            self.ground.wake();
        }
    }

    fn check_alive(&self) -> Result<(), EngineError> {
        self.shared
            .stopped()
            .map_or(Ok(()), |reason| Err(EngineError::Stopped(reason)))
    }

    fn check_known(&self, handle: u64) -> Result<(), EngineError> {
        if self.shared.knows(handle) {
            Ok(())
        } else {
            Err(EngineError::misuse(
                "no such session or stream on this endpoint",
            ))
        }
    }

    fn session(&self, session: u64) -> Result<Option<Arc<SessionShared>>, EngineError> {
        let shared = lock(&self.table)
            .sessions
            .get(&session)
            .map(|entry| entry.shared.clone());
        if shared.is_none() {
            self.check_known(session)?;
        }
        Ok(shared)
    }

    /// Queue a command for a session. A session that is over makes it a no-op: the caller may not have heard yet.
    fn on_session(&self, session: u64, command: SessionCommand) -> Result<(), EngineError> {
        self.check_alive()?;
        if self.session(session)?.is_some() {
            self.push(Command::Session(session, command));
        }
        Ok(())
    }

    fn on_stream(&self, stream: u64, command: StreamCommand) -> Result<(), EngineError> {
        self.check_alive()?;
        if lock(&self.table).streams.contains_key(&stream) {
            self.push(Command::Stream(stream, command));
            return Ok(());
        }
        self.check_known(stream)
    }

    /// TLS for a target. Targets with equal trust share one, and with it their session tickets and address tokens.
    fn client_config(&self, target: &ConnectTarget) -> Result<ClientConfig, EngineError> {
        let key = format!(
            "{:?} {:?} {}",
            target.certificate_hashes, target.roots, target.system_roots
        );
        if let Some(config) = lock(&self.trust).get(&key) {
            return Ok(config.clone());
        }
        let crypto: Arc<QuicClientConfig> =
            tls::client_config(target, &self.settings, self.key_log.clone())?;
        let config = ClientConfig::new(crypto);
        let mut trust = lock(&self.trust);
        if trust.len() >= KEPT_CONFIGS {
            trust.clear();
        }
        trust.insert(key, config.clone());
        Ok(config)
    }
}

impl Table {
    fn add_stream(&mut self, session: u64, stream: u64, entry: StreamEntry) {
        self.streams.insert(stream, entry);
        if let Some(owner) = self.sessions.get_mut(&session) {
            owner.streams.insert(stream);
        }
    }

    fn learn(&mut self, event: &Event) {
        match &event.kind {
            EventKind::SessionRequested(shared, _) => {
                let entry = SessionEntry {
                    shared: shared.clone(),
                    streams: FxHashSet::default(),
                };
                self.sessions.insert(event.session, entry);
            }
            EventKind::StreamOpened(shared, bidirectional) => {
                let entry = StreamEntry {
                    session: event.session,
                    shared: shared.clone(),
                    can_send: *bidirectional,
                };
                self.add_stream(event.session, event.stream, entry);
            }
            EventKind::SessionClosed(..)
            | EventKind::SessionRefused(..)
            | EventKind::ConnectFailed(..) => {
                self.leaving_sessions.push(event.session);
            }
            _ => {}
        }
    }

    fn remove_leaving(&mut self) {
        for stream in std::mem::take(&mut self.leaving_streams) {
            if let Some(entry) = self.streams.remove(&stream) {
                if let Some(owner) = self.sessions.get_mut(&entry.session) {
                    owner.streams.remove(&stream);
                }
            }
        }
        for session in std::mem::take(&mut self.leaving_sessions) {
            if let Some(entry) = self.sessions.remove(&session) {
                for stream in entry.streams {
                    self.streams.remove(&stream);
                }
            }
        }
    }
}

fn check_target(target: &ConnectTarget) -> Result<(), EngineError> {
    let bad = |text: &str| Err(EngineError::Connect(text.to_owned()));
    if target.addresses.is_empty() {
        return bad("no address to connect to");
    }
    if target
        .addresses
        .iter()
        .any(|address| address.port() == 0 || address.ip().is_unspecified())
    {
        return bad("an address to connect to needs a host and a port");
    }
    if target.authority.is_empty() || !target.path.starts_with('/') {
        return bad("a request needs an authority and a path that begins with a slash");
    }
    if rustls::pki_types::ServerName::try_from(target.server_name.as_str()).is_err() {
        return bad("the server name is neither a DNS name nor an IP address");
    }
    check_fields(&target.headers)
}

/// Names and values that HTTP allows (RFC 9110 §5.1, §5.5); names of connection-specific fields are HTTP/3's business.
fn check_fields(headers: &[(String, String)]) -> Result<(), EngineError> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    for (name, value) in headers {
        if name.is_empty() || !name.bytes().all(token) {
            return Err(EngineError::misuse(format!(
                "{name:?} is not the name of an HTTP field"
            )));
        }
        if value.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            return Err(EngineError::misuse(format!(
                "the value of {name} holds a line break or a zero byte"
            )));
        }
    }
    Ok(())
}
