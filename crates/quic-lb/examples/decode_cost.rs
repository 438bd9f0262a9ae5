//! Prints what decoding one connection ID costs, in nanoseconds of one core: the median of 21 rounds.
//!
//! Owns the measuring. Short packets are decoded one after the other, as a forwarder does that looks at them in turn.

use std::hint::black_box;
use std::time::Instant;

use legato_quic_lb::{Config, ConfigId, ConfigSet, Issuer, Key, Lengths, Nonces, ServerId};

const PACKETS: usize = 4096;
const PACKET_LEN: usize = 60;
const ROUNDS: usize = 21;

fn main() {
    let lengths = |server_id, nonce| Lengths::new(server_id, nonce).expect("legal lengths");
    let id = ConfigId::new(0).expect("a codepoint");
    let key = Key::new([7; 16]);
    let default = Config::encrypted(id, lengths(8, 8), &key);
    println!("{:<36}{:>8}", "configuration", "ns");
    report("plaintext, 8 + 7 (AWS NLB)", Config::aws_nlb());
    report("single-pass, 8 + 8", default.clone());
    report(
        "four-pass, 3 + 4, three rounds",
        Config::encrypted(id, lengths(3, 4), &key),
    );
    report(
        "four-pass, 10 + 5, four rounds",
        Config::encrypted(id, lengths(10, 5), &key),
    );
    let set = set(default);
    let noise: Vec<_> = (0..PACKETS)
        .map(|at| [0x20 | at as u8 & 0x1f; PACKET_LEN])
        .collect();
    let nanoseconds = cost(&noise, |packet| set.decode(packet).is_ok());
    println!("{:<36}{nanoseconds:>8.1}", "unknown configuration");
}

fn report(name: &str, config: Config) {
    let server_id =
        ServerId::new(&[5; 15][..config.lengths().server_id()]).expect("1 to 15 octets");
    let mut issuer = Issuer::new(config.cid_len()).expect("8 to 20 octets");
    issuer
        .rotate(config.clone(), server_id, Nonces::new([9; 32]))
        .expect("a first configuration");
    let packets: Vec<_> = (0..PACKETS)
        .map(|_| {
            let cid = issuer.issue(&[0; 20]).expect("enough nonces");
            let mut packet = [0; PACKET_LEN];
            packet[..cid.len()].copy_from_slice(&cid);
            packet
        })
        .collect();
    let set = set(config);
    let nanoseconds = cost(&packets, |packet| {
        set.decode(packet)
            .is_ok_and(|decoded| decoded.server_id == server_id)
    });
    println!("{name:<36}{nanoseconds:>8.1}");
}

fn set(config: Config) -> ConfigSet {
    let mut set = ConfigSet::new();
    set.insert(config).expect("an empty set");
    set
}

fn cost(packets: &[[u8; PACKET_LEN]], decode: impl Fn(&[u8]) -> bool) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            for packet in packets {
                black_box(decode(black_box(packet)));
            }
            begin.elapsed().as_nanos() as f64 / packets.len() as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
