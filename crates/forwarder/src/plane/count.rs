//! What was counted: by reason, by configuration, by server.
//!
//! Owns the counters. A thread counts in numbers of its own and publishes them after each batch, so that whoever reads
//! them never makes it wait. Must not know what the numbers mean.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use legato_quic_lb::ConfigId;

use crate::{Reason, Route, Target};

pub(crate) const ROUTES: usize = Route::ALL.len();
pub(crate) const REASONS: usize = Reason::ALL.len();

/// One number for each thing that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Datagrams that arrived.
    pub received: u64,
    /// Octets that arrived.
    pub octets: u64,
    /// Replies on their way to clients.
    pub replies: u64,
    /// Calls of the system that took one or more datagrams.
    pub batches: u64,
    routes: [u64; ROUTES],
    reasons: [u64; REASONS],
    configs: [u64; ConfigId::COUNT],
}

impl Totals {
    /// Packets of clients that were led this way. Those that the system then refused to send are among the drops, too.
    pub fn route(&self, route: Route) -> u64 {
        self.routes[route as usize]
    }

    /// Packets that were dropped for this reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize]
    }

    /// Packets that were led by a connection ID of this configuration. It may go when this stands still.
    pub fn config(&self, config: ConfigId) -> u64 {
        self.configs[usize::from(config.get())]
    }

    /// All drops together.
    pub fn all_dropped(&self) -> u64 {
        self.reasons.iter().sum()
    }

    /// All packets of clients that were led somewhere.
    pub fn all_routed(&self) -> u64 {
        self.routes.iter().sum()
    }

    /// The totals whose numbers are these, in the order in which they are declared.
    pub(crate) fn from_fields(numbers: [u64; FIELDS]) -> Self {
        let mut totals = Self::default();
        for (place, number) in totals.fields().zip(numbers) {
            *place = number;
        }
        totals
    }

    pub(crate) fn add(&mut self, mut other: Self) {
        for (place, number) in self.fields().zip(other.fields()) {
            *place += *number;
        }
    }

    pub(crate) fn count_route(&mut self, target: &Target) {
        self.routes[target.route as usize] += 1;
        if let Some(config) = target.config {
            self.configs[usize::from(config.get())] += 1;
        }
    }

    pub(crate) fn count_drops(&mut self, reason: Reason, packets: u64) {
        self.reasons[reason as usize] += packets;
    }

    fn fields(&mut self) -> impl Iterator<Item = &mut u64> {
        let single = [
            &mut self.received,
            &mut self.octets,
            &mut self.replies,
            &mut self.batches,
        ];
        let lists = self.routes.iter_mut().chain(&mut self.reasons);
        single.into_iter().chain(lists).chain(&mut self.configs)
    }
}

/// How many numbers there are.
pub(crate) const FIELDS: usize = 4 + ROUTES + REASONS + ConfigId::COUNT;

/// The totals of one thread, which alone writes them. Aligned so that threads do not share lines of the cache.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Published([AtomicU64; FIELDS]);

impl Published {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(crate) fn publish(&self, mut totals: Totals) {
        for (place, value) in self.0.iter().zip(totals.fields()) {
            place.store(*value, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Totals {
        let mut totals = Totals::default();
        self.add_to(&mut totals);
        totals
    }

    pub(crate) fn add_to(&self, totals: &mut Totals) {
        for (place, value) in self.0.iter().zip(totals.fields()) {
            *value += place.load(Ordering::Relaxed);
        }
    }
}

/// What goes to and comes from one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Packets of clients.
    pub requests: u64,
    /// Packets to clients.
    pub replies: u64,
}

/// The traffic of one server at all threads; it outlives views.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    requests: AtomicU64,
    replies: AtomicU64,
}

impl Meter {
    pub(crate) fn read(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            replies: self.replies.load(Ordering::Relaxed),
        }
    }
}

/// The traffic of one batch, gathered so that the meters that threads share are touched once for each server.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    each: Vec<Traffic>,
    touched: Vec<u16>,
}

impl Tally {
    pub(crate) fn of(&mut self, backend: u16) -> &mut Traffic {
        let at = usize::from(backend);
        if at >= self.each.len() {
            self.each.resize(at + 1, Traffic::default());
        }
        if self.each[at] == Traffic::default() {
            self.touched.push(backend);
        }
        &mut self.each[at]
    }

    /// Adds everything to the meters, which stand in the order of the view's backends.
    pub(crate) fn settle(&mut self, meters: &[Arc<Meter>]) {
        for backend in self.touched.drain(..) {
            let at = usize::from(backend);
            let traffic = std::mem::take(&mut self.each[at]);
            let meter = &meters[at];
            meter
                .requests
                .fetch_add(traffic.requests, Ordering::Relaxed);
            meter.replies.fetch_add(traffic.replies, Ordering::Relaxed);
        }
    }
}
