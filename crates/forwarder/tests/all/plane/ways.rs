//! Where packets go, and where they leave from.

use std::net::{IpAddr, SocketAddr};

use legato_forwarder::{Reason, Route};
use legato_quic_lb::ConfigId;

use super::scene::{client_of, counted, free_port, hear, listening, plane_and_client, Server};

#[test]
fn a_connection_stays_with_its_server_wherever_the_client_moves() {
    let servers = [Server::new(1, "127.0.0.1:0"), Server::new(2, "127.0.0.1:0")];
    let plane = listening(&["127.0.0.1:0"], 1, &[&servers[0], &servers[1]]);
    for from in ["127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0", "127.9.9.9:0"] {
        let client = client_of(plane.addresses()[0], from);
        servers[0].round_trip(&client);
        servers[1].round_trip(&client);
    }
    let client = client_of(plane.addresses()[0], "127.0.0.1:0");
    servers[0].round_trip(&client);
    servers[0].round_trip(&client);
    let statistics = plane.statistics();
    assert!(statistics.totals.route(Route::ConnectionId) >= 9);
    assert!(statistics.totals.config(ConfigId::new(2).unwrap()) >= 9);
    assert!(statistics.backends[1].1.requests >= 4 && statistics.backends[1].1.replies >= 4);
    assert_eq!(statistics.totals.all_dropped(), 0);
    assert_eq!((statistics.overflows, statistics.working), (0, 1));
}

#[test]
fn answers_leave_from_the_address_that_was_hit() {
    let server = Server::new(1, "127.0.0.1:0");
    let plane = listening(&["0.0.0.0:0"], 1, &[&server]);
    let port = plane.addresses()[0].port();
    for hit in ["127.0.0.1", "127.0.0.77", "127.1.2.3"] {
        let hit: IpAddr = hit.parse().unwrap();
        // A connected socket hears nobody else.
        let client = client_of(SocketAddr::new(hit, port), "127.0.0.1:0");
        client.send(&server.packet(b"there")).unwrap();
        let (_, address, balancer) = server.take();
        assert_eq!(balancer.ip(), hit);
        server.answer(b"back", address, balancer);
        assert_eq!(hear(&client), b"back");
    }
}

#[test]
fn ipv6_is_like_ipv4() {
    let server = Server::new(1, "[::1]:0");
    for address in ["[::1]:0", "[::]:0"] {
        let plane = listening(&[address], 1, &[&server]);
        let port = plane.addresses()[0].port();
        let client = client_of(SocketAddr::new("::1".parse().unwrap(), port), "[::1]:0");
        server.round_trip(&client);
    }
}

#[test]
fn clients_and_servers_of_different_families_meet_at_one_port() {
    let (four, six) = (Server::new(4, "127.0.0.1:0"), Server::new(6, "[::1]:0"));
    let port = free_port();
    let both = [format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    let plane = listening(&[&both[0], &both[1]], 1, &[&four, &six]);
    for (address, from) in [(&both[0], "127.0.0.1:0"), (&both[1], "[::1]:0")] {
        let client = client_of(address.parse().unwrap(), from);
        four.round_trip(&client);
        six.round_trip(&client);
    }
    assert_eq!(plane.statistics().totals.all_dropped(), 0);
}

#[test]
fn without_a_listener_of_the_servers_family_packets_are_dropped() {
    let (four, six) = (Server::new(4, "127.0.0.1:0"), Server::new(6, "[::1]:0"));
    let (plane, client) = plane_and_client(&[&four, &six]);
    client.send(&six.packet(b"lost")).unwrap();
    let totals = counted(&plane, &four, &client);
    assert_eq!(totals.dropped(Reason::OtherFamily), 1);
}
