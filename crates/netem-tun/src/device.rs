//! The ports of the link: TUN devices and packet sockets. Both read and write whole IP packets, without waiting.
//!
//! Owns the calls of the kernel that no safe wrapper has; each is small and stands alone. Must not know namespaces.
#![allow(unsafe_code)] // four calls: two ioctls, and the address of a packet socket in bind and sendto

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;

use crate::{failed, Failure};

const TUN: &str = "/dev/net/tun";
const ETHTOOL_STXCSUM: u32 = 0x17;

/// One end of the link.
pub struct Port {
    fd: OwnedFd,
    /// For a packet socket: to whom frames go, but for their protocol.
    link: Option<libc::sockaddr_ll>,
    dropped: u64,
}

impl Port {
    /// Read a packet; none if there is none now.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        match nix::unistd::read(&self.fd, buffer) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            // The interface is down for a moment, or was told of an error on the way; packets come again afterwards.
            Err(Errno::ENETDOWN | Errno::EIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hand a packet over; false if the kernel did not take it.
    pub fn send(&self, packet: &[u8]) -> bool {
        let Some(mut to) = self.link else {
            return nix::unistd::write(&self.fd, packet).is_ok();
        };
        let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
        let protocol = if is_v6 {
            libc::ETH_P_IPV6
        } else {
            libc::ETH_P_IP
        };
        to.sll_protocol = (protocol as u16).to_be();
        // SAFETY: pointers and lengths belong to `packet` and `to`, which live through the call.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const to).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        sent == packet.len() as isize
    }

    /// Packets that came faster than they were read, if the port counts them itself.
    pub fn dropped(&mut self) -> Option<u64> {
        self.link?;
        // SAFETY: all zeros is a value of this plain structure.
        let mut seen: libc::tpacket_stats = unsafe { zeroed() };
        let mut length = size_of::<libc::tpacket_stats>() as u32;
        // SAFETY: pointer and length belong to `seen`; the kernel writes no more than `length` bytes.
        let code = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut seen).cast(),
                &raw mut length,
            )
        };
        if code == 0 {
            // Reading sets the kernel's count back to zero.
            self.dropped += u64::from(seen.tp_drops);
        }
        Some(self.dropped)
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether this process may open the TUN driver.
pub fn tun_may_be_opened() -> bool {
    open_driver().is_ok()
}

fn open_driver() -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(TUN)
}

/// Make a TUN device in the current network namespace.
///
/// Without the header of IFF_VNET_HDR the kernel hands over finished packets: cut to size, with their checksums.
pub fn open_tun(name: &str) -> Result<Port, Failure> {
    let file = open_driver().map_err(|error| {
        Failure::Unavailable(format!(
            "{TUN} cannot be opened ({error}): use --wire veth, or allow it with chmod 666 {TUN}"
        ))
    })?;
    // SAFETY: all zeros is a value of this plain structure.
    let mut request: libc::ifreq = unsafe { zeroed() };
    name_request(&mut request, name);
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives through the call.
    let code = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    Errno::result(code).map_err(failed("the TUN device cannot be made"))?;
    Ok(Port {
        fd: file.into(),
        link: None,
        dropped: 0,
    })
}

/// Open a packet socket on an interface of the current network namespace; what it sends goes to `mac`.
pub fn open_packet_socket(interface: &str, mac: [u8; 6]) -> Result<Port, Failure> {
    let what = "the packet socket cannot be made";
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let every = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: no pointers; a result that is no error is a descriptor of ours.
    let fd = unsafe {
        let fd = Errno::result(libc::socket(libc::AF_PACKET, kind, i32::from(every)))
            .map_err(failed(what))?;
        OwnedFd::from_raw_fd(fd)
    };
    let index = nix::net::if_::if_nametoindex(interface).map_err(failed(what))?;
    // SAFETY: all zeros is a value of this plain structure.
    let mut link: libc::sockaddr_ll = unsafe { zeroed() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = every;
    link.sll_ifindex = index as i32;
    link.sll_halen = mac.len() as u8;
    link.sll_addr[..mac.len()].copy_from_slice(&mac);
    // SAFETY: pointer and length belong to `link`, which lives through the call.
    let code = unsafe {
        let length = size_of::<libc::sockaddr_ll>() as u32;
        libc::bind(fd.as_raw_fd(), (&raw const link).cast(), length)
    };
    Errno::result(code).map_err(failed(what))?;
    // More than the system's limit is refused, and then its usual buffer has to do.
    let _ = nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::RcvBufForce, &(8 << 20))
        .or_else(|_| {
            nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::RcvBuf, &(8 << 20))
        });
    Ok(Port {
        fd,
        link: Some(link),
        dropped: 0,
    })
}

/// Let the kernel finish packets before they leave `interface` of the current namespace: checksums are written and large
/// segments are cut, as no hardware follows that would do it.
pub fn compute_checksums_in_software(interface: &str) -> Result<(), Failure> {
    let what = "checksums cannot be turned on";
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(failed(what))?;
    // The command, and the value: off.
    let mut value: [u32; 2] = [ETHTOOL_STXCSUM, 0];
    // SAFETY: all zeros is a value of this plain structure.
    let mut request: libc::ifreq = unsafe { zeroed() };
    name_request(&mut request, interface);
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: SIOCETHTOOL follows the pointer to a struct ethtool_value, which `value` is; both live through the call.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    Errno::result(code).map(drop).map_err(failed(what))
}

fn name_request(request: &mut libc::ifreq, name: &str) {
    let name = CString::new(name).expect("interface names have no zero byte");
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = *from as libc::c_char;
    }
}
