//! Random numbers that are the same everywhere, for ever: one digest per seed depends on it.
//!
//! Owns the generator (xoshiro256++, seeded through SplitMix64, both by Blackman and Vigna) and the distributions, in integers
//! only. Must not know what is decided with them.

/// One in a million; every probability is a number of these.
pub const MILLION: u32 = 1_000_000;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream `stream` of `seed`; different streams of a seed have nothing to do with each other.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut from = seed;
        let mut mixed = split_mix(&mut from) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Self {
            state: std::array::from_fn(|_| split_mix(&mut mixed)),
        }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Evenly distributed in 0..=`most`.
    pub fn up_to(&mut self, most: u64) -> u64 {
        // The bias of this reduction is below 2^-64 times the range, far under anything that is measured here.
        ((u128::from(self.bits()) * (u128::from(most) + 1)) >> 64) as u64
    }

    /// True with a probability of `ppm` in a million. Always draws, so that a change of `ppm` moves nothing else.
    pub fn chance(&mut self, ppm: u32) -> bool {
        self.up_to(u64::from(MILLION) - 1) < u64::from(ppm)
    }

    /// Exponentially distributed with this mean.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let scaled = u128::from(mean) * u128::from(minus_ln_q32(self.bits()));
        u64::try_from(scaled >> 32).unwrap_or(u64::MAX)
    }

    /// Bell-shaped in 0..=`most`, with its mean in the middle and a standard deviation of an eighth of `most`.
    pub fn bell(&mut self, most: u64) -> u64 {
        // The sum of n uniform numbers has the variance n / 12 of their range; n = 5 1/3 would be an eighth of the
        // whole, and five comes within 4 % of it.
        let sum: u128 = (0..5).map(|_| u128::from(self.up_to(most))).sum();
        (sum / 5) as u64
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// -ln((`x` + 1) / 2^64) with 32 binary places, by repeated squaring: no floating point, so no mathematics library whose last
/// bit differs between machines.
fn minus_ln_q32(x: u64) -> u64 {
    let x = x.saturating_add(1);
    let zeros = x.leading_zeros();
    // The mantissa in 1..2 with 63 binary places.
    let mut mantissa = u128::from(x << zeros);
    let mut fraction: u64 = 0;
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        fraction <<= 1;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            fraction |= 1;
        }
    }
    let log2 = (u64::from(63 - zeros) << 32) | fraction;
    let minus_log2 = (64u64 << 32) - log2;
    const LN_2_Q32: u128 = 2_977_044_472; // ln 2 · 2^32, rounded
    ((u128::from(minus_log2) * LN_2_Q32) >> 32) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The vector that the authors' C program prints for the state 1, 2, 3, 4.
        let mut random = Random {
            state: [1, 2, 3, 4],
        };
        let first: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        assert_eq!(
            first,
            [
                41_943_041,
                58_720_359,
                3_588_806_011_781_223,
                3_591_011_842_654_386
            ]
        );
        let mut state = 1_477_776_061_723_855_037;
        assert_eq!(split_mix(&mut state), 1_985_237_415_132_408_290);
        assert_eq!(split_mix(&mut state), 2_979_275_885_539_914_483);
    }

    #[test]
    fn logarithms_are_right_to_a_billionth() {
        for x in [
            0,
            1,
            2,
            3,
            1 << 20,
            u64::MAX / 3,
            u64::MAX / 2,
            u64::MAX - 1,
            u64::MAX,
        ] {
            let exact = -((x as f64 + 1.0) / 2f64.powi(64)).ln();
            let ours = minus_ln_q32(x) as f64 / 2f64.powi(32);
            assert!((exact - ours).abs() < 1e-8, "{x}: {exact} {ours}");
        }
    }

    #[test]
    fn distributions_have_their_moments() {
        let mut random = Random::new(5, 0);
        let n = 200_000;
        let moments = |draw: &mut dyn FnMut() -> u64| {
            let values: Vec<f64> = (0..n).map(|_| draw() as f64).collect();
            let mean = values.iter().sum::<f64>() / f64::from(n);
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
            (mean, variance.sqrt())
        };
        let near = |(mean, deviation): (f64, f64), m: f64, d: f64| {
            assert!((mean / m - 1.0).abs() < 0.01, "{mean} {m}");
            assert!((deviation / d - 1.0).abs() < 0.02, "{deviation} {d}");
        };
        near(moments(&mut || random.up_to(9_999)), 5_000.0, 2_887.0);
        near(
            moments(&mut || random.exponential(30_000)),
            30_000.0,
            30_000.0,
        );
        near(moments(&mut || random.bell(40_000)), 20_000.0, 5_164.0);
        let hits = (0..n).filter(|_| random.chance(50_000)).count();
        assert!((9_700..10_300).contains(&hits), "{hits}");
    }

    #[test]
    fn certain_things_are_certain() {
        let mut random = Random::new(1, 1);
        assert!((0..1_000).all(|_| random.chance(MILLION) && !random.chance(0)));
        assert!((0..1_000).all(|_| random.exponential(0) == 0 && random.up_to(0) == 0));
    }

    #[test]
    fn streams_differ() {
        let first = |seed, stream| Random::new(seed, stream).bits();
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
    }
}
