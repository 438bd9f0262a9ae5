//! The file format: what is accepted means what it says, what is not gets one line that says why.

use legato_netem::{BurstUnit, Direction, JitterShape, Network};

fn read(text: &str) -> Network {
    Network::parse("test", &format!("about = \"test\"\n{text}")).unwrap()
}

fn error(text: &str) -> String {
    Network::parse("test", text).unwrap_err().to_string()
}

#[test]
fn every_field_is_read() {
    let network = read(
        "[both]\ndelay_ms = 12.5\njitter_ms = 3\njitter = \"bell\"\novertaking = true\nloss_percent = 0.25\n\
         burst = { good_ms = 900, bad_ms = 100, loss_good_percent = 1, loss_bad_percent = 50 }\n\
         reorder_percent = 2\nreorder_ms = 4\nduplicate_percent = 0.1\nrate_kbps = 1000\nqueue_ms = 80\n\
         [up]\nrate_kbps = 500\n[down]\nqueue_kb = 30\ndelay_ms = 7\n",
    );
    let up = network.calm(Direction::Up);
    assert_eq!(
        (up.delay_us, up.jitter.us, up.jitter.shape),
        (12_500, 3_000, JitterShape::Bell)
    );
    assert!(up.jitter.overtaking && !up.stall && !up.blackout);
    assert_eq!(
        (up.loss_ppm, up.reorder_ppm, up.reorder_us, up.duplicate_ppm),
        (2_500, 20_000, 4_000, 1_000)
    );
    let burst = up.burst.unwrap();
    assert_eq!(
        (burst.unit, burst.good, burst.bad),
        (BurstUnit::Us, 900_000, 100_000)
    );
    assert_eq!((burst.loss_good_ppm, burst.loss_bad_ppm), (10_000, 500_000));
    // 80 ms of 500 kbit/s.
    assert_eq!((up.rate_bps, up.queue_bytes), (Some(500_000), 5_000));
    let down = network.calm(Direction::Down);
    assert_eq!(
        (down.delay_us, down.rate_bps, down.queue_bytes),
        (7_000, Some(1_000_000), 30_000)
    );
}

#[test]
fn events_change_what_they_name_for_as_long_as_they_say() {
    let network = read(
        "[both]\ndelay_ms = 10\nloss_percent = 1\n\
         [[event]]\nat_ms = 100\nfor_ms = 50\nup = { delay_ms = 20 }\n\
         [[event]]\nat_ms = 120\nboth = { loss_percent = 2 }\n",
    );
    let at = |direction, ms: u64| {
        let (profile, since, until) = network.at(direction, ms * 1_000);
        let ms = |us: u64| if us == u64::MAX { us } else { us / 1_000 };
        (
            profile.delay_us / 1_000,
            profile.loss_ppm / 10_000,
            ms(since),
            ms(until),
        )
    };
    assert_eq!(at(Direction::Up, 99), (10, 1, 0, 100));
    assert_eq!(at(Direction::Up, 100), (20, 1, 100, 120));
    assert_eq!(at(Direction::Up, 149), (20, 2, 120, 150));
    assert_eq!(at(Direction::Up, 150), (10, 2, 150, u64::MAX));
    assert_eq!(at(Direction::Down, 130), (10, 2, 120, 150));
    assert_eq!(network.length_us(), 150_000);
}

#[test]
fn of_two_events_at_once_the_later_in_the_file_wins() {
    let network = read(
        "[[event]]\nat_ms = 5\nboth = { delay_ms = 1 }\n[[event]]\nat_ms = 0\nboth = { delay_ms = 2 }\n",
    );
    assert_eq!(network.at(Direction::Up, 9_000).0.delay_us, 2_000);
    assert_eq!(network.at(Direction::Up, 4_999).0.delay_us, 2_000);
}

