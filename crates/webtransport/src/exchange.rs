//! One request and its answer (RFC 9114 §4.1), and the capsules that follow when it opens a session (RFC 9220 §3).
//!
//! Owns the order of frames on a request stream. Must not know how streams are told apart.

use bytes::Bytes;

use crate::capsule::{Capsule, CapsuleReader};
use crate::config::Role;
use crate::connection::Connection;
use crate::control::{is_of_http2, CANCEL_PUSH, GOAWAY, MAX_PUSH_ID, UNEXPECTED};
use crate::error::{
    Fault, H3_EXCESSIVE_LOAD, H3_FRAME_ERROR, H3_ID_ERROR, H3_MESSAGE_ERROR, H3_NO_ERROR,
    H3_REQUEST_CANCELLED, H3_REQUEST_INCOMPLETE, H3_REQUEST_REJECTED, REQUIREMENTS_NOT_MET,
};
use crate::event::{Event, Output, Routed};
use crate::headers::{self, Asked, Request};
use crate::record::{self, Piece, RecordReader, Treatment};
use crate::routing::{Step, Stream, BIDI_SESSION};
use crate::sessions::Session;
use crate::settings;
use crate::varint;

const DATA: u64 = 0x00;
pub(crate) const HEADERS: u64 = 0x01;
const PUSH_PROMISE: u64 = 0x05;

/// How far the peer's side of an exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No header block yet (for a client: no final one).
    Headers,
    /// A session was asked for (for a client: granted); DATA frames carry its capsules.
    Capsules,
    /// The peer closed the session; only the end of the stream may follow.
    Closed,
    /// A request for something else was answered; nothing more is read.
    Answered,
}

/// What the peer has sent of one exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    frames: RecordReader,
    capsules: CapsuleReader,
    stage: Stage,
}

impl Exchange {
    /// A request whose first frame type has been read already.
    pub(crate) fn with_first_frame(kind: u64) -> Self {
        Self {
            frames: RecordReader::with_kind(kind),
            ..Self::for_answer()
        }
    }

    /// A client's wait for the answer.
    pub(crate) fn for_answer() -> Self {
        Self {
            frames: RecordReader::default(),
            capsules: CapsuleReader::default(),
            stage: Stage::Headers,
        }
    }

    /// Whether our sending side is still in use.
    pub(crate) fn answering(&self) -> bool {
        matches!(self.stage, Stage::Headers | Stage::Capsules)
    }
}

/// draft-ietf-webtrans-http3-15 §6: nothing but the end of the stream follows a close.
const BEHIND_CLOSE: Fault = Fault::stream(H3_MESSAGE_ERROR);

fn policy(
    kind: u64,
    length: u64,
    stage: Stage,
    connection: &Connection,
) -> Result<Treatment, Fault> {
    match kind {
        DATA if stage == Stage::Capsules => Ok(Treatment::Pieces),
        DATA if stage == Stage::Closed => Err(BEHIND_CLOSE),
        HEADERS if stage == Stage::Headers => {
            if length > connection.config.max_header_block as u64 {
                return Err(Fault::HeaderBlockTooLarge);
            }
            Ok(Treatment::Whole)
        }
        PUSH_PROMISE if connection.role == Role::Client => Err(Fault::connection(
            H3_ID_ERROR,
            "a push that was not allowed",
        )),
        DATA | HEADERS | PUSH_PROMISE | CANCEL_PUSH | GOAWAY | MAX_PUSH_ID | settings::FRAME => {
            Err(UNEXPECTED)
        }
        BIDI_SESSION => Err(Fault::connection(
            H3_FRAME_ERROR,
            "a session inside a stream",
        )),
        _ if is_of_http2(kind) => Err(UNEXPECTED),
        _ => Ok(Treatment::Skip),
    }
}

impl Connection {
    /// Reads frames of a request stream.
    pub(crate) fn exchange(
        &mut self,
        id: u64,
        mut exchange: Exchange,
        chunk: &mut Bytes,
        fin: bool,
    ) -> Result<Step, Fault> {
        let read = self.read_exchange(id, &mut exchange, chunk);
        match read {
            Err(Fault::HeaderBlockTooLarge) if self.role == Role::Server => {
                self.answer_plainly(id, 431, &mut exchange);
            }
            Err(Fault::HeaderBlockTooLarge) => return Err(Fault::stream(H3_EXCESSIVE_LOAD)),
            other => other?,
        }
        if exchange.stage == Stage::Answered {
            return Ok(Step::Done(Routed::Ignored));
        }
        if fin {
            self.exchange_ended(id, &exchange)?;
        }
        // A session that was refused or broken off meanwhile has nothing more to say here.
        let session_over = exchange.stage == Stage::Capsules && !self.sessions.contains_key(&id);
        Ok(Step::Wait(if session_over {
            Stream::Discard
        } else {
            Stream::Exchange(exchange)
        }))
    }

    fn read_exchange(
        &mut self,
        id: u64,
        exchange: &mut Exchange,
        chunk: &mut Bytes,
    ) -> Result<(), Fault> {
        while exchange.stage != Stage::Answered {
            let stage = exchange.stage;
            let judge = |kind, length| policy(kind, length, stage, self);
            match exchange.frames.next(chunk, judge)? {
                None => return Ok(()),
                // The rest of a DATA frame that began before the close.
                Some(Piece::Part(_)) if stage == Stage::Closed => return Err(BEHIND_CLOSE),
                Some(Piece::Part(data)) => self.capsules(id, exchange, data)?,
                Some(Piece::Whole(_, block)) if self.role == Role::Server => {
                    self.request(id, exchange, block)?;
                }
                Some(Piece::Whole(_, block)) => self.response(id, exchange, block)?,
            }
        }
        Ok(())
    }

