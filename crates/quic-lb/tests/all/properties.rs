//! What holds for every configuration, connection ID and packet.

use std::collections::HashSet;

use legato_quic_lb::{
    Config, ConfigId, ConfigSet, FirstOctet, Issuer, Key, Lengths, Nonces, ServerId,
};
use proptest::prelude::*;

fn lengths() -> impl Strategy<Value = Lengths> {
    (1..=15usize)
        .prop_flat_map(|server_id| (Just(server_id), 4..=19 - server_id))
        .prop_map(|(server_id, nonce)| Lengths::new(server_id, nonce).unwrap())
}

fn config() -> impl Strategy<Value = Config> {
    let first_octet = prop_oneof![
        Just(FirstOctet::SelfDescribed),
        Just(FirstOctet::Random),
        Just(FirstOctet::Zero)
    ];
    (
        0..7u8,
        lengths(),
        any::<Option<[u8; 16]>>(),
        first_octet,
        0..=14usize,
    )
        .prop_map(|(id, lengths, key, first_octet, filling)| {
            let id = ConfigId::new(id).unwrap();
            let config = match key {
                Some(key) => Config::encrypted(id, lengths, &Key::new(key)),
                None => Config::plaintext(id, lengths),
            };
            let cid_len = (config.cid_len() + filling).min(20);
            let config = config.with_first_octet(first_octet);
            config.with_cid_len(cid_len).unwrap()
        })
}

fn set(configs: impl IntoIterator<Item = Config>) -> ConfigSet {
    let mut set = ConfigSet::new();
    for config in configs {
        // The first of two with one codepoint stays.
        let _ = set.insert(config);
    }
    set
}

fn server_id(config: &Config, octets: [u8; 15]) -> ServerId {
    ServerId::new(&octets[..config.lengths().server_id()]).unwrap()
}

proptest! {
    #[test]
    fn what_a_server_issues_a_balancer_decodes(
        config in config(), octets: [u8; 15], seed: [u8; 32], random: [u8; 20], payload: Vec<u8>,
    ) {
        let server_id = server_id(&config, octets);
        let mut issuer = Issuer::new(config.cid_len().max(8)).unwrap();
        let config = config.with_cid_len(issuer.cid_len()).unwrap();
        issuer.rotate(config.clone(), server_id, Nonces::new(seed)).unwrap();
        let set = set([config]);
        let mut seen = HashSet::new();
        for _ in 0..20 {
            let cid = issuer.issue(&random).unwrap();
            prop_assert_eq!(cid.len(), issuer.cid_len());
            prop_assert_eq!(set.decode_long(&cid).unwrap().server_id, server_id);
            let packet = [&cid[..], &payload[..]].concat();
            prop_assert_eq!(set.decode(&packet).unwrap().server_id, server_id);
            prop_assert!(seen.insert(cid));
        }
    }

    #[test]
    fn an_encrypted_block_shows_neither_server_id_nor_order(
        lengths in lengths(), octets: [u8; 15], key: [u8; 16], seed: [u8; 32],
    ) {
        // Shorter blocks may agree in their first octets by chance.
        prop_assume!(lengths.server_id() >= 8);
        let config = Config::encrypted(ConfigId::new(0).unwrap(), lengths, &Key::new(key));
        let server_id = server_id(&config, octets);
        let mut issuer = Issuer::new(config.cid_len()).unwrap();
        issuer.rotate(config, server_id, Nonces::new(seed)).unwrap();
        let (one, two) = (issuer.issue(&[0; 20]).unwrap(), issuer.issue(&[0; 20]).unwrap());
        prop_assert_ne!(&one[1..9], &server_id[..8]);
        prop_assert_ne!(&one[1..9], &two[1..9]);
    }

    #[test]
    fn no_octets_confuse_a_balancer(
        configs in prop::collection::vec(config(), 0..7), octets in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let set = set(configs);
        match set.decode(&octets) {
            Ok(decoded) => {
                let config = set.get(decoded.config).unwrap();
                prop_assert_eq!(decoded.config.get(), octets[0] >> 5);
                prop_assert_eq!(decoded.server_id.len(), config.lengths().server_id());
                // What lies behind the block makes no difference.
                let block = &octets[..=config.lengths().server_id() + config.lengths().nonce()];
                prop_assert_eq!(set.decode(block), Ok(decoded));
                prop_assert!(set.decode(&block[..block.len() - 1]).is_err());
            }
            Err(unroutable) => {
                // A long header never makes a connection ID routable.
                prop_assert!(set.decode_long(&octets).is_err());
                prop_assert!(!unroutable.to_string().is_empty());
            }
        }
        if let Ok(decoded) = set.decode_long(&octets) {
            prop_assert_eq!(set.decode(&octets), Ok(decoded));
        }
    }

    #[test]
    fn a_chain_of_balancers_may_read_a_prefix(
        lengths in lengths(), shorter in 1..=15usize, octets: [u8; 15], key: [u8; 16], nonce: [u8; 18],
    ) {
        prop_assume!(shorter <= lengths.server_id());
        let id = ConfigId::new(0).unwrap();
        let server = Config::encrypted(id, lengths, &Key::new(key));
        let server_id = server_id(&server, octets);
        let cid = server.encode(&server_id, &nonce[..lengths.nonce()], &[0; 20]).unwrap();
        let nonce = lengths.nonce() + lengths.server_id() - shorter;
        let balancer = Config::encrypted(id, Lengths::new(shorter, nonce).unwrap(), &Key::new(key));
        let decoded = set([balancer]).decode(&cid).unwrap();
        prop_assert_eq!(&decoded.server_id[..], &server_id[..shorter]);
    }

    #[test]
    fn another_key_leads_elsewhere(octets: [u8; 15], nonce: [u8; 8], key: [u8; 16]) {
        let lengths = Lengths::new(8, 8).unwrap();
        let with = |key| Config::encrypted(ConfigId::new(0).unwrap(), lengths, &Key::new(key));
        let server_id = ServerId::new(&octets[..8]).unwrap();
        let cid = with(key).encode(&server_id, &nonce, &[0; 20]).unwrap();
        let foreign = set([with(key.map(|octet| !octet))]);
        prop_assert_ne!(foreign.decode(&cid).unwrap().server_id, server_id);
    }

    #[test]
    fn addresses_come_back(address: u32, port: u16, network: u128, interface: u64) {
        let v4 = std::net::SocketAddrV4::new(address.into(), port);
        prop_assert_eq!(ServerId::from_ipv4(v4).to_ipv4(), Some(v4));
        let v6 = std::net::Ipv6Addr::from(network >> 64 << 64 | u128::from(interface));
        prop_assert_eq!(ServerId::from_ipv6(v6).to_ipv6(network.into()), Some(v6));
    }
}
