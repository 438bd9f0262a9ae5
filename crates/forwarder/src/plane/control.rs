//! Control messages: what the kernel is told about a message besides its octets and its address.
//!
//! Owns their buffer and writing them. Must not know which messages there are to send.
#![allow(unsafe_code)] // structures that lie one behind the other in octets

use std::mem::{size_of, MaybeUninit};
use std::net::{IpAddr, SocketAddr};

use super::outbox::Letter;

/// Room for all control messages of one datagram.
pub(crate) const CONTROL: usize = 128;

/// A buffer for them.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control([u8; CONTROL]);

impl Control {
    /// Nothing is in it.
    pub(crate) const EMPTY: Self = Self([0; CONTROL]);
}

/// Says how a letter is cut up, where it leaves from and which ECN bits it has; nothing of it if the defaults will do.
pub(crate) fn write_control(letter: &Letter, buffer: &mut Control, header: &mut libc::msghdr) {
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
