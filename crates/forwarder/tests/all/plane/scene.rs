//! A plane on the loopback interface, with servers and clients around it.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use legato_forwarder::{
    Backend, Plane, SipKey, State, TagKeys, Totals, Tunnel, View, ViewSettings,
};
use legato_quic_lb::{Config, ConfigId, Key, Lengths, ServerId};

pub fn keys() -> TagKeys {
    TagKeys::new(SipKey::new([1; 16]))
}

fn config() -> Config {
    let lengths = Lengths::new(8, 8).unwrap();
    Config::encrypted(ConfigId::new(2).unwrap(), lengths, &Key::new([7; 16]))
}

pub fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket
}

pub fn client_of(plane: SocketAddr, from: &str) -> UdpSocket {
    let client = socket(from);
    client.connect(plane).unwrap();
    client
}

/// A server that takes encapsulated packets.
pub struct Server {
    pub socket: UdpSocket,
    number: u8,
    pub tunnel: Tunnel,
}

impl Server {
    pub fn new(number: u8, address: &str) -> Self {
        let loopback = ["127.0.0.0/8", "::1"].map(|text| text.parse().unwrap());
        Self {
            socket: socket(address),
            number,
            tunnel: Tunnel::new(keys(), loopback.to_vec()),
        }
    }

    pub fn backend(&self) -> Backend {
        Backend {
            server_ids: vec![ServerId::new(&[self.number; 8]).unwrap()],
            address: self.socket.local_addr().unwrap(),
            state: State::Ready,
            weight: 1,
        }
    }

    /// A packet that belongs here.
    pub fn packet(&self, content: &[u8]) -> Vec<u8> {
        let id = ServerId::new(&[self.number; 8]).unwrap();
        let cid = config().encode(&id, &[9; 8], &[0; 20]).unwrap();
        [&[0x40][..], &cid, content, &[0xaa; 20]].concat()
    }

    /// The next packet, its client and its balancer.
    pub fn take(&self) -> (Vec<u8>, SocketAddr, SocketAddr) {
        let mut buffer = [0; 65536];
        let (len, from) = self
            .socket
            .recv_from(&mut buffer)
            .expect("a packet in time");
        let (client, payload) = self.tunnel.receive(&buffer[..len], from).unwrap();
        (payload.to_vec(), client, from)
    }

    pub fn answer(&self, content: &[u8], client: SocketAddr, balancer: SocketAddr) {
        let datagram = [&self.tunnel.reply(client)[..], content].concat();
        self.socket.send_to(&datagram, balancer).unwrap();
    }

    /// One packet there and one back.
    pub fn round_trip(&self, client: &UdpSocket) {
        let packet = self.packet(b"there");
        client.send(&packet).unwrap();
        let (received, address, balancer) = self.take();
        assert_eq!(received, packet);
        assert_eq!(address, client.local_addr().unwrap());
        self.answer(b"back", address, balancer);
        assert_eq!(hear(client), b"back");
    }
}

pub fn send(client: &UdpSocket, server: &Server, content: &[u8]) {
    client.send(&server.packet(content)).unwrap();
}

pub fn hear(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 65536];
    let len = client.recv(&mut buffer).expect("an answer in time");
    buffer[..len].to_vec()
}

pub fn settings(servers: &[&Server]) -> ViewSettings {
    let mut settings = ViewSettings::new(SipKey::new([2; 16]), keys());
    settings.configs.insert(config()).unwrap();
    settings.backends = servers.iter().map(|server| server.backend()).collect();
    settings
}

pub fn view(servers: &[&Server]) -> View {
    View::new(settings(servers)).unwrap()
}

pub fn listening(addresses: &[&str], threads: usize, servers: &[&Server]) -> Plane {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Plane::start(&addresses, threads, view(servers)).unwrap()
}

/// A port that is free for both families.
pub fn free_port() -> u16 {
    let mut tries = (0..50).map(|_| socket("127.0.0.1:0").local_addr().unwrap().port());
    let free = |port: &u16| UdpSocket::bind(("::1", *port)).is_ok();
    tries.find(free).expect("one of fifty ports")
}

/// A plane with one thread at one address, and a client of it.
pub fn plane_and_client(servers: &[&Server]) -> (Plane, UdpSocket) {
    let plane = listening(&["127.0.0.1:0"], 1, servers);
    let client = client_of(plane.addresses()[0], "127.0.0.1:0");
    (plane, client)
}

/// What a plane with one thread has counted until now: a batch is, when a packet behind it is through.
pub fn counted(plane: &Plane, server: &Server, client: &UdpSocket) -> Totals {
    server.round_trip(client);
    server.round_trip(client);
    plane.statistics().totals
}
