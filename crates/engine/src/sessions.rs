//! The half of a connection that deals with sessions: asking, answering, ending, and what HTTP/3 wants done.
//!
//! Owns how HTTP/3's outputs and events become QUIC operations and events of the endpoint. Must not move stream bytes.

use std::sync::Arc;

use legato_webtransport as web;
use quinn_proto::{ConnectionError, Dir, StreamId, VarInt};

use crate::command::SessionCommand;
use crate::event::{ClosedBy, EventKind, FailureKind, SessionRequest, TextField};
use crate::peer::{Context, Peer, Progress, Route, Session, TOP_PRIORITY};
use crate::shared::SessionShared;

impl Peer {
    /// Do what the caller asks of a session.
    pub(crate) fn perform_session(
        &mut self,
        handle: u64,
        command: SessionCommand,
        ctx: &mut Context,
    ) {
        match command {
            SessionCommand::Accept(headers) => self.accept(handle, &headers, ctx),
            SessionCommand::Reject(status, headers) => self.reject(handle, status, &headers, ctx),
            SessionCommand::Close(code, reason) => self.close_session(handle, code, &reason, ctx),
            SessionCommand::Drain => self.drain_session(handle, ctx),
            SessionCommand::OpenStream {
                stream,
                bidirectional,
                shared,
            } => self.open_stream(handle, stream, bidirectional, shared, ctx),
            SessionCommand::Datagram(data) => self.send_datagram(handle, &data),
        }
    }

    // ---- asking (client)

    /// Send the requests that wait for the handshake.
    pub(crate) fn request_sessions(&mut self, ctx: &mut Context) {
        if !self.established || !self.control_opened {
            return;
        }
        let Some(attempt) = &self.attempt else {
            return;
        };
        let request = web::Request {
            authority: attempt.target.authority.clone(),
            path: attempt.target.path.clone(),
            origin: attempt.target.origin.clone(),
            headers: fields(&attempt.target.headers),
        };
        for position in 0..self.sessions.len() {
            if self.sessions[position].progress != Progress::Connecting {
                continue;
            }
            let Some(id) = self.quic.streams().open(Dir::Bi) else {
                return;
            };
            let _ = self.quic.send_stream(id).set_priority(TOP_PRIORITY - 1);
            self.routes.insert(id, Route::Http);
            self.sessions[position].id = id.into();
            self.sessions[position].progress = Progress::Requested;
            if let Err(misuse) = self.http.connect(id.into(), request.clone()) {
                let reason = format!("the request cannot be sent: {misuse}");
                let news = EventKind::ConnectFailed(reason, FailureKind::Protocol);
                return self.remove_session(position, ClosedBy::Transport, Some(news), ctx);
            }
        }
        self.drain_http(ctx);
        self.open_waiting(ctx);
    }

    // ---- answering (server)

    fn accept(&mut self, handle: u64, headers: &[TextField], ctx: &mut Context) {
        let Some(session) = self
            .sessions
            .iter_mut()
            .find(|session| session.handle == handle)
        else {
            return;
        };
        if session.progress != Progress::Requested || self.role != web::Role::Server {
            return;
        }
        match self.http.accept(session.id, &fields(headers)) {
            Ok(()) => session.progress = Progress::Open,
            Err(_) => {
                return self.end_session(
                    handle,
                    ClosedBy::Transport,
                    0,
                    "the request cannot be answered",
                    ctx,
                )
            }
        }
        self.drain_http(ctx);
        self.open_waiting(ctx);
    }

    fn reject(&mut self, handle: u64, status: u16, headers: &[TextField], ctx: &mut Context) {
        if let Some(position) = self.position(handle).filter(|&at| self.is_asked(at)) {
            self.turn_down(position, status, headers, None, ctx);
        }
    }

    /// Whether the session at `position` was asked for by the peer and waits for our answer.
    fn is_asked(&self, position: usize) -> bool {
        self.role == web::Role::Server && self.sessions[position].progress == Progress::Requested
    }

