//! Many packets at once: joined, cut up, marked, and shared among threads.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};

use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::scene::{client_of, hear, listening, Server};

#[test]
fn bursts_of_all_sizes_arrive_whole_and_in_order() {
    let servers = [Server::new(1, "127.0.0.1:0"), Server::new(2, "127.0.0.1:0")];
    let plane = listening(&["127.0.0.1:0"], 1, &[&servers[0], &servers[1]]);
    let clients: Vec<_> = (0..5)
        .map(|_| client_of(plane.addresses()[0], "127.0.0.1:0"))
        .collect();
    let sizes = [100, 100, 30, 100, 700, 700, 1200, 5, 5, 5];
    for round in 0..10u8 {
        for size in sizes {
            for client in &clients {
                for server in &servers {
                    client.send(&server.packet(&vec![round; size])).unwrap();
                }
            }
        }
        for server in &servers {
            let mut heard = vec![Vec::new(); clients.len()];
            for _ in 0..clients.len() * sizes.len() {
                let (payload, from, _) = server.take();
                let of = |client: &UdpSocket| client.local_addr().unwrap() == from;
                heard[clients.iter().position(of).unwrap()].push(payload);
            }
            let expected: Vec<_> = sizes
                .iter()
                .map(|size| server.packet(&vec![round; *size]))
                .collect();
            assert!(heard.iter().all(|packets| *packets == expected));
        }
    }
    let totals = plane.statistics().totals;
    assert_eq!(totals.all_dropped(), 0);
}

fn burst(socket: &UdpSocket, to: SocketAddr, contents: &[u8], segment: usize) {
    let state = UdpSocketState::new(UdpSockRef::from(socket)).unwrap();
    let transmit = Transmit {
        destination: to,
        ecn: Some(EcnCodepoint::Ce),
        contents,
        segment_size: Some(segment),
        src_ip: None,
    };
    state.send(UdpSockRef::from(socket), &transmit).unwrap();
}

#[test]
fn joined_datagrams_are_taken_apart() {
    let server = Server::new(1, "127.0.0.1:0");
    let plane = listening(&["127.0.0.1:0"], 1, &[&server]);
    let address = plane.addresses()[0];
    let bursting = client_of(address, "127.0.0.1:0");
    let clients = [
        client_of(address, "127.0.0.1:0"),
        client_of(address, "127.0.0.1:0"),
    ];
    let packets: Vec<_> = (0..20).map(|at| server.packet(&[at; 200])).collect();
    let mut contents = packets.concat();
    contents.truncate(contents.len() - 50);
    burst(&bursting, address, &contents, packets[0].len());
    for (at, packet) in packets.iter().enumerate() {
        let whole = if at == 19 {
            packet.len() - 50
        } else {
            packet.len()
        };
        assert_eq!(server.take().0, packet[..whole]);
    }
    // A server's burst may be for several clients.
    let replies: Vec<_> = (0..20u8)
        .map(|at| {
            let client = clients[usize::from(at / 3 % 2)].local_addr().unwrap();
            [&server.tunnel.reply(client)[..], &[at; 300]].concat()
        })
        .collect();
    burst(&server.socket, address, &replies.concat(), replies[0].len());
    for at in 0..20u8 {
        assert_eq!(hear(&clients[usize::from(at / 3 % 2)]), [at; 300]);
    }
}

fn congestion(socket: &UdpSocket) -> Option<EcnCodepoint> {
    let state = UdpSocketState::new(UdpSockRef::from(socket)).unwrap();
    socket.set_nonblocking(false).unwrap();
    let mut buffer = [0; 2048];
    socket.peek(&mut buffer).expect("a packet in time");
    let mut meta = [RecvMeta::default()];
    state
        .recv(
            UdpSockRef::from(socket),
            &mut [IoSliceMut::new(&mut buffer)],
            &mut meta,
        )
        .unwrap();
    meta[0].ecn
}

#[test]
fn congestion_marks_cross_the_balancer() {
    for (local, any) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
        let server = Server::new(1, local);
        let plane = listening(&[local], 1, &[&server]);
        let address = plane.addresses()[0];
        let client = client_of(address, any);
        // Both sides say that they want to see the marks before the first packet is there.
        for socket in [&client, &server.socket] {
            UdpSocketState::new(UdpSockRef::from(socket)).unwrap();
        }
        let packet = server.packet(b"marked");
        burst(&client, address, &packet, packet.len());
        assert_eq!(congestion(&server.socket), Some(EcnCodepoint::Ce));
        let reply = [
            &server.tunnel.reply(client.local_addr().unwrap())[..],
            b"marked",
        ]
        .concat();
        burst(&server.socket, address, &reply, reply.len());
        assert_eq!(congestion(&client), Some(EcnCodepoint::Ce));
    }
}

#[test]
fn threads_share_an_address_and_a_servers_replies() {
    let server = Server::new(1, "127.0.0.1:0");
    let plane = listening(&["127.0.0.1:0"], 4, &[&server]);
    assert_eq!(plane.addresses().len(), 1);
    assert_eq!(plane.descriptors().len(), 4);
    let clients: Vec<_> = (0..64)
        .map(|_| client_of(plane.addresses()[0], "127.0.0.1:0"))
        .collect();
    for _ in 0..3 {
        clients.iter().for_each(|client| server.round_trip(client));
    }
    let statistics = plane.statistics();
    assert_eq!(
        (statistics.working, statistics.totals.all_dropped()),
        (4, 0)
    );
    // All replies came from one address, and yet every thread had some.
    assert!(statistics.threads.iter().all(|thread| thread.replies > 0));
}
