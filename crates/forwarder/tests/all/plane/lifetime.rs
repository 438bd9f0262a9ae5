//! Planes that begin, end, follow each other and get new views.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use legato_forwarder::{Plane, PlaneError, Reason};

use super::scene::{client_of, hear, listening, plane_and_client, send, socket, view, Server};

#[test]
fn a_plane_that_ends_and_begins_again_loses_only_what_came_between() {
    let servers = [Server::new(1, "127.0.0.1:0"), Server::new(2, "127.0.0.1:0")];
    let plane = listening(&["127.0.0.1:0"], 1, &[&servers[0], &servers[1]]);
    let address = plane.addresses()[0];
    let client = socket("127.0.0.1:0");
    let send = |content: &[u8]| client.send_to(&servers[1].packet(content), address);
    send(b"before").unwrap();
    let (_, from, balancer) = servers[1].take();
    drop(plane);
    send(b"between").unwrap();
    let plane = Plane::start(&[address], 1, view(&[&servers[0], &servers[1]])).unwrap();
    // The server was in the middle of an answer: the new plane knows nothing of the question.
    servers[1].answer(b"answer", from, balancer);
    assert_eq!(hear(&client), b"answer");
    send(b"after").unwrap();
    assert_eq!(servers[1].take().0, servers[1].packet(b"after"));
    drop(plane);
}

#[test]
fn sockets_that_are_handed_on_lose_nothing() {
    let server = Server::new(1, "127.0.0.1:0");
    let mut plane = listening(&["127.0.0.1:0"], 2, &[&server]);
    let address = plane.addresses()[0];
    let clients: Vec<_> = (0..8).map(|_| client_of(address, "127.0.0.1:0")).collect();
    for round in 0..20u8 {
        for client in &clients {
            client.send(&server.packet(&[round])).unwrap();
        }
        let sockets = plane.stop();
        assert_eq!(sockets.len(), 2);
        for client in &clients {
            client.send(&server.packet(&[round, 1])).unwrap();
        }
        plane = Plane::inherit(sockets, view(&[&server])).unwrap();
        for client in &clients {
            client.send(&server.packet(&[round, 1, 2])).unwrap();
        }
        let mut got: Vec<_> = (0..24).map(|_| server.take().0.len()).collect();
        got.sort_unstable();
        let lengths = [1, 2, 3].map(|content| server.packet(&[0; 3][..content]).len());
        assert_eq!(got, lengths.map(|length| [length; 8]).concat());
    }
    assert_eq!(plane.statistics().working, 2);
}

#[test]
fn a_plane_takes_over_while_the_other_still_works() {
    let server = Server::new(1, "127.0.0.1:0");
    let mut plane = listening(&["127.0.0.1:0"], 1, &[&server]);
    let client = client_of(plane.addresses()[0], "127.0.0.1:0");
    let mut taken = 0;
    for _ in 0..20 {
        (0..10).for_each(|_| send(&client, &server, b"old"));
        let sockets = plane.descriptors().into_iter();
        let sockets = sockets
            .map(|socket| socket.try_clone_to_owned().unwrap())
            .collect();
        let next = Plane::inherit(sockets, view(&[&server])).unwrap();
        (0..10).for_each(|_| send(&client, &server, b"both"));
        drop(std::mem::replace(&mut plane, next));
        (0..10).for_each(|_| send(&client, &server, b"new"));
        (0..30).for_each(|_| taken += server.take().0.len().min(1));
    }
    assert_eq!(taken, 600);
    server.round_trip(&client);
}

#[test]
fn a_new_view_holds_from_the_next_packet_on() {
    let (first, second) = (Server::new(1, "127.0.0.1:0"), Server::new(2, "127.0.0.1:0"));
    let (plane, client) = plane_and_client(&[]);
    client.send(&first.packet(b"nobody is there")).unwrap();
    client.send(&[0x7f; 40]).unwrap();
    // The view must not change before both are seen, and no server is there to tell.
    let begin = Instant::now();
    while plane.statistics().totals.dropped(Reason::NoServer) < 2 {
        assert!(begin.elapsed() < Duration::from_secs(5));
        std::thread::yield_now();
    }
    plane.set_view(view(&[&first]));
    first.round_trip(&client);
    first.round_trip(&client);
    let before = plane.statistics().backends[0].1;
    plane.set_view(view(&[&second, &first]));
    second.round_trip(&client);
    let (backend, traffic) = plane.statistics().backends[1].clone();
    assert_eq!(backend, first.backend());
    assert!(traffic.requests >= before.requests && before.requests >= 1);
}

#[test]
fn what_cannot_be_listened_on_is_told() {
    let none = Plane::start(&[], 1, view(&[])).err().unwrap();
    assert_eq!(
        none.to_string(),
        "no address to listen on: name at least one"
    );
    let holder = socket("127.0.0.1:0");
    let taken = holder.local_addr().unwrap();
    let error = Plane::start(&[taken], 1, view(&[])).err().unwrap();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot listen on UDP {taken}: ")),
        "{error}"
    );
    drop(holder);
    let tcp: OwnedFd = TcpListener::bind("127.0.0.1:0").unwrap().into();
    let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    for descriptor in [tcp, file] {
        let error = Plane::inherit(vec![descriptor], view(&[])).err().unwrap();
        assert!(matches!(error, PlaneError::Inherited(_)), "{error}");
    }
    assert!(matches!(
        Plane::inherit(vec![], view(&[])),
        Err(PlaneError::NoListener)
    ));
}
