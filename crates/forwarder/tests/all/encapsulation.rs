//! The crate writes and reads exactly the datagrams that wire/vectors/encapsulation.json fixes.

use std::net::{IpAddr, SocketAddr};

use legato_forwarder::{Declined, Direction, Opened, Refused, SipKey, TagKeys, Tunnel};
use serde_json::Value;

use crate::vectors::{cases, octets, vectors};

fn key(vectors: &Value, name: &str) -> SipKey {
    SipKey::new(octets(&vectors[name]).try_into().expect("16 octets"))
}

fn direction(case: &Value) -> Direction {
    match case["reply"].as_bool().expect("a truth value") {
        true => Direction::Reply,
        false => Direction::Request,
    }
}

fn client(case: &Value) -> SocketAddr {
    let address: IpAddr = case["client"].as_str().unwrap().parse().unwrap();
    SocketAddr::new(address, case["port"].as_u64().unwrap() as u16)
}

#[test]
fn datagrams_are_sealed_and_opened_as_fixed() {
    let vectors = vectors("encapsulation.json");
    let both = TagKeys::new(key(&vectors, "key")).also_accepting(key(&vectors, "other_key"));
    for case in cases(&vectors, "sealed") {
        let with = case["sealed_with"].as_str().unwrap_or("key");
        let header = TagKeys::new(key(&vectors, with)).header(direction(&case), client(&case));
        let payload = octets(&case["payload"]);
        let datagram = octets(&case["datagram"]);
        assert_eq!(
            [&header[..], &payload].concat(),
            datagram,
            "{}",
            case["name"]
        );
        let expected = Opened {
            direction: direction(&case),
            client: client(&case),
            payload: &payload,
        };
        assert_eq!(both.open(&datagram), Ok(expected), "{}", case["name"]);
    }
}

#[test]
fn what_is_not_genuine_is_refused_for_the_reason_fixed() {
    let vectors = vectors("encapsulation.json");
    let keys = TagKeys::new(key(&vectors, "key"));
    for case in cases(&vectors, "refused") {
        let refused = keys.open(&octets(&case["datagram"])).unwrap_err();
        assert_eq!(
            refused.to_string(),
            case["reason"].as_str().unwrap(),
            "{}",
            case["name"]
        );
    }
}

#[test]
fn clients_in_ipv6_notation_of_ipv4_are_written_as_ipv4() {
    let keys = TagKeys::new(SipKey::new([1; 16]));
    let plain = keys.header(Direction::Request, "192.0.2.7:4433".parse().unwrap());
    let mapped = keys.header(
        Direction::Request,
        "[::ffff:192.0.2.7]:4433".parse().unwrap(),
    );
    assert_eq!(plain, mapped);
}

#[test]
fn keys_change_without_a_gap() {
    let client = "192.0.2.7:4433".parse().unwrap();
    let (old, new) = (SipKey::new([1; 16]), SipKey::new([2; 16]));
    let stages = [
        TagKeys::new(old.clone()),
        TagKeys::new(old.clone()).also_accepting(new.clone()),
        TagKeys::new(new.clone()).also_accepting(old),
        TagKeys::new(new),
    ];
    let understands = |receiver: &TagKeys, sender: &TagKeys| {
        let mut datagram = sender.header(Direction::Request, client).to_vec();
        datagram.push(0x40);
        receiver.open(&datagram).is_ok()
    };
    for pair in stages.windows(2) {
        assert!(understands(&pair[0], &pair[1]) && understands(&pair[1], &pair[0]));
    }
    assert!(!understands(&stages[0], &stages[2]) && !understands(&stages[3], &stages[1]));
}

#[test]
fn a_server_believes_balancers_with_the_key_and_nobody_else() {
    let keys = TagKeys::new(SipKey::new([1; 16]));
    let tunnel = Tunnel::new(keys.clone(), vec!["10.0.0.0/24".parse().unwrap()]);
    let client: SocketAddr = "192.0.2.7:4433".parse().unwrap();
    let balancer: SocketAddr = "10.0.0.1:443".parse().unwrap();
    let sealed = |keys: &TagKeys, direction| {
        let mut datagram = keys.header(direction, client).to_vec();
        datagram.extend([0x40; 21]);
        datagram
    };
    let request = sealed(&keys, Direction::Request);
    let payload = [0x40; 21];
    assert_eq!(
        tunnel.receive(&request, balancer),
        Ok((client, &payload[..]))
    );
    let mapped = "[::ffff:10.0.0.1]:443".parse().unwrap();
    assert!(tunnel.receive(&request, mapped).is_ok());
    let stranger = "10.0.1.1:443".parse().unwrap();
    assert_eq!(tunnel.receive(&request, stranger), Err(Declined::Stranger));
    let reply = sealed(&keys, Direction::Reply);
    assert_eq!(tunnel.receive(&reply, balancer), Err(Declined::Reply));
    let forged = sealed(&TagKeys::new(SipKey::new([2; 16])), Direction::Request);
    let wrong = Err(Declined::Refused(Refused::Tag));
    assert_eq!(tunnel.receive(&forged, balancer), wrong);
    let bare = Err(Declined::Refused(Refused::NotEncapsulated));
    assert_eq!(tunnel.receive(&payload, balancer), bare);
    assert_eq!(tunnel.reply(client)[..], reply[..16]);
}
