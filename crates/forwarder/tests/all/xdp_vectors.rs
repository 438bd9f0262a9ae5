//! The program in the kernel reads every connection ID of wire/vectors/quic_lb.json, and of every legal pair of lengths.

use std::net::SocketAddr;

use legato_forwarder::xdp::Program;
use legato_forwarder::{Backend, SipKey, State, TagKeys, View, ViewSettings};
use legato_quic_lb::{Config, ConfigId, FirstOctet, Key, Lengths, ServerId};
use serde_json::Value;

use crate::frames::{frame, read_frame, Frame, TX};
use crate::kernel::{in_own_network, network, object};
use crate::traffic::{address, listeners};
use crate::vectors::{self, cases, octets};

fn config(case: &Value) -> Config {
    let number = |name: &str| case[name].as_u64().unwrap() as usize;
    let id = ConfigId::new(number("id") as u8).unwrap();
    let lengths = Lengths::new(number("server_id_len"), number("nonce_len")).unwrap();
    let config = match &case["key"] {
        Value::Null => Config::plaintext(id, lengths),
        key => Config::encrypted(id, lengths, &Key::new(octets(key).try_into().unwrap())),
    };
    match case["first_octet"].as_str() {
        None => config,
        Some("random") => config.with_first_octet(FirstOctet::Random),
        Some(_) => config.with_first_octet(FirstOctet::Zero),
    }
}

/// The server of this name is found by a short and by a long header; its neighbour has the next name.
fn is_found(program: &mut Program, interface: u32, config: &Config, name: &ServerId, cid: &[u8]) {
    let mut next = name.to_vec();
    *next.last_mut().unwrap() ^= 1;
    let names = [*name, ServerId::new(&next).unwrap()];
    let mut settings = ViewSettings::new(SipKey::new([1; 16]), TagKeys::new(SipKey::new([2; 16])));
    settings.configs.insert(config.clone()).unwrap();
    settings.backends = (1u8..)
        .zip(names)
        .map(|(number, name)| Backend {
            server_ids: vec![name],
            address: SocketAddr::from(([10, 9, 0, number], 7000)),
            state: State::Draining,
            weight: 1,
        })
        .collect();
    let view = View::new(settings).unwrap();
    program.set_view(&view, &listeners(), &[interface]).unwrap();
    let short = [&[0x40][..], cid, &[7; 30]].concat();
    let long = [&[0xc0, 0, 0, 0, 1, cid.len() as u8][..], cid, &[0; 30]].concat();
    for payload in [short, long] {
        let sent = Frame {
            from: address("192.0.2.7:5000"),
            at: listeners()[0],
            ecn: 0,
            payload,
        };
        let run = program.test_run(&frame(&sent), interface, 1).unwrap();
        assert_eq!(run.verdict, TX, "{config:?} {name}");
        assert_eq!(read_frame(&run.frame).at, address("10.9.0.1:7000"));
    }
}

#[test]
fn every_vector_is_read() {
    in_own_network("xdp_vectors::vectors");
}

#[test]
#[ignore = "run by every_vector_is_read"]
fn vectors() {
    let interface = network();
    let mut program = Program::load(&object()).unwrap();
    let cases = cases(&vectors::vectors("quic_lb.json"), "cases");
    assert!(cases.len() > 100);
    for case in &cases {
        let name = ServerId::new(&octets(&case["server_id"])).unwrap();
        let config = config(&case["config"]);
        is_found(
            &mut program,
            interface,
            &config,
            &name,
            &octets(&case["cid"]),
        );
    }
    let id = ConfigId::new(3).unwrap();
    let pairs = (1..=15).flat_map(|server_id| (4..=18).map(move |nonce| (server_id, nonce)));
    let legal = pairs.filter_map(|(server_id, nonce)| Lengths::new(server_id, nonce).ok());
    let mut count = 0;
    for lengths in legal {
        count += 1;
        let config = Config::encrypted(id, lengths, &Key::new([count; 16]));
        let name: Vec<u8> = (0..lengths.server_id() as u8)
            .map(|at| (at * 37) ^ count)
            .collect();
        let name = ServerId::new(&name).unwrap();
        let nonce = vec![count ^ 0x5a; lengths.nonce()];
        let cid = config.encode(&name, &nonce, &[0xee; 20]).unwrap();
        is_found(&mut program, interface, &config, &name, &cid);
    }
    assert_eq!(count, 120);
}
