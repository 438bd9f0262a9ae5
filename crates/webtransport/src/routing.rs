//! Which part of HTTP/3 a stream belongs to (RFC 9114 §6, draft-ietf-webtrans-http3-15 §4.2 and §4.3).
//!
//! Owns the first bytes of every stream and of datagrams. Must not know what control frames and messages mean.

use bytes::Bytes;

use crate::config::Role;
use crate::connection::Connection;
use crate::error::{
    Fault, BUFFERED_STREAM_REJECTED, H3_CLOSED_CRITICAL_STREAM, H3_DATAGRAM_ERROR, H3_ID_ERROR,
    H3_REQUEST_INCOMPLETE, H3_STREAM_CREATION_ERROR, SESSION_GONE,
};
use crate::event::{Output, Routed};
use crate::exchange::Exchange;
use crate::qpack::{self, DecoderStream};
use crate::record::RecordReader;
use crate::sessions::Session;
use crate::varint::{self, Partial};

/// Types of unidirectional streams.
pub(crate) const UNI_CONTROL: u64 = 0x00;
const UNI_PUSH: u64 = 0x01;
const UNI_ENCODER: u64 = 0x02;
const UNI_DECODER: u64 = 0x03;
const UNI_SESSION: u64 = 0x54;
/// What a bidirectional stream of a session begins with, in the place of a frame type.
pub(crate) const BIDI_SESSION: u64 = 0x41;

/// What is known of a stream that is not the caller's own.
#[derive(Debug)]
pub(crate) enum Stream {
    UniType(Partial),
    BidiType(Partial),
    /// The type was that of a session's stream; its session id is not complete.
    SessionId(Partial),
    Held {
        session: u64,
    },
    Control(RecordReader),
    Encoder,
    Decoder(DecoderStream),
    /// A request or, for a client, the answer to one.
    Exchange(Exchange),
    /// Nothing more is wanted, but the peer may finish in its own time.
    Discard,
}

/// Where a stream stands after it was given bytes.
pub(crate) enum Step {
    /// It turned out to be something; there may be bytes left for that.
    Again(Stream),
    /// All bytes are used up.
    Wait(Stream),
    /// It needs nothing from here any more.
    Done(Routed),
}

/// Types of which a connection has at most one (RFC 9114 §6.2.1, RFC 9204 §4.2).
#[derive(Debug, Default)]
pub(crate) struct CriticalStreams {
    control: bool,
    encoder: bool,
    decoder: bool,
}

pub(crate) const fn is_unidirectional(stream: u64) -> bool {
    stream & 2 != 0
}

const fn is_client_request(stream: u64) -> bool {
    stream & 3 == 0
}

impl Connection {
    pub(crate) fn opened_by_peer(&self, stream: u64) -> bool {
        let by_server = stream & 1 != 0;
        by_server == (self.role == Role::Client)
    }

    /// Gives a stream some bytes, and again as long as it turns into something else.
    pub(crate) fn advance(
        &mut self,
        id: u64,
        mut stream: Stream,
        chunk: &mut Bytes,
        fin: bool,
    ) -> Result<Step, Fault> {
        loop {
            match self.step(id, stream, chunk, fin)? {
                Step::Again(next) => stream = next,
                other => return Ok(other),
            }
        }
    }

    fn step(
        &mut self,
        id: u64,
        stream: Stream,
        chunk: &mut Bytes,
        fin: bool,
    ) -> Result<Step, Fault> {
        let stream = match stream {
            Stream::UniType(mut number) => match number.feed(chunk) {
                Some(kind) => return self.unidirectional(id, kind),
                None => Stream::UniType(number),
            },
            Stream::BidiType(mut number) => match number.feed(chunk) {
                Some(kind) => return self.bidirectional(kind),
                None => Stream::BidiType(number),
            },
            Stream::SessionId(mut number) => match number.feed(chunk) {
                Some(session) => return self.session_stream(id, session, chunk, fin),
                None => Stream::SessionId(number),
            },
            Stream::Held { session } => return Ok(self.hold(id, session, chunk, fin)),
            Stream::Control(mut frames) => {
                self.control_frames(&mut frames, chunk)?;
                Stream::Control(frames)
            }
            Stream::Encoder => {
                qpack::read_encoder_stream(chunk)?;
                Stream::Encoder
            }
            Stream::Decoder(mut instructions) => {
                instructions.read(chunk)?;
                Stream::Decoder(instructions)
            }
            Stream::Exchange(exchange) => return self.exchange(id, exchange, chunk, fin),
            Stream::Discard => Stream::Discard,
        };
        if fin {
            self.ended_early(id, &stream)?;
        }
        Ok(Step::Wait(stream))
    }

    /// What the end of a stream means where nobody expected it.
    fn ended_early(&self, id: u64, stream: &Stream) -> Result<(), Fault> {
        match stream {
            Stream::Control(_) | Stream::Encoder | Stream::Decoder(_) => Err(CRITICAL_CLOSED),
            Stream::BidiType(_) | Stream::SessionId(_) if !is_unidirectional(id) => {
                Err(Fault::stream(H3_REQUEST_INCOMPLETE))
            }
            _ => Ok(()),
        }
    }

