//! What a link does with packets: each impairment by itself, exactly where it is deterministic and by its statistics elsewhere.

use legato_netem::{Direction, Link, Network, Verdict};

const MS: u64 = 1_000;

fn link(text: &str, seed: u64) -> Link<u64> {
    let text = format!("about = \"test\"\n{text}");
    let mut link = Link::new(Network::parse("test", &text).unwrap(), seed);
    link.begin(0);
    link
}

/// Push `count` packets of `bytes` up, one every `every_us`, and return when each arrived: (number, time).
fn arrivals(link: &mut Link<u64>, count: u64, every_us: u64, bytes: u64) -> Vec<(u64, u64)> {
    let mut seen = Vec::new();
    for number in 0..count {
        let now = number * every_us;
        seen.extend(link.poll(now).map(|d| (d.packet, d.due_us)));
        link.push(now, Direction::Up, bytes, number);
    }
    seen.extend(link.poll(u64::MAX / 4).map(|d| (d.packet, d.due_us)));
    seen
}

fn share(part: usize, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[test]
fn a_perfect_link_passes_everything_at_once() {
    let mut link = link("", 1);
    assert_eq!(link.push(5, Direction::Down, 100, 7), Verdict::Passed);
    let due: Vec<_> = link.poll(5).collect();
    assert_eq!(
        (due.len(), due[0].due_us, due[0].direction),
        (1, 5, Direction::Down)
    );
    assert_eq!(link.next_deadline(), None);
}

#[test]
fn delay_is_exact_and_of_its_direction() {
    let mut link = link("[up]\ndelay_ms = 30\n[down]\ndelay_ms = 12.345", 1);
    link.push(100, Direction::Up, 100, 1);
    link.push(100, Direction::Down, 100, 2);
    assert_eq!(link.next_deadline(), Some(100 + 12_345));
    assert_eq!(link.poll(100 + 12_344).count(), 0);
    assert_eq!(
        link.poll(100 + 12_345)
            .map(|d| d.packet)
            .collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(link.next_deadline(), Some(30_100));
    assert_eq!(link.poll(30_100).map(|d| d.packet).collect::<Vec<_>>(), [1]);
}

#[test]
fn jitter_keeps_its_range_its_mean_and_the_order() {
    for (shape, mean, most) in [
        ("uniform", 10.0, 20),
        ("bell", 10.0, 20),
        ("exponential", 20.0, 500),
    ] {
        let mut link = link(
            &format!("[both]\ndelay_ms = 50\njitter_ms = 20\njitter = \"{shape}\""),
            3,
        );
        // Packets so far apart that keeping the order delays none.
        let seen = arrivals(&mut link, 20_000, 1_000 * MS, 100);
        let extra: Vec<u64> = seen
            .iter()
            .map(|(number, at)| at - number * 1_000 * MS - 50 * MS)
            .collect();
        let found = extra.iter().sum::<u64>() as f64 / 20_000.0 / 1_000.0;
        assert!((found / mean - 1.0).abs() < 0.03, "{shape}: {found} ms");
        assert!(*extra.iter().max().unwrap() <= most * MS);
        let mut dense = self::link(&format!("[both]\njitter_ms = 20\njitter = \"{shape}\""), 3);
        let order: Vec<u64> = arrivals(&mut dense, 5_000, MS, 100)
            .iter()
            .map(|a| a.0)
            .collect();
        assert!(order.is_sorted());
    }
}

#[test]
fn with_overtaking_jitter_changes_the_order() {
    let mut link = link("[both]\njitter_ms = 20\novertaking = true", 3);
    let order: Vec<u64> = arrivals(&mut link, 5_000, MS, 100)
        .iter()
        .map(|a| a.0)
        .collect();
    assert!(!order.is_sorted());
    assert_eq!(order.len(), 5_000);
}

#[test]
fn random_loss_has_its_rate_and_no_memory() {
    let mut link = link("[both]\nloss_percent = 5", 1);
    let seen = arrivals(&mut link, 200_000, MS, 100);
    let lost = 1.0 - share(seen.len(), 200_000);
    assert!((0.0485..0.0515).contains(&lost), "{lost}");
    // After a loss the next is as likely as ever: losses in a row are 5 % of all losses.
    let gaps: Vec<u64> = seen
        .windows(2)
        .map(|pair| pair[1].0 - pair[0].0 - 1)
        .collect();
    let (runs, lost): (usize, u64) = (gaps.iter().filter(|&&g| g > 0).count(), gaps.iter().sum());
    let mean = lost as f64 / runs as f64;
    assert!((1.04..1.07).contains(&mean), "{mean}");
    assert_eq!(
        link.statistics(Direction::Up).lost,
        200_000 - seen.len() as u64
    );
}

#[test]
fn seeds_scatter_as_chance_does() {
    let counts: Vec<f64> = (0..1_000)
        .map(|seed| {
            let mut link = link("[both]\nloss_percent = 5", seed);
            (0..2_000)
                .filter(|n| link.push(*n, Direction::Up, 100, *n) == Verdict::Lost)
                .count() as f64
        })
        .collect();
    let mean = counts.iter().sum::<f64>() / 1_000.0;
    let variance = counts
        .iter()
        .map(|count| (count - mean).powi(2))
        .sum::<f64>()
        / 1_000.0;
    // Binomial: mean 100, variance 95; limits are four standard deviations of a thousand seeds.
    assert!((98.8..101.2).contains(&mean), "{mean}");
    assert!((78.0..112.0).contains(&variance), "{variance}");
}

#[test]
fn a_burst_takes_both_directions_at_once() {
    let mut link = link("[both]\nburst = { good_ms = 1900, bad_ms = 100 }", 4);
    let (mut both, mut one) = (0, 0);
    for ms in 0..400_000 {
        let up = link.push(ms * MS, Direction::Up, 100, 0);
        let down = link.push(ms * MS, Direction::Down, 100, 0);
        match (up, down) {
            (Verdict::LostInBurst, Verdict::LostInBurst) => both += 1,
            (Verdict::Passed, Verdict::Passed) => {}
            _ => one += 1,
        }
        link.poll(ms * MS).for_each(drop);
    }
    assert_eq!(one, 0);
    assert!((0.04..0.06).contains(&share(both, 400_000)), "{both}");
}

#[test]
fn duplicates_come_behind_their_originals() {
    let mut link = link("[both]\ndelay_ms = 10\nduplicate_percent = 10", 1);
    let seen = arrivals(&mut link, 50_000, MS, 100);
    let copies = seen
        .windows(2)
        .filter(|pair| pair[0].0 == pair[1].0)
        .count();
    assert_eq!(copies as u64, link.statistics(Direction::Up).duplicated);
    assert_eq!(seen.len(), 50_000 + copies);
    assert!((0.095..0.105).contains(&share(copies, 50_000)), "{copies}");
    assert!(seen.is_sorted());
}

#[test]
fn reordered_packets_are_late_by_what_was_asked() {
    let mut link = link(
        "[both]\ndelay_ms = 10\nreorder_percent = 5\nreorder_ms = 4",
        1,
    );
    let seen = arrivals(&mut link, 20_000, MS, 100);
    let late: Vec<_> = seen
        .iter()
        .filter(|(number, at)| at - number * MS != 10 * MS)
        .collect();
    assert!(late.iter().all(|(number, at)| at - number * MS == 14 * MS));
    assert!((0.045..0.055).contains(&share(late.len(), 20_000)));
    assert!(!seen.iter().map(|a| a.0).is_sorted());
    let punctual = seen
        .iter()
        .filter(|(number, at)| at - number * MS == 10 * MS);
    assert!(punctual.map(|a| a.0).is_sorted());
}

#[test]
fn a_rate_spaces_packets_and_a_full_queue_drops() {
    // 1000 bytes every 10 ms pass; the queue holds 50 ms, which is five of them.
    let mut link = link("[both]\nrate_kbps = 800\nqueue_ms = 50", 1);
    let verdicts: Vec<Verdict> = (0..20)
        .map(|n| link.push(0, Direction::Up, 1_000, n))
        .collect();
    let passed = verdicts.iter().filter(|v| **v == Verdict::Passed).count();
    assert_eq!(passed, 5);
    assert!(verdicts[5..].iter().all(|v| *v == Verdict::QueueFull));
    let times: Vec<u64> = link.poll(10_000 * MS).map(|d| d.due_us).collect();
    assert_eq!(times, [10, 20, 30, 40, 50].map(|ms| ms * MS));
}

#[test]
fn a_blackout_takes_what_comes_and_a_stall_keeps_it() {
    let events = |what| {
        format!("[both]\ndelay_ms = 1\nrate_kbps = 8000\nqueue_ms = 1000\n[[event]]\nat_ms = 100\nfor_ms = 50\nboth = {{ {what} = true }}")
    };
    let mut dark = link(&events("blackout"), 1);
    let seen = arrivals(&mut dark, 200, MS, 100);
    // Those that come during the 50 ms, and the one that was still being sent when they began.
    assert_eq!(seen.len(), 150);
    assert_eq!(dark.statistics(Direction::Up).blackout, 50);
    assert!(seen.iter().all(|(number, _)| !(100..150).contains(number)));
    let mut stalled = link(&events("stall"), 1);
    let seen = arrivals(&mut stalled, 200, MS, 100);
    assert_eq!(seen.len(), 200);
    assert!(seen
        .iter()
        .all(|(_, at)| !(101 * MS + 1..151 * MS).contains(at)));
    // The first that waited is sent when the stall ends: 0.1 ms for 100 bytes, 1 ms of delay.
    assert_eq!(seen[100], (100, 150 * MS + 100 + MS));
}

#[test]
fn before_it_begins_the_story_does_not_run() {
    let text = "about = \"t\"\n[[event]]\nat_ms = 0\nrebind = \"port\"\nboth = { blackout = true }";
    let mut link = Link::new(Network::parse("test", text).unwrap(), 1);
    assert_eq!(link.push(9 * MS, Direction::Up, 1, 0), Verdict::Passed);
    assert_eq!(link.addressing(9 * MS).ports, 0);
    link.begin(10 * MS);
    assert_eq!(link.push(10 * MS, Direction::Up, 1, 0), Verdict::Blackout);
    assert_eq!(link.addressing(10 * MS).ports, 1);
}

#[test]
fn bursts_come_at_the_same_moments_of_a_story_whenever_it_begins() {
    let text = "about = \"t\"\n[both]\nburst = { good_ms = 190, bad_ms = 10 }";
    let lost = |began: u64| {
        let mut link = Link::new(Network::parse("test", text).unwrap(), 1);
        // What happens before it, here for a moment, does not matter.
        link.push(began / 2, Direction::Up, 100, 0);
        link.begin(began);
        (0..20_000)
            .map(|at| link.push(began + at * MS, Direction::Up, 100, at) == Verdict::LostInBurst)
            .collect::<Vec<_>>()
    };
    let first = lost(0);
    assert!(first.iter().filter(|&&lost| lost).count() > 500);
    for began in [7, 3_000 * MS, 40_061_327_000] {
        assert_eq!(lost(began), first);
    }
}

#[test]
fn a_story_repeats_with_all_its_changes() {
    let text = "repeat_ms = 1000\n[[event]]\nat_ms = 200\nrebind = \"address\"\n[[event]]\nat_ms = 600\nroam = true\n[[event]]\nat_ms = 900\nfor_ms = 100\nboth = { blackout = true }";
    let mut link = link(text, 1);
    let mut changes = Vec::new();
    let mut now = 0;
    while let Some(next) = link.next_deadline().filter(|&next| next < 3_000 * MS) {
        assert!(next > now, "a deadline in the past would spin");
        now = next;
        link.poll(now).for_each(drop);
        changes.push((
            now / MS,
            link.addressing(now).addresses,
            link.addressing(now).roams,
        ));
    }
    let expected = [
        (200, 1, 0),
        (600, 1, 1),
        (1200, 2, 1),
        (1600, 2, 2),
        (2200, 3, 2),
        (2600, 3, 3),
    ];
    assert_eq!(changes, expected);
    let dark = |link: &mut Link<u64>, ms: u64| {
        link.push(ms * MS, Direction::Up, 1, 0) == Verdict::Blackout
    };
    assert!(
        !dark(&mut link, 3_899)
            && dark(&mut link, 3_900)
            && dark(&mut link, 3_999)
            && !dark(&mut link, 4_000)
    );
}

#[test]
fn a_clock_that_goes_backwards_stands_still() {
    let mut link = link("[both]\ndelay_ms = 10", 1);
    link.push(100 * MS, Direction::Up, 1, 0);
    link.push(0, Direction::Up, 1, 1);
    let due: Vec<u64> = link.poll(u64::MAX).map(|d| d.due_us).collect();
    assert_eq!(due, [110 * MS, 110 * MS]);
}

#[test]
fn changing_one_impairment_leaves_the_others_decisions() {
    let lost = |extra: &str| {
        let mut link = link(&format!("[both]\nloss_percent = 10\n{extra}"), 9);
        let verdicts = (0..2_000).map(|n| link.push(n * MS, Direction::Up, 1, n) == Verdict::Lost);
        verdicts.collect::<Vec<bool>>()
    };
    assert_eq!(
        lost(""),
        lost("delay_ms = 20\njitter_ms = 9\nduplicate_percent = 3")
    );
}
