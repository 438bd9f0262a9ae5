//! Deadlines of connections: one per connection, earliest first, changed in place.
//!
//! Owns an indexed binary heap. A deadline moves with nearly every packet; changing it in place keeps the endpoint from
//! waking up for deadlines that have long been moved. Must not know what a deadline means.

use std::time::Instant;

const ABSENT: usize = usize::MAX;

/// At most one deadline per small integer key.
#[derive(Debug, Default)]
pub struct Timers {
    heap: Vec<(Instant, usize)>,
    positions: Vec<usize>,
}

impl Timers {
    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&(when, _)| when)
    }

    /// Take one key whose deadline has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<usize> {
        let &(when, key) = self.heap.first()?;
        if when > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    /// Set, move or clear the deadline of `key`.
    pub fn set(&mut self, key: usize, deadline: Option<Instant>) {
        if key >= self.positions.len() {
            self.positions.resize(key + 1, ABSENT);
        }
        let position = self.positions[key];
        match (deadline, position) {
            (None, ABSENT) => {}
            (None, _) => self.remove(position),
            (Some(when), ABSENT) => {
                self.positions[key] = self.heap.len();
                self.heap.push((when, key));
                self.rise(self.heap.len() - 1);
            }
            (Some(when), _) => {
                let before = std::mem::replace(&mut self.heap[position].0, when);
                if when < before {
                    self.rise(position);
                } else if when > before {
                    self.sink(position);
                }
            }
        }
    }

    fn remove(&mut self, position: usize) {
        let last = self.heap.len() - 1;
        self.swap(position, last);
        let (_, key) = self.heap.pop().expect("a position points into the heap");
        self.positions[key] = ABSENT;
        if position < self.heap.len() {
            self.rise(position);
            self.sink(position);
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.positions[self.heap[a].1] = a;
        self.positions[self.heap[b].1] = b;
    }

    fn rise(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / 2;
            if self.heap[parent].0 <= self.heap[position].0 {
                return;
            }
            self.swap(parent, position);
            position = parent;
        }
    }

    fn sink(&mut self, mut position: usize) {
        loop {
            let left = 2 * position + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let child = if right < self.heap.len() && self.heap[right].0 < self.heap[left].0 {
                right
            } else {
                left
            };
            if self.heap[position].0 <= self.heap[child].0 {
                return;
            }
            self.swap(position, child);
            position = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn agrees_with_a_plain_map_under_random_changes() {
        let base = Instant::now();
        let mut timers = Timers::default();
        let mut model: BTreeMap<usize, Instant> = BTreeMap::new();
        let mut state = 1u64;
        let mut random = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            (state >> 33) % below
        };
        for _ in 0..20_000 {
            let key = random(40) as usize;
            if random(3) == 0 {
                timers.set(key, None);
                model.remove(&key);
            } else {
                let when = base + Duration::from_millis(random(1000));
                timers.set(key, Some(when));
                model.insert(key, when);
            }
            assert_eq!(timers.next(), model.values().min().copied());
            if random(10) == 0 {
                let now = base + Duration::from_millis(random(300));
                while let Some(key) = timers.pop_due(now) {
                    assert!(model.remove(&key).is_some_and(|when| when <= now));
                }
                assert!(model.values().all(|&when| when > now));
            }
        }
    }
}
