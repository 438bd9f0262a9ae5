//! The plane on real sockets of the loopback interface. Servers and clients are sockets of the test, which waits for
//! each packet, five seconds at most.
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use legato_forwarder::{
    Backend, Direction, Plane, PlaneError, Reason, Route, SipKey, State, TagKeys, Tunnel, View,
    ViewSettings,
};
use legato_quic_lb::{Config, ConfigId, Key, Lengths, ServerId};
use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

fn keys() -> TagKeys {
    TagKeys::new(SipKey::new([1; 16]))
}

fn config() -> Config {
    let lengths = Lengths::new(8, 8).unwrap();
    Config::encrypted(ConfigId::new(2).unwrap(), lengths, &Key::new([7; 16]))
}

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket
}

fn client_of(plane: SocketAddr, from: &str) -> UdpSocket {
    let client = socket(from);
    client.connect(plane).unwrap();
    client
}

/// A server that takes encapsulated packets.
struct Server {
    socket: UdpSocket,
    number: u8,
    tunnel: Tunnel,
}

impl Server {
    fn new(number: u8, address: &str) -> Self {
        let loopback = ["127.0.0.0/8", "::1"].map(|text| text.parse().unwrap());
        Self {
            socket: socket(address),
            number,
            tunnel: Tunnel::new(keys(), loopback.to_vec()),
        }
    }

    fn backend(&self) -> Backend {
        Backend {
            server_ids: vec![ServerId::new(&[self.number; 8]).unwrap()],
            address: self.socket.local_addr().unwrap(),
            state: State::Ready,
            weight: 1,
        }
    }

    /// A packet that belongs here.
    fn packet(&self, content: &[u8]) -> Vec<u8> {
        let id = ServerId::new(&[self.number; 8]).unwrap();
        let cid = config().encode(&id, &[9; 8], &[0; 20]).unwrap();
        [&[0x40][..], &cid, content, &[0xaa; 20]].concat()
    }

    /// The next packet, its client and its balancer.
    fn take(&self) -> (Vec<u8>, SocketAddr, SocketAddr) {
        let mut buffer = [0; 65536];
        let (len, from) = self
            .socket
            .recv_from(&mut buffer)
            .expect("a packet in time");
        let (client, payload) = self.tunnel.receive(&buffer[..len], from).unwrap();
        (payload.to_vec(), client, from)
    }

    fn answer(&self, content: &[u8], client: SocketAddr, balancer: SocketAddr) {
        let datagram = [&self.tunnel.reply(client)[..], content].concat();
        self.socket.send_to(&datagram, balancer).unwrap();
    }

    /// One packet there and one back.
    fn round_trip(&self, client: &UdpSocket) {
        let packet = self.packet(b"there");
        client.send(&packet).unwrap();
        let (received, address, balancer) = self.take();
        assert_eq!(received, packet);
        assert_eq!(address, client.local_addr().unwrap());
        self.answer(b"back", address, balancer);
        assert_eq!(hear(client), b"back");
    }
}

fn send(client: &UdpSocket, server: &Server, content: &[u8]) {
    client.send(&server.packet(content)).unwrap();
}

fn hear(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 65536];
    let len = client.recv(&mut buffer).expect("an answer in time");
    buffer[..len].to_vec()
}

fn settings(servers: &[&Server]) -> ViewSettings {
    let mut settings = ViewSettings::new(SipKey::new([2; 16]), keys());
    settings.configs.insert(config()).unwrap();
    settings.backends = servers.iter().map(|server| server.backend()).collect();
    settings
}

fn view(servers: &[&Server]) -> View {
    View::new(settings(servers)).unwrap()
}

fn listening(addresses: &[&str], threads: usize, servers: &[&Server]) -> Plane {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Plane::start(&addresses, threads, view(servers)).unwrap()
}

/// A port that is free for both families.
fn free_port() -> u16 {
    let mut tries = (0..50).map(|_| socket("127.0.0.1:0").local_addr().unwrap().port());
    let free = |port: &u16| UdpSocket::bind(("::1", *port)).is_ok();
    tries.find(free).expect("one of fifty ports")
}

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
    let plane = listening(&["127.0.0.1:0"], 1, &[&four, &six]);
    let client = client_of(plane.addresses()[0], "127.0.0.1:0");
    client.send(&six.packet(b"lost")).unwrap();
    four.round_trip(&client);
    four.round_trip(&client);
    assert_eq!(plane.statistics().totals.dropped(Reason::OtherFamily), 1);
}

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
fn what_is_forged_reaches_nobody() {
    let server = Server::new(1, "127.0.0.1:0");
    let plane = listening(&["127.0.0.1:0"], 1, &[&server]);
    let address = plane.addresses()[0];
    let client = client_of(address, "127.0.0.1:0");
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
    server.round_trip(&client);
    server.round_trip(&client);
    let totals = plane.statistics().totals;
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
    server.round_trip(&client);
    server.round_trip(&client);
    let totals = plane.statistics().totals;
    assert_eq!(totals.dropped(Reason::ReplyClient), 2);
    assert_eq!(totals.all_dropped(), 2);
}

#[test]
fn packets_of_every_kind_are_forwarded_or_counted() {
    let server = Server::new(1, "127.0.0.1:0");
    let plane = listening(&["127.0.0.1:0"], 1, &[&server]);
    let client = client_of(plane.addresses()[0], "127.0.0.1:0");
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
    server.round_trip(&client);
    server.round_trip(&client);
    let totals = plane.statistics().totals;
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
    server.round_trip(&client);
    server.round_trip(&client);
    let totals = plane.statistics().totals;
    assert_eq!(totals.dropped(Reason::SendTooLarge), 1);
    assert_eq!(totals.all_dropped(), 1);
}

#[test]
fn a_new_view_holds_from_the_next_packet_on() {
    let (first, second) = (Server::new(1, "127.0.0.1:0"), Server::new(2, "127.0.0.1:0"));
    let plane = listening(&["127.0.0.1:0"], 1, &[]);
    let client = client_of(plane.addresses()[0], "127.0.0.1:0");
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