    fn turn_down(
        &mut self,
        position: usize,
        status: u16,
        headers: &[TextField],
        news: Option<EventKind>,
        ctx: &mut Context,
    ) {
        // The front has checked status and fields; a session that ended meanwhile needs no answer.
        let id = self.sessions[position].id;
        let _ = self.http.reject(id, status, &fields(headers));
        self.remove_session(position, ClosedBy::Transport, news, ctx);
        self.drain_http(ctx);
    }

    // ---- ending

    pub(crate) fn close_session(
        &mut self,
        handle: u64,
        code: u32,
        reason: &str,
        ctx: &mut Context,
    ) {
        let Some(position) = self.position(handle) else {
            return;
        };
        let news = EventKind::SessionClosed(ClosedBy::Local, code, reason.to_owned());
        if self.is_asked(position) {
            return self.turn_down(position, 503, &[], Some(news), ctx);
        }
        let session = &self.sessions[position];
        if session.progress != Progress::Connecting {
            let _ = self.http.close(session.id, code, reason);
        }
        self.remove_session(position, ClosedBy::Local, Some(news), ctx);
        self.drain_http(ctx);
    }

    fn drain_session(&mut self, handle: u64, ctx: &mut Context) {
        if let Some(session) = self
            .sessions
            .iter()
            .find(|session| session.handle == handle)
        {
            let _ = self.http.drain(session.id);
            self.drain_http(ctx);
        }
    }

    /// Tell the caller that a session is over and clean up behind it.
    fn end_session(
        &mut self,
        handle: u64,
        by: ClosedBy,
        code: u32,
        reason: &str,
        ctx: &mut Context,
    ) {
        if let Some(position) = self.position(handle) {
            let news = EventKind::SessionClosed(by, code, reason.to_owned());
            self.remove_session(position, by, Some(news), ctx);
        }
    }

    fn position(&self, handle: u64) -> Option<usize> {
        let mut sessions = self.sessions.iter();
        sessions.position(|session| session.handle == handle)
    }

    /// Take a session out, tell the caller the `news` if there are any, and clean up behind it.
    fn remove_session(
        &mut self,
        position: usize,
        by: ClosedBy,
        news: Option<EventKind>,
        ctx: &mut Context,
    ) {
        let session = self.sessions.swap_remove(position);
        self.end_streams(&session, by, ctx);
        if let Some(news) = news {
            ctx.emit(session.handle, 0, news);
        }
        ctx.index.sessions.remove(&session.handle);
        if self.sessions.is_empty() {
            let said_goodbye = by == ClosedBy::Local && session.progress != Progress::Connecting;
            self.on_last_session_gone(ctx.now, said_goodbye);
        }
    }

