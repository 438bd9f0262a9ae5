//! State that the calling thread and the endpoint's thread both see: two queues and a few numbers per session and stream.
//!
//! Owns every lock and atomic that the two sides meet at. No lock is held while anything else runs. Must not know QUIC.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

use crate::command::Command;
use crate::event::{Event, EventKind};
use crate::stats::SessionStats;

/// What an event, or a chunk in one, weighs against `event_buffer_bytes` besides its payload: about what it takes.
const EVENT_WEIGHT: usize = 128;
/// What one connection may have in the queue of a server, weighed like that: others wait behind it, and what takes a
/// reader long to go through need not be much.
const SHARE: usize = 32 << 10;
/// One event's worth of stream bytes at most, so that the reader gets pieces of moderate size.
pub(crate) const CHUNK_LIMIT: usize = 64 << 10;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data behind these locks is plain; a panic elsewhere does not make it inconsistent.
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Numbers of one stream.
#[derive(Debug, Default)]
pub struct StreamShared {
    buffered: AtomicUsize,
    was_high: AtomicBool,
}

impl StreamShared {
    /// Bytes accepted from the caller that QUIC has not taken yet.
    pub fn buffered(&self) -> usize {
        self.buffered.load(Ordering::Relaxed)
    }

    /// Count bytes in; returns the new sum. Above `high` the stream will be reported writable later.
    pub(crate) fn add(&self, bytes: usize, high: usize) -> usize {
        let sum = self.buffered.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if sum > high {
            self.was_high.store(true, Ordering::Relaxed);
        }
        sum
    }

    /// Count bytes out; true if the stream has just become writable again.
    pub(crate) fn remove(&self, bytes: usize, high: usize) -> bool {
        let left = self.buffered.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        left < high.div_ceil(2) && self.was_high.swap(false, Ordering::Relaxed)
    }
}

/// Figures of one session, renewed after every packet.
#[derive(Debug, Default)]
pub struct SessionShared {
    stats: Mutex<SessionStats>,
    max_datagram: AtomicUsize,
}

impl SessionShared {
    /// The latest figures.
    pub fn stats(&self) -> SessionStats {
        *lock(&self.stats)
    }

    /// Largest datagram payload that can be sent now; 0 if none can.
    pub fn max_datagram(&self) -> usize {
        self.max_datagram.load(Ordering::Relaxed)
    }

    pub(crate) fn publish(&self, stats: SessionStats, max_datagram: usize) {
        *lock(&self.stats) = stats;
        self.max_datagram.store(max_datagram, Ordering::Relaxed);
    }
}

/// Where the last bytes of a stream went: if that event is still waiting, more bytes join it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DataSlot {
    batch: u64,
    index: usize,
    bytes: usize,
}

/// What one connection has in the queue, and may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    batch: u64,
    bytes: usize,
    limit: usize,
}

impl Share {
    /// That of one of a server's many peers.
    pub(crate) const fn one_of_many() -> Self {
        Self::of(SHARE)
    }

    /// All of the queue.
    pub(crate) const fn whole() -> Self {
        Self::of(usize::MAX)
    }

    const fn of(limit: usize) -> Self {
        Self {
            batch: 0,
            bytes: 0,
            limit,
        }
    }

    fn add(&mut self, batch: u64, weight: usize) {
        if self.batch != batch {
            (self.batch, self.bytes) = (batch, 0);
        }
        self.bytes = self.bytes.saturating_add(weight);
    }
}

#[derive(Debug, Default)]
struct EventBatch {
    number: u64,
    events: Vec<Event>,
    finished_streams: Vec<u64>,
}

/// Everything taken by one drain.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    pub(crate) events: Vec<Event>,
    pub(crate) finished_streams: Vec<u64>,
}

/// Events on their way to the caller. Unbounded by itself; the driver stops reading from peers when `bytes` is too high.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    batch: Mutex<EventBatch>,
    bytes: AtomicUsize,
    /// The number of the batch, to be read without its lock.
    drains: AtomicU64,
    stalled: AtomicBool,
}

impl EventQueue {
    /// How often the queue was drained.
    pub(crate) fn drains(&self) -> u64 {
        self.drains.load(Ordering::Acquire)
    }

