//! The life of sessions: asked for, answered, closed, remembered. Must not know how their streams are told apart
//! (`routing.rs`), nor how a request is read (`exchange.rs`).

use crate::capsule;
use crate::config::Role;
use crate::connection::Connection;
use crate::error::{Misuse, H3_REQUEST_CANCELLED, SESSION_GONE};
use crate::event::{Event, Output};
use crate::exchange::{Exchange, HEADERS};
use crate::headers::{self, Field, Request};
use crate::record;
use crate::routing::Stream;

/// Sessions remembered after their end, so that late streams are turned away and not held.
const REMEMBERED_SESSIONS: usize = 64;

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
    /// Both: streams and datagrams flow. `draining`: the caller knows that the peer wishes it to end.
    Open { draining: bool },
}

impl Session {
    /// As it begins.
    pub(crate) const OPEN: Self = Self::Open { draining: false };
}

impl Connection {
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
        self.sessions.insert(session, Session::OPEN);
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
            Some(Session::Open { .. }) => {
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
            Some(Session::Open { .. }) => {
                let mut capsule = Vec::new();
                capsule::encode_drain(&mut capsule);
                self.write_data(session, &capsule, false);
                Ok(())
            }
            Some(_) => Err(Misuse::WrongState),
        }
    }

    /// Whether a session is accepted and not over.
    pub fn is_open(&self, session: u64) -> bool {
        matches!(self.sessions.get(&session), Some(Session::Open { .. }))
    }

    /// Tells the caller that the peer wishes an open session to end: once, or a peer that says it in every few bytes would
    /// fill the queue of events. False if the session is not open.
    pub(crate) fn wind_up(&mut self, session: u64) -> bool {
        let Some(Session::Open { draining }) = self.sessions.get_mut(&session) else {
            return false;
        };
        if !std::mem::replace(draining, true) {
            self.events.push_back(Event::SessionDraining { session });
        }
        true
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
}
