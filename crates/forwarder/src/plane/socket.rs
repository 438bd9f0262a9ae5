//! UDP sockets of a balancer: binding, inheriting, and moving batches of datagrams with recvmmsg and sendmmsg.
//!
//! Owns the calls of the kernel that no safe wrapper has, and the memory they work on. Must not know what datagrams mean.
#![allow(unsafe_code)] // recvmmsg, sendmmsg, their control messages, and two socket options

use std::io;
use std::mem::{size_of, zeroed, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::outbox::{Letter, Piece};

/// Kernel buffer asked for; the system may give less.
const KERNEL_BUFFER: usize = 4 << 20;
/// Datagrams, coalesced or not, taken with one system call.
const BATCH: usize = 64;
/// The largest UDP payload, rounded up. Coalesced datagrams are no larger together.
const LARGEST: usize = 1 << 16;
/// Distance between buffers: a little more than a power of two, or their beginnings would share the same few lines of
/// the processor's caches.
const STRIDE: usize = LARGEST + 192;
/// Room for all control messages of one datagram.
const CONTROL: usize = 128;
/// Most messages that one sendmmsg takes.
const MOST_LETTERS: usize = 1024;

/// A bound UDP socket of one IP version.
#[derive(Debug)]
pub(crate) struct Socket {
    raw: RawSocket,
    local: SocketAddr,
}

impl Socket {
    /// Binds to an address, which other sockets may share.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let raw = RawSocket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // One family for each socket keeps addresses in their own notation.
            raw.set_only_v6(true)?;
        }
        raw.set_reuse_port(true)?;
        // The default limit of the system may be lower; then less has to do.
        let _ = raw.set_recv_buffer_size(KERNEL_BUFFER);
        let _ = raw.set_send_buffer_size(KERNEL_BUFFER);
        raw.bind(&address.into())?;
        Self::prepare(raw)
    }

    /// Takes a socket over that another process, or another plane, has bound.
    pub(crate) fn inherit(descriptor: OwnedFd) -> io::Result<Self> {
        let raw = RawSocket::from(descriptor);
        if raw.r#type()? != Type::DGRAM {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Self::prepare(raw)
    }

    fn prepare(raw: RawSocket) -> io::Result<Self> {
        let local = raw.local_addr()?.as_socket();
        let local = local.filter(|local| local.port() != 0);
        let local = local.ok_or(io::ErrorKind::InvalidInput)?;
        let socket = Self { raw, local };
        let (level, options) = match local {
            SocketAddr::V4(_) => (
                libc::IPPROTO_IP,
                [
                    (libc::IP_RECVTOS, 1),
                    (libc::IP_PKTINFO, i32::from(socket.is_wildcard())),
                    (libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
                ],
            ),
            SocketAddr::V6(_) => (
                libc::IPPROTO_IPV6,
                [
                    (libc::IPV6_RECVTCLASS, 1),
                    (libc::IPV6_RECVPKTINFO, i32::from(socket.is_wildcard())),
                    (libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
                ],
            ),
        };
        for (option, value) in options {
            socket.set(level, option, &value)?;
        }
        // Kernels before 5.0 do not coalesce, and nothing else depends on it.
        let _ = socket.set(libc::SOL_UDP, libc::UDP_GRO, &1);
        Ok(socket)
    }

    /// Where it is bound.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether it is bound to all addresses of the machine, so that each datagram has to say which one it hit.
    fn is_wildcard(&self) -> bool {
        self.local.ip().is_unspecified()
    }

    /// Spreads what servers send over the `count` sockets of the same address by the client it is for; all of a server's
    /// replies come from one address, which would make them one socket's. Everything else stays with the system's choice.
    pub(crate) fn spread_replies(&self, count: u32) -> io::Result<()> {
        let code = |code: u32, jt, jf, k| libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        };
        let mut program = [
            code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 0),
            code(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0xf8),
            code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, 0x08),
            // No socket has this number: the system chooses by its own hash.
            code(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
            code(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 2),
            code(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0),
            code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 4),
            code(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X, 0, 0, 0),
            code(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, count),
            code(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
        ];
        let program = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
    }

    /// Datagrams that the system dropped because nobody took them in time.
    pub(crate) fn overflows(&self) -> u64 {
        let mut memory = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
        let mut length = size_of_val(&memory) as libc::socklen_t;
        // SAFETY: pointer and length belong to `memory`; the kernel writes no more than `length` octets.
        let code = unsafe {
            libc::getsockopt(
                self.raw.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                memory.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        match code {
            0 => u64::from(memory[libc::SK_MEMINFO_DROPS as usize]),
            _ => 0,
        }
    }

    fn set<T>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
        // SAFETY: pointer and length belong to `value`, which lives through the call and is only read.
        let code = unsafe {
            libc::setsockopt(
                self.raw.as_raw_fd(),
                level,
                option,
                (&raw const *value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        match code {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.raw.into()
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// An address as the kernel writes it.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

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
        let mut control = vec![Control([0; CONTROL]); BATCH].into_boxed_slice();
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
                socket.raw.as_raw_fd(),
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

/// Structures for one sendmmsg, kept for the next. It stays on the thread that made it.
pub(crate) struct Mailbag {
    names: Vec<Name>,
    control: Vec<Control>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

impl Mailbag {
    pub(crate) fn new() -> Self {
        Self {
            names: Vec::with_capacity(MOST_LETTERS),
            control: Vec::with_capacity(MOST_LETTERS),
            vectors: Vec::new(),
            messages: Vec::with_capacity(MOST_LETTERS),
        }
    }

    /// Sends letters in their order. What the system refuses is told with its error, and the others are sent nonetheless.
    pub(crate) fn send(
        &mut self,
        socket: &Socket,
        letters: &[Letter],
        pieces: &[Piece],
        octets: &[u8],
        mut refused: impl FnMut(usize, io::Error),
    ) {
        for (chunk, letters) in letters.chunks(MOST_LETTERS).enumerate() {
            self.pack(letters, pieces, octets);
            let mut at = 0;
            while at < letters.len() {
                // SAFETY: `pack` has made every message point to its own name, control buffer and vectors, and these to
                // `pieces` and `octets`; all of them live through the call and are only read.
                let sent = unsafe {
                    libc::sendmmsg(
                        socket.raw.as_raw_fd(),
                        self.messages[at..].as_mut_ptr(),
                        (letters.len() - at) as u32,
                        libc::MSG_DONTWAIT,
                    )
                };
                if let Ok(sent @ 1..) = usize::try_from(sent) {
                    at += sent;
                    continue;
                }
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    refused(chunk * MOST_LETTERS + at, error);
                    at += 1;
                }
            }
        }
    }

    /// Fills the structures. All vectors are grown before the first pointer is taken.
    fn pack(&mut self, letters: &[Letter], pieces: &[Piece], octets: &[u8]) {
        self.vectors.clear();
        for letter in letters {
            let mut next = Some(letter.first);
            while let Some(at) = next {
                let piece = &pieces[at as usize];
                if let Some(header) = &piece.header {
                    self.vectors.push(vector(header));
                }
                self.vectors.push(vector(&octets[piece.payload.clone()]));
                next = piece.next;
            }
        }
        self.names.clear();
        self.names
            .extend(letters.iter().map(|letter| name(letter.to)));
        self.control.resize(letters.len(), Control([0; CONTROL]));
        self.messages.clear();
        let mut vectors = self.vectors.as_mut_ptr();
        for (at, letter) in letters.iter().enumerate() {
            // SAFETY: all zeros is a value of this plain structure.
            let mut message: libc::mmsghdr = unsafe { zeroed() };
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut self.names[at]).cast();
            header.msg_namelen = match letter.to {
                SocketAddr::V4(_) => size_of::<libc::sockaddr_in>() as libc::socklen_t,
                SocketAddr::V6(_) => size_of::<libc::sockaddr_in6>() as libc::socklen_t,
            };
            header.msg_iov = vectors;
            header.msg_iovlen = letter.vectors() as _;
            // SAFETY: the letters' vectors lie one behind the other, so this is at most the end of them.
            vectors = unsafe { vectors.add(letter.vectors()) };
            write_control(letter, &mut self.control[at], header);
            self.messages.push(message);
        }
    }
}

fn vector(octets: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: octets.as_ptr().cast_mut().cast(),
        iov_len: octets.len(),
    }
}

/// Says how a letter is cut up, where it leaves from and which ECN bits it has; nothing of it if the defaults will do.
fn write_control(letter: &Letter, buffer: &mut Control, header: &mut libc::msghdr) {
    let mut writer = ControlWriter { buffer, used: 0 };
    if letter.count > 1 {
        writer.push(libc::SOL_UDP, libc::UDP_SEGMENT, letter.segment as u16);
    }
    match letter.to {
        SocketAddr::V4(_) if letter.ecn != 0 => {
            writer.push(libc::IPPROTO_IP, libc::IP_TOS, i32::from(letter.ecn));
        }
        SocketAddr::V6(_) if letter.ecn != 0 => {
            writer.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, i32::from(letter.ecn));
        }
        _ => {}
    }
    match letter.source {
        Some(IpAddr::V4(address)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr {
                    s_addr: address.to_bits().to_be(),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            writer.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(address)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: address.octets(),
                },
                ipi6_ifindex: 0,
            };
            writer.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        None => {}
    }
    if writer.used > 0 {
        header.msg_controllen = writer.used as _;
        header.msg_control = (&raw mut *buffer).cast();
    }
}

struct ControlWriter<'a> {
    buffer: &'a mut Control,
    used: usize,
}

impl ControlWriter<'_> {
    fn push<T: Copy>(&mut self, level: i32, kind: i32, value: T) {
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
        let (space, length) = unsafe {
            let size = size_of::<T>() as u32;
            (
                libc::CMSG_SPACE(size) as usize,
                libc::CMSG_LEN(size) as usize,
            )
        };
        let place = &mut self.buffer.0[self.used..self.used + space];
        // SAFETY: `place` has room for the header and the value, and begins at a multiple of 8 as `space` is one; the
        // value is written without assuming alignment.
        unsafe {
            let message = place.as_mut_ptr().cast::<libc::cmsghdr>();
            message.write(MaybeUninit::zeroed().assume_init());
            (*message).cmsg_level = level;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = length as _;
            libc::CMSG_DATA(message).cast::<T>().write_unaligned(value);
        }
        self.used += space;
    }
}

/// The address in the kernel's notation.
fn name(address: SocketAddr) -> Name {
    // SAFETY: all zeros is a value of these plain structures.
    let mut name: Name = unsafe { zeroed() };
    match address {
        SocketAddr::V4(address) => {
            name.v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: address.ip().to_bits().to_be(),
                },
                sin_zero: [0; 8],
            };
        }
        SocketAddr::V6(address) => {
            name.v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr {
                    s6_addr: address.ip().octets(),
                },
                sin6_scope_id: address.scope_id(),
            };
        }
    }
    name
}

/// The address from the kernel's notation; none if it is of neither version.
fn address(name: &Name) -> Option<SocketAddr> {
    // SAFETY: the family comes first in all of them and says which one the kernel wrote; all bits are legal in each.
    unsafe {
        match i32::from(name.family) {
            libc::AF_INET => {
                let address = Ipv4Addr::from_bits(u32::from_be(name.v4.sin_addr.s_addr));
                let port = u16::from_be(name.v4.sin_port);
                Some(SocketAddrV4::new(address, port).into())
            }
            libc::AF_INET6 => {
                let address = Ipv6Addr::from(name.v6.sin6_addr.s6_addr);
                let port = u16::from_be(name.v6.sin6_port);
                let scope = name.v6.sin6_scope_id;
                Some(SocketAddrV6::new(address, port, 0, scope).into())
            }
            _ => None,
        }
    }
}
