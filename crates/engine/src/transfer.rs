//! The half of a connection that moves bytes: opening, reading and writing streams, datagrams.
//!
//! Owns who reads which QUIC stream and when. Must not know what HTTP/3 says (that is `sessions`).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use legato_webtransport as web;
use quinn_proto::{Dir, ReadError, Side, StreamId, VarInt, WriteError};

use crate::command::StreamCommand;
use crate::event::EventKind;
use crate::peer::{Context, Peer, Progress, Route, TOP_PRIORITY};
use crate::shared::{StreamShared, CHUNK_LIMIT};
use crate::streams::{Sending, Stream};

/// What one look at a QUIC stream yields.
enum Read {
    Data(Bytes),
    Fin,
    Reset(VarInt),
    Nothing,
}

impl Peer {
    /// Do what the caller asks of a stream.
    pub(crate) fn perform_stream(
        &mut self,
        handle: u64,
        command: StreamCommand,
        ctx: &mut Context,
    ) {
        match command {
            StreamCommand::Send(data, fin) => self.send(handle, data, fin, ctx),
            StreamCommand::Reset(code) => self.reset(handle, code, ctx),
            StreamCommand::Stop(code) => self.stop(handle, code, ctx),
            StreamCommand::SetPriority(priority) => self.set_priority(handle, priority),
            StreamCommand::Pause => self.set_paused(handle, true),
            StreamCommand::Resume => self.set_paused(handle, false),
        }
    }

    // ---- streams that the peer opens

    pub(crate) fn accept_streams(&mut self, ctx: &mut Context) {
        for dir in [Dir::Uni, Dir::Bi] {
            // A full event queue stops acceptance, which keeps the peer's stream credit used up.
            while ctx.has_room() {
                let Some(id) = self.quic.streams().accept(dir) else {
                    break;
                };
                self.routes.insert(id, Route::Http);
                self.read(id, ctx);
            }
        }
    }

    /// Read what was reported readable, and what was left unread if there is room again.
    pub(crate) fn read_all(&mut self, ctx: &mut Context) {
        let mut readable = std::mem::take(&mut self.readable);
        for id in readable.drain(..) {
            self.read(id, ctx);
        }
        // Reading one stream can make another readable: a request releases streams that waited for it.
        std::mem::swap(&mut self.readable, &mut readable);
        for id in readable {
            self.read(id, ctx);
        }
    }

    /// Visit the streams that were left because the event queue was full.
    pub(crate) fn revisit(&mut self) {
        let left = self
            .streams
            .values()
            .filter(|stream| stream.unread && !stream.paused);
        self.readable.extend(left.filter_map(|stream| stream.id));
    }

    fn read(&mut self, id: StreamId, ctx: &mut Context) {
        while let Some(&route) = self.routes.get(&id) {
            match route {
                Route::Held => return,
                Route::Session(handle) => return self.read_session_stream(handle, id, ctx),
                Route::Http => {
                    if !self.read_http(id, ctx) {
                        return;
                    }
                }
            }
        }
    }

    /// Feed one chunk to HTTP/3; false if there was none.
    fn read_http(&mut self, id: StreamId, ctx: &mut Context) -> bool {
        let stream = u64::from(id);
        let (data, fin) = match self.read_once(id) {
            Read::Data(data) => (data, false),
            Read::Fin => (Bytes::new(), true),
            Read::Reset(code) => {
                self.routes.remove(&id);
                self.http.stream_reset(stream, code.into_inner());
                self.drain_http(ctx);
                return false;
            }
            Read::Nothing => return false,
        };
        let routed = self.http.receive(stream, data, fin);
        match routed {
            web::Routed::Consumed if fin => drop(self.routes.remove(&id)),
            web::Routed::Consumed => {}
            web::Routed::Held => drop(self.routes.insert(id, Route::Held)),
            web::Routed::Session { session, payload } => self.adopt(session, id, payload, fin, ctx),
            web::Routed::Ignored => drop(self.routes.remove(&id)),
        }
        self.drain_http(ctx);
        !fin
    }

