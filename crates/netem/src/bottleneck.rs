//! A rate with a queue before it: when a packet has been sent, or that there was no room for it.
//!
//! Owns what waits, as sizes and times; must not know packets. Exact: the time a packet takes is its bits over the rate, across
//! every change of rate and every stall on the way, in nanoseconds, rounded up to the microsecond only at the end.

use std::collections::VecDeque;

use crate::profile::Profile;

const NS_PER_US: u64 = 1_000;
const NS_PER_S: u128 = 1_000_000_000;

#[derive(Debug, Default)]
pub(crate) struct Bottleneck {
    /// When the last accepted packet has been sent.
    free_at_ns: u64,
    /// End and size of everything that has not been sent yet, in order.
    waiting: VecDeque<(u64, u64)>,
    waiting_bytes: u64,
}

impl Bottleneck {
    /// When a packet of `bytes` that comes at `now_us` has been sent, in microseconds; none if the queue is full.
    ///
    /// `at` gives the profile at a time and until when it holds. A packet that finds nobody waiting is always taken.
    pub fn pass<'a>(
        &mut self,
        now_us: u64,
        bytes: u64,
        at: impl Fn(u64) -> (&'a Profile, u64),
    ) -> Option<u64> {
        let now_ns = now_us.saturating_mul(NS_PER_US);
        while let Some(&(end, size)) = self.waiting.front() {
            if end > now_ns {
                break;
            }
            self.waiting.pop_front();
            self.waiting_bytes -= size;
        }
        let (profile, _) = at(now_us);
        if !self.waiting.is_empty() && self.waiting_bytes + bytes > profile.queue_bytes {
            return None;
        }
        let end = send(now_ns.max(self.free_at_ns), bytes, at);
        self.free_at_ns = end;
        if end > now_ns {
            self.waiting.push_back((end, bytes));
            self.waiting_bytes += bytes;
        }
        Some(end.div_ceil(NS_PER_US))
    }
}

/// When `bytes` have been sent if sending starts at `start_ns`.
fn send<'a>(start_ns: u64, bytes: u64, at: impl Fn(u64) -> (&'a Profile, u64)) -> u64 {
    // What is left, in bits times nanoseconds per second, so that dividing by a rate gives nanoseconds.
    let mut left = u128::from(bytes) * 8 * NS_PER_S;
    let mut now_ns = start_ns;
    loop {
        let (profile, until_us) = at(now_ns / NS_PER_US);
        let until_ns = until_us.saturating_mul(NS_PER_US);
        let rate = match (profile.stall, profile.rate_bps) {
            (true, _) => 0,
            (false, Some(rate)) => rate,
            (false, None) => return now_ns,
        };
        let possible = u128::from(until_ns - now_ns) * u128::from(rate);
        if until_ns == u64::MAX || possible >= left {
            let ns = left.div_ceil(u128::from(rate.max(1)));
            return now_ns.saturating_add(u64::try_from(ns).unwrap_or(u64::MAX));
        }
        left -= possible;
        now_ns = until_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(rate_bps: Option<u64>, queue_bytes: u64) -> Profile {
        Profile {
            rate_bps,
            queue_bytes,
            ..Profile::PERFECT
        }
    }

    #[test]
    fn packets_leave_at_the_rate_to_the_microsecond() {
        let slow = profile(Some(1_200_000), u64::MAX); // 1500 bytes take 10 ms
        let mut bottleneck = Bottleneck::default();
        let ends: Vec<_> = (0..3)
            .map(|_| bottleneck.pass(7, 1_500, |_| (&slow, u64::MAX)))
            .collect();
        assert_eq!(ends, [Some(10_007), Some(20_007), Some(30_007)]);
        assert_eq!(
            bottleneck.pass(90_000, 150, |_| (&slow, u64::MAX)),
            Some(91_000)
        );
    }

    #[test]
    fn rounding_does_not_add_up() {
        let odd = profile(Some(3_000_000), u64::MAX); // one byte takes 2 2/3 µs
        let mut bottleneck = Bottleneck::default();
        let last = (0..3_000)
            .map(|_| bottleneck.pass(0, 1, |_| (&odd, u64::MAX)))
            .last();
        // 8,000 µs exactly; each packet is rounded up by less than a nanosecond.
        assert!((8_000..=8_003).contains(&last.unwrap().unwrap()));
    }

    #[test]
    fn the_queue_drops_at_its_tail_and_the_first_is_always_taken() {
        let slow = profile(Some(8_000), 2_500); // a byte a millisecond
        let mut bottleneck = Bottleneck::default();
        let mut pass = |now| bottleneck.pass(now, 1_000, |_| (&slow, u64::MAX));
        assert_eq!(pass(0), Some(1_000_000));
        assert_eq!(pass(0), Some(2_000_000));
        assert_eq!(pass(0), None);
        assert_eq!(
            pass(1_000_000),
            Some(3_000_000),
            "room again when one has been sent"
        );
        assert_eq!(pass(1_000_000), None);
        let tiny = profile(Some(8_000), 0);
        let mut bottleneck = Bottleneck::default();
        assert!(bottleneck.pass(0, 1_000, |_| (&tiny, u64::MAX)).is_some());
        assert!(bottleneck.pass(0, 1_000, |_| (&tiny, u64::MAX)).is_none());
    }

    #[test]
    fn a_change_of_rate_takes_effect_in_the_middle_of_a_packet() {
        let (slow, fast) = (profile(Some(8_000), 9_000), profile(Some(80_000), 9_000));
        let stalled = Profile {
            stall: true,
            ..slow.clone()
        };
        let at = |us: u64| match us {
            0..400_000 => (&slow, 400_000),
            400_000..500_000 => (&stalled, 500_000),
            _ => (&fast, u64::MAX),
        };
        // 400 of 1000 bytes in the first 0.4 s, none in the next 0.1 s, 600 at ten times the rate.
        assert_eq!(Bottleneck::default().pass(0, 1_000, at), Some(560_000));
    }

    #[test]
    fn without_a_rate_nothing_waits_but_the_order_stays() {
        let (slow, none) = (profile(Some(8_000), 9_000), profile(None, 0));
        let at = |us: u64| {
            if us < 100_000 {
                (&slow, 100_000)
            } else {
                (&none, u64::MAX)
            }
        };
        let mut bottleneck = Bottleneck::default();
        assert_eq!(bottleneck.pass(0, 1_000, at), Some(100_000));
        assert_eq!(bottleneck.pass(200_000, 1_000, at), Some(200_000));
    }
}
