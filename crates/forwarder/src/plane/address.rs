//! Addresses as the kernel writes them.
//!
//! Owns turning them into ours and back. Must not know whose they are.
#![allow(unsafe_code)] // a union, whose member is told by its first field

use std::mem::zeroed;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An address as the kernel writes it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union Name {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// The address in the kernel's notation.
pub(crate) fn name(address: SocketAddr) -> Name {
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
pub(crate) fn address(name: &Name) -> Option<SocketAddr> {
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
