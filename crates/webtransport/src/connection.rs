//! The connection: inputs, operations, the two queues, and the life of sessions. How streams are told apart is in
//! `routing.rs`, control frames in `control.rs`, requests and answers in `exchange.rs`.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::capsule;
use crate::control;
use crate::error::{Fault, Misuse, H3_EXCESSIVE_LOAD, H3_REQUEST_CANCELLED, SESSION_GONE};
use crate::event::{Event, Output, Routed};
use crate::exchange::{Exchange, HEADERS};
use crate::headers::{self, Field, Request};
use crate::held::Waiting;
use crate::record;
use crate::routing::{
    is_unidirectional, CriticalStreams, Step, Stream, CRITICAL_CLOSED, UNI_CONTROL,
};
use crate::settings::{self, PeerSettings};
use crate::varint::{self, Partial};

/// Sessions remembered after their end, so that late streams are turned away and not held.
const REMEMBERED_SESSIONS: usize = 64;

/// Which side of the QUIC connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opened the QUIC connection; opens sessions.
    Client,
    /// Accepted the QUIC connection; answers session requests.
    Server,
}

/// Bounds that keep a hostile peer cheap, and the answer to requests that are not for WebTransport.
#[derive(Debug, Clone)]
pub struct Config {
    /// Sessions alive at once on one connection; a server tells it in SETTINGS and rejects more.
    pub max_sessions: u64,
    /// Bytes of one encoded header block and, counted as RFC 9114 §4.2.2 does, of the decoded one. Default 16 KiB.
    pub max_header_block: usize,
    /// Streams waiting for their session at once. Default 64.
    pub max_held_streams: usize,
    /// Payload bytes of waiting streams, all together. Default 1 MiB.
    pub max_held_bytes: usize,
    /// Status (200..=599) for a request that is not an extended CONNECT, by method and path. Default: always 405.
    pub other_requests: fn(method: &str, path: &str) -> u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_sessions: 1,
            max_header_block: 16 * 1024,
            max_held_streams: 64,
            max_held_bytes: 1024 * 1024,
            other_requests: |_, _| 405,
        }
    }
}

/// The life of a session up to its end, after which it is forgotten.
///
/// ```text
/// client: Unsent -- SETTINGS --> Asked -- 2xx --> Open
/// server: Early -- SETTINGS --> Offered -- accept --> Open
/// ```
#[derive(Debug)]
pub(crate) enum Session {
    /// Client: the HEADERS frame waits for the peer's SETTINGS.
    Unsent(Vec<u8>),
    /// Client: the request is out.
    Asked,
    /// Server: the request waits for the peer's SETTINGS.
    Early(Request),
    /// Server: the caller has to decide.
    Offered { draft02: bool },
    /// Both: streams and datagrams flow.
    Open,
}

/// HTTP/3 and WebTransport state of one QUIC connection.
///
/// Drain rule: after every call that takes `&mut self`, drain [`poll_output`](Self::poll_output) and
/// [`poll_event`](Self::poll_event). Feeding never fails: what the peer does wrong becomes outputs and events.
/// Misusing an operation returns [`Misuse`] and changes nothing.
#[derive(Debug)]
pub struct Connection {
    pub(crate) role: Role,
    pub(crate) config: Config,
    /// Our own control stream.
    control: Option<u64>,
    pub(crate) peer_settings: Option<PeerSettings>,
    pub(crate) critical: CriticalStreams,
    pub(crate) streams: HashMap<u64, Stream>,
    pub(crate) sessions: HashMap<u64, Session>,
    /// The sessions that ended last.
    pub(crate) retired: VecDeque<u64>,
    pub(crate) waiting: Waiting,
    pub(crate) goaway_sent: Option<u64>,
    pub(crate) goaway_received: Option<u64>,
    pub(crate) max_push_id: Option<u64>,
    /// Server: above every request seen.
    pub(crate) next_request: u64,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) events: VecDeque<Event>,
    over: bool,
}

impl Connection {
    /// A connection that has sent nothing yet.
    pub fn new(role: Role, config: Config) -> Self {
        Self {
            role,
            control: None,
            peer_settings: None,
            critical: CriticalStreams::default(),
            streams: HashMap::new(),
            sessions: HashMap::new(),
            retired: VecDeque::new(),
            waiting: Waiting::new(config.max_held_streams, config.max_held_bytes),
            goaway_sent: None,
            goaway_received: None,
            max_push_id: None,
            next_request: 0,
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            over: false,
            config,
        }
    }

