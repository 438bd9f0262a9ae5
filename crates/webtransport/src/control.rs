//! The peer's control stream (RFC 9114 §6.2.1 and §7.2): SETTINGS, GOAWAY, and the frames of pushes that never happen.

use bytes::Bytes;

use crate::config::Role;
use crate::connection::Connection;
use crate::error::{
    Fault, H3_EXCESSIVE_LOAD, H3_FRAME_ERROR, H3_FRAME_UNEXPECTED, H3_ID_ERROR,
    H3_MISSING_SETTINGS, H3_REQUEST_REJECTED, REQUIREMENTS_NOT_MET,
};
use crate::event::{Event, Output};
use crate::record::{Piece, RecordReader, Treatment};
use crate::routing::BIDI_SESSION;
use crate::sessions::Session;
use crate::settings::{self, PeerSettings};
use crate::varint;

pub(crate) const CANCEL_PUSH: u64 = 0x03;
pub(crate) const GOAWAY: u64 = 0x07;
pub(crate) const MAX_PUSH_ID: u64 = 0x0d;
/// Room for two hundred settings of the longest form.
const MAX_SETTINGS_BYTES: u64 = 4096;

/// Frame types of HTTP/2 that HTTP/3 reserves (RFC 9114 §7.2.8).
pub(crate) const fn is_of_http2(kind: u64) -> bool {
    matches!(kind, 0x02 | 0x06 | 0x08 | 0x09)
}

pub(crate) const UNEXPECTED: Fault =
    Fault::connection(H3_FRAME_UNEXPECTED, "a frame that is not allowed here");

fn policy(kind: u64, length: u64, role: Role, settings_seen: bool) -> Result<Treatment, Fault> {
    match kind {
        settings::FRAME if settings_seen => Err(UNEXPECTED),
        settings::FRAME if length > MAX_SETTINGS_BYTES => Err(Fault::connection(
            H3_EXCESSIVE_LOAD,
            "SETTINGS are too large",
        )),
        settings::FRAME => Ok(Treatment::Whole),
        _ if !settings_seen => {
            let reason = "the control stream does not begin with SETTINGS";
            Err(Fault::connection(H3_MISSING_SETTINGS, reason))
        }
        MAX_PUSH_ID if role == Role::Client => Err(UNEXPECTED),
        GOAWAY | MAX_PUSH_ID | CANCEL_PUSH if (1..=8).contains(&length) => Ok(Treatment::Whole),
        GOAWAY | MAX_PUSH_ID | CANCEL_PUSH => Err(NOT_ONE_ID),
        0x00 | 0x01 | 0x05 => Err(UNEXPECTED),
        BIDI_SESSION => Err(Fault::connection(
            H3_FRAME_ERROR,
            "a session inside a stream",
        )),
        _ if is_of_http2(kind) => Err(UNEXPECTED),
        _ => Ok(Treatment::Skip),
    }
}

const NOT_ONE_ID: Fault = Fault::connection(H3_FRAME_ERROR, "a frame does not hold exactly one id");

impl Connection {
    pub(crate) fn control_frames(
        &mut self,
        frames: &mut RecordReader,
        chunk: &mut Bytes,
    ) -> Result<(), Fault> {
        loop {
            let (role, settings_seen) = (self.role, self.peer_settings.is_some());
            let judge = |kind, length| policy(kind, length, role, settings_seen);
            let Some(Piece::Whole(kind, mut payload)) = frames.next(chunk, judge)? else {
                return Ok(());
            };
            if kind == settings::FRAME {
                self.settings_received(PeerSettings::decode(payload)?)?;
                continue;
            }
            let id = varint::take(&mut payload)
                .filter(|_| payload.is_empty())
                .ok_or(NOT_ONE_ID)?;
            match kind {
                GOAWAY => self.goaway_received(id)?,
                MAX_PUSH_ID => self.max_push_id_received(id)?,
                _ => return Err(Fault::connection(H3_ID_ERROR, "a push that does not exist")),
            }
        }
    }

    fn settings_received(&mut self, settings: PeerSettings) -> Result<(), Fault> {
        let lack = settings.lacks(self.role);
        self.peer_settings = Some(settings);
        match (lack, self.role) {
            (None, _) => self.events.push_back(Event::SettingsReceived),
            (Some(reason), Role::Client) => {
                return Err(Fault::connection(REQUIREMENTS_NOT_MET, reason));
            }
            // Other requests of such a client are answered all the same.
            (Some(_), Role::Server) => {}
        }
        let mut ids: Vec<u64> = self.sessions.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            match self.sessions.remove(&id) {
                Some(Session::Unsent(headers)) => {
                    self.write(id, headers, false);
                    self.sessions.insert(id, Session::Asked);
                }
                Some(Session::Early(request)) if lack.is_none() => self.offer(id, request),
                Some(session @ Session::Early(_)) => {
                    self.sessions.insert(id, session);
                    self.stream_failed(id, REQUIREMENTS_NOT_MET);
                }
                Some(session) => {
                    self.sessions.insert(id, session);
                }
                None => {}
            }
        }
        Ok(())
    }

    fn goaway_received(&mut self, id: u64) -> Result<(), Fault> {
        let grew = self.goaway_received.is_some_and(|before| id > before);
        let wrong_kind = self.role == Role::Client && id & 3 != 0;
        if grew || wrong_kind {
            return Err(Fault::connection(H3_ID_ERROR, "GOAWAY with a wrong id"));
        }
        self.goaway_received = Some(id);
        if self.role == Role::Server {
            // A client's GOAWAY speaks about pushes only.
            return Ok(());
        }
        let mut sessions: Vec<u64> = self.sessions.keys().copied().collect();
        sessions.sort_unstable();
        for session in sessions {
            if !self.wind_up(session) && session >= id {
                self.streams.remove(&session);
                self.outputs.push_back(Output::Reset {
                    stream: session,
                    code: H3_REQUEST_REJECTED,
                });
                self.break_off(session, H3_REQUEST_REJECTED);
            }
        }
        Ok(())
    }

    fn max_push_id_received(&mut self, id: u64) -> Result<(), Fault> {
        if self.max_push_id.is_some_and(|before| id < before) {
            return Err(Fault::connection(H3_ID_ERROR, "MAX_PUSH_ID went down"));
        }
        self.max_push_id = Some(id);
        Ok(())
    }
}
