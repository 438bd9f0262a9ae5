//! UDP sockets: binding them, sending and receiving in batches (GSO, GRO, recvmmsg, PKTINFO).
//!
//! Owns the operating system's view of a path. Must not know QUIC beyond the shape of a transmit.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use legato_forwarder::Tunnel;
use quinn_proto::Transmit;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use crate::driver::Exit;
use crate::error::EngineError;
use crate::fleet::Fleet;

/// Kernel buffer asked for; the system may give less.
const KERNEL_BUFFER: usize = 4 << 20;
/// Attempts to find one free port for several addresses.
const PORT_ATTEMPTS: usize = 32;
/// Packets taken from a socket with one system call.
pub(crate) const RECEIVE_BATCH: usize = 16;
/// Datagrams of one size handed over as one. Linux takes 64; beyond this the gain is small and pacing suffers.
const MAX_SEGMENTS: usize = 32;

/// A transmit that the system did not take.
struct Kept {
    destination: SocketAddr,
    source: Option<IpAddr>,
    ecn: Option<quinn_udp::EcnCodepoint>,
    segment_size: Option<usize>,
    payload: Vec<u8>,
}

/// What came of a send.
pub(crate) enum Departure {
    Done,
    Blocked,
    /// The system knows that nobody is there.
    Unreachable,
}

/// A non-blocking UDP socket.
pub(crate) struct Socket {
    pub(crate) io: mio::net::UdpSocket,
    state: UdpSocketState,
    kept: Option<Kept>,
    /// Whose packets come and go with a balancer's header, if they do.
    fleet: Option<Arc<Fleet>>,
}

impl Socket {
    pub(crate) fn new(socket: std::net::UdpSocket, fleet: Option<Arc<Fleet>>) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            io: mio::net::UdpSocket::from_std(socket),
            state,
            kept: None,
            fleet,
        })
    }

    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments().min(MAX_SEGMENTS)
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.kept.is_some()
    }

    pub(crate) fn send(&mut self, exit: Exit, transmit: &Transmit, payload: &[u8]) -> Departure {
        let ecn = transmit
            .ecn
            .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8));
        let mut datagram = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn,
            contents: payload,
            segment_size: transmit.segment_size,
            src_ip: exit.source,
        };
        let wrapped;
        if let (Some(tunnel), Some(balancer)) = (self.tunnel(), exit.balancer) {
            let header = tunnel.reply(transmit.destination);
            wrapped = wrap(&header, transmit.segment_size, payload);
            datagram.destination = balancer;
            datagram.contents = &wrapped;
            datagram.segment_size = transmit.segment_size.map(|size| size + header.len());
        }
        let departure = self.try_send(&datagram);
        if matches!(departure, Departure::Blocked) {
            self.kept = Some(Kept {
                destination: datagram.destination,
                source: exit.source,
                ecn,
                segment_size: datagram.segment_size,
                payload: datagram.contents.to_vec(),
            });
        }
        departure
    }

    /// What seals the datagrams of this socket, if it is a tunnel's.
    fn tunnel(&self) -> Option<Arc<Tunnel>> {
        self.fleet.as_ref().and_then(|fleet| fleet.tunnel())
    }

    /// Whose tunnel the datagrams of this socket come through, and what opens them; nothing if it is no tunnel's.
    pub(crate) fn door(&self) -> Option<(Arc<Fleet>, Arc<Tunnel>)> {
        let fleet = self.fleet.clone()?;
        let tunnel = fleet.tunnel()?;
        Some((fleet, tunnel))
    }

    /// Try again what was kept; true if the socket is free now.
    pub(crate) fn retry(&mut self) -> bool {
        let Some(kept) = self.kept.take() else {
            return true;
        };
        let datagram = quinn_udp::Transmit {
            destination: kept.destination,
            ecn: kept.ecn,
            contents: &kept.payload,
            segment_size: kept.segment_size,
            src_ip: kept.source,
        };
        if matches!(self.try_send(&datagram), Departure::Blocked) {
            self.kept = Some(kept);
        }
        self.kept.is_none()
    }

    fn try_send(&self, datagram: &quinn_udp::Transmit<'_>) -> Departure {
        match self.state.try_send(UdpSockRef::from(&self.io), datagram) {
            Ok(()) => Departure::Done,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Departure::Blocked,
            Err(error) if is_unreachable(&error) => Departure::Unreachable,
            // A datagram may be lost, in the kernel as elsewhere: too large for the interface, a firewall, a full queue.
            Err(_) => Departure::Done,
        }
    }

    pub(crate) fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.state.recv(UdpSockRef::from(&self.io), buffers, meta)
    }
}

/// Every datagram of a batch with the header before it.
fn wrap(header: &[u8], segment: Option<usize>, payload: &[u8]) -> Vec<u8> {
    let segment = segment.unwrap_or(payload.len()).max(1);
    let count = payload.len().div_ceil(segment);
    let mut wrapped = Vec::with_capacity(payload.len() + count * header.len());
    for datagram in payload.chunks(segment) {
        wrapped.extend_from_slice(header);
        wrapped.extend_from_slice(datagram);
    }
    wrapped
}

/// Errors that say that the other end is not there (RFC 1122 §3.2.2.1), not just that a packet was lost.
pub(crate) fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

