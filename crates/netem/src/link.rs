//! A link for one run: packets go in, some come out, later.
//!
//! Way of a packet: blackout at the door, bottleneck and its queue, blackout at the end of the queue, loss, delay with jitter,
//! reordering, duplication. Everything is decided when the packet is pushed, each decision by a random stream of its own, so
//! that changing one impairment leaves the others' decisions as they were. Owns the packets in flight; memory is bounded by the
//! queue and by [`MAX_IN_FLIGHT_BYTES`] per direction. Must not know what a packet is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::bottleneck::Bottleneck;
use crate::burst::Chain;
use crate::network::{Addressing, Network};
use crate::profile::{Direction, JitterShape, Profile};
use crate::random::Random;

/// Bytes that may be under way in one direction, queue included; a link that is pushed more drops it.
pub const MAX_IN_FLIGHT_BYTES: u64 = 32 << 20;

/// What counts against the bound for a packet besides its bytes, so that empty packets are not free.
const PACKET_OVERHEAD: u64 = 64;

/// An IP header: what is shorter takes the bottleneck as long as one.
const SMALLEST_PACKET: u64 = 20;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It will arrive.
    Passed,
    /// It will arrive twice.
    Duplicated,
    /// Lost by itself.
    Lost,
    /// Lost in a burst.
    LostInBurst,
    /// There was no room in the queue.
    QueueFull,
    /// It came, or left the queue, in a blackout.
    Blackout,
    /// More than [`MAX_IN_FLIGHT_BYTES`] are under way.
    TooMuchInFlight,
}

/// What has happened in one direction, in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Packets that were pushed.
    pub pushed: u64,
    /// Their bytes.
    pub pushed_bytes: u64,
    /// Packets that came out, copies included.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Copies that were made.
    pub duplicated: u64,
    /// Packets that were held back to be overtaken.
    pub reordered: u64,
    /// See [`Verdict::Lost`].
    pub lost: u64,
    /// See [`Verdict::LostInBurst`].
    pub lost_in_burst: u64,
    /// See [`Verdict::QueueFull`].
    pub queue_full: u64,
    /// See [`Verdict::Blackout`].
    pub blackout: u64,
    /// See [`Verdict::TooMuchInFlight`].
    pub too_much_in_flight: u64,
}

/// A packet that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery<P> {
    /// When it was due, in microseconds; not after the time of the poll.
    pub due_us: u64,
    /// Which way it went.
    pub direction: Direction,
    /// The packet.
    pub packet: P,
}

struct Flying<P> {
    due_us: u64,
    number: u64,
    direction: Direction,
    bytes: u64,
    packet: P,
}

impl<P> Flying<P> {
    fn key(&self) -> (u64, u64) {
        (self.due_us, self.number)
    }
}

impl<P> PartialEq for Flying<P> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<P> Eq for Flying<P> {}

impl<P> PartialOrd for Flying<P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for Flying<P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// One direction's state.
struct Lane {
    bottleneck: Bottleneck,
    chain: Chain,
    loss: Random,
    jitter: Random,
    reorder: Random,
    duplicate: Random,
    /// When the last packet that keeps its place arrives.
    last_us: u64,
    in_flight_bytes: u64,
    statistics: Statistics,
}

impl Lane {
    fn new(seed: u64, direction: Direction) -> Self {
        let stream = |kind: u64| Random::new(seed, 16 * (direction as u64 + 1) + kind);
        Self {
            bottleneck: Bottleneck::default(),
            // One seed for both directions, so that both are in the same fade.
            chain: Chain::new(seed, stream(0)),
            loss: stream(1),
            jitter: stream(2),
            reorder: stream(3),
            duplicate: stream(4),
            last_us: 0,
            in_flight_bytes: 0,
            statistics: Statistics::default(),
        }
    }

    /// When a packet that leaves the queue at `sent_us` arrives.
    fn arrival(&mut self, profile: &Profile, sent_us: u64) -> u64 {
        let extra = match profile.jitter.shape {
            JitterShape::Uniform => self.jitter.up_to(profile.jitter.us),
            JitterShape::Bell => self.jitter.bell(profile.jitter.us),
            JitterShape::Exponential => self.jitter.exponential(profile.jitter.us),
        };
        let mut arrival = sent_us
            .saturating_add(profile.delay_us)
            .saturating_add(extra);
        if !profile.jitter.overtaking {
            arrival = arrival.max(self.last_us);
        }
        if self.reorder.chance(profile.reorder_ppm) {
            self.statistics.reordered += 1;
            return arrival.saturating_add(profile.reorder_us);
        }
        self.last_us = arrival.max(self.last_us);
        arrival
    }

    fn count(&mut self, verdict: Verdict) {
        let statistics = &mut self.statistics;
        match verdict {
            Verdict::Passed => {}
            Verdict::Duplicated => statistics.duplicated += 1,
            Verdict::Lost => statistics.lost += 1,
            Verdict::LostInBurst => statistics.lost_in_burst += 1,
            Verdict::QueueFull => statistics.queue_full += 1,
            Verdict::Blackout => statistics.blackout += 1,
            Verdict::TooMuchInFlight => statistics.too_much_in_flight += 1,
        }
    }
}

/// A link for one run. Drain rule: after each input, poll what is due, then ask for the next deadline.
///
/// Times are microseconds of the caller's clock; one that goes backwards stands still.
pub struct Link<P> {
    network: Network,
    lanes: [Lane; 2],
    flying: BinaryHeap<Reverse<Flying<P>>>,
    now_us: u64,
    began_us: Option<u64>,
    pushed: u64,
}

