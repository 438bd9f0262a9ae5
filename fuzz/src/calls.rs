//! Whole connections: any order of what QUIC may deliver and what the caller may do, with the promises of the API checked
//! after every step.

use std::collections::BTreeSet;

use bolero::TypeGenerator;
use bytes::Bytes;
use legato_webtransport::{Config, Connection, Event, Field, Output, Request, Role, Routed};

use crate::fragments::{self, Fragment};

/// One thing that happens to a connection. Stream numbers are taken modulo 16.
#[derive(Debug, Clone, TypeGenerator)]
pub enum Step {
    /// Bytes arrive.
    Receive(u8, Vec<Fragment>, bool),
    /// Bytes arrive on the stream that names the first session.
    ReceiveFirst(Vec<Fragment>),
    /// The peer gives a stream up.
    Reset(u8),
    /// The peer wants no more of a stream.
    Stopped(u8),
    /// A datagram arrives.
    Datagram(Vec<Fragment>),
    /// The caller opens its control stream.
    Control,
    /// The caller asks for a session.
    Connect(u8),
    /// The caller agrees to a session.
    Accept(u8),
    /// The caller refuses a session.
    Reject(u8, u16),
    /// The caller ends a session.
    Close(u8, u32),
    /// The caller asks for an end.
    Drain(u8),
    /// The caller takes no more sessions.
    Goaway,
}

const HELD_STREAMS: usize = 3;
const HELD_BYTES: usize = 64;

/// A caller that keeps its side of the contract and watches the other.
struct Caller {
    connection: Connection,
    role: Role,
    /// Streams that must not be fed any more.
    done: BTreeSet<u64>,
    /// Streams that wait for their session.
    held: BTreeSet<u64>,
    /// Our sending sides that have ended.
    ended: BTreeSet<u64>,
    /// Sessions the caller has heard of, or asked for, that are not over.
    alive: BTreeSet<u64>,
    failed: bool,
}

/// Runs the steps; panics where a promise is broken.
pub fn run(role: Role, steps: &[Step]) {
    let config = Config {
        max_sessions: 2,
        max_header_block: 256,
        max_held_streams: HELD_STREAMS,
        max_held_bytes: HELD_BYTES,
        ..Config::default()
    };
    let mut caller = Caller {
        connection: Connection::new(role, config),
        role,
        done: BTreeSet::new(),
        held: BTreeSet::new(),
        ended: BTreeSet::new(),
        alive: BTreeSet::new(),
        failed: false,
    };
    for step in steps {
        caller.perform(step);
        caller.drain();
        assert!(caller.held.len() <= HELD_STREAMS);
    }
}

impl Caller {
    fn perform(&mut self, step: &Step) {
        match step {
            Step::Receive(stream, bytes, fin) => self.receive(stream % 16, bytes, *fin),
            Step::ReceiveFirst(bytes) => self.receive(0, bytes, false),
            Step::Reset(stream) => {
                let stream = u64::from(stream % 16);
                self.connection.stream_reset(stream, 7);
                self.done.insert(stream);
                self.held.remove(&stream);
            }
            Step::Stopped(stream) => {
                self.connection.stream_stopped(u64::from(stream % 16), 7);
            }
            Step::Datagram(bytes) => {
                let data = Bytes::from(fragments::bytes(bytes));
                if let Some((session, payload)) = self.connection.datagram(data.clone()) {
                    assert!(self.connection.is_open(session));
                    assert!(data.ends_with(&payload) && payload.len() < data.len());
                }
            }
            _ => self.operate(step),
        }
    }

    fn receive(&mut self, stream: u8, bytes: &[Fragment], fin: bool) {
        let stream = u64::from(stream);
        if self.done.contains(&stream) {
            return;
        }
        let chunk = Bytes::from(fragments::bytes(bytes));
        let routed = self.connection.receive(stream, chunk.clone(), fin);
        let mut done = fin;
        match routed {
            Routed::Consumed => {}
            Routed::Held => {
                self.held.insert(stream);
                return;
            }
            Routed::Ignored => {
                self.held.remove(&stream);
                done = true;
            }
            Routed::Session { session, payload } => {
                assert!(self.connection.is_open(session));
                assert!(chunk.ends_with(&payload));
                done = true;
            }
        }
        if done {
            self.done.insert(stream);
        }
    }

