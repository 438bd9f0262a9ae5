//! One stream of a session as the driver keeps it: what waits to be sent, what is still open.
//!
//! Owns the state of both directions and the queue in front of QUIC's own. Must not know HTTP/3 or other streams.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use quinn_proto::{Connection, StreamId, VarInt, WriteError};

use crate::shared::{DataSlot, StreamShared};

/// The sending side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// More may be queued.
    Open,
    /// The end is queued; not everything is acknowledged.
    Ending,
    /// Nothing to do any more, or the stream has no such side.
    Done,
}

/// A stream of a session.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) session: u64,
    /// None until QUIC lets us open it.
    pub(crate) id: Option<StreamId>,
    pub(crate) bidirectional: bool,
    pub(crate) sending: Sending,
    pub(crate) receiving: bool,
    pub(crate) paused: bool,
    /// Something may be there to read that was left because of `paused` or a full event queue.
    pub(crate) unread: bool,
    pub(crate) priority: i32,
    pub(crate) slot: DataSlot,
    pub(crate) shared: Arc<StreamShared>,
    queue: VecDeque<Bytes>,
    finish_called: bool,
}

impl Stream {
    /// A stream that we open.
    pub(crate) fn local(session: u64, bidirectional: bool, shared: Arc<StreamShared>) -> Self {
        Self {
            session,
            id: None,
            bidirectional,
            sending: Sending::Open,
            receiving: bidirectional,
            paused: false,
            unread: false,
            priority: 0,
            slot: DataSlot::default(),
            shared,
            queue: VecDeque::new(),
            finish_called: false,
        }
    }

    /// A stream that the peer has opened.
    pub(crate) fn remote(
        session: u64,
        id: StreamId,
        bidirectional: bool,
        shared: Arc<StreamShared>,
    ) -> Self {
        let mut stream = Self::local(session, bidirectional, shared);
        stream.id = Some(id);
        stream.receiving = true;
        if !bidirectional {
            stream.sending = Sending::Done;
        }
        stream
    }

    /// Whether both sides are over.
    pub(crate) fn is_done(&self) -> bool {
        self.sending == Sending::Done && !self.receiving
    }

    /// Whether QUIC has taken all that was queued, including the end if there is one.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.queue.is_empty() && (self.sending != Sending::Ending || self.finish_called)
    }

    /// Whether QUIC has taken everything including the end, so that nothing of it depends on us any more.
    pub(crate) fn is_ending_handed_over(&self) -> bool {
        self.sending == Sending::Ending && self.finish_called
    }

    /// Put `header` before everything queued. It counts as buffered like the rest.
    pub(crate) fn prepend(&mut self, header: Bytes) {
        self.shared.add(header.len(), usize::MAX);
        self.queue.push_front(header);
    }

    /// Queue bytes that the caller has already counted, and the end.
    pub(crate) fn enqueue(&mut self, data: Bytes, fin: bool) {
        if self.sending != Sending::Open {
            self.shared.remove(data.len(), 0);
            return;
        }
        if !data.is_empty() {
            self.queue.push_back(data);
        }
        if fin {
            self.sending = Sending::Ending;
        }
    }

    /// Hand queued bytes to QUIC until it takes no more; true if the caller should hear that there is room again.
    pub(crate) fn flush(&mut self, quic: &mut Connection, high: usize) -> bool {
        let Some(id) = self.id else {
            return false;
        };
        let mut writable = false;
        while !self.queue.is_empty() {
            let chunks = self.queue.make_contiguous();
            match quic.send_stream(id).write_chunks(chunks) {
                Ok(written) => {
                    self.queue.drain(..written.chunks);
                    writable |= self.shared.remove(written.bytes, high);
                }
                Err(WriteError::Blocked) => return writable,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    self.drop_queue();
                    return false;
                }
            }
        }
        if self.sending == Sending::Ending && !self.finish_called {
            self.finish_called = true;
            // Fails only if the peer has stopped the stream, which is reported by an event of its own.
            let _ = quic.send_stream(id).finish();
        }
        writable
    }

    /// Abandon sending with an HTTP/3 code; queued bytes are dropped.
    pub(crate) fn reset(&mut self, quic: &mut Connection, code: VarInt) {
        if self.sending == Sending::Done {
            return;
        }
        self.drop_queue();
        self.sending = Sending::Done;
        if let Some(id) = self.id {
            // Fails only if everything was acknowledged already; then there is nothing to abandon.
            let _ = quic.send_stream(id).reset(code);
        }
    }

    /// Ask the peer to stop sending with an HTTP/3 code; nothing more is read.
    pub(crate) fn stop(&mut self, quic: &mut Connection, code: VarInt) {
        if !self.receiving {
            return;
        }
        self.receiving = false;
        if let Some(id) = self.id {
            // Fails only if the peer's end was read already.
            let _ = quic.recv_stream(id).stop(code);
        }
    }

    fn drop_queue(&mut self) {
        let dropped = self.queue.drain(..).map(|chunk| chunk.len()).sum();
        self.shared.remove(dropped, 0);
    }
}
