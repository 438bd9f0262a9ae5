//! Ethernet frames with a datagram in them, written and read octet by octet; checksums are computed anew.

use std::net::{IpAddr, SocketAddr};

/// What the program returns for a frame that leaves by the interface where it came.
pub const TX: u32 = 3;
/// The next hop of everybody.
pub const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A datagram on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub from: SocketAddr,
    pub at: SocketAddr,
    pub ecn: u8,
    pub payload: Vec<u8>,
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The Internet checksum before it is inverted (RFC 1071).
fn sum(octets: &[u8]) -> u16 {
    let mut sum: u32 = octets
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn pseudo(from: SocketAddr, to: SocketAddr, length: u16) -> Vec<u8> {
    [
        &octets(from.ip())[..],
        &octets(to.ip()),
        &[0, 17],
        &length.to_be_bytes(),
    ]
    .concat()
}

/// The sum of what UDP adds from the header of IP.
pub fn pseudo_sum(from: SocketAddr, to: SocketAddr, length: u16) -> u16 {
    sum(&pseudo(from, to, length))
}

fn udp(frame: &Frame) -> Vec<u8> {
    let length = 8 + frame.payload.len() as u16;
    let mut datagram = [
        &frame.from.port().to_be_bytes()[..],
        &frame.at.port().to_be_bytes(),
        &length.to_be_bytes(),
        &[0, 0],
        &frame.payload,
    ]
    .concat();
    let check = !sum(&[pseudo(frame.from, frame.at, length), datagram.clone()].concat());
    let check = if check == 0 { 0xffff } else { check };
    datagram[6..8].copy_from_slice(&check.to_be_bytes());
    datagram
}

/// The octets of a frame.
pub fn frame(frame: &Frame) -> Vec<u8> {
    let udp = udp(frame);
    let addresses = [octets(frame.from.ip()), octets(frame.at.ip())].concat();
    let ip = if frame.at.is_ipv4() {
        let total = (20 + udp.len() as u16).to_be_bytes();
        [
            &[
                0x45,
                frame.ecn | 0xa0,
                total[0],
                total[1],
                7,
                7,
                0x40,
                0,
                9,
                17,
                0,
                0,
            ][..],
            &addresses,
        ]
        .concat()
    } else {
        let length = (udp.len() as u16).to_be_bytes();
        [
            &[0x60, frame.ecn << 4 | 3, 5, 5, length[0], length[1], 17, 9][..],
            &addresses,
        ]
        .concat()
    };
    let kind: [u8; 2] = if frame.at.is_ipv4() {
        [8, 0]
    } else {
        [0x86, 0xdd]
    };
    let mut octets = [&GATEWAY[..], &SENDER, &kind, &ip, &udp].concat();
    finish_ip(&mut octets);
    octets
}

/// Writes the checksum of IP, if the frame has one.
pub fn finish_ip(octets: &mut [u8]) {
    if octets.get(12..14) != Some(&[8, 0]) {
        return;
    }
    if let Some(ip) = octets.get_mut(14..34) {
        ip[10..12].fill(0);
        let check = !sum(ip);
        ip[10..12].copy_from_slice(&check.to_be_bytes());
    }
}

/// What is in a frame, which has to be sound in every field.
pub fn read_frame(octets: &[u8]) -> Frame {
    let (ethernet, packet) = octets.split_at(14);
    let is_v4 = ethernet[12..] == [8, 0];
    assert!(is_v4 || ethernet[12..] == [0x86, 0xdd]);
    let (ip, datagram) = packet.split_at(if is_v4 { 20 } else { 40 });
    let (ecn, from, at): (u8, IpAddr, IpAddr) = if is_v4 {
        assert_eq!(ip[0], 0x45);
        assert_eq!(sum(ip), 0xffff);
        assert_eq!(ip[2..4], (packet.len() as u16).to_be_bytes());
        // Do not fragment, a time to live of its own, and UDP.
        assert_eq!(ip[4..10], [0, 0, 0x40, 0, 64, 17]);
        let address = |at: usize| <[u8; 4]>::try_from(&ip[at..at + 4]).unwrap().into();
        (ip[1], address(12), address(16))
    } else {
        assert_eq!((ip[0], ip[1] & 0xcf, &ip[2..4]), (0x60, 0, &[0, 0][..]));
        assert_eq!(ip[4..6], (datagram.len() as u16).to_be_bytes());
        assert_eq!(ip[6..8], [17, 64]);
        let address = |at: usize| <[u8; 16]>::try_from(&ip[at..at + 16]).unwrap().into();
        (ip[1] >> 4, address(8), address(24))
    };
    let port = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
    let read = Frame {
        from: SocketAddr::new(from, port(0)),
        at: SocketAddr::new(at, port(2)),
        ecn,
        payload: datagram[8..].to_vec(),
    };
    assert_eq!(usize::from(port(4)), datagram.len());
    assert_eq!(datagram, udp(&read), "checksum");
    read
}
