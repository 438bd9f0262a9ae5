//! Weighted Maglev hashing: a table in which each backend has places in proportion to its weight.
//!
//! Owns the table and its size. Must not know addresses, states or packets.
//!
//! # Theory of operation
//!
//! Every backend has an order of its own in which it would like to have the places of the table: it begins at an offset
//! and goes on in steps of a skip, both hashes of its name. As the table's size is prime, each order visits every place.
//! In turns, each backend takes the first place of its order that is still free, until none is left. When a backend
//! comes or goes, most places keep their owner. The heaviest backend has a turn in every round; the others save up
//! their weight until they have as much as the heaviest, and pay for a turn with it.
//!
//! Balancers with the same backends, weights and key build the same table, whatever order they learned them in.

use legato_quic_lb::ServerId;

use crate::SipKey;

/// Places of the table: a prime, about a hundred times as many as a large fleet has servers.
pub const PLACES: usize = 65537;

/// The most members a table may have. More would have too few places each to be balanced.
pub const MAX_MEMBERS: usize = 4096;

const FREE: u16 = u16::MAX;

/// One that shares in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// What the places of the table say.
    pub index: u16,
    pub name: ServerId,
    /// Relative to the others'; not 0.
    pub weight: u32,
}

/// Who is responsible for a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Maglev {
    /// Empty if nobody is.
    places: Box<[u16]>,
}

struct Turns {
    index: u16,
    weight: u64,
    saved: u64,
    next: usize,
    skip: usize,
}

impl Maglev {
    /// The table of these members, at most [`MAX_MEMBERS`]; their names differ.
    pub(crate) fn new(mut members: Vec<Member>, key: &SipKey) -> Self {
        members.sort_unstable_by_key(|member| member.name);
        let Some(heaviest) = members.iter().map(|member| u64::from(member.weight)).max() else {
            return Self { places: [].into() };
        };
        let mut turns: Vec<Turns> = members.iter().map(|member| turns(member, key)).collect();
        let mut places = vec![FREE; PLACES].into_boxed_slice();
        let mut free = PLACES;
        while free > 0 {
            for member in &mut turns {
                member.saved += member.weight;
                if member.saved < heaviest || free == 0 {
                    continue;
                }
                member.saved -= heaviest;
                while places[member.next] != FREE {
                    member.next = (member.next + member.skip) % PLACES;
                }
                places[member.next] = member.index;
                free -= 1;
            }
        }
        Self { places }
    }

    /// The index of the member that is responsible for a hash; nothing if there are no members.
    pub(crate) fn member(&self, hash: u64) -> Option<u16> {
        self.places.get((hash % PLACES as u64) as usize).copied()
    }

    /// The table as it is, for those who mirror it.
    pub(crate) fn places(&self) -> &[u16] {
        &self.places
    }
}

fn turns(member: &Member, key: &SipKey) -> Turns {
    let hash = |purpose: u8| {
        let mut octets = [0; 16];
        octets[0] = purpose;
        octets[1..=member.name.len()].copy_from_slice(&member.name);
        key.hash(&octets[..=member.name.len()])
    };
    Turns {
        index: member.index,
        weight: u64::from(member.weight),
        saved: 0,
        next: (hash(0) % PLACES as u64) as usize,
        skip: 1 + (hash(1) % (PLACES as u64 - 1)) as usize,
    }
}