    /// The caller has opened its first unidirectional stream: it becomes the control stream and SETTINGS are queued on it.
    /// Call once, as early as QUIC allows to write (a server before the handshake ends), before opening anything else.
    /// QPACK streams are not needed without a dynamic table.
    pub fn control_opened(&mut self, stream: u64) -> Result<(), Misuse> {
        self.check_alive()?;
        if !is_unidirectional(stream) || self.opened_by_peer(stream) {
            return Err(Misuse::InvalidArgument);
        }
        if self.control.is_some() {
            return Err(Misuse::WrongState);
        }
        self.control = Some(stream);
        let mut out = Vec::new();
        varint::encode(UNI_CONTROL, &mut out);
        settings::encode(self.role, self.config.max_sessions, &mut out);
        self.write(stream, out, false);
        Ok(())
    }

    /// Bytes of a peer-opened stream, or of a CONNECT stream, in order. `fin`: this was the end of the stream. Ask until
    /// the answer is something other than [`Routed::Consumed`], and obey that.
    pub fn receive(&mut self, stream: u64, mut chunk: Bytes, fin: bool) -> Routed {
        if self.over {
            return Routed::Ignored;
        }
        let state = match self.streams.remove(&stream) {
            Some(state) => state,
            None if !self.opened_by_peer(stream) => return Routed::Ignored,
            None if is_unidirectional(stream) => Stream::UniType(Partial::default()),
            None => Stream::BidiType(Partial::default()),
        };
        match self.advance(stream, state, &mut chunk, fin) {
            Ok(Step::Done(routed)) => routed,
            Ok(Step::Wait(held @ Stream::Held { .. })) => {
                self.streams.insert(stream, held);
                Routed::Held
            }
            Ok(Step::Wait(state) | Step::Again(state)) => {
                if !fin {
                    self.streams.insert(stream, state);
                }
                Routed::Consumed
            }
            Err(fault) => {
                self.handle(stream, fault);
                Routed::Ignored
            }
        }
    }

    /// The peer reset a stream that is not (yet) the caller's own, with this HTTP/3 code. True: it was known here.
    pub fn stream_reset(&mut self, stream: u64, code: u64) -> bool {
        let Some(state) = self.streams.remove(&stream) else {
            return false;
        };
        let answering = match state {
            Stream::Control(_) | Stream::Encoder | Stream::Decoder(_) => {
                self.handle(stream, CRITICAL_CLOSED);
                return true;
            }
            Stream::Held { .. } => {
                self.waiting.forget(stream);
                true
            }
            Stream::Exchange(exchange) => exchange.answering(),
            Stream::BidiType(_) | Stream::SessionId(_) => true,
            Stream::UniType(_) | Stream::Discard => false,
        };
        if answering && !is_unidirectional(stream) {
            self.outputs.push_back(Output::Reset {
                stream,
                code: H3_REQUEST_CANCELLED,
            });
        }
        self.break_off(stream, code);
        true
    }

    /// The peer asked to stop sending on the control stream, a CONNECT stream or a held one. True: it was known here.
    pub fn stream_stopped(&mut self, stream: u64, code: u64) -> bool {
        if self.over {
            return false;
        }
        if self.control == Some(stream) {
            self.handle(stream, CRITICAL_CLOSED);
            return true;
        }
        match self.streams.get(&stream) {
            Some(Stream::Exchange(_)) => {
                self.streams.remove(&stream);
                self.outputs.push_back(Output::Reset { stream, code });
                self.outputs.push_back(Output::Stop {
                    stream,
                    code: H3_REQUEST_CANCELLED,
                });
                self.break_off(stream, code);
            }
            Some(Stream::Held { .. } | Stream::Discard) => {
                self.outputs.push_back(Output::Reset { stream, code });
            }
            // Not told apart yet: what the peer sends may still matter.
            _ => return false,
        }
        true
    }

    /// A QUIC datagram: session and payload, or None if it is to be dropped (no open session; a malformed one also fails
    /// the connection).
    pub fn datagram(&mut self, mut data: Bytes) -> Option<(u64, Bytes)> {
        if self.over {
            return None;
        }
        match self.split_datagram(&mut data) {
            Ok(session) => self.is_open(session).then_some((session, data)),
            Err(fault) => {
                self.handle(0, fault);
                None
            }
        }
    }

