//! What happens to packets, rule by rule and for any input. No sockets.

use std::net::SocketAddr;

use legato_forwarder::{
    Arrival, Backend, Direction, Reason, Route, SipKey, State, TagKeys, Target, Verdict, View,
    ViewError, ViewSettings, DEFAULT_GRACE, DEFAULT_MAX_PAYLOAD,
};
use legato_quic_lb::{Config, ConfigId, Key, Lengths, ServerId};
use proptest::prelude::*;

const GRACE: u64 = DEFAULT_GRACE;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at() -> SocketAddr {
    address("198.51.100.1:443")
}

fn client() -> SocketAddr {
    address("192.0.2.7:50000")
}

fn keys() -> TagKeys {
    TagKeys::new(SipKey::new([1; 16]))
}

fn encrypted(id: u8) -> Config {
    let lengths = Lengths::new(8, 8).unwrap();
    Config::encrypted(ConfigId::new(id).unwrap(), lengths, &Key::new([id; 16]))
}

fn name(number: u8) -> ServerId {
    ServerId::new(&[number; 8]).unwrap()
}

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7000))
}

fn backend(number: u8, state: State) -> Backend {
    Backend {
        server_ids: vec![name(number)],
        address: server(number),
        state,
        weight: 1,
    }
}

/// Servers 1, 2 and so on in these states, under the encrypted configuration 0.
fn settings(states: &[State]) -> ViewSettings {
    let mut settings = ViewSettings::new(SipKey::new([2; 16]), keys());
    settings.configs.insert(encrypted(0)).unwrap();
    let numbered = (1..).zip(states);
    settings.backends = numbered
        .map(|(number, state)| backend(number, *state))
        .collect();
    settings
}

fn view(states: &[State]) -> View {
    View::new(settings(states)).unwrap()
}

fn short(config: &Config, server_id: &ServerId) -> Vec<u8> {
    let cid = config.encode(server_id, &[9; 8][..config.lengths().nonce()], &[0; 20]);
    [&[0x40][..], &cid.unwrap(), &[0xaa; 40]].concat()
}

fn long(version: u32, dcid: &[u8]) -> Vec<u8> {
    let length = [dcid.len() as u8];
    [&[0xc0][..], &version.to_be_bytes(), &length, dcid, &[0; 30]].concat()
}

fn judged<'a>(view: &View, datagram: &'a [u8], from: SocketAddr) -> Verdict<'a> {
    let arrival = Arrival {
        datagram,
        from,
        at: at(),
    };
    view.judge(arrival, 0)
}

fn led(view: &View, datagram: &[u8], now: u64) -> Result<(SocketAddr, Route), Reason> {
    let decided = view.decide(datagram, client(), now);
    decided.map(|target| (target.address, target.route))
}

fn sealed(direction: Direction, client: SocketAddr) -> Vec<u8> {
    [&keys().header(direction, client)[..], &[0x40; 30]].concat()
}

#[test]
fn a_connection_id_leads_whatever_the_header_and_address() {
    let view = view(&[State::Ready, State::Joining, State::Draining]);
    for number in 1..=3 {
        let packet = short(&encrypted(0), &name(number));
        let expected = Ok((server(number), Route::ConnectionId));
        assert_eq!(led(&view, &packet, 0), expected);
        for version in [1, 0x6b33_43cf, 0xff00_0022, 0x1a2a_3a4a] {
            assert_eq!(led(&view, &long(version, &packet[1..18]), 0), expected);
        }
        for from in ["192.0.2.8:1", "[2001:db8::1]:50000"] {
            let target = view.decide(&packet, address(from), 0).unwrap();
            assert_eq!(target.address, server(number));
            assert_eq!(target.config, Some(ConfigId::new(0).unwrap()));
        }
    }
}

#[test]
fn everything_else_goes_where_the_address_leads_among_ready_servers() {
    let view = view(&[
        State::Joining,
        State::Ready,
        State::Draining,
        State::Dead { since: 0 },
    ]);
    let foreign = Config::encrypted(
        ConfigId::new(0).unwrap(),
        Lengths::new(8, 8).unwrap(),
        &Key::new([99; 16]),
    );
    let mut described = short(&encrypted(0), &name(2))[1..18].to_vec();
    described.push(0);
    for (packet, route) in [
        (long(1, &[0xff; 8]), Route::ReservedCodepoint),
        (long(1, &[0x20; 8]), Route::UnknownConfig),
        (long(1, &[0x07; 8]), Route::TooShort),
        (long(1, &described), Route::WrongLength),
        (long(1, &[]), Route::TooShort),
        (short(&encrypted(3), &name(2)), Route::UnknownConfig),
        (short(&encrypted(0), &name(77)), Route::UnknownServer),
        (short(&foreign, &name(2)), Route::UnknownServer),
    ] {
        assert_eq!(led(&view, &packet, 0), Ok((server(2), route)), "{route:?}");
    }
    let all_ids = long(0x0a0a_0a0a, &[0xe1; 255]);
    assert_eq!(
        led(&view, &all_ids, 0),
        Ok((server(2), Route::ReservedCodepoint))
    );
}