    fn unidirectional(&mut self, id: u64, kind: u64) -> Result<Step, Fault> {
        let mut once = |seen: fn(&mut CriticalStreams) -> &mut bool| {
            if std::mem::replace(seen(&mut self.critical), true) {
                let reason = "a second stream of a kind that exists once";
                return Err(Fault::connection(H3_STREAM_CREATION_ERROR, reason));
            }
            Ok(())
        };
        let stream = match kind {
            UNI_CONTROL => {
                once(|seen| &mut seen.control)?;
                Stream::Control(RecordReader::default())
            }
            UNI_ENCODER => {
                once(|seen| &mut seen.encoder)?;
                Stream::Encoder
            }
            UNI_DECODER => {
                once(|seen| &mut seen.decoder)?;
                Stream::Decoder(DecoderStream::default())
            }
            UNI_SESSION => Stream::SessionId(Partial::default()),
            UNI_PUSH if self.role == Role::Server => {
                return Err(Fault::connection(
                    H3_STREAM_CREATION_ERROR,
                    "a push from a client",
                ));
            }
            UNI_PUSH => {
                return Err(Fault::connection(
                    H3_ID_ERROR,
                    "a push that was not allowed",
                ))
            }
            _ => {
                self.outputs.push_back(Output::Stop {
                    stream: id,
                    code: H3_STREAM_CREATION_ERROR,
                });
                return Ok(Step::Done(Routed::Ignored));
            }
        };
        Ok(Step::Again(stream))
    }

    fn bidirectional(&mut self, kind: u64) -> Result<Step, Fault> {
        if kind == BIDI_SESSION {
            return Ok(Step::Again(Stream::SessionId(Partial::default())));
        }
        if self.role == Role::Client {
            let reason = "a bidirectional stream of a server without a session";
            return Err(Fault::connection(H3_STREAM_CREATION_ERROR, reason));
        }
        Ok(Step::Again(Stream::Exchange(Exchange::with_first_frame(
            kind,
        ))))
    }

    fn session_stream(
        &mut self,
        id: u64,
        session: u64,
        chunk: &mut Bytes,
        fin: bool,
    ) -> Result<Step, Fault> {
        if !is_client_request(session) {
            return Err(Fault::connection(
                H3_ID_ERROR,
                "a session id that names no request",
            ));
        }
        match self.sessions.get(&session) {
            Some(Session::Open { .. }) => {
                let payload = std::mem::take(chunk);
                Ok(Step::Done(Routed::Session { session, payload }))
            }
            None if self.role == Role::Client || self.retired.contains(&session) => {
                Ok(self.turn_away(id, SESSION_GONE))
            }
            _ => Ok(self.hold(id, session, chunk, fin)),
        }
    }

    fn hold(&mut self, id: u64, session: u64, chunk: &mut Bytes, fin: bool) -> Step {
        if self.waiting.hold(session, id, chunk, fin) {
            chunk.clear();
            Step::Wait(Stream::Held { session })
        } else {
            self.turn_away(id, BUFFERED_STREAM_REJECTED)
        }
    }

    /// Ends a session's stream that nobody will read.
    pub(crate) fn turn_away(&mut self, id: u64, code: u64) -> Step {
        self.outputs.push_back(Output::Stop { stream: id, code });
        if !is_unidirectional(id) {
            self.outputs.push_back(Output::Reset { stream: id, code });
        }
        Step::Done(Routed::Ignored)
    }

    pub(crate) fn split_datagram(&self, data: &mut Bytes) -> Result<u64, Fault> {
        let quarter = varint::take(data).filter(|&quarter| quarter <= varint::MAX / 4);
        let quarter =
            quarter.ok_or(Fault::connection(H3_DATAGRAM_ERROR, "no quarter stream id"))?;
        Ok(quarter * 4)
    }
}

pub(crate) const CRITICAL_CLOSED: Fault = Fault::connection(
    H3_CLOSED_CRITICAL_STREAM,
    "the peer ended a critical stream",
);

/// First bytes of every stream opened for a session: its type and the session id.
pub fn stream_header(session: u64, bidirectional: bool) -> Bytes {
    let mut out = Vec::with_capacity(10);
    varint::encode(
        if bidirectional {
            BIDI_SESSION
        } else {
            UNI_SESSION
        },
        &mut out,
    );
    varint::encode(session, &mut out);
    out.into()
}

/// First bytes of every datagram of a session: its quarter stream id (RFC 9297 §2.1).
pub fn datagram_prefix(session: u64) -> Bytes {
    let mut out = Vec::with_capacity(8);
    varint::encode(session / 4, &mut out);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_streams_and_datagrams() {
        assert_eq!(&stream_header(0, true)[..], [0x40, 0x41, 0x00]);
        assert_eq!(&stream_header(400, false)[..], [0x40, 0x54, 0x41, 0x90]);
        assert_eq!(&datagram_prefix(0)[..], [0x00]);
        assert_eq!(&datagram_prefix(400)[..], [0x40, 0x64]);
    }
}