impl<P: Clone> Link<P> {
    /// A link on which nothing is under way and whose story has not begun.
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            network,
            lanes: Direction::BOTH.map(|direction| Lane::new(seed, direction)),
            flying: BinaryHeap::new(),
            now_us: 0,
            began_us: None,
            pushed: 0,
        }
    }

    /// The network it follows.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Begin the story now, or begin it again. Until then the link is calm: as it is outside of every event. Bursts in time are
    /// part of the story: they come at the same moments of it whenever it begins.
    pub fn begin(&mut self, now_us: u64) {
        self.began_us = Some(self.advance(now_us));
        for lane in &mut self.lanes {
            lane.chain.restart();
        }
    }

    /// Hand the link a packet of `bytes` bytes, as they are counted on the wire.
    pub fn push(&mut self, now_us: u64, direction: Direction, bytes: u64, packet: P) -> Verdict {
        let now_us = self.advance(now_us);
        let statistics = &mut self.lanes[direction as usize].statistics;
        statistics.pushed += 1;
        statistics.pushed_bytes += bytes;
        let verdict = self.decide(now_us, direction, bytes, packet);
        self.lanes[direction as usize].count(verdict);
        verdict
    }

    fn decide(&mut self, now_us: u64, direction: Direction, bytes: u64, packet: P) -> Verdict {
        let (network, began_us) = (&self.network, self.began_us);
        let at = |us: u64| profile_at(network, began_us, direction, us);
        let lane = &mut self.lanes[direction as usize];
        if at(now_us).0.blackout {
            return Verdict::Blackout;
        }
        let weight = bytes + PACKET_OVERHEAD;
        if lane.in_flight_bytes + 2 * weight > MAX_IN_FLIGHT_BYTES {
            return Verdict::TooMuchInFlight;
        }
        let sent_us = match lane
            .bottleneck
            .pass(now_us, bytes.max(SMALLEST_PACKET), |us| {
                let (profile, _, until) = at(us);
                (profile, until)
            }) {
            Some(sent_us) => sent_us,
            None => return Verdict::QueueFull,
        };
        let (profile, since_us, _) = at(sent_us);
        if profile.blackout {
            return Verdict::Blackout;
        }
        if lane.loss.chance(profile.loss_ppm) {
            return Verdict::Lost;
        }
        if let Some(burst) = &profile.burst {
            // Before the story, and for a packet that left before it, time counts from the clock's own zero.
            let zero_us = began_us.filter(|&began| began <= since_us).unwrap_or(0);
            if lane
                .chain
                .loses(burst, since_us - zero_us, sent_us - zero_us)
            {
                return Verdict::LostInBurst;
            }
        }
        let due_us = lane.arrival(profile, sent_us);
        let twice = lane.duplicate.chance(profile.duplicate_ppm);
        if twice {
            self.launch(due_us, direction, weight, packet.clone());
        }
        self.launch(due_us, direction, weight, packet);
        if twice {
            Verdict::Duplicated
        } else {
            Verdict::Passed
        }
    }

    fn launch(&mut self, due_us: u64, direction: Direction, weight: u64, packet: P) {
        self.pushed += 1;
        self.lanes[direction as usize].in_flight_bytes += weight;
        self.flying.push(Reverse(Flying {
            due_us,
            number: self.pushed,
            direction,
            bytes: weight,
            packet,
        }));
    }

    /// Take the packets that are due, first due first; those due in the same microsecond in the order they were pushed.
    pub fn poll(&mut self, now_us: u64) -> impl Iterator<Item = Delivery<P>> + '_ {
        let now_us = self.advance(now_us);
        std::iter::from_fn(move || self.take(now_us))
    }

    fn take(&mut self, now_us: u64) -> Option<Delivery<P>> {
        if self.flying.peek()?.0.due_us > now_us {
            return None;
        }
        let Reverse(flying) = self.flying.pop()?;
        let lane = &mut self.lanes[flying.direction as usize];
        lane.in_flight_bytes -= flying.bytes;
        lane.statistics.delivered += 1;
        lane.statistics.delivered_bytes += flying.bytes - PACKET_OVERHEAD;
        Some(Delivery {
            due_us: flying.due_us,
            direction: flying.direction,
            packet: flying.packet,
        })
    }

    /// When a packet is due or an address changes next; none: nothing is under way and nothing will change.
    pub fn next_deadline(&self) -> Option<u64> {
        let packet = self.flying.peek().map(|Reverse(flying)| flying.due_us);
        let change = self.began_us.and_then(|began| {
            let next = self.network.next_change(self.now_us - began)?;
            Some(began.saturating_add(next))
        });
        packet.into_iter().chain(change).min()
    }

    /// How often the client's addresses have changed by now.
    pub fn addressing(&self, now_us: u64) -> Addressing {
        match self.began_us {
            Some(began) => self.network.addressing(now_us.saturating_sub(began)),
            None => Addressing::default(),
        }
    }

    /// What has happened in `direction` so far.
    pub fn statistics(&self, direction: Direction) -> Statistics {
        self.lanes[direction as usize].statistics
    }

    /// Bytes under way in `direction`, with what each packet costs besides its bytes.
    pub fn in_flight_bytes(&self, direction: Direction) -> u64 {
        self.lanes[direction as usize].in_flight_bytes
    }

    fn advance(&mut self, now_us: u64) -> u64 {
        self.now_us = self.now_us.max(now_us);
        self.now_us
    }
}

/// The profile at `us` of the caller's clock, since when it holds and until when.
fn profile_at(
    network: &Network,
    began_us: Option<u64>,
    direction: Direction,
    us: u64,
) -> (&Profile, u64, u64) {
    match began_us {
        Some(began) if us >= began => {
            let (profile, since, until) = network.at(direction, us - began);
            (
                profile,
                began.saturating_add(since),
                began.saturating_add(until),
            )
        }
        began => (network.calm(direction), 0, began.unwrap_or(u64::MAX)),
    }
}