#[test]
fn a_dead_server_is_waited_for_and_then_replaced() {
    let since = 5_000_000;
    let view = view(&[State::Dead { since }, State::Ready]);
    let packet = short(&encrypted(0), &name(1));
    for now in [0, since, since + GRACE - 1] {
        assert_eq!(led(&view, &packet, now), Err(Reason::DeadServer), "{now}");
    }
    let replaced = Ok((server(2), Route::DeadServer));
    assert_eq!(led(&view, &packet, since + GRACE), replaced);
    assert_eq!(led(&view, &packet, u64::MAX), replaced);
}

#[test]
fn without_a_ready_server_only_connections_go_on() {
    for states in [
        &[][..],
        &[State::Draining, State::Joining],
        &[State::Dead { since: 0 }],
    ] {
        let view = view(states);
        assert_eq!(led(&view, &long(1, &[0xff; 8]), 0), Err(Reason::NoServer));
        assert!(view.places().is_empty());
    }
    let draining = view(&[State::Draining]);
    let packet = short(&encrypted(0), &name(1));
    assert_eq!(
        led(&draining, &packet, 0),
        Ok((server(1), Route::ConnectionId))
    );
    let mut weightless = settings(&[State::Ready]);
    weightless.backends[0].weight = 0;
    let weightless = View::new(weightless).unwrap();
    assert_eq!(
        led(&weightless, &long(1, &[0xff; 8]), 0),
        Err(Reason::NoServer)
    );
}

#[test]
fn what_no_client_sends_is_dropped() {
    let view = view(&[State::Ready]);
    let packet = short(&encrypted(0), &name(1));
    let drops = |datagram: &[u8], from: SocketAddr| match judged(&view, datagram, from) {
        Verdict::Drop(reason) => Some(reason),
        _ => None,
    };
    for end in 0..21 {
        assert_eq!(
            drops(&packet[..end], client()),
            Some(Reason::Truncated),
            "{end}"
        );
    }
    assert_eq!(drops(&packet[..21], client()), None);
    assert_eq!(
        drops(&long(1, &[1; 8])[..14], client()),
        Some(Reason::Truncated)
    );
    assert_eq!(
        drops(&long(0, &[1; 8]), client()),
        Some(Reason::VersionNegotiation)
    );
    let largest = [&packet[..], &[0; DEFAULT_MAX_PAYLOAD]].concat();
    assert_eq!(drops(&largest[..DEFAULT_MAX_PAYLOAD], client()), None);
    assert_eq!(
        drops(&largest[..=DEFAULT_MAX_PAYLOAD], client()),
        Some(Reason::TooLarge)
    );
    for from in [
        "192.0.2.7:0",
        "0.0.0.0:5",
        "224.0.0.1:5",
        "255.255.255.255:5",
        "[ff02::1]:5",
        "[::]:5",
        "[fe80::1]:5",
        "[::ffff:192.0.2.7]:5",
    ] {
        assert_eq!(
            drops(&packet, address(from)),
            Some(Reason::NoClient),
            "{from}"
        );
    }
}

#[test]
fn nothing_goes_round_in_a_circle() {
    let mut settings = settings(&[State::Ready]);
    let other = address("198.51.100.2:443");
    settings.balancers = vec![other];
    let view = View::new(settings).unwrap();
    let packet = short(&encrypted(0), &name(1));
    for from in [at(), other] {
        assert_eq!(
            judged(&view, &packet, from),
            Verdict::Drop(Reason::Loop),
            "{from}"
        );
    }
    let reason = Verdict::Drop(Reason::NotEncapsulated);
    assert_eq!(judged(&view, &packet, server(1)), reason);
    let request = sealed(Direction::Request, client());
    for from in [client(), server(1), other, at()] {
        assert_eq!(
            judged(&view, &request, from),
            Verdict::Drop(Reason::Loop),
            "{from}"
        );
    }
    for goal in [at(), other, server(1)] {
        let reply = sealed(Direction::Reply, goal);
        let verdict = judged(&view, &reply, server(1));
        assert_eq!(verdict, Verdict::Drop(Reason::ReplyClient), "{goal}");
    }
}

#[test]
fn a_balancer_at_several_addresses_is_one_balancer() {
    let other = address("198.51.100.9:443");
    let view = view(&[State::Ready]).standing_at(&[at(), other]);
    let packet = short(&encrypted(0), &name(1));
    assert_eq!(
        judged(&view, &packet, other),
        Verdict::Drop(Reason::Loop),
        "pretended"
    );
    let reply = sealed(Direction::Reply, other);
    assert_eq!(
        judged(&view, &reply, server(1)),
        Verdict::Drop(Reason::ReplyClient)
    );
    assert!(matches!(
        judged(&view, &packet, client()),
        Verdict::Forward(_)
    ));
}

