//! The same network, seed and packets give the same result on every machine and with every version of the compiler.
//!
//! If a digest changes because the model changed on purpose, the new one stands in what this test prints.

use legato_netem::{Direction, Link, Network, Random};

/// FNV-1a over what becomes of a pattern of packets in 40 s.
fn digest(name: &str, seed: u64) -> u64 {
    let mut link = Link::new(Network::named(name).unwrap(), seed);
    link.begin(0);
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |value: u64| {
        for byte in value.to_le_bytes() {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    let mut sizes = Random::new(0, 0);
    for number in 0..8_000u64 {
        let now = number * 5_000;
        for delivery in link.poll(now) {
            add(delivery.packet);
            add(delivery.due_us);
        }
        let direction = Direction::BOTH[(number % 2) as usize];
        add(link.push(now, direction, 60 + sizes.up_to(1_400), number) as u64);
        add(link.addressing(now).ports.into());
    }
    link.poll(u64::MAX)
        .for_each(|delivery| add(delivery.due_us));
    sum
}

const DIGESTS: &[(&str, u64, u64)] = &[
    ("blip", 1, 0xc1b2a2c4ca3e1266),
    ("cafe", 1, 0x30ed70d454aab14d),
    ("cafe", 2, 0xe05bc3b6d6b88b76),
    ("cellular", 1, 0x6c895d1241841488),
    ("clean", 1, 0x259124d404077cc6),
    ("fades", 1, 0xf4f70bd4f23cba59),
    ("handover", 1, 0x6c3d50af2abffc54),
    ("lossy", 1, 0x0f09bd19ae2568ba),
    ("lossy_burst", 1, 0xe8ca790642e39ff7),
    ("outage", 1, 0x308e7fb95f8a23fd),
    ("rebind", 1, 0x7e391bc77ace1b1e),
    ("satellite", 1, 0x3666eb28e879a026),
    ("slow", 1, 0x2a3898f2454983e1),
    ("train", 1, 0xa1d3dcbeccdf6128),
    ("train", 2, 0x1de6ed4d82e048a0),
    ("wifi", 1, 0xf0dd37029bce0be3),
];

#[test]
fn digests_are_what_they_were() {
    let found: Vec<_> = DIGESTS
        .iter()
        .map(|&(name, seed, _)| (name, seed, digest(name, seed)))
        .collect();
    for (name, seed, digest) in &found {
        println!("    ({name:?}, {seed}, {digest:#018x}),");
    }
    assert_eq!(found, DIGESTS);
}

#[test]
fn another_seed_gives_another_digest() {
    assert_ne!(digest("cafe", 1), digest("cafe", 2));
    assert_eq!(
        digest("clean", 1),
        digest("clean", 2),
        "nothing is random in a clean network"
    );
}
