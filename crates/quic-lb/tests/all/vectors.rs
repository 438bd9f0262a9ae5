//! The crate writes and reads exactly the octets that wire/vectors/quic_lb.json fixes.

use legato_quic_lb::{
    Config, ConfigId, ConfigSet, Decoded, FirstOctet, Key, Lengths, ServerId, MAX_CID_LEN,
};
use serde_json::Value;

fn vectors(list: &str) -> Vec<Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../wire/vectors/quic_lb.json"
    );
    let text = std::fs::read_to_string(path).expect("the vectors are part of the repository");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let cases = all[list].as_array().expect("a list").clone();
    assert!(!cases.is_empty());
    cases
}

fn octets(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal text");
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits"))
        .collect()
}

fn number(value: &Value) -> usize {
    value.as_u64().expect("a number") as usize
}

fn config(case: &Value) -> Config {
    let id = ConfigId::new(number(&case["id"]) as u8).unwrap();
    let lengths = Lengths::new(number(&case["server_id_len"]), number(&case["nonce_len"])).unwrap();
    let config = match &case["key"] {
        Value::Null => Config::plaintext(id, lengths),
        key => Config::encrypted(id, lengths, &Key::new(octets(key).try_into().unwrap())),
    };
    let config = config.with_first_octet(match case["first_octet"].as_str() {
        None => FirstOctet::SelfDescribed,
        Some("random") => FirstOctet::Random,
        Some("zero") => FirstOctet::Zero,
        Some(other) => panic!("first octet {other}"),
    });
    match &case["cid_len"] {
        Value::Null => config,
        cid_len => config.with_cid_len(number(cid_len)).unwrap(),
    }
}

fn random(case: &Value) -> [u8; MAX_CID_LEN] {
    match &case["random"] {
        Value::Null => [0; MAX_CID_LEN],
        random => octets(random).try_into().unwrap(),
    }
}

#[test]
fn connection_ids_are_encoded_as_fixed() {
    for case in vectors("cases") {
        let server_id = ServerId::new(&octets(&case["server_id"])).unwrap();
        let nonce = octets(&case["nonce"]);
        let cid = config(&case["config"])
            .encode(&server_id, &nonce, &random(&case))
            .unwrap();
        assert_eq!(cid[..], octets(&case["cid"]), "{}", case["name"]);
    }
}

#[test]
fn connection_ids_are_decoded_as_fixed() {
    for case in vectors("cases") {
        let config = config(&case["config"]);
        let expected = Decoded {
            config: config.id(),
            server_id: ServerId::new(&octets(&case["server_id"])).unwrap(),
        };
        let mut set = ConfigSet::new();
        set.insert(config).unwrap();
        let cid = octets(&case["cid"]);
        assert_eq!(set.decode_long(&cid), Ok(expected), "{}", case["name"]);
        let packet = [&cid[..], &[0xaa; 30]].concat();
        assert_eq!(set.decode(&packet), Ok(expected), "{}", case["name"]);
    }
}

#[test]
fn every_legal_pair_of_lengths_is_among_the_vectors() {
    let key = |case: &Value| (number(&case["server_id_len"]), number(&case["nonce_len"]));
    let pairs: std::collections::HashSet<_> = vectors("cases")
        .iter()
        .filter(|case| case["config"]["key"] != Value::Null)
        .map(|case| key(&case["config"]))
        .collect();
    assert_eq!(pairs.len(), 120);
}

#[test]
fn unroutable_ids_are_told_apart() {
    for case in vectors("decode") {
        let mut set = ConfigSet::new();
        for case in case["configs"].as_array().unwrap() {
            set.insert(config(case)).unwrap();
        }
        let dcid = octets(&case["dcid"]);
        let decoded = match case["long_header"].as_bool().unwrap() {
            true => set.decode_long(&dcid),
            false => set.decode(&dcid),
        };
        match (decoded, case["unroutable"].as_str()) {
            (Err(unroutable), Some(reason)) => {
                assert_eq!(unroutable.to_string(), reason, "{}", case["name"]);
            }
            (Ok(decoded), None) => {
                let server_id = (
                    usize::from(decoded.config.get()),
                    decoded.server_id.to_vec(),
                );
                let expected = (number(&case["config_id"]), octets(&case["server_id"]));
                assert_eq!(server_id, expected, "{}", case["name"]);
            }
            (decoded, _) => panic!("{}: {decoded:?}", case["name"]),
        }
    }
}

#[test]
fn the_profile_of_aws_is_the_one_of_the_vectors() {
    let case = vectors("cases")
        .into_iter()
        .find(|case| case["name"] == "AWS NLB")
        .unwrap();
    let server_id = ServerId::new(&octets(&case["server_id"])).unwrap();
    let cid = Config::aws_nlb()
        .encode(&server_id, &octets(&case["nonce"]), &[0xff; 20])
        .unwrap();
    assert_eq!(cid[..], octets(&case["cid"]));
    assert_eq!(cid.len(), 16);
}