    /// End the streams of a session (draft-ietf-webtrans-http3 §6). What we have finished before closing it ourselves may
    /// still arrive: such streams are left to QUIC.
    fn end_streams(&mut self, session: &Session, by: ClosedBy, ctx: &mut Context) {
        let gone = VarInt::from_u64(web::error::SESSION_GONE).unwrap_or(VarInt::MAX);
        let owned = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.session == session.handle);
        let handles: Vec<u64> = owned.map(|(&handle, _)| handle).collect();
        for handle in handles {
            if let Some(stream) = self.streams.get_mut(&handle) {
                stream.stop(&mut self.quic, gone);
                let ended = stream.is_ending_handed_over();
                if by != ClosedBy::Local || !ended {
                    stream.reset(&mut self.quic, gone);
                }
            }
            self.forget(handle, ctx);
        }
    }

    /// Tell everybody that the connection is gone.
    pub(crate) fn on_lost(&mut self, error: &ConnectionError, ctx: &mut Context) {
        let (reason, kind) = failure(error);
        let (by, told) = loss(error);
        let failed = EventKind::ConnectFailed(reason, kind);
        self.end_all(&failed, &EventKind::SessionClosed(by, 0, told), ctx);
    }

    /// Tell everybody, in words of our own, why the connection ends or why there will be none.
    pub(crate) fn fail_all(&mut self, reason: &str, kind: FailureKind, ctx: &mut Context) {
        let failed = EventKind::ConnectFailed(reason.to_owned(), kind);
        let closed = EventKind::SessionClosed(ClosedBy::Transport, 0, reason.to_owned());
        self.end_all(&failed, &closed, ctx);
    }

    /// End every session: one that a client waits for has `failed`, any other is `closed`.
    fn end_all(&mut self, failed: &EventKind, closed: &EventKind, ctx: &mut Context) {
        for session in std::mem::take(&mut self.sessions) {
            self.end_streams(&session, ClosedBy::Transport, ctx);
            ctx.index.sessions.remove(&session.handle);
            let waiting = self.is_client() && session.progress != Progress::Open;
            let news = if waiting { failed } else { closed };
            ctx.emit(session.handle, 0, news.clone());
        }
    }

    // ---- what HTTP/3 says

    /// Do what HTTP/3 wants done and pass on what it reports.
    pub(crate) fn drain_http(&mut self, ctx: &mut Context) {
        loop {
            while let Some(output) = self.http.poll_output() {
                self.perform(output, ctx);
            }
            let Some(event) = self.http.poll_event() else {
                return;
            };
            self.on_http_event(event, ctx);
        }
    }

    fn perform(&mut self, output: web::Output, ctx: &mut Context) {
        let id = |stream: u64| VarInt::from_u64(stream).map(StreamId::from).ok();
        let varint = |code: u64| VarInt::from_u64(code).unwrap_or(VarInt::MAX);
        match output {
            web::Output::Write { stream, data, fin } => {
                if let Some(id) = id(stream).filter(|&id| self.may_send_on(id)) {
                    self.write_http(id, data, fin);
                }
            }
            web::Output::Reset { stream, code } => {
                if let Some(id) = id(stream).filter(|&id| self.may_send_on(id)) {
                    self.backlog.remove(&id);
                    let _ = self.quic.send_stream(id).reset(varint(code));
                }
            }
            web::Output::Stop { stream, code } => {
                if let Some(id) = id(stream).filter(|&id| self.may_receive_on(id)) {
                    self.routes.remove(&id);
                    let _ = self.quic.recv_stream(id).stop(varint(code));
                }
            }
            web::Output::Close { code, reason } => self.close_quic(ctx.now, code, reason),
        }
    }

    fn on_http_event(&mut self, event: web::Event, ctx: &mut Context) {
        match event {
            web::Event::SettingsReceived => self.open_waiting(ctx),
            web::Event::SessionRequested { session, request } => {
                self.on_requested(session, request, ctx)
            }
            web::Event::SessionAccepted {
                session,
                status,
                headers,
            } => self.on_accepted(session, status, &headers, ctx),
            web::Event::SessionRefused {
                session,
                status,
                headers,
            } => self.on_refused(session, status, &headers, ctx),
            web::Event::StreamReleased {
                session,
                stream,
                payload,
                fin,
            } => {
                if let Ok(id) = VarInt::from_u64(stream).map(StreamId::from) {
                    self.adopt(session, id, payload, fin, ctx);
                    self.readable.push(id);
                }
            }
            web::Event::SessionDraining { session } => {
                if let Some(owner) = self.sessions.iter().find(|owner| owner.id == session) {
                    ctx.emit(owner.handle, 0, EventKind::SessionDraining);
                }
            }
            web::Event::SessionClosed {
                session,
                code,
                reason,
                abrupt,
            } => self.on_closed(session, (code, &reason), abrupt, ctx),
            web::Event::ConnectionFailed { code, reason } => {
                let text = format!("HTTP/3 error {code:#x}: {reason}");
                self.fail_all(&text, FailureKind::Protocol, ctx);
            }
        }
    }

    fn on_accepted(
        &mut self,
        session: u64,
        status: u16,
        headers: &[web::Field],
        ctx: &mut Context,
    ) {
        if let Some(owner) = self.sessions.iter_mut().find(|owner| owner.id == session) {
            owner.progress = Progress::Open;
            let handle = owner.handle;
            self.deadline = None;
            ctx.emit(handle, 0, EventKind::SessionOpened(status, texts(headers)));
            self.open_waiting(ctx);
        }
    }

    fn on_refused(&mut self, session: u64, status: u16, headers: &[web::Field], ctx: &mut Context) {
        if let Some(position) = self.sessions.iter().position(|owner| owner.id == session) {
            let news = EventKind::SessionRefused(status, texts(headers));
            self.remove_session(position, ClosedBy::Transport, Some(news), ctx);
        }
    }

    fn on_closed(
        &mut self,
        session: u64,
        (code, reason): (u32, &str),
        abrupt: Option<u64>,
        ctx: &mut Context,
    ) {
        let Some(owner) = self.sessions.iter().find(|owner| owner.id == session) else {
            return;
        };
        let handle = owner.handle;
        match abrupt {
            None => self.end_session(handle, ClosedBy::Peer, code, reason, ctx),
            Some(code) => {
                let reason = format!("the request stream broke off with HTTP/3 code {code:#x}");
                self.end_session(handle, ClosedBy::Transport, 0, &reason, ctx);
            }
        }
    }

    fn on_requested(&mut self, session: u64, request: web::Request, ctx: &mut Context) {
        if let Some(status) = ctx.refuse_new {
            let _ = self.http.reject(session, status, &[]);
            return;
        }
        let handle = ctx.shared.new_handle();
        let shared = Arc::new(SessionShared::default());
        self.sessions.push(Session {
            handle,
            id: session,
            progress: Progress::Requested,
            shared: shared.clone(),
        });
        ctx.index.sessions.insert(handle, ctx.key);
        self.deadline = None;
        // The figures must be there before anybody can ask for them.
        self.publish();
        let request = SessionRequest {
            path: request.path,
            authority: request.authority,
            origin: request.origin,
            headers: texts(&request.headers),
            remote: self.remote,
            local: self.local,
        };
        ctx.emit(
            handle,
            0,
            EventKind::SessionRequested(shared, Box::new(request)),
        );
    }
}