    fn operate(&mut self, step: &Step) {
        let fields = [Field::new("x", "y")];
        let id = |stream: &u8| u64::from(stream % 16);
        match step {
            Step::Control => {
                let own = if self.role == Role::Server { 3 } else { 2 };
                let _ = self.connection.control_opened(own);
            }
            Step::Connect(stream) => {
                let (authority, path) = ("a".into(), "/".into());
                let request = Request {
                    authority,
                    path,
                    ..Request::default()
                };
                // A stream is opened once.
                let fresh = !self.done.contains(&id(stream)) && !self.ended.contains(&id(stream));
                if fresh && self.connection.connect(id(stream), request).is_ok() {
                    self.alive.insert(id(stream));
                }
            }
            Step::Accept(session) => {
                let _ = self.connection.accept(id(session), &fields);
            }
            Step::Reject(session, status) => {
                if self
                    .connection
                    .reject(id(session), *status, &fields)
                    .is_ok()
                {
                    assert!(self.alive.remove(&id(session)));
                }
            }
            Step::Close(session, code) => {
                if self.connection.close(id(session), *code, "so long").is_ok() {
                    assert!(self.alive.remove(&id(session)));
                }
            }
            Step::Drain(session) => {
                let _ = self.connection.drain(id(session));
            }
            _ => {
                let _ = self.connection.goaway();
            }
        }
    }

    fn drain(&mut self) {
        let mut failed_now = false;
        while let Some(event) = self.connection.poll_event() {
            assert!(!self.failed, "an event after the end");
            failed_now |= matches!(event, Event::ConnectionFailed { .. });
            self.observe(event);
        }
        let mut closed_now = false;
        while let Some(output) = self.connection.poll_output() {
            assert!(!self.failed && !closed_now, "an output after the end");
            closed_now |= matches!(output, Output::Close { .. });
            self.obey(output);
        }
        assert_eq!(failed_now, closed_now);
        self.failed |= failed_now;
    }

    fn observe(&mut self, event: Event) {
        match event {
            Event::SettingsReceived => {}
            Event::SessionRequested { session, .. } => {
                assert_eq!(self.role, Role::Server);
                assert!(self.alive.insert(session));
            }
            Event::SessionAccepted {
                session, status, ..
            } => {
                assert_eq!(self.role, Role::Client);
                assert!((200..300).contains(&status) && self.alive.contains(&session));
            }
            Event::SessionRefused {
                session, status, ..
            } => {
                assert!(status >= 300 && self.alive.remove(&session));
            }
            Event::StreamReleased {
                session,
                stream,
                payload,
                ..
            } => {
                assert!(self.alive.contains(&session) && payload.len() <= HELD_BYTES);
                assert!(self.held.remove(&stream) && self.done.insert(stream));
            }
            Event::SessionDraining { session } => assert!(self.alive.contains(&session)),
            Event::SessionClosed {
                session, reason, ..
            } => {
                assert!(reason.len() <= 1024 && self.alive.remove(&session));
            }
            Event::ConnectionFailed { .. } => {
                self.alive.clear();
                self.held.clear();
            }
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Write { stream, data, fin } => {
                assert!(fin || !data.is_empty());
                assert!(
                    !self.ended.contains(&stream),
                    "a write behind the end of {stream}"
                );
                if fin {
                    self.ended.insert(stream);
                }
            }
            Output::Reset { stream, .. } => {
                self.ended.insert(stream);
            }
            Output::Stop { stream, .. } => {
                self.done.insert(stream);
                self.held.remove(&stream);
            }
            Output::Close { .. } => {}
        }
    }
}