    /// Next thing to do on the QUIC connection.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Client: ask for a session on `stream`, a bidirectional stream the caller has just opened; its id names the session.
    /// The request leaves at once if the peer's SETTINGS are known and right behind them otherwise. Streams of the session
    /// may be opened and written as soon as [`Event::SettingsReceived`] was seen, before the answer (optimistic first flight).
    pub fn connect(&mut self, stream: u64, request: Request) -> Result<(), Misuse> {
        self.check_role(Role::Client)?;
        if stream & 3 != 0 || self.streams.contains_key(&stream) {
            return Err(Misuse::InvalidArgument);
        }
        if self.goaway_received.is_some() {
            return Err(Misuse::WrongState);
        }
        let mut frame = Vec::new();
        record::encode(HEADERS, &headers::encode_request(&request)?, &mut frame);
        let session = if self.ready() {
            self.write(stream, frame, false);
            Session::Asked
        } else {
            Session::Unsent(frame)
        };
        self.sessions.insert(stream, session);
        self.streams
            .insert(stream, Stream::Exchange(Exchange::for_answer()));
        Ok(())
    }

    /// Server: agree with 200 and these extra fields. Held streams of the session are released.
    pub fn accept(&mut self, session: u64, fields: &[Field]) -> Result<(), Misuse> {
        self.answer(session, 200, fields, false)?;
        self.sessions.insert(session, Session::Open);
        self.release(session);
        Ok(())
    }

    /// Server: refuse with a status of 300..=599 and these fields. Held streams of the session are stopped.
    pub fn reject(&mut self, session: u64, status: u16, fields: &[Field]) -> Result<(), Misuse> {
        if !(300..600).contains(&status) {
            return Err(Misuse::InvalidArgument);
        }
        self.answer(session, status, fields, true)?;
        self.end_session(session);
        self.discard(session);
        Ok(())
    }

    fn answer(
        &mut self,
        session: u64,
        status: u16,
        fields: &[Field],
        fin: bool,
    ) -> Result<(), Misuse> {
        self.check_role(Role::Server)?;
        let draft02 = match self.sessions.get(&session) {
            Some(Session::Offered { draft02 }) => *draft02,
            Some(_) => return Err(Misuse::WrongState),
            None => return Err(Misuse::UnknownSession),
        };
        let mut frame = Vec::new();
        record::encode(
            HEADERS,
            &headers::encode_response(status, fields, draft02)?,
            &mut frame,
        );
        self.write(session, frame, fin);
        Ok(())
    }

    /// End an open session with a code and a reason of at most 1024 bytes (CLOSE_WEBTRANSPORT_SESSION and FIN). A client
    /// that closes before the answer gives the request up. No event follows; the caller ends the session's streams with
    /// [`SESSION_GONE`] itself.
    pub fn close(&mut self, session: u64, code: u32, reason: &str) -> Result<(), Misuse> {
        self.check_alive()?;
        if reason.len() > capsule::MAX_REASON {
            return Err(Misuse::InvalidArgument);
        }
        match self.sessions.get(&session) {
            None => return Err(Misuse::UnknownSession),
            Some(Session::Offered { .. } | Session::Early(_)) => return Err(Misuse::WrongState),
            Some(Session::Open) => {
                let mut capsule = Vec::new();
                capsule::encode_close(code, reason, &mut capsule);
                self.write_data(session, &capsule, true);
                self.discard(session);
            }
            Some(Session::Unsent(_) | Session::Asked) => {
                let (stream, code) = (session, H3_REQUEST_CANCELLED);
                self.outputs.push_back(Output::Reset { stream, code });
                self.outputs.push_back(Output::Stop { stream, code });
                self.streams.remove(&session);
            }
        }
        self.end_session(session);
        Ok(())
    }

    /// Ask the peer to end an open session soon (DRAIN_WEBTRANSPORT_SESSION). The session goes on meanwhile.
    pub fn drain(&mut self, session: u64) -> Result<(), Misuse> {
        self.check_alive()?;
        match self.sessions.get(&session) {
            None => Err(Misuse::UnknownSession),
            Some(Session::Open) => {
                let mut capsule = Vec::new();
                capsule::encode_drain(&mut capsule);
                self.write_data(session, &capsule, false);
                Ok(())
            }
            Some(_) => Err(Misuse::WrongState),
        }
    }