/// Bytes that one receive buffer needs so that no coalesced batch is cut off.
pub(crate) fn receive_buffer(payload: u16) -> usize {
    const GRO_SEGMENTS: usize = 64;
    (usize::from(payload) * GRO_SEGMENTS).min(usize::from(u16::MAX))
}

fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        // One family per socket keeps addresses in their own notation; dual stack means two sockets.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // The default limit of the system may be lower; then less has to do.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A socket that somebody else has bound.
pub(crate) fn inherit(descriptor: OwnedFd) -> Result<std::net::UdpSocket, EngineError> {
    let socket = RawSocket::from(descriptor);
    let check = || -> io::Result<()> {
        if socket.r#type()? != Type::DGRAM || socket.local_addr()?.as_socket().is_none() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        socket.set_nonblocking(true)
    };
    check().map_err(|error| {
        EngineError::Io(format!("an inherited descriptor is no UDP socket: {error}"))
    })?;
    Ok(socket.into())
}

/// A client's socket towards one server. It is connected, so that the system reports when nobody listens there.
pub(crate) fn client(
    remote: SocketAddr,
    local: Option<SocketAddr>,
) -> Result<std::net::UdpSocket, EngineError> {
    let any = match remote {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let local = local.unwrap_or(any);
    let describe =
        |error: io::Error| EngineError::Io(format!("no way from {local} to {remote}: {error}"));
    let socket = bind(local).map_err(describe)?;
    socket.connect(remote).map_err(describe)?;
    Ok(socket)
}

/// Bind every address of a server. Host names mean all their addresses, `localhost` both loopback addresses, and an empty
/// host or `*` all interfaces of both families; `::` is those of IPv6 alone, so that it can stand beside `0.0.0.0`. With
/// port 0 all sockets get one and the same free port.
pub(crate) fn listen(addresses: &[(String, u16)]) -> Result<Vec<std::net::UdpSocket>, EngineError> {
    let mut bound = Vec::new();
    for (host, port) in addresses {
        let hosts = resolve(host)?;
        let attempts = if *port == 0 { PORT_ATTEMPTS } else { 1 };
        let mut result = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        for _ in 0..attempts {
            result = bind_together(&hosts, *port);
            if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
                break;
            }
        }
        let sockets = result.map_err(|error| {
            EngineError::Io(format!(
                "cannot listen on UDP port {port} of {host:?}: {error}"
            ))
        })?;
        bound.extend(sockets);
    }
    if bound.is_empty() {
        return Err(EngineError::settings("no address to listen on"));
    }
    Ok(bound)
}

fn resolve(host: &str) -> Result<Vec<IpAddr>, EngineError> {
    match host {
        "localhost" => return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        "" | "*" => {
            return Ok(vec![
                Ipv4Addr::UNSPECIFIED.into(),
                Ipv6Addr::UNSPECIFIED.into(),
            ])
        }
        _ => {}
    }
    let found = (host, 0).to_socket_addrs().map_err(|error| {
        EngineError::Io(format!("cannot find the address of {host:?}: {error}"))
    })?;
    let mut hosts: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    hosts.dedup();
    Ok(hosts)
}

/// Bind all hosts to one port; the first decides it if it is 0. A family that the machine lacks is left out, as long as
/// another one is there.
fn bind_together(hosts: &[IpAddr], port: u16) -> io::Result<Vec<std::net::UdpSocket>> {
    let mut port = port;
    let mut sockets = Vec::new();
    let mut missing = None;
    for &host in hosts {
        match bind(SocketAddr::new(host, port)) {
            Ok(socket) => {
                port = socket.local_addr()?.port();
                sockets.push(socket);
            }
            Err(error) if lacks_family(&error) && hosts.len() > 1 => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

fn lacks_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_means_both_families_on_one_port() {
        let sockets = listen(&[("localhost".into(), 0)]).unwrap();
        let addresses: Vec<SocketAddr> = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap())
            .collect();
        assert!(addresses
            .iter()
            .all(|address| address.port() == addresses[0].port()));
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
    }

    fn hosts(sockets: &[std::net::UdpSocket]) -> Vec<String> {
        let host = |socket: &std::net::UdpSocket| socket.local_addr().unwrap().ip().to_string();
        sockets.iter().map(host).collect()
    }

    #[test]
    fn all_interfaces_can_be_named_by_family() {
        let all = hosts(&listen(&[("*".into(), 0)]).unwrap());
        assert_eq!(all[0], "0.0.0.0");
        let named: Vec<(String, u16)> = all.iter().map(|host| (host.clone(), 0)).collect();
        assert_eq!(hosts(&listen(&named).unwrap()), all);
    }

    #[test]
    fn a_port_in_use_is_told() {
        let sockets = listen(&[("127.0.0.1".into(), 0)]).unwrap();
        let port = sockets[0].local_addr().unwrap().port();
        let error = listen(&[("127.0.0.1".into(), port)])
            .unwrap_err()
            .to_string();
        assert!(error.contains("in use"), "{error}");
    }

    #[test]
    fn nonsense_hosts_are_told() {
        assert!(listen(&[("no host has this name".into(), 0)]).is_err());
        assert!(listen(&[]).is_err());
    }
}
