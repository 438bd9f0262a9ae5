//! How often the thread goes round while many small things happen, as a network card spaces its interrupts.
//!
//! Owns one decision: how long to let packets and commands gather. A hundred calls bring ten thousand of them a second;
//! taken one by one, waking up costs more than handling them. Must not know what they are.

use std::time::{Duration, Instant};

/// What each packet and command per `WINDOW` adds to the time from one round to the next: the busier the thread, the
/// more it pays to wake rarely.
const SHARE: Duration = Duration::from_micros(80);
/// The longest such time: far below what an ear or a retransmission timer notices.
const SPACING: Duration = Duration::from_millis(8);
/// Packets and commands per `WINDOW` from which on rounds are spaced; with fewer each is handled as it comes.
const LOAD: u128 = 20;
/// How long the load is counted, at least, before it decides about the next such time.
const WINDOW: Duration = Duration::from_millis(10);
/// Bytes received in one round from which on the next one follows at once: a transfer, which the socket's buffer could
/// not hold for long.
const TRANSFER: usize = 32 << 10;

/// Counts the work of the last moments.
pub(crate) struct Rhythm {
    round: Instant,
    window: Instant,
    work: usize,
    received: usize,
    spacing: Duration,
}

impl Rhythm {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            round: now,
            window: now,
            work: 0,
            received: 0,
            spacing: Duration::ZERO,
        }
    }

    /// Commands were carried out.
    pub(crate) fn on_work(&mut self, count: usize) {
        self.work += count;
    }

    /// A datagram, or several merged into one buffer, arrived.
    pub(crate) fn on_received(&mut self, bytes: usize) {
        self.work += 1;
        self.received += bytes;
    }

    /// A round begins.
    pub(crate) fn on_round(&mut self, now: Instant) {
        self.round = now;
        self.received = 0;
        let counted = now.saturating_duration_since(self.window);
        if counted >= WINDOW {
            let load = self.work as u128 * WINDOW.as_micros() / counted.as_micros();
            self.spacing = if load >= LOAD {
                SPACING.min(SHARE * u32::try_from(load).unwrap_or(u32::MAX))
            } else {
                Duration::ZERO
            };
            self.work = 0;
            self.window = now;
        }
    }

    /// How long to wait before the next round.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        if self.received >= TRANSFER {
            return Duration::ZERO;
        }
        self.spacing
            .saturating_sub(now.saturating_duration_since(self.round))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// At the end of a window with so much work.
    fn after(work: usize, start: Instant) -> Rhythm {
        let mut rhythm = Rhythm::new(start);
        rhythm.on_work(work);
        rhythm.on_round(start + WINDOW);
        rhythm
    }

    #[test]
    fn rounds_are_spaced_by_the_load_and_a_quiet_endpoint_answers_at_once() {
        let start = Instant::now();
        for (work, pause) in [
            (0, Duration::ZERO),
            (19, Duration::ZERO),
            (20, 8 * MS / 5),
            (50, 4 * MS),
            (100, 8 * MS),
            (usize::MAX, 8 * MS),
        ] {
            assert_eq!(after(work, start).pause(start + WINDOW), pause, "{work}");
        }
    }

    #[test]
    fn a_round_waits_for_what_is_left_of_the_time() {
        let start = Instant::now();
        let rhythm = after(50, start);
        assert_eq!(rhythm.pause(start + WINDOW + 3 * MS), MS);
        assert_eq!(rhythm.pause(start + WINDOW + 8 * MS), Duration::ZERO);
    }

    #[test]
    fn the_load_goes_by_the_time_in_which_it_came() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(start);
        rhythm.on_work(80);
        rhythm.on_round(start + 2 * WINDOW);
        assert_eq!(
            rhythm.pause(start + 2 * WINDOW),
            after(40, start).pause(start + WINDOW)
        );
    }

    #[test]
    fn a_transfer_is_not_held_up() {
        let start = Instant::now();
        let mut rhythm = after(100, start);
        rhythm.on_received(TRANSFER);
        assert_eq!(rhythm.pause(start + WINDOW), Duration::ZERO);
        rhythm.on_round(start + WINDOW + MS);
        assert_eq!(rhythm.pause(start + WINDOW + MS), 8 * MS);
    }

    #[test]
    fn the_load_of_long_ago_is_forgotten() {
        let start = Instant::now();
        let mut rhythm = after(80, start);
        rhythm.on_round(start + 2 * WINDOW);
        assert_eq!(rhythm.pause(start + 2 * WINDOW), Duration::ZERO);
    }
}
