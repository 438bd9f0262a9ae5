//! The addresses and ports of an IP packet: read, and replaced with every checksum kept right.
//!
//! Owns offsets of IPv4 (RFC 791) and IPv6 (RFC 8200) headers and the update of checksums (RFC 1624). Packets come from programs
//! under test, so nothing in them is trusted. Not looked into: IPv6 extension headers, and the packets that ICMP errors quote.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::gateway::Endpoint;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

/// Which of a packet's two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Who sent it.
    Source,
    /// Whom it is for.
    Destination,
}

/// Where things are in a packet.
struct Layout {
    protocol: u8,
    address: std::ops::Range<usize>,
    port: Option<std::ops::Range<usize>>,
    /// The checksum of the IPv4 header.
    header_sum: Option<usize>,
    /// The checksum of what the packet carries, if it covers the addresses.
    payload_sum: Option<usize>,
}

/// Read one end of an IP packet; none if it is not an IP packet.
pub fn endpoint(packet: &[u8], end: End) -> Option<Endpoint> {
    let layout = layout(packet, end)?;
    let address = &packet[layout.address];
    let ip = match <[u8; 4]>::try_from(address) {
        Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
    };
    let port = layout
        .port
        .map(|at| u16::from_be_bytes([packet[at.start], packet[at.start + 1]]));
    Some(Endpoint {
        protocol: layout.protocol,
        ip,
        port,
    })
}

/// Put `new` in place of one end. A packet of another family, or that is no IP packet, stays as it is.
pub fn rewrite(packet: &mut [u8], end: End, new: Endpoint) {
    let Some(layout) = layout(packet, end) else {
        return;
    };
    let address = match new.ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    if address.len() != layout.address.len() {
        return;
    }
    let (header_sum, payload_sum) = (layout.header_sum, layout.payload_sum);
    let is_udp = layout.protocol == UDP;
    replace(packet, layout.address, &address, |packet, old, new| {
        if let Some(at) = header_sum {
            update(packet, at, old, new, false);
        }
        if let Some(at) = payload_sum {
            update(packet, at, old, new, is_udp);
        }
    });
    if let (Some(at), Some(port)) = (layout.port, new.port) {
        replace(packet, at, &port.to_be_bytes(), |packet, old, new| {
            if let Some(at) = payload_sum {
                update(packet, at, old, new, is_udp);
            }
        });
    }
}

/// Replace bytes, and tell of every changed 16-bit word.
fn replace(
    packet: &mut [u8],
    at: std::ops::Range<usize>,
    new: &[u8],
    mut changed: impl FnMut(&mut [u8], u16, u16),
) {
    for (offset, word) in at.step_by(2).zip(new.chunks_exact(2)) {
        let old = u16::from_be_bytes([packet[offset], packet[offset + 1]]);
        packet[offset..offset + 2].copy_from_slice(word);
        changed(packet, old, u16::from_be_bytes([word[0], word[1]]));
    }
}

