//! What a thread receives: batches of datagrams, taken with recvmmsg.
//!
//! Owns the call, the memory that the kernel writes to, and reading what it says of each datagram. Must not know what
//! datagrams mean.
#![allow(unsafe_code)] // recvmmsg and its control messages

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use super::address::{address, Name};
use super::control::{Control, CONTROL};
use super::socket::Socket;

/// Datagrams, coalesced or not, taken with one system call.
const BATCH: usize = 64;
/// The largest UDP payload, rounded up. Coalesced datagrams are no larger together.
const LARGEST: usize = 1 << 16;
/// Distance between buffers: a little more than a power of two, or their beginnings would share the same few lines of
/// the processor's caches.
const STRIDE: usize = LARGEST + 192;

/// What was received: one datagram, or several of one sender that the system has joined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    /// Where in the inbox it begins.
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Octets of each joined datagram but the last, which may be shorter.
    pub(crate) segment: usize,
    pub(crate) from: SocketAddr,
    /// The local address that was hit, if the socket is bound to all of them.
    pub(crate) hit: Option<IpAddr>,
    pub(crate) ecn: u8,
}

/// Buffers for one batch of datagrams. It stays on the thread that made it.
pub(crate) struct Inbox {
    octets: Box<[u8]>,
    names: Box<[Name]>,
    control: Box<[Control]>,
    // Points into the boxes above and `vectors`, none of which is ever replaced.
    messages: Box<[libc::mmsghdr]>,
    _vectors: Box<[libc::iovec]>,
    received: Vec<Received>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        // SAFETY: all zeros is a value of these plain structures; null pointers go with lengths of zero.
        let (mut names, mut messages, mut vectors) = unsafe {
            (
                vec![zeroed::<Name>(); BATCH].into_boxed_slice(),
                vec![zeroed::<libc::mmsghdr>(); BATCH].into_boxed_slice(),
                vec![zeroed::<libc::iovec>(); BATCH].into_boxed_slice(),
            )
        };
        let mut octets = vec![0; BATCH * STRIDE].into_boxed_slice();
        let mut control = vec![Control::EMPTY; BATCH].into_boxed_slice();
        for (at, message) in messages.iter_mut().enumerate() {
            vectors[at] = libc::iovec {
                iov_base: octets[at * STRIDE..].as_mut_ptr().cast(),
                iov_len: LARGEST,
            };
            message.msg_hdr.msg_name = (&raw mut names[at]).cast();
            message.msg_hdr.msg_control = (&raw mut control[at]).cast();
            message.msg_hdr.msg_iov = &raw mut vectors[at];
            message.msg_hdr.msg_iovlen = 1;
        }
        Self {
            octets,
            names,
            control,
            messages,
            _vectors: vectors,
            received: Vec::with_capacity(BATCH),
        }
    }

    /// What the last batch wrote; places in it are those of [`Received`].
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The last batch.
    pub(crate) fn received(&self) -> &[Received] {
        &self.received
    }

    /// Takes what is there, without waiting; nothing is no error.
    pub(crate) fn receive(&mut self, socket: &Socket) -> io::Result<()> {
        self.received.clear();
        for message in &mut self.messages {
            message.msg_hdr.msg_namelen = size_of::<Name>() as libc::socklen_t;
            message.msg_hdr.msg_controllen = CONTROL as _;
        }
        // SAFETY: each message points to its own name, control buffer and vector, whose lengths are those of the buffers;
        // they are alive as long as `self` is, and nobody else touches them during the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // The socket itself is at fault. Everything else passes: nothing there, no memory, an interface down.
                Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL) => Err(error),
                _ => Ok(()),
            };
        };
        for at in 0..count {
            let len = self.messages[at].msg_len as usize;
            let Some(from) = address(&self.names[at]) else {
                continue;
            };
            let mut received = Received {
                start: at * STRIDE,
                len,
                segment: len.max(1),
                from,
                hit: None,
                ecn: 0,
            };
            self.read_control(at, &mut received);
            self.received.push(received);
        }
        Ok(())
    }

    fn read_control(&self, at: usize, received: &mut Received) {
        let header = &self.messages[at].msg_hdr;
        debug_assert!(std::ptr::eq(header.msg_control.cast(), &self.control[at]));
        // SAFETY: the kernel has filled `msg_control` with whole control messages and set `msg_controllen` to their
        // length; each is read as the type that the kernel documents for it, without assuming alignment.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while !message.is_null() {
                let data = libc::CMSG_DATA(message);
                match ((*message).cmsg_level, (*message).cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_TOS) => received.ecn = data.read() & 3,
                    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                        received.ecn = data.cast::<i32>().read_unaligned() as u8 & 3;
                    }
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        let segment = data.cast::<i32>().read_unaligned();
                        received.segment = usize::try_from(segment).unwrap_or(0).max(1);
                    }
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                        let address = u32::from_be(info.ipi_spec_dst.s_addr);
                        received.hit = Some(Ipv4Addr::from_bits(address).into());
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                        received.hit = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    }
                    _ => {}
                }
                message = libc::CMSG_NXTHDR(header, message);
            }
        }
    }
}
