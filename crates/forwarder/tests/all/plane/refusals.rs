//! What is not forwarded, and how it is counted.

use legato_forwarder::{Direction, Plane, Reason, SipKey, TagKeys, View};

use super::scene::{
    client_of, counted, keys, listening, plane_and_client, settings, socket, view, Server,
};

#[test]
fn what_is_forged_reaches_nobody() {
    let server = Server::new(1, "127.0.0.1:0");
    let (plane, client) = plane_and_client(&[&server]);
    let address = plane.addresses()[0];
    let victim = client.local_addr().unwrap();
    server.round_trip(&client);
    let forged = TagKeys::new(SipKey::new([66; 16])).header(Direction::Reply, victim);
    let forged = [&forged[..], b"forged"].concat();
    server.socket.send_to(&forged, address).unwrap();
    server
        .socket
        .send_to(b"not even encapsulated", address)
        .unwrap();
    let genuine = [&keys().header(Direction::Reply, victim)[..], b"stolen"].concat();
    let stranger = socket("127.0.0.1:0");
    stranger.send_to(&genuine, address).unwrap();
    let request = [&keys().header(Direction::Request, victim)[..], b"round"].concat();
    stranger.send_to(&request, address).unwrap();
    server.socket.send_to(&genuine[..16], address).unwrap();
    let itself = [&keys().header(Direction::Reply, address)[..], b"loop"].concat();
    server.socket.send_to(&itself, address).unwrap();
    // The first thing that the client hears is the answer of this round trip.
    let totals = counted(&plane, &server, &client);
    for reason in [
        Reason::ReplyTag,
        Reason::NotEncapsulated,
        Reason::Stranger,
        Reason::Loop,
        Reason::ReplyMalformed,
        Reason::ReplyClient,
    ] {
        assert_eq!(totals.dropped(reason), 1, "{reason:?}");
    }
    assert_eq!(totals.all_dropped(), 6);
}

#[test]
fn nothing_goes_from_one_address_of_a_balancer_to_another() {
    let server = Server::new(1, "127.0.0.1:0");
    let plane = listening(&["127.0.0.1:0", "127.0.0.2:0"], 1, &[&server]);
    let [one, other] = plane.addresses()[..] else {
        panic!("two addresses");
    };
    server.answer(&server.packet(b"round"), other, one);
    plane.set_view(view(&[&server]));
    server.answer(&server.packet(b"round"), other, one);
    let client = client_of(one, "127.0.0.1:0");
    let totals = counted(&plane, &server, &client);
    assert_eq!(totals.dropped(Reason::ReplyClient), 2);
    assert_eq!(totals.all_dropped(), 2);
}

#[test]
fn packets_of_every_kind_are_forwarded_or_counted() {
    let server = Server::new(1, "127.0.0.1:0");
    let (plane, client) = plane_and_client(&[&server]);
    let long = |version: u32, rest: &[u8]| {
        [
            &[0xc0][..],
            &version.to_be_bytes(),
            &[8],
            &[0xff; 8],
            &[0],
            rest,
        ]
        .concat()
    };
    for dropped in [
        &[][..],
        &[0x40],
        &[0x40; 20],
        &long(1, &[])[..14],
        &long(0, &[0; 9]),
    ] {
        client.send(dropped).unwrap();
    }
    client.send(&vec![0x40; 1425]).unwrap();
    client.send(&vec![0x40; 60_000]).unwrap();
    for forwarded in [
        vec![0x40; 21],
        vec![0x7f; 1424],
        long(1, &[0; 1186]),
        long(0x5a5a_5a5a, &[1]),
    ] {
        client.send(&forwarded).unwrap();
        assert_eq!(server.take().0, forwarded);
    }
    let totals = counted(&plane, &server, &client);
    assert_eq!(totals.dropped(Reason::Truncated), 4);
    assert_eq!(totals.dropped(Reason::VersionNegotiation), 1);
    assert_eq!(totals.dropped(Reason::TooLarge), 2);
    assert_eq!(totals.all_dropped(), 7);
}

#[test]
fn what_the_way_does_not_take_is_counted() {
    let server = Server::new(1, "127.0.0.1:0");
    let mut settings = settings(&[&server]);
    settings.max_payload = 65_535;
    let address = "127.0.0.1:0".parse().unwrap();
    let plane = Plane::start(&[address], 1, View::new(settings).unwrap()).unwrap();
    let client = client_of(plane.addresses()[0], "127.0.0.1:0");
    let largest = 65_507 - 16;
    client.send(&vec![0x40; largest + 1]).unwrap();
    client.send(&vec![0x40; largest]).unwrap();
    assert_eq!(server.take().0.len(), largest);
    let totals = counted(&plane, &server, &client);
    assert_eq!(totals.dropped(Reason::SendTooLarge), 1);
    assert_eq!(totals.all_dropped(), 1);
}
