//! What one direction of a link is like at one moment. Owns the values; must not know how they are applied.

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Direction {
    /// Both, in the order of arrays that are indexed with `as usize`.
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];
}

/// How the extra delay of packets is distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JitterShape {
    /// Evenly in 0..=`us`.
    Uniform,
    /// Bell-shaped in 0..=`us`.
    Bell,
    /// Exponentially with the mean `us`: mostly little, now and then a lot.
    Exponential,
}

/// Delay that differs from packet to packet, on top of the constant one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter {
    /// Its size in microseconds; what it measures depends on the shape.
    pub us: u64,
    /// Its distribution.
    pub shape: JitterShape,
    /// Whether a packet may overtake one with more of it; if not, packets leave in the order they came.
    pub overtaking: bool,
}

/// What the lengths of a burst's two states are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BurstUnit {
    /// Microseconds: the state changes as time passes, whether or not there are packets. This is what a radio does.
    Us,
    /// Packets: the state changes with each packet.
    Packets,
}

/// Loss in bursts: the Gilbert-Elliott model, two states with a loss rate each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// What `good` and `bad` count.
    pub unit: BurstUnit,
    /// Mean length of the good state.
    pub good: u64,
    /// Mean length of the bad state.
    pub bad: u64,
    /// Loss in the good state, in a million.
    pub loss_good_ppm: u32,
    /// Loss in the bad state, in a million.
    pub loss_bad_ppm: u32,
}

/// One direction of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Constant one-way delay in microseconds.
    pub delay_us: u64,
    /// Delay on top.
    pub jitter: Jitter,
    /// Independent loss, in a million.
    pub loss_ppm: u32,
    /// Loss in bursts.
    pub burst: Option<Burst>,
    /// Packets that are held back so that others overtake them, in a million.
    pub reorder_ppm: u32,
    /// How long those are held back, in microseconds.
    pub reorder_us: u64,
    /// Packets that arrive twice, in a million.
    pub duplicate_ppm: u32,
    /// Bits per second of the bottleneck; none: no bottleneck.
    pub rate_bps: Option<u64>,
    /// Bytes that may wait for the bottleneck, the packet being sent included; more are dropped at the tail.
    pub queue_bytes: u64,
    /// The bottleneck serves nobody: packets wait in its queue.
    pub stall: bool,
    /// Nothing enters the link, nothing leaves its queue: packets are gone.
    pub blackout: bool,
}

impl Profile {
    /// A link that does nothing to a packet.
    pub const PERFECT: Self = Self {
        delay_us: 0,
        jitter: Jitter {
            us: 0,
            shape: JitterShape::Uniform,
            overtaking: false,
        },
        loss_ppm: 0,
        burst: None,
        reorder_ppm: 0,
        reorder_us: 0,
        duplicate_ppm: 0,
        rate_bps: None,
        queue_bytes: 0,
        stall: false,
        blackout: false,
    };
}
