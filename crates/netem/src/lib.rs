//! Bad networks as values: delay, jitter, loss, bursts, reordering, duplication, rate and queue, blackouts, changed addresses,
//! per direction, seeded, and scripted over time.
//!
//! A [`Network`] says what a link is like and when it changes; it is read from a file of `bench/networks`. A [`Link`] is such a
//! link for one run: push packets in, poll those that are due. It has no clock, no sockets and no threads; the same network,
//! seed and packets at the same microseconds give the same result on every machine. Two drivers run it: virtual time, with the
//! engine's inline endpoints, and `legato-netem`, with the packets of real programs.
//!
//! Must not know what is in a packet; [`ip`] and [`gateway`] alone look at its addresses.

mod bottleneck;
mod burst;
pub mod gateway;
pub mod ip;
mod link;
mod network;
mod parse;
mod profile;
mod random;

pub use link::{Delivery, Link, Statistics, Verdict, MAX_IN_FLIGHT_BYTES};
pub use network::{Addressing, Network};
pub use parse::NetworkError;
pub use profile::{Burst, BurstUnit, Direction, Jitter, JitterShape, Profile};
pub use random::Random;
