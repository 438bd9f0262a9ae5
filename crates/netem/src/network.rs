//! A link's whole story: what it is like, and when that changes.
//!
//! Owns the timeline, cut into segments in which nothing changes. Script time is microseconds since the story began; a story
//! with a length repeats. Must not know packets.

use crate::parse::{self, NetworkError};
use crate::profile::{Direction, Profile};

/// How often the client's addresses have changed since the story began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Addressing {
    /// The NAT has forgotten its ports and given new ones.
    pub ports: u32,
    /// The NAT has got another public address, and with it new ports.
    pub addresses: u32,
    /// The client itself has got another address, as on a change from Wi-Fi to cellular.
    pub roams: u32,
}

impl Addressing {
    pub(crate) fn add(&mut self, other: Self, times: u32) {
        let sum = |a: u32, b: u32| a.saturating_add(b.saturating_mul(times));
        self.ports = sum(self.ports, other.ports);
        self.addresses = sum(self.addresses, other.addresses);
        self.roams = sum(self.roams, other.roams);
    }
}

/// A stretch of time in which the link does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub start_us: u64,
    /// Indexed by direction.
    pub profiles: [Profile; 2],
}

/// A link with its story; see `docs/reference/networks.md` for the file format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub(crate) name: String,
    pub(crate) about: String,
    /// Before the story begins. Indexed by direction.
    pub(crate) calm: [Profile; 2],
    /// Sorted by start; the first starts at 0.
    pub(crate) segments: Vec<Segment>,
    /// Sorted by time: what changes then.
    pub(crate) changes: Vec<(u64, Addressing)>,
    pub(crate) repeat_us: Option<u64>,
}

/// The networks of `bench/networks`: file names without their ending, and contents.
const LIBRARY: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/networks.rs"));

impl Network {
    /// Read a network from the text of a file; `name` is what errors call it.
    pub fn parse(name: &str, text: &str) -> Result<Self, NetworkError> {
        parse::network(name, text)
    }

    /// A network of `bench/networks` by its file's name.
    pub fn named(name: &str) -> Result<Self, NetworkError> {
        match LIBRARY.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(name, text),
            None => Err(NetworkError(format!(
                "there is no network {name:?}; there are {}, and files that end in .toml",
                Self::names().collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// What `named` knows, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        LIBRARY.iter().map(|(name, _)| *name)
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is, in one line.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// When the last change of the story is over, in microseconds; the length of one round if it repeats.
    pub fn length_us(&self) -> u64 {
        let last_change = self.changes.last().map_or(0, |&(at, _)| at);
        let last_segment = self.segments.last().map_or(0, |segment| segment.start_us);
        self.repeat_us.unwrap_or(last_change.max(last_segment))
    }

    /// What `direction` is like before the story begins.
    pub fn calm(&self, direction: Direction) -> &Profile {
        &self.calm[direction as usize]
    }

    /// What `direction` is like at this script time, since when, and until when; `u64::MAX`: for ever.
    pub fn at(&self, direction: Direction, script_us: u64) -> (&Profile, u64, u64) {
        let (round, within) = self.fold(script_us);
        let after = self
            .segments
            .partition_point(|segment| segment.start_us <= within);
        let segment = &self.segments[after - 1];
        let end = match (self.segments.get(after), self.repeat_us) {
            (Some(next), _) => round.saturating_add(next.start_us),
            (None, Some(repeat)) => round.saturating_add(repeat),
            (None, None) => u64::MAX,
        };
        let profile = &segment.profiles[direction as usize];
        (profile, round + segment.start_us, end)
    }

    /// How often addresses have changed up to this script time.
    pub fn addressing(&self, script_us: u64) -> Addressing {
        let (round, within) = self.fold(script_us);
        let rounds = self.repeat_us.map_or(0, |repeat| round / repeat);
        let mut sum = Addressing::default();
        for &(at, change) in &self.changes {
            let this_round = u32::from(at <= within);
            let times = u32::try_from(rounds).unwrap_or(u32::MAX);
            sum.add(change, times.saturating_add(this_round));
        }
        sum
    }

    /// When addresses change next, strictly after this script time.
    pub fn next_change(&self, script_us: u64) -> Option<u64> {
        let (round, within) = self.fold(script_us);
        let later = self.changes.iter().find(|&&(at, _)| at > within);
        match (later, self.repeat_us) {
            (Some(&(at, _)), _) => Some(round.saturating_add(at)),
            (None, Some(repeat)) => {
                let &(first, _) = self.changes.first()?;
                Some(round.saturating_add(repeat).saturating_add(first))
            }
            (None, None) => None,
        }
    }

    /// The start of the current round, and the time within it.
    fn fold(&self, script_us: u64) -> (u64, u64) {
        let within = self
            .repeat_us
            .map_or(script_us, |repeat| script_us % repeat);
        (script_us - within, within)
    }
}