fn fields(headers: &[TextField]) -> Vec<web::Field> {
    headers
        .iter()
        .map(|(name, value)| web::Field::new(name.to_ascii_lowercase(), value.as_bytes()))
        .collect()
}

fn texts(fields: &[web::Field]) -> Vec<TextField> {
    fields
        .iter()
        .map(|field| {
            (
                field.name.clone(),
                String::from_utf8_lossy(&field.value).into_owned(),
            )
        })
        .collect()
}

/// Who ended an established connection, and how to say it.
fn loss(error: &ConnectionError) -> (ClosedBy, String) {
    match error {
        ConnectionError::ApplicationClosed(close)
            if close.error_code.into_inner() == web::error::H3_NO_ERROR =>
        {
            (
                ClosedBy::Peer,
                String::from_utf8_lossy(&close.reason).into_owned(),
            )
        }
        ConnectionError::LocallyClosed => (ClosedBy::Local, String::new()),
        ConnectionError::TimedOut => (ClosedBy::Transport, "nothing was heard for too long".into()),
        other => (ClosedBy::Transport, other.to_string()),
    }
}

/// Why a client got no session.
fn failure(error: &ConnectionError) -> (String, FailureKind) {
    let kind = match error {
        ConnectionError::TimedOut => FailureKind::Timeout,
        ConnectionError::VersionMismatch => FailureKind::Protocol,
        ConnectionError::TransportError(error) => transport_failure(u64::from(error.code)),
        ConnectionError::ConnectionClosed(close) => transport_failure(u64::from(close.error_code)),
        _ => FailureKind::Closed,
    };
    let reason = match error {
        ConnectionError::TimedOut => "the server did not answer in time".to_owned(),
        other => other.to_string(),
    };
    (reason, kind)
}

/// Codes of RFC 9000 §20.1; TLS alerts are 0x100 plus the alert of RFC 8446 §6.
fn transport_failure(code: u64) -> FailureKind {
    const CONNECTION_REFUSED: u64 = 2;
    match code {
        CONNECTION_REFUSED => FailureKind::Refused,
        0x12a..=0x130 | 0x133 | 0x171..=0x174 => FailureKind::Certificate,
        0x100..=0x1ff => FailureKind::Tls,
        _ => FailureKind::Protocol,
    }
}