    fn read_once(&mut self, id: StreamId) -> Read {
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            return Read::Nothing;
        };
        let read = match chunks.next(CHUNK_LIMIT) {
            Ok(Some(chunk)) => Read::Data(chunk.bytes),
            Ok(None) => Read::Fin,
            Err(ReadError::Reset(code)) => Read::Reset(code),
            Err(ReadError::Blocked) => Read::Nothing,
        };
        // Flow-control frames leave with the next transmit in any case.
        let _ = chunks.finalize();
        read
    }

    /// Make a stream of the peer the session's own.
    pub(crate) fn adopt(
        &mut self,
        session: u64,
        id: StreamId,
        payload: Bytes,
        fin: bool,
        ctx: &mut Context,
    ) {
        let Some(owner) = self
            .sessions
            .iter()
            .find(|candidate| candidate.id == session)
        else {
            self.abandon(id, web::error::SESSION_GONE);
            return;
        };
        let owner = owner.handle;
        let handle = ctx.shared.new_handle();
        let shared = Arc::new(StreamShared::default());
        let bidirectional = id.dir() == Dir::Bi;
        ctx.emit(
            owner,
            handle,
            EventKind::StreamOpened(shared.clone(), bidirectional),
        );
        let mut stream = Stream::remote(owner, id, bidirectional, shared);
        if !payload.is_empty() {
            *ctx.notify |= ctx.shared.events.push_data(
                owner,
                handle,
                &mut stream.slot,
                payload,
                &mut ctx.share,
            );
        }
        self.streams.insert(handle, stream);
        self.routes.insert(id, Route::Session(handle));
        ctx.index.streams.insert(handle, ctx.key);
        if fin {
            self.end_receiving(handle, EventKind::StreamFin, ctx);
        }
        // While the stream was held, nobody could hear that the peer wants no answer on it.
        if bidirectional {
            if let Ok(Some(code)) = self.quic.send_stream(id).stopped() {
                self.on_stopped(id, code, ctx);
            }
        }
    }

    fn read_session_stream(&mut self, handle: u64, id: StreamId, ctx: &mut Context) {
        let Some(stream) = self.streams.get_mut(&handle) else {
            return;
        };
        if stream.paused || !ctx.has_room() {
            stream.unread = true;
            return;
        }
        stream.unread = false;
        let mut receiver = self.quic.recv_stream(id);
        let Ok(mut chunks) = receiver.read(true) else {
            return;
        };
        let ending = loop {
            match chunks.next(CHUNK_LIMIT) {
                Ok(Some(chunk)) => {
                    *ctx.notify |= ctx.shared.events.push_data(
                        stream.session,
                        handle,
                        &mut stream.slot,
                        chunk.bytes,
                        &mut ctx.share,
                    );
                    if !ctx.has_room() {
                        stream.unread = true;
                        break None;
                    }
                }
                Ok(None) => break Some(EventKind::StreamFin),
                // The session is ending: its own end is the news, and it follows.
                Err(ReadError::Reset(code)) if session_is_gone(code) => {
                    stream.receiving = false;
                    break None;
                }
                Err(ReadError::Reset(code)) => {
                    break Some(EventKind::StreamReset(application_code(code)));
                }
                Err(ReadError::Blocked) => break None,
            }
        };
        let _ = chunks.finalize();
        match ending {
            Some(ending) => self.end_receiving(handle, ending, ctx),
            None => self.forget_if_done(handle, ctx),
        }
    }

    fn end_receiving(&mut self, handle: u64, ending: EventKind, ctx: &mut Context) {
        if let Some(stream) = self.streams.get_mut(&handle) {
            stream.receiving = false;
            stream.unread = false;
            ctx.emit(stream.session, handle, ending);
        }
        self.forget_if_done(handle, ctx);
    }

    /// Refuse a stream in both directions.
    pub(crate) fn abandon(&mut self, id: StreamId, code: u64) {
        let code = VarInt::from_u64(code).unwrap_or(VarInt::MAX);
        self.routes.remove(&id);
        if id.dir() == Dir::Bi || id.initiator() != self.quic.side() {
            let _ = self.quic.recv_stream(id).stop(code);
        }
        if id.dir() == Dir::Bi {
            let _ = self.quic.send_stream(id).reset(code);
        }
    }

    // ---- streams that we open

    pub(crate) fn open_stream(
        &mut self,
        session: u64,
        handle: u64,
        bidirectional: bool,
        shared: Arc<StreamShared>,
        ctx: &mut Context,
    ) {
        self.streams
            .insert(handle, Stream::local(session, bidirectional, shared));
        ctx.index.streams.insert(handle, ctx.key);
        let dir = if bidirectional { Dir::Bi } else { Dir::Uni };
        self.waiting[dir as usize].push_back(handle);
        self.open_waiting(ctx);
    }

    /// Open waiting streams as far as the peer permits, in order.
    pub(crate) fn open_waiting(&mut self, ctx: &mut Context) {
        if !self.control_opened {
            return;
        }
        for dir in [Dir::Bi, Dir::Uni] {
            let mut passed_over = 0;
            while let Some(&handle) = self.waiting[dir as usize].get(passed_over) {
                let Some(session) = self.session_for_opening(handle) else {
                    passed_over += 1;
                    continue;
                };
                let Some(id) = self.quic.streams().open(dir) else {
                    break;
                };
                self.waiting[dir as usize].remove(passed_over);
                self.start_stream(handle, id, session, ctx);
            }
        }
    }

    /// The session id of a waiting stream, if that session is far enough to have streams.
    fn session_for_opening(&self, handle: u64) -> Option<u64> {
        let stream = self.streams.get(&handle)?;
        let session = self
            .sessions
            .iter()
            .find(|session| session.handle == stream.session)?;
        let ready = match session.progress {
            Progress::Connecting => false,
            // A client need not wait for the answer, only for its request to be on the way.
            Progress::Requested => self.role == web::Role::Client && self.http.ready(),
            Progress::Open => true,
        };
        ready.then_some(session.id)
    }

    fn start_stream(&mut self, handle: u64, id: StreamId, session: u64, ctx: &mut Context) {
        let Some(stream) = self.streams.get_mut(&handle) else {
            return;
        };
        stream.id = Some(id);
        if stream.priority != 0 {
            let _ = self.quic.send_stream(id).set_priority(stream.priority);
        }
        self.routes.insert(id, Route::Session(handle));
        stream.prepend(web::stream_header(session, stream.bidirectional));
        self.flush_stream(handle, ctx);
    }

    fn send(&mut self, handle: u64, data: Bytes, fin: bool, ctx: &mut Context) {
        if let Some(stream) = self.streams.get_mut(&handle) {
            stream.enqueue(data, fin);
            self.flush_stream(handle, ctx);
        }
    }

    fn flush_stream(&mut self, handle: u64, ctx: &mut Context) {
        let Some(stream) = self.streams.get_mut(&handle) else {
            return;
        };
        if stream.flush(&mut self.quic, ctx.settings.send_buffer_high) {
            ctx.emit(stream.session, handle, EventKind::StreamWritable);
        }
    }

    fn reset(&mut self, handle: u64, code: u32, ctx: &mut Context) {
        if let Some(stream) = self.streams.get_mut(&handle) {
            stream.reset(&mut self.quic, http3_code(code));
            self.forget_if_done(handle, ctx);
        }
    }

    fn stop(&mut self, handle: u64, code: u32, ctx: &mut Context) {
        if let Some(stream) = self.streams.get_mut(&handle) {
            stream.stop(&mut self.quic, http3_code(code));
            self.forget_if_done(handle, ctx);
        }
    }

    fn set_priority(&mut self, handle: u64, priority: i32) {
        if let Some(stream) = self.streams.get_mut(&handle) {
            stream.priority = priority.min(TOP_PRIORITY - 1);
            if let (Some(id), true) = (stream.id, stream.sending != Sending::Done) {
                let _ = self.quic.send_stream(id).set_priority(stream.priority);
            }
        }
    }

    fn set_paused(&mut self, handle: u64, paused: bool) {
        if let Some(stream) = self.streams.get_mut(&handle) {
            stream.paused = paused;
            if !paused && stream.unread {
                self.readable.extend(stream.id);
            }
        }
    }

    // ---- what QUIC reports about sending

    pub(crate) fn on_writable(&mut self, id: StreamId, ctx: &mut Context) {
        if self.backlog.contains_key(&id) {
            self.flush_backlog(id);
        } else if let Some(&Route::Session(handle)) = self.routes.get(&id) {
            self.flush_stream(handle, ctx);
        }
    }

    pub(crate) fn on_finished(&mut self, id: StreamId, ctx: &mut Context) {
        if let Some(&Route::Session(handle)) = self.routes.get(&id) {
            if let Some(stream) = self.streams.get_mut(&handle) {
                stream.sending = Sending::Done;
            }
            self.forget_if_done(handle, ctx);
        }
    }

    pub(crate) fn on_stopped(&mut self, id: StreamId, code: VarInt, ctx: &mut Context) {
        let Some(&Route::Session(handle)) = self.routes.get(&id) else {
            self.http.stream_stopped(id.into(), code.into_inner());
            self.drain_http(ctx);
            return;
        };
        let Some(stream) = self.streams.get_mut(&handle) else {
            return;
        };
        if stream.sending != Sending::Done {
            // RFC 9000 §3.5: STOP_SENDING is answered with RESET_STREAM, usually with the same code.
            stream.reset(&mut self.quic, code);
            if !session_is_gone(code) {
                ctx.emit(
                    stream.session,
                    handle,
                    EventKind::StreamStopped(application_code(code)),
                );
            }
        }
        self.forget_if_done(handle, ctx);
    }

    fn forget_if_done(&mut self, handle: u64, ctx: &mut Context) {
        if self.streams.get(&handle).is_some_and(Stream::is_done) {
            self.forget(handle, ctx);
        }
    }

    pub(crate) fn forget(&mut self, handle: u64, ctx: &mut Context) {
        let Some(stream) = self.streams.remove(&handle) else {
            return;
        };
        match stream.id {
            Some(id) => drop(self.routes.remove(&id)),
            None => {
                let dir = if stream.bidirectional {
                    Dir::Bi
                } else {
                    Dir::Uni
                };
                self.waiting[dir as usize].retain(|&waiting| waiting != handle);
            }
        }
        ctx.index.streams.remove(&handle);
        ctx.shared.events.push_finished(handle);
    }

    // ---- HTTP/3 bytes

    pub(crate) fn write_http(&mut self, id: StreamId, data: Bytes, fin: bool) {
        let backlog = self.backlog.entry(id).or_default();
        if !data.is_empty() {
            backlog.chunks.push_back(data);
        }
        backlog.fin |= fin;
        self.flush_backlog(id);
    }

    fn flush_backlog(&mut self, id: StreamId) {
        let Some(backlog) = self.backlog.get_mut(&id) else {
            return;
        };
        while !backlog.chunks.is_empty() {
            match self
                .quic
                .send_stream(id)
                .write_chunks(backlog.chunks.make_contiguous())
            {
                Ok(written) => drop(backlog.chunks.drain(..written.chunks)),
                Err(WriteError::Blocked) => return,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => break,
            }
        }
        if backlog.fin {
            let _ = self.quic.send_stream(id).finish();
        }
        self.backlog.remove(&id);
    }

    // ---- datagrams

    pub(crate) fn read_datagrams(&mut self, ctx: &mut Context) {
        while self.datagrams_waiting && ctx.has_room() {
            let Some(datagram) = self.quic.datagrams().recv() else {
                self.datagrams_waiting = false;
                return;
            };
            let known = self.http.datagram(datagram);
            self.drain_http(ctx);
            let Some((session, payload)) = known else {
                continue;
            };
            if let Some(owner) = self
                .sessions
                .iter()
                .find(|candidate| candidate.id == session)
            {
                ctx.emit(owner.handle, 0, EventKind::Datagram(payload));
            }
        }
    }

    pub(crate) fn send_datagram(&mut self, session: u64, data: &[u8]) {
        let Some(owner) = self
            .sessions
            .iter()
            .find(|candidate| candidate.handle == session)
        else {
            return;
        };
        let early = self.role == web::Role::Client && self.http.ready();
        if owner.progress == Progress::Open || (owner.progress == Progress::Requested && early) {
            let prefix = web::datagram_prefix(owner.id);
            let mut datagram = BytesMut::with_capacity(prefix.len() + data.len());
            datagram.extend_from_slice(&prefix);
            datagram.extend_from_slice(data);
            // Unreliable by contract: what does not fit now is lost, older ones before newer ones.
            let _ = self.quic.datagrams().send(datagram.freeze(), true);
        }
    }

    /// Whether a QUIC stream id can be sent on, whatever HTTP/3 believes.
    pub(crate) fn may_send_on(&self, id: StreamId) -> bool {
        id.dir() == Dir::Bi || id.initiator() == self.quic.side()
    }

    /// Whether a QUIC stream id can be received on.
    pub(crate) fn may_receive_on(&self, id: StreamId) -> bool {
        id.dir() == Dir::Bi || id.initiator() != self.quic.side()
    }

    pub(crate) fn is_client(&self) -> bool {
        self.quic.side() == Side::Client
    }
}

fn http3_code(code: u32) -> VarInt {
    VarInt::from_u64(web::error::to_http3(code)).unwrap_or(VarInt::MAX)
}

/// Whether a stream is abandoned because its session ended (draft-ietf-webtrans-http3, section 4.2).
///
/// Firefox 153 says H3_REQUEST_CANCELLED instead, and says it before the end of the session. No
/// application's code looks like either.
fn session_is_gone(code: VarInt) -> bool {
    matches!(
        code.into_inner(),
        web::error::SESSION_GONE | web::error::H3_REQUEST_CANCELLED
    )
}

/// The application's code, or 0 for a code that HTTP/3 itself uses.
fn application_code(code: VarInt) -> u32 {
    web::error::from_http3(code.into_inner()).unwrap_or(0)
}