    fn capsules(&mut self, id: u64, exchange: &mut Exchange, mut data: Bytes) -> Result<(), Fault> {
        while let Some(capsule) = exchange.capsules.next(&mut data)? {
            match capsule {
                Capsule::Drain => drop(self.wind_up(id)),
                Capsule::Close { code, reason } => {
                    exchange.stage = Stage::Closed;
                    self.closed_by_peer(id, code, reason);
                    return if data.is_empty() {
                        Ok(())
                    } else {
                        Err(BEHIND_CLOSE)
                    };
                }
            }
        }
        Ok(())
    }

    /// The peer ended a session in order: end our side too.
    fn closed_by_peer(&mut self, id: u64, code: u32, reason: String) {
        match self.end_session(id) {
            None => {}
            Some(Session::Open { .. }) => {
                self.write(id, Vec::new(), true);
                self.events.push_back(Event::SessionClosed {
                    session: id,
                    code,
                    reason,
                    abrupt: None,
                });
            }
            Some(session) => {
                // Without an answer there is nothing to finish.
                self.outputs.push_back(Output::Reset {
                    stream: id,
                    code: H3_REQUEST_CANCELLED,
                });
                if !matches!(session, Session::Early(_)) {
                    let abrupt = None;
                    self.events.push_back(Event::SessionClosed {
                        session: id,
                        code,
                        reason,
                        abrupt,
                    });
                }
            }
        }
    }

    fn exchange_ended(&mut self, id: u64, exchange: &Exchange) -> Result<(), Fault> {
        if !exchange.frames.between_records() {
            return Err(Fault::connection(
                H3_FRAME_ERROR,
                "a stream ends inside a frame",
            ));
        }
        match exchange.stage {
            Stage::Headers => Err(Fault::stream(H3_REQUEST_INCOMPLETE)),
            Stage::Capsules if !exchange.capsules.between_capsules() => {
                Err(Fault::stream(H3_MESSAGE_ERROR))
            }
            Stage::Capsules => {
                self.closed_by_peer(id, 0, String::new());
                Ok(())
            }
            Stage::Closed | Stage::Answered => Ok(()),
        }
    }

    fn request(&mut self, id: u64, exchange: &mut Exchange, block: Bytes) -> Result<(), Fault> {
        if self
            .goaway_sent
            .is_some_and(|first_refused| id >= first_refused)
        {
            return Err(Fault::stream(H3_REQUEST_REJECTED));
        }
        // No request has a higher id than the last of all stream ids.
        self.next_request = self
            .next_request
            .max(id.saturating_add(4).min(varint::MAX - 3));
        match headers::decode_request(block, self.config.max_header_block)? {
            Asked::Session(request) => {
                exchange.stage = Stage::Capsules;
                self.session_asked(id, request)?;
            }
            Asked::OtherProtocol => self.answer_plainly(id, 501, exchange),
            Asked::Other { method, path } => {
                let status = (self.config.other_requests)(&method, &path);
                self.answer_plainly(id, status, exchange);
            }
        }
        Ok(())
    }

    fn session_asked(&mut self, id: u64, request: Request) -> Result<(), Fault> {
        if self.sessions.len() as u64 >= self.config.max_sessions {
            return Err(Fault::stream(H3_REQUEST_REJECTED));
        }
        match &self.peer_settings {
            None => {
                self.sessions.insert(id, Session::Early(request));
            }
            Some(settings) if settings.lacks(self.role).is_some() => {
                return Err(Fault::stream(REQUIREMENTS_NOT_MET));
            }
            Some(_) => self.offer(id, request),
        }
        Ok(())
    }

    pub(crate) fn offer(&mut self, id: u64, request: Request) {
        let draft02 = headers::marked_draft02(&request);
        self.sessions.insert(id, Session::Offered { draft02 });
        self.events.push_back(Event::SessionRequested {
            session: id,
            request,
        });
    }

    /// Answers a request that is not for a session with a bare status and reads no more of it.
    fn answer_plainly(&mut self, id: u64, status: u16, exchange: &mut Exchange) {
        let status = if (200..600).contains(&status) {
            status
        } else {
            405
        };
        if let Ok(block) = headers::encode_response(status, &[], false) {
            let mut frame = Vec::new();
            record::encode(HEADERS, &block, &mut frame);
            self.write(id, frame, true);
        }
        self.outputs.push_back(Output::Stop {
            stream: id,
            code: H3_NO_ERROR,
        });
        exchange.stage = Stage::Answered;
        self.end_session(id);
    }

    fn response(&mut self, id: u64, exchange: &mut Exchange, block: Bytes) -> Result<(), Fault> {
        let (status, headers) = headers::decode_response(block, self.config.max_header_block)?;
        match status {
            100..=199 => {}
            200..=299 => {
                exchange.stage = Stage::Capsules;
                self.sessions.insert(id, Session::OPEN);
                self.events.push_back(Event::SessionAccepted {
                    session: id,
                    status,
                    headers,
                });
                self.release(id);
            }
            _ => {
                exchange.stage = Stage::Answered;
                self.write(id, Vec::new(), true);
                self.outputs.push_back(Output::Stop {
                    stream: id,
                    code: H3_NO_ERROR,
                });
                self.end_session(id);
                self.events.push_back(Event::SessionRefused {
                    session: id,
                    status,
                    headers,
                });
            }
        }
        Ok(())
    }
}