#[test]
fn only_servers_reply_and_only_with_the_key() {
    let view = view(&[State::Draining, State::Dead { since: 0 }]);
    let reply = sealed(Direction::Reply, client());
    for (number, backend) in [(1, 0), (2, 1)] {
        let expected = Verdict::Reply {
            client: client(),
            payload: &[0x40; 30],
            backend: Some(backend),
        };
        assert_eq!(judged(&view, &reply, server(number)), expected);
    }
    let other_port = address("10.0.0.1:7001");
    for stranger in [client(), other_port] {
        assert_eq!(
            judged(&view, &reply, stranger),
            Verdict::Drop(Reason::Stranger)
        );
    }
    let mut forged = reply.clone();
    forged[5] ^= 1;
    assert_eq!(
        judged(&view, &forged, server(1)),
        Verdict::Drop(Reason::ReplyTag)
    );
    // From a client it is a packet whose fixed bit is greased, and there is no ready server.
    assert_eq!(
        judged(&view, &forged, client()),
        Verdict::Drop(Reason::NoServer)
    );
    for (datagram, reason) in [
        (&reply[..16], Reason::ReplyMalformed),
        (&reply[..3], Reason::ReplyMalformed),
        (&[][..], Reason::NotEncapsulated),
        (&[0x0a; 40], Reason::ReplyVersion),
        (&[0x09; 40], Reason::ReplyMalformed),
    ] {
        assert_eq!(judged(&view, datagram, server(1)), Verdict::Drop(reason));
    }
}

#[test]
fn an_address_in_a_connection_id_leads_there_if_it_is_allowed_and_encrypted() {
    let mut open = settings(&[State::Ready]);
    open.allowed = vec!["10.0.0.0/24".parse().unwrap()];
    open.derived = true;
    open.balancers = vec![address("10.0.0.200:7000")];
    let lengths = Lengths::new(8, 8).unwrap();
    let clear = Config::plaintext(ConfigId::new(1).unwrap(), lengths);
    open.configs.insert(clear.clone()).unwrap();
    let view = View::new(open).unwrap();
    let to = |config: &Config, text: &str| match address(text) {
        SocketAddr::V4(v4) => short(config, &ServerId::from_ipv4(v4)),
        SocketAddr::V6(_) => unreachable!("the addresses here are IPv4"),
    };
    let unlisted = to(&encrypted(0), "10.0.0.9:7000");
    let expected = Ok((address("10.0.0.9:7000"), Route::DerivedAddress));
    assert_eq!(led(&view, &unlisted, 0), expected);
    let listed = to(&encrypted(0), "10.0.0.1:7000");
    assert_eq!(led(&view, &listed, 0), Ok((server(1), Route::ConnectionId)));
    let hashed = Ok((server(1), Route::UnknownServer));
    for refused in ["10.0.1.9:7000", "10.0.0.9:0", "10.0.0.200:7000"] {
        assert_eq!(
            led(&view, &to(&encrypted(0), refused), 0),
            hashed,
            "{refused}"
        );
    }
    assert_eq!(led(&view, &to(&clear, "10.0.0.9:7000"), 0), hashed);
    let reply = sealed(Direction::Reply, client());
    let expected = Verdict::Reply {
        client: client(),
        payload: &[0x40; 30],
        backend: None,
    };
    assert_eq!(judged(&view, &reply, address("10.0.0.9:7000")), expected);
    let outside = judged(&view, &reply, address("10.0.1.9:7000"));
    assert_eq!(outside, Verdict::Drop(Reason::Stranger));
}

#[test]
fn a_dead_server_stays_dead_when_its_address_is_in_the_connection_id() {
    let mut settings = settings(&[State::Dead { since: 0 }, State::Ready]);
    settings.allowed = vec!["10.0.0.0/24".parse().unwrap()];
    settings.derived = true;
    let view = View::new(settings).unwrap();
    let SocketAddr::V4(dead) = server(1) else {
        unreachable!("the servers are IPv4");
    };
    let packet = short(&encrypted(0), &ServerId::from_ipv4(dead));
    assert_eq!(led(&view, &packet, 0), Err(Reason::DeadServer));
    assert_eq!(
        led(&view, &packet, GRACE),
        Ok((server(2), Route::DeadServer))
    );
}

