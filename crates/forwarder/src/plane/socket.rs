//! UDP sockets of a balancer: binding, inheriting, and how they share what arrives.
//!
//! Owns the options that a socket is given. Must not know what datagrams mean, nor how they are received and sent.
#![allow(unsafe_code)] // socket options that no safe wrapper has

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};

/// Kernel buffer asked for; the system may give less.
const KERNEL_BUFFER: usize = 4 << 20;

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
