//! The connection: what it is fed, and the two queues. How streams are told apart is in `routing.rs`, control frames
//! in `control.rs`, requests and answers in `exchange.rs`, the life of sessions in `sessions.rs`.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::config::{Config, Role};
use crate::control;
use crate::error::{Fault, Misuse, H3_EXCESSIVE_LOAD, H3_REQUEST_CANCELLED};
use crate::event::{Event, Output, Routed};
use crate::held::Waiting;
use crate::record;
use crate::routing::{
    is_unidirectional, CriticalStreams, Step, Stream, CRITICAL_CLOSED, UNI_CONTROL,
};
use crate::sessions::Session;
use crate::settings::{self, PeerSettings};
use crate::varint::{self, Partial};

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
            Some(Stream::Discard) => self.outputs.push_back(Output::Reset { stream, code }),
            // Its session will be the one to answer, if there comes to be one.
            Some(Stream::Held { .. }) => {}
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

    pub(crate) fn check_alive(&self) -> Result<(), Misuse> {
        if self.over {
            return Err(Misuse::ConnectionOver);
        }
        Ok(())
    }

    pub(crate) fn check_role(&self, role: Role) -> Result<(), Misuse> {
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