    /// Whether a connection has used up its share of what the next drain will take.
    pub(crate) fn is_used_up(&self, share: &Share) -> bool {
        share.bytes >= share.limit && share.batch == self.drains()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Note that the driver waits for room; the next drain reports it.
    pub(crate) fn set_stalled(&self) {
        self.stalled.store(true, Ordering::SeqCst);
    }

    /// Append an event that no connection has caused; true if the queue was empty.
    pub(crate) fn push(&self, event: Event) -> bool {
        self.push_of(event, &mut Share::whole())
    }

    /// Append an event of a connection; true if the queue was empty.
    pub(crate) fn push_of(&self, event: Event, share: &mut Share) -> bool {
        let payload = event.kind.payload();
        let weight = EVENT_WEIGHT + payload;
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        let mut batch = lock(&self.batch);
        share.add(batch.number, weight);
        batch.events.push(event);
        batch.events.len() == 1
    }

    /// Append bytes of a stream, joining those that wait in `slot`; true if the queue was empty.
    pub(crate) fn push_data(
        &self,
        session: u64,
        stream: u64,
        slot: &mut DataSlot,
        data: Bytes,
        share: &mut Share,
    ) -> bool {
        let weight = EVENT_WEIGHT + data.len();
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        let mut batch = lock(&self.batch);
        share.add(batch.number, weight);
        let waiting = (slot.batch == batch.number + 1 && slot.bytes + data.len() <= CHUNK_LIMIT)
            .then(|| batch.events.get_mut(slot.index))
            .flatten();
        if let Some(Event {
            kind: EventKind::StreamData(chunks),
            ..
        }) = waiting
        {
            slot.bytes += data.len();
            chunks.push(data);
            return false;
        }
        // Batches are numbered from 1 in slots, so that a fresh slot matches none.
        *slot = DataSlot {
            batch: batch.number + 1,
            index: batch.events.len(),
            bytes: data.len(),
        };
        batch.events.push(Event {
            session,
            stream,
            kind: EventKind::StreamData(vec![data]),
        });
        batch.events.len() == 1
    }

    /// Note a stream that is over in both directions.
    pub(crate) fn push_finished(&self, stream: u64) {
        lock(&self.batch).finished_streams.push(stream);
    }

    /// Take everything; the flag tells whether the driver waits for room.
    pub(crate) fn drain(&self) -> (Drained, bool) {
        let mut batch = lock(&self.batch);
        batch.number += 1;
        let drained = Drained {
            events: std::mem::take(&mut batch.events),
            finished_streams: std::mem::take(&mut batch.finished_streams),
        };
        self.bytes.store(0, Ordering::Relaxed);
        // Behind the bytes: who sees the new number sees that there is room.
        self.drains.store(batch.number, Ordering::Release);
        drop(batch);
        (drained, self.stalled.swap(false, Ordering::SeqCst))
    }
}

/// Commands on their way to the driver.
#[derive(Debug, Default)]
pub(crate) struct CommandQueue {
    commands: Mutex<Vec<Command>>,
}

impl CommandQueue {
    pub(crate) fn push(&self, command: Command) {
        lock(&self.commands).push(command);
    }

    /// Swap the waiting commands with an empty vector, whose memory is used again.
    pub(crate) fn take(&self, into: &mut Vec<Command>) {
        std::mem::swap(&mut *lock(&self.commands), into);
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.commands).is_empty()
    }
}

/// All that is shared between the two sides of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) commands: CommandQueue,
    pub(crate) events: EventQueue,
    next_handle: AtomicU64,
    stopped: Mutex<Option<String>>,
    is_stopped: AtomicBool,
}

impl Shared {
    /// A handle for a session or stream, from 1, used once.
    pub(crate) fn new_handle(&self) -> u64 {
        self.next_handle.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether this handle was ever given out.
    pub(crate) fn knows(&self, handle: u64) -> bool {
        (1..=self.next_handle.load(Ordering::Relaxed)).contains(&handle)
    }

    /// Declare the endpoint dead. The first reason stays.
    pub(crate) fn stop(&self, reason: &str) {
        lock(&self.stopped).get_or_insert_with(|| reason.to_owned());
        self.is_stopped.store(true, Ordering::Release);
    }

    /// Why the endpoint is dead, if it is.
    pub(crate) fn stopped(&self) -> Option<String> {
        if !self.is_stopped.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.stopped).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(queue: &EventQueue, slot: &mut DataSlot, bytes: &'static [u8]) -> bool {
        let mut share = Share::whole();
        queue.push_data(1, 2, slot, Bytes::from_static(bytes), &mut share)
    }

    fn draining() -> Event {
        Event {
            session: 1,
            stream: 0,
            kind: EventKind::SessionDraining,
        }
    }

    #[test]
    fn a_share_is_used_up_until_the_next_drain() {
        let queue = EventQueue::default();
        let (mut one, mut other) = (Share::one_of_many(), Share::one_of_many());
        for _ in 0..SHARE / EVENT_WEIGHT {
            assert!(!queue.is_used_up(&one));
            queue.push_of(draining(), &mut one);
        }
        assert!(queue.is_used_up(&one) && !queue.is_used_up(&other));
        queue.drain();
        assert!(!queue.is_used_up(&one));
        queue.push_of(draining(), &mut one);
        queue.push_of(draining(), &mut other);
        assert!(!queue.is_used_up(&one) && !queue.is_used_up(&other));
    }

    #[test]
    fn consecutive_chunks_join_until_drained() {
        let queue = EventQueue::default();
        let mut slot = DataSlot::default();
        assert!(data(&queue, &mut slot, b"a"));
        assert!(!queue.push(draining()));
        assert!(!data(&queue, &mut slot, b"b"));
        let (drained, _) = queue.drain();
        assert_eq!(drained.events.len(), 2);
        assert!(
            matches!(&drained.events[0].kind, EventKind::StreamData(chunks) if chunks.concat() == b"ab")
        );
        assert!(
            data(&queue, &mut slot, b"c"),
            "a drained event takes no more bytes"
        );
        assert_eq!(queue.drain().0.events.len(), 1);
    }

    #[test]
    fn a_fresh_slot_joins_nothing() {
        let queue = EventQueue::default();
        data(&queue, &mut DataSlot::default(), b"a");
        data(&queue, &mut DataSlot::default(), b"b");
        assert_eq!(queue.drain().0.events.len(), 2);
    }

    #[test]
    fn a_stream_becomes_writable_once_per_excursion() {
        let stream = StreamShared::default();
        assert_eq!(stream.add(90, 100), 90);
        assert!(!stream.remove(90, 100), "never was above the mark");
        stream.add(150, 100);
        assert!(!stream.remove(100, 100), "exactly half is not below half");
        assert!(stream.remove(1, 100));
        assert!(!stream.remove(49, 100));
    }

    #[test]
    fn handles_begin_at_one() {
        let shared = Shared::default();
        assert!(!shared.knows(1));
        assert_eq!(shared.new_handle(), 1);
        assert!(shared.knows(1) && !shared.knows(0) && !shared.knows(2));
    }
}