#[test]
fn a_mistake_gets_one_line_that_names_it() {
    let about = "about = \"x\"\n";
    for (text, expected) in [
        ("", "test: missing field `about`"),
        ("about = \"\"", "test: about must say in one line what this network is"),
        ("about = 3", "test: line 1: invalid type: integer `3`, expected a string"),
        ("about = \"x", "test: line 1: "),
        (&format!("{about}[both]\ndelay = 3"), "test: line 3: unknown field `delay`, expected one of `delay_ms`"),
        (&format!("{about}[left]"), "test: line 2: unknown field `left`"),
        (&format!("{about}[up]\ndelay_ms = -1"), "test: up: delay_ms = -1 must be between 0 and 60000"),
        (&format!("{about}[up]\ndelay_ms = nan"), "test: up: delay_ms = NaN must be between 0 and 60000"),
        (&format!("{about}[up]\ndelay_ms = \"3\""), "test: line 3: invalid type: string \"3\", expected f64"),
        (&format!("{about}[both]\nloss_percent = 101"), "test: both: loss_percent = 101 must be between 0 and 100"),
        (&format!("{about}[both]\nrate_kbps = 100"), "test: up: rate_kbps needs queue_ms or queue_kb: how much may wait"),
        (&format!("{about}[down]\nqueue_ms = 100"), "test: down: a queue needs rate_kbps: without a rate nothing waits"),
        (&format!("{about}[both]\nrate_kbps = 0\nqueue_ms = 9"), "test: both: rate_kbps = 0: use blackout (packets are gone) or stall (packets wait)"),
        (&format!("{about}[both]\nrate_kbps = 9\nqueue_ms = 9\nqueue_kb = 9"), "test: both: give queue_ms or queue_kb, not both"),
        (&format!("{about}[both]\nrate_kbps = 1e7\nqueue_ms = 60000"), "test: up: queue_ms at this rate is more than 16384 kB"),
        (&format!("{about}[both]\nreorder_percent = 1"), "test: up: reorder_percent needs reorder_ms: how long those packets are held back"),
        (&format!("{about}[both]\nreorder_ms = 1"), "test: up: reorder_ms needs reorder_percent: how many packets are held back"),
        (&format!("{about}[both]\nburst = {{ good_ms = 9, bad_packets = 1 }}"), "test: both: burst: give good_ms and bad_ms, or good_packets and bad_packets"),
        (&format!("{about}[both]\nburst = {{ good_packets = 0, bad_packets = 1 }}"), "test: both: burst: good_packets = 0 must be between 1 and 100000"),
        (&format!("{about}[both]\njitter = \"normal\""), "test: line 3: unknown variant `normal`, expected one of `uniform`, `bell`, `exponential`"),
        (&format!("{about}[[event]]\nat_ms = 1"), "test: event 1: it changes nothing: give it both, up, down, rebind or roam"),
        (&format!("{about}[[event]]\nat_ms = 1\nfor_ms = 2\nroam = true"), "test: event 1: for_ms needs both, up or down: a changed address does not change back"),
        (&format!("{about}[[event]]\nat_ms = 1\nrebind = \"host\""), "test: line 4: unknown variant `host`, expected `port` or `address`"),
        (&format!("{about}[[event]]\nat_ms = 1\nup = {{ stall = true }}"), "test: event 1: up: stall needs rate_kbps and a queue to wait in"),
        (&format!("{about}repeat_ms = 1\n"), "test: repeat_ms = 1 must be between 100 and 86400000"),
        (&format!("{about}repeat_ms = 500\n[[event]]\nat_ms = 400\nfor_ms = 101\nup = {{ delay_ms = 1 }}"), "test: event 1: it must be over before repeat_ms"),
        (&format!("{about}[both]\nrate_kbps = 9\nqueue_ms = 9\n[[event]]\nat_ms = 1\nup = {{ stall = true }}"), "test: Up stalls and never goes on: give the event for_ms, or use blackout"),
    ] {
        let found = error(text);
        assert!(found.starts_with(expected), "{text:?}\n  gives    {found}\n  expected {expected}");
        assert!(!found.contains('\n'));
    }
}

#[test]
fn any_text_gets_an_answer() {
    let mut random = legato_netem::Random::new(6, 6);
    let words = [
        "about = \"x\"\n",
        "[both]\n",
        "[[event]]\n",
        "at_ms = ",
        "rate_kbps = ",
        "1e308\n",
        "-0\n",
        "{",
        "}",
        "\n",
        "burst = ",
        "good_ms = ",
        "0.1, ",
        "true\n",
        "repeat_ms = ",
        "inf\n",
        "\u{fffd}",
        "=",
        "\"",
        "9999999999999999999\n",
    ];
    for _ in 0..20_000 {
        let text: String = (0..random.up_to(12))
            .map(|_| words[random.up_to(words.len() as u64 - 1) as usize])
            .collect();
        if let Err(error) = Network::parse("test", &text) {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}

#[test]
fn every_network_of_the_library_is_right_and_says_what_it_is() {
    let names: Vec<&str> = Network::names().collect();
    for wanted in [
        "clean",
        "wifi",
        "cellular",
        "train",
        "cafe",
        "outage",
        "handover",
        "lossy_burst",
    ] {
        assert!(names.contains(&wanted), "{wanted}");
    }
    for name in names {
        let network = Network::named(name).unwrap();
        assert_eq!(network.name(), name);
        assert!(network.about().len() > 20);
    }
    let error = Network::named("trian").unwrap_err().to_string();
    assert!(
        error.starts_with("there is no network \"trian\"; there are blip, cafe, "),
        "{error}"
    );
}

#[test]
fn the_figure_of_five_percent_in_bursts_is_what_the_file_makes() {
    let network = Network::named("lossy_burst").unwrap();
    let profile = network.calm(Direction::Up);
    let burst = profile.burst.unwrap();
    assert_eq!((profile.delay_us, burst.bad), (50_000, 100_000));
    assert_eq!(burst.bad * 20, burst.good + burst.bad);
}
