//! The Gilbert-Elliott chain of one direction: whether a packet falls into a burst of loss.
//!
//! Owns the state. A chain in time is a function of the seed and the time alone, not of the packets that asked: two directions
//! with the same burst and seed are in the bad state at the same moments, as both ways of a radio link are.

use crate::profile::{Burst, BurstUnit};
use crate::random::{Random, MILLION};

/// So many mean cycles after its start a chain in time starts anew, so that a jump of the clock costs bounded work.
const CYCLES_OF_A_WINDOW: u64 = 1_000;

#[derive(Debug)]
pub(crate) struct Chain {
    seed: u64,
    /// Which burst the state belongs to, and when its window started.
    running: Option<(Burst, u64)>,
    sojourns: Random,
    bad: bool,
    /// When the state ends, in microseconds.
    until_us: u64,
    /// Draws that belong to packets.
    packets: Random,
}

impl Chain {
    /// `seed` decides the states in time, `packets` everything that is drawn for a packet.
    pub fn new(seed: u64, packets: Random) -> Self {
        Self {
            seed,
            running: None,
            sojourns: Random::new(seed, 0),
            bad: false,
            until_us: 0,
            packets,
        }
    }

    /// Forget the state: time counts from somewhere else.
    pub fn restart(&mut self) {
        self.running = None;
    }

    /// Whether the packet at `now_us` is lost; the burst has been in force since `since_us`.
    pub fn loses(&mut self, burst: &Burst, since_us: u64, now_us: u64) -> bool {
        match burst.unit {
            BurstUnit::Us => self.advance(burst, since_us, now_us),
            BurstUnit::Packets => self.step(burst, since_us),
        }
        let loss = if self.bad {
            burst.loss_bad_ppm
        } else {
            burst.loss_good_ppm
        };
        self.packets.chance(loss)
    }

    fn advance(&mut self, burst: &Burst, since_us: u64, now_us: u64) {
        let window_us = (burst.good + burst.bad).saturating_mul(CYCLES_OF_A_WINDOW);
        let start = now_us - (now_us - since_us) % window_us;
        if self.running != Some((*burst, start)) {
            self.running = Some((*burst, start));
            self.sojourns = Random::new(self.seed, start);
            self.bad = self.sojourns.chance(share_bad(burst));
            self.until_us = start.saturating_add(self.sojourn(burst));
        }
        while self.until_us <= now_us {
            self.bad = !self.bad;
            self.until_us = self.until_us.saturating_add(self.sojourn(burst));
        }
    }

    fn sojourn(&mut self, burst: &Burst) -> u64 {
        let mean = if self.bad { burst.bad } else { burst.good };
        self.sojourns.exponential(mean).max(1)
    }

    fn step(&mut self, burst: &Burst, since_us: u64) {
        if self.running != Some((*burst, since_us)) {
            self.running = Some((*burst, since_us));
            self.bad = self.packets.chance(share_bad(burst));
            return;
        }
        let mean = if self.bad { burst.bad } else { burst.good };
        let leaves = u64::from(MILLION) / mean;
        self.bad ^= self.packets.chance(leaves as u32);
    }
}

/// The share of time, or of packets, in the bad state.
fn share_bad(burst: &Burst) -> u32 {
    let share = u128::from(burst.bad) * u128::from(MILLION) / u128::from(burst.good + burst.bad);
    share as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(seed: u64) -> Chain {
        Chain::new(seed, Random::new(seed, 9))
    }

    const FADES: Burst = Burst {
        unit: BurstUnit::Us,
        good: 1_900_000,
        bad: 100_000,
        loss_good_ppm: 0,
        loss_bad_ppm: MILLION,
    };

    #[test]
    fn fades_take_their_share_and_length() {
        let mut chain = chain(1);
        let n = 2_000_000u64; // a packet every 5 ms, 10,000 s
        let lost: Vec<bool> = (0..n).map(|i| chain.loses(&FADES, 0, i * 5_000)).collect();
        let share = lost.iter().filter(|&&l| l).count() as f64 / n as f64;
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        let mean_ms = share * n as f64 * 5.0 / bursts as f64;
        assert!((0.046..0.054).contains(&share), "{share}");
        // Bursts that fall between two packets are not seen, which makes the others longer by half a gap.
        assert!((97.0..107.0).contains(&mean_ms), "{mean_ms}");
    }

    #[test]
    fn fades_depend_on_time_alone() {
        let (mut often, mut rarely) = (chain(7), chain(7));
        let seen: Vec<bool> = (0..100_000)
            .map(|ms| often.loses(&FADES, 0, ms * 1_000))
            .collect();
        for ms in (0..100_000usize).step_by(997) {
            assert_eq!(rarely.loses(&FADES, 0, ms as u64 * 1_000), seen[ms]);
        }
    }

    #[test]
    fn a_jump_of_the_clock_costs_little() {
        let tiny = Burst {
            good: 1,
            bad: 1,
            ..FADES
        };
        let mut chain = chain(3);
        for now in [0, 1 << 40, u64::MAX - 1] {
            chain.loses(&tiny, 0, now);
        }
    }

    #[test]
    fn bursts_of_packets_have_their_mean_length() {
        let burst = Burst {
            unit: BurstUnit::Packets,
            good: 36,
            bad: 4,
            ..FADES
        };
        let mut chain = chain(2);
        let lost: Vec<bool> = (0..400_000).map(|_| chain.loses(&burst, 0, 0)).collect();
        let count = lost.iter().filter(|&&l| l).count() as f64;
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        assert!((0.096..0.104).contains(&(count / 400_000.0)), "{count}");
        assert!((3.9..4.1).contains(&(count / bursts)), "{count} {bursts}");
    }

    #[test]
    fn a_bad_state_may_let_some_through_and_a_good_one_lose_some() {
        let burst = Burst {
            loss_good_ppm: 10_000,
            loss_bad_ppm: 500_000,
            ..FADES
        };
        let mut chain = chain(4);
        let lost = (0..400_000u64)
            .filter(|i| chain.loses(&burst, 0, i * 5_000))
            .count() as f64;
        // 95 % of the time 1 %, 5 % of the time 50 %.
        assert!((0.030..0.039).contains(&(lost / 400_000.0)), "{lost}");
    }
}
