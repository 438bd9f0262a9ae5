//! What holds for every network and every order of calls: thousands of random ones, each made from a seed that a failure names.

use std::collections::HashMap;

use legato_netem::{Direction, Link, Network, Random, Verdict, MAX_IN_FLIGHT_BYTES};

const CASES: u64 = 2_000;
const STEPS: u64 = 150;
/// 60 kB at 8 kbit/s take a minute, and stalls may double that.
const LONGEST_STAY_US: u64 = 600_000_000;

/// What a random network was told to do, as far as the properties depend on it.
#[derive(Default)]
struct Asked {
    duplicates: bool,
    reorders: bool,
    loses: bool,
    queues: bool,
}

fn network(random: &mut Random) -> (Network, Asked) {
    let mut asked = Asked::default();
    let mut text = String::from("about = \"a random network\"\n");
    if random.chance(300_000) {
        text += &format!("repeat_ms = {}\n", 5_000 + random.up_to(5_000));
    }
    text += &format!("[both]\ndelay_ms = {}\n", random.up_to(200));
    impair(random, &mut text, &mut asked);
    for at in 0..random.up_to(3) {
        let what = match random.up_to(3) {
            0 if asked.queues => "both = { stall = true }",
            0 | 1 => "both = { blackout = true }",
            2 => "up = { delay_ms = 5 }",
            _ => "down = { delay_ms = 150 }",
        };
        asked.loses |= what.contains("blackout");
        let (at, length) = (at * 1_000, 10 + random.up_to(900));
        text += &format!("[[event]]\nat_ms = {at}\nfor_ms = {length}\n{what}\n");
    }
    let network = Network::parse("random", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    (network, asked)
}

fn impair(random: &mut Random, text: &mut String, asked: &mut Asked) {
    if random.chance(500_000) {
        let shape = ["uniform", "bell", "exponential"][random.up_to(2) as usize];
        asked.reorders |= random.chance(300_000);
        let (ms, overtaking) = (random.up_to(100), asked.reorders);
        *text += &format!("jitter_ms = {ms}\njitter = \"{shape}\"\novertaking = {overtaking}\n");
    }
    if random.chance(300_000) {
        asked.loses = true;
        *text += &format!("loss_percent = {}\n", random.up_to(100));
    }
    if random.chance(300_000) {
        asked.loses = true;
        let unit = ["ms", "packets"][random.up_to(1) as usize];
        let (good, bad) = (1 + random.up_to(500), 1 + random.up_to(100));
        *text += &format!("burst = {{ good_{unit} = {good}, bad_{unit} = {bad} }}\n");
    }
    if random.chance(300_000) {
        asked.reorders = true;
        *text += &format!(
            "reorder_percent = {}\nreorder_ms = 30\n",
            1 + random.up_to(99)
        );
    }
    if random.chance(300_000) {
        asked.duplicates = true;
        *text += &format!("duplicate_percent = {}\n", random.up_to(100));
    }
    if random.chance(500_000) {
        let (kb, kbps) = (1 + random.up_to(60), 8 + random.up_to(5_000));
        asked.queues = true;
        *text += &format!("rate_kbps = {kbps}\nqueue_kb = {kb}\n");
    }
}

/// What has come out of a link so far, and whether it was right.
struct Watch {
    asked: Asked,
    last: [Option<u64>; 2],
    copies: HashMap<u64, u32>,
}

impl Watch {
    fn take(&mut self, link: &mut Link<u64>, now: u64) {
        let mut before = 0;
        for delivery in link.poll(now) {
            assert!(delivery.due_us <= now && delivery.due_us >= before);
            before = delivery.due_us;
            assert_eq!(
                delivery.packet % 2,
                delivery.direction as u64,
                "on the wrong side"
            );
            *self.copies.entry(delivery.packet).or_default() += 1;
            let last = &mut self.last[delivery.direction as usize];
            assert!(
                self.asked.reorders || *last <= Some(delivery.packet),
                "out of order"
            );
            *last = Some(delivery.packet);
        }
        assert!(link.next_deadline().is_none_or(|next| next > now));
    }

    /// How often a packet with this verdict must come out; fails if nobody asked for such a verdict.
    fn promise(&self, verdict: Verdict) -> u32 {
        let asked = &self.asked;
        let (may_be, copies) = match verdict {
            Verdict::Passed => (true, 1),
            Verdict::Duplicated => (asked.duplicates, 2),
            Verdict::QueueFull => (asked.queues, 0),
            Verdict::Lost | Verdict::LostInBurst | Verdict::Blackout => (asked.loses, 0),
            Verdict::TooMuchInFlight => (false, 0),
        };
        assert!(may_be, "nobody asked for {verdict:?}");
        copies
    }
}

/// Do random things to a random link and check after each that nothing is wrong.
fn check(seed: u64) {
    let mut random = Random::new(seed, 77);
    let (network, asked) = network(&mut random);
    let mut link: Link<u64> = Link::new(network, seed);
    let mut watch = Watch {
        asked,
        last: [None; 2],
        copies: HashMap::new(),
    };
    let mut now = 0;
    let mut expected: HashMap<u64, u32> = HashMap::new();
    for step in 0..STEPS {
        match random.up_to(9) {
            0 => now += random.up_to(1_000_000),
            1..=3 => now += random.up_to(30_000),
            4 => now = now.max(link.next_deadline().unwrap_or(now)),
            5 if step > 20 => link.begin(now),
            _ => {}
        }
        let direction = Direction::BOTH[random.up_to(1) as usize];
        let packet = step * 2 + direction as u64;
        let verdict = link.push(now, direction, random.up_to(1_500), packet);
        expected.insert(packet, watch.promise(verdict));
        watch.take(&mut link, now);
    }
    watch.take(&mut link, now + LONGEST_STAY_US);
    expected.retain(|_, copies| *copies > 0);
    assert_eq!(
        watch.copies, expected,
        "what was promised and what came differ"
    );
    for direction in Direction::BOTH {
        assert_eq!(link.in_flight_bytes(direction), 0);
        let s = link.statistics(direction);
        let gone = s.lost + s.lost_in_burst + s.queue_full + s.blackout + s.too_much_in_flight;
        assert_eq!(s.pushed + s.duplicated, s.delivered + gone);
    }
}

#[test]
fn nothing_is_invented_misplaced_or_forgotten() {
    for seed in 0..CASES {
        let outcome = std::panic::catch_unwind(|| check(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn memory_is_bounded_by_the_queue() {
    let text = "about = \"t\"\n[both]\nrate_kbps = 1000\nqueue_kb = 50";
    let mut link = Link::new(Network::parse("t", text).unwrap(), 1);
    let mut most = 0;
    for n in 0..200_000u64 {
        link.push(n, Direction::Up, n % 1_500, n);
        most = most.max(link.in_flight_bytes(Direction::Up));
    }
    // The full queue has room for small packets only; each counts 64 bytes besides its own, which are at least 20.
    assert!(most <= 50_000 / 20 * 84, "{most}");
}

#[test]
fn memory_is_bounded_without_a_queue() {
    let text = "about = \"t\"\n[both]\ndelay_ms = 60000\nduplicate_percent = 50";
    let mut link = Link::new(Network::parse("t", text).unwrap(), 1);
    let verdicts: Vec<Verdict> = (0..100_000u64)
        .map(|n| link.push(n, Direction::Up, 1_500, n))
        .collect();
    assert!(link.in_flight_bytes(Direction::Up) <= MAX_IN_FLIGHT_BYTES);
    assert_eq!(verdicts.last(), Some(&Verdict::TooMuchInFlight));
    let other = link.push(100_000, Direction::Down, 1, 0);
    assert_ne!(
        other,
        Verdict::TooMuchInFlight,
        "the other direction has room"
    );
    link.poll(200_000_000).for_each(drop);
    assert_ne!(
        link.push(200_000_000, Direction::Up, 1_500, 0),
        Verdict::TooMuchInFlight
    );
}