/// RFC 1624, equation 3. A UDP checksum of 0 means that there is none (RFC 768).
fn update(packet: &mut [u8], at: usize, old: u16, new: u16, is_udp: bool) {
    let sum = u16::from_be_bytes([packet[at], packet[at + 1]]);
    if is_udp && sum == 0 {
        return;
    }
    let mut total = u32::from(!sum) + u32::from(!old) + u32::from(new);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    let mut sum = !(total as u16);
    if is_udp && sum == 0 {
        sum = 0xffff;
    }
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn layout(packet: &[u8], end: End) -> Option<Layout> {
    let (protocol, payload, address, header_sum) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 0x0f) * 4;
            if header < 20 || packet.len() < header {
                return None;
            }
            let later_fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff != 0;
            let payload = if later_fragment { packet.len() } else { header };
            let address = if end == End::Source { 12 } else { 16 };
            (packet[9], payload, address..address + 4, Some(10))
        }
        6 if packet.len() >= 40 => {
            let address = if end == End::Source { 8 } else { 24 };
            (packet[6], 40, address..address + 16, None)
        }
        _ => return None,
    };
    let (ports, sum) = match protocol {
        TCP => (true, Some(payload + 16)),
        UDP => (true, Some(payload + 6)),
        ICMP_V6 => (false, Some(payload + 2)),
        _ => (false, None),
    };
    let port = payload + if end == End::Source { 0 } else { 2 };
    Some(Layout {
        protocol,
        address,
        port: (ports && packet.len() >= payload + 4).then_some(port..port + 2),
        header_sum,
        payload_sum: sum.filter(|at| packet.len() >= at + 2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum that RFC 1071 describes, over whole data: an independent check of the updates.
    fn sum(parts: &[&[u8]]) -> u16 {
        let mut total = 0u32;
        for chunk in parts.concat().chunks(2) {
            total += u32::from(chunk[0]) << 8 | chunk.get(1).copied().map_or(0, u32::from);
        }
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        !(total as u16)
    }

    fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let length = (20 + payload.len()) as u16;
        let mut packet = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, protocol, 0, 0];
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet.extend([10, 77, 1, 2, 10, 77, 0, 1]);
        let header = sum(&[&packet]);
        packet[10..12].copy_from_slice(&header.to_be_bytes());
        packet.extend(payload);
        packet
    }

    fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, 64];
        packet.extend("fd77:0:0:1::2".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend("fd77::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend(payload);
        packet
    }

    fn payload(protocol: u8) -> (Vec<u8>, usize) {
        let mut bytes: Vec<u8> = (0..61).map(|i| (i * 37 + 5) as u8).collect();
        let at = match protocol {
            TCP => 16,
            UDP => 6,
            _ => 2,
        };
        bytes[at..at + 2].fill(0);
        (bytes, at)
    }

    /// The checksum of the payload with its pseudo header, zero if it is right.
    fn payload_error(packet: &[u8], protocol: u8) -> u16 {
        let (addresses, payload) = match packet[0] >> 4 {
            4 => (&packet[12..20], &packet[20..]),
            _ => (&packet[8..40], &packet[40..]),
        };
        let length = (payload.len() as u32).to_be_bytes();
        sum(&[addresses, &length, &[0, 0, 0, protocol], payload])
    }

    #[test]
    fn checksums_stay_right_whatever_is_replaced() {
        for (protocol, is_v4) in [
            (TCP, true),
            (UDP, true),
            (TCP, false),
            (UDP, false),
            (ICMP_V6, false),
        ] {
            let (bytes, at) = payload(protocol);
            let mut packet = if is_v4 {
                v4(protocol, &bytes)
            } else {
                v6(protocol, &bytes)
            };
            let start = packet.len() - bytes.len();
            let right = payload_error(&packet, protocol);
            packet[start + at..start + at + 2].copy_from_slice(&right.to_be_bytes());
            assert_eq!(payload_error(&packet, protocol), 0);
            for (step, end) in [End::Source, End::Destination, End::Source]
                .into_iter()
                .enumerate()
            {
                let step = step as u8;
                let ip: IpAddr = if is_v4 {
                    Ipv4Addr::new(10, 77, 101 + step, 2).into()
                } else {
                    Ipv6Addr::new(0xfd77, 0, 0, 0x65, 0, 0, step.into(), 2).into()
                };
                let port = (protocol != ICMP_V6).then_some(50_000 + u16::from(step));
                let new = Endpoint { protocol, ip, port };
                rewrite(&mut packet, end, new);
                assert_eq!(endpoint(&packet, end), Some(new));
                assert_eq!(payload_error(&packet, protocol), 0, "protocol {protocol}");
                if is_v4 {
                    assert_eq!(sum(&[&packet[..20]]), 0);
                }
            }
        }
    }

    #[test]
    fn a_udp_packet_without_checksum_stays_without() {
        let (bytes, _) = payload(UDP);
        let mut packet = v4(UDP, &bytes);
        let new = Endpoint {
            protocol: UDP,
            ip: Ipv4Addr::new(1, 2, 3, 4).into(),
            port: Some(9),
        };
        rewrite(&mut packet, End::Source, new);
        assert_eq!(packet[26..28], [0, 0]);
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let (bytes, _) = payload(UDP);
        let mut packet = v4(UDP, &bytes);
        packet[7] = 8;
        let found = endpoint(&packet, End::Source).unwrap();
        assert_eq!(found.port, None);
        let before = packet.clone();
        rewrite(
            &mut packet,
            End::Source,
            Endpoint {
                port: Some(1),
                ..found
            },
        );
        assert_eq!(packet, before);
    }

    #[test]
    fn anything_may_come_in() {
        let mut random = crate::Random::new(11, 0);
        let new = Endpoint {
            protocol: UDP,
            ip: Ipv4Addr::new(9, 9, 9, 9).into(),
            port: Some(9),
        };
        for _ in 0..200_000 {
            let length = random.up_to(70) as usize;
            let mut packet: Vec<u8> = (0..length).map(|_| random.bits() as u8).collect();
            if let Some(first) = packet.first_mut() {
                *first = [0x45, 0x4f, 0x60, *first][random.up_to(3) as usize];
            }
            for end in [End::Source, End::Destination] {
                rewrite(&mut packet, end, new);
                let is_v4 = endpoint(&packet, end).is_some_and(|found| found.ip.is_ipv4());
                assert!(!is_v4 || endpoint(&packet, end).unwrap().ip == new.ip);
            }
            assert_eq!(packet.len(), length);
        }
    }
}
