//! How late packets were handed over: the emulator's own error. Owns counts per microsecond; must not know packets.

const LARGEST_US: usize = 20_000;

/// Counts of delays, exact to the microsecond up to 20 ms.
pub struct Lateness {
    counts: Vec<u64>,
    total: u64,
}

impl Lateness {
    pub fn new() -> Self {
        Self {
            counts: vec![0; LARGEST_US + 1],
            total: 0,
        }
    }

    pub fn add(&mut self, us: u64) {
        self.counts[usize::try_from(us).unwrap_or(LARGEST_US).min(LARGEST_US)] += 1;
        self.total += 1;
    }

    /// The value that this share of all, in thousandths, does not exceed; zero if there are none.
    pub fn per_mille(&self, share: u64) -> usize {
        let wanted = self.total * share / 1_000;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen > wanted
        });
        found.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut lateness = Lateness::new();
        assert_eq!(lateness.per_mille(500), 0);
        (1..=1_000).for_each(|us| lateness.add(us));
        lateness.add(u64::MAX);
        assert_eq!(lateness.per_mille(500), 501);
        assert_eq!(lateness.per_mille(990), 991);
        assert_eq!(lateness.per_mille(999), 1_000);
    }
}