    /// Take no new sessions (GOAWAY); those there go on. Saying it again changes nothing.
    pub fn goaway(&mut self) -> Result<(), Misuse> {
        self.check_alive()?;
        let control = self.control.ok_or(Misuse::WrongState)?;
        if self.goaway_sent.is_none() {
            // A client's GOAWAY names the first push it refuses: all of them.
            self.goaway_sent = Some(self.next_request);
            let (mut id, mut frame) = (Vec::new(), Vec::new());
            varint::encode(self.next_request, &mut id);
            record::encode(control::GOAWAY, &id, &mut frame);
            self.write(control, frame, false);
        }
        Ok(())
    }

    /// Whether the peer's SETTINGS are in and allow WebTransport.
    pub fn ready(&self) -> bool {
        let settings = self.peer_settings.as_ref();
        !self.over && settings.is_some_and(|settings| settings.lacks(self.role).is_none())
    }

    /// Whether a session is accepted and not over.
    pub fn is_open(&self, session: u64) -> bool {
        matches!(self.sessions.get(&session), Some(Session::Open))
    }

    fn check_alive(&self) -> Result<(), Misuse> {
        if self.over {
            return Err(Misuse::ConnectionOver);
        }
        Ok(())
    }

    fn check_role(&self, role: Role) -> Result<(), Misuse> {
        self.check_alive()?;
        if self.role != role {
            return Err(Misuse::WrongRole);
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, stream: u64, data: Vec<u8>, fin: bool) {
        self.outputs.push_back(Output::Write {
            stream,
            data: data.into(),
            fin,
        });
    }

    fn write_data(&mut self, stream: u64, payload: &[u8], fin: bool) {
        const DATA: u64 = 0x00;
        let mut frame = Vec::new();
        record::encode(DATA, payload, &mut frame);
        self.write(stream, frame, fin);
    }

    /// Reads no more of a stream, but lets the peer end it.
    fn discard(&mut self, stream: u64) {
        if let Some(state) = self.streams.get_mut(&stream) {
            *state = Stream::Discard;
        }
    }

    /// Lets the caller have the streams that came before their session.
    pub(crate) fn release(&mut self, session: u64) {
        for held in self.waiting.release(session) {
            self.streams.remove(&held.stream);
            let (stream, fin) = (held.stream, held.fin);
            let payload = held.into_payload();
            self.events.push_back(Event::StreamReleased {
                session,
                stream,
                payload,
                fin,
            });
        }
    }

    /// Forgets a session, and remembers that it was one.
    pub(crate) fn end_session(&mut self, session: u64) -> Option<Session> {
        for held in self.waiting.release(session) {
            self.streams.remove(&held.stream);
            self.turn_away(held.stream, SESSION_GONE);
        }
        if self.retired.len() >= REMEMBERED_SESSIONS {
            self.retired.pop_front();
        }
        self.retired.push_back(session);
        self.sessions.remove(&session)
    }

    /// Ends a session whose CONNECT stream broke; false if there was none.
    pub(crate) fn break_off(&mut self, session: u64, code: u64) -> bool {
        if !self.sessions.contains_key(&session) {
            return false;
        }
        if !matches!(self.end_session(session), Some(Session::Early(_))) {
            let (reason, abrupt) = (String::new(), Some(code));
            self.events.push_back(Event::SessionClosed {
                session,
                code: 0,
                reason,
                abrupt,
            });
        }
        true
    }

    /// A fault that ends one stream, and the session if it was its CONNECT stream.
    pub(crate) fn stream_failed(&mut self, stream: u64, code: u64) {
        self.streams.remove(&stream);
        self.outputs.push_back(Output::Reset { stream, code });
        self.outputs.push_back(Output::Stop { stream, code });
        self.break_off(stream, code);
    }

    fn handle(&mut self, stream: u64, fault: Fault) {
        match fault {
            Fault::Stream { code } => self.stream_failed(stream, code),
            Fault::HeaderBlockTooLarge => self.stream_failed(stream, H3_EXCESSIVE_LOAD),
            Fault::Connection { code, reason } => {
                self.over = true;
                self.sessions.clear();
                self.streams.clear();
                self.waiting = Waiting::new(0, 0);
                self.outputs.push_back(Output::Close { code, reason });
                self.events
                    .push_back(Event::ConnectionFailed { code, reason });
            }
        }
    }
}