#[test]
fn a_server_has_a_name_in_each_configuration_of_a_rotation() {
    let mut settings = settings(&[State::Ready, State::Ready]);
    let lengths = Lengths::new(3, 6).unwrap();
    let next = Config::encrypted(ConfigId::new(4).unwrap(), lengths, &Key::new([8; 16]));
    settings.configs.insert(next.clone()).unwrap();
    let second = ServerId::new(&[2; 3]).unwrap();
    settings.backends[1].server_ids.push(second);
    let view = View::new(settings).unwrap();
    let new = view.decide(&short(&next, &second), client(), 0).unwrap();
    let old = view
        .decide(&short(&encrypted(0), &name(2)), client(), 0)
        .unwrap();
    assert_eq!((new.address, old.address), (server(2), server(2)));
    assert_eq!(new.config, Some(ConfigId::new(4).unwrap()));
    assert_eq!(old.config, Some(ConfigId::new(0).unwrap()));
}

#[test]
fn a_wrong_view_is_refused_with_the_reason() {
    let ready = State::Ready;
    let refused = |change: &dyn Fn(&mut ViewSettings)| {
        let mut settings = settings(&[ready, ready]);
        change(&mut settings);
        View::new(settings).unwrap_err()
    };
    let twice = ViewError::ServerIdTwice(name(1), server(1), server(2));
    assert_eq!(
        refused(&|s| s.backends[1].server_ids = vec![name(1)]),
        twice
    );
    assert_eq!(
        twice.to_string(),
        "servers 10.0.0.1:7000 and 10.0.0.2:7000 have the same server ID 0101010101010101: give each its own"
    );
    let same = ViewError::ServerIdTwice(name(1), server(1), server(1));
    assert_eq!(
        refused(&|s| s.backends[0].server_ids = vec![name(1); 2]),
        same
    );
    let twice = ViewError::AddressTwice(server(1));
    assert_eq!(refused(&|s| s.backends[1].address = server(1)), twice);
    let nameless = ViewError::NoServerId(server(2));
    assert_eq!(refused(&|s| s.backends[1].server_ids.clear()), nameless);
    for text in ["10.0.0.1:0", "224.0.0.1:5", "[::]:5"] {
        let nowhere = ViewError::NoAddress(address(text));
        assert_eq!(refused(&|s| s.backends[1].address = address(text)), nowhere);
    }
    let outside = ViewError::NotAllowed(server(1));
    assert_eq!(
        refused(&|s| s.allowed = vec!["10.1.0.0/16".parse().unwrap()]),
        outside
    );
    assert_eq!(
        refused(&|s| s.derived = true),
        ViewError::DerivedWithoutAllowed
    );
    let balancer = ViewError::IsBalancer(server(2));
    assert_eq!(refused(&|s| s.balancers = vec![server(2)]), balancer);
    let many = refused(&|s| s.backends = vec![backend(1, ready); 4097]);
    assert_eq!(many, ViewError::TooManyBackends(4097));
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Joining),
        Just(State::Ready),
        Just(State::Draining),
        (0..2 * GRACE).prop_map(|since| State::Dead { since }),
    ]
}

proptest! {
    #[test]
    fn a_packet_goes_to_a_server_of_the_list_or_nowhere(
        states in prop::collection::vec(state(), 0..6),
        packet: Vec<u8>, ip: [u8; 4], port: u16, now in 0..4 * GRACE,
    ) {
        let view = view(&states);
        let Ok(Target { backend, address, route, .. }) = view.decide(&packet, (ip, port).into(), now) else {
            return Ok(());
        };
        let backend = usize::from(backend.unwrap());
        prop_assert_eq!(address, view.backends()[backend].address);
        match states[backend] {
            State::Ready => {}
            State::Joining | State::Draining => prop_assert_eq!(route, Route::ConnectionId),
            State::Dead { .. } => prop_assert!(false, "dead servers get nothing"),
        }
    }

    #[test]
    fn where_a_client_moves_its_connection_stays(
        number in 1..=3u8, ip: [u8; 16], port in 1..u16::MAX, rest in prop::collection::vec(any::<u8>(), 3..1200),
    ) {
        let view = view(&[State::Ready, State::Draining, State::Ready]);
        let mut packet = short(&encrypted(0), &name(number));
        packet.truncate(18);
        packet.extend(rest);
        let from = SocketAddr::from((ip, port));
        if let Ok(target) = view.decide(&packet, from, 0) {
            prop_assert_eq!(target.address, server(number));
        } else {
            prop_assert_eq!(view.decide(&packet, from, 0), Err(Reason::NoClient));
        }
    }

    #[test]
    fn nobody_without_the_key_makes_a_balancer_send_to_a_client(
        datagram: Vec<u8>, first in 8..16u8, from_server: bool,
    ) {
        let datagram = [&[first][..], &datagram].concat();
        let view = view(&[State::Ready]);
        let from = if from_server { server(1) } else { client() };
        let is_reply = matches!(judged(&view, &datagram, from), Verdict::Reply { .. });
        prop_assert!(!is_reply);
    }
}
