//! The interfaces of this machine: their numbers, addresses and drivers, and whether they forward.
//!
//! Owns asking the system. Must not know what for.
#![allow(unsafe_code)] // getifaddrs, if_nametoindex and an ioctl, which no safe wrapper here has

use std::ffi::{CStr, CString};
use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

const ETHTOOL: libc::c_ulong = 0x8946;
const DRIVER_INFORMATION: u32 = 3;

/// An address and the interface that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) interface: String,
    pub(crate) address: IpAddr,
}

/// All addresses of this machine, as far as this process's network goes.
pub(crate) fn addresses() -> io::Result<Vec<Assigned>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the system writes a pointer to a list, which is given back below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: the list is the system's and whole until it is freed; an address, if there is one, has the size of its family.
    unsafe {
        while let Some(entry) = next.as_ref() {
            next = entry.ifa_next;
            let Some(address) = entry.ifa_addr.as_ref() else {
                continue;
            };
            let address = match i32::from(address.sa_family) {
                libc::AF_INET => {
                    let v4 = entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned();
                    IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr)))
                }
                libc::AF_INET6 => {
                    let v6 = entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned();
                    IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr))
                }
                _ => continue,
            };
            let interface = CStr::from_ptr(entry.ifa_name)
                .to_string_lossy()
                .into_owned();
            found.push(Assigned { interface, address });
        }
        libc::freeifaddrs(list);
    }
    Ok(found)
}

/// The addresses that packets hit: for a listener at all addresses, those that are assigned.
pub(crate) fn expand(listeners: &[SocketAddr], assigned: &[Assigned]) -> Vec<SocketAddr> {
    let mut expanded = Vec::new();
    for listener in listeners {
        if !listener.ip().is_unspecified() {
            expanded.push(*listener);
            continue;
        }
        let addresses = assigned.iter().map(|assigned| assigned.address);
        let addresses = addresses.filter(|address| match address {
            IpAddr::V4(_) => listener.is_ipv4(),
            IpAddr::V6(address) => listener.is_ipv6() && !address.is_unicast_link_local(),
        });
        expanded.extend(addresses.map(|address| SocketAddr::new(address, listener.port())));
    }
    expanded
}

/// The number of an interface; nothing if there is none of this name.
pub(crate) fn number(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a string that ends with zero and lives through the call.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (number != 0).then_some(number)
}

#[repr(C)]
struct DriverInformation {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 164],
}

/// The name of an interface's driver; nothing if it does not say.
pub(crate) fn driver(name: &str) -> Option<String> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    let mut information = DriverInformation {
        command: DRIVER_INFORMATION,
        driver: [0; 32],
        rest: [0; 164],
    };
    // SAFETY: all zeros is a value of this plain structure.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.len() >= request.ifr_name.len() {
        return None;
    }
    for (place, octet) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = octet as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut information).cast();
    // SAFETY: the request names an interface and points to memory of the size that the command writes.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), ETHTOOL as _, &raw mut request) };
    let driver = information.driver.split(|octet| *octet == 0).next()?;
    (code == 0).then(|| String::from_utf8_lossy(driver).into_owned())
}

/// Whether the system forwards what comes by an interface, for version 4 or 6 of IP.
pub(crate) fn forwards(name: &str, version: u8) -> bool {
    let path = format!("/proc/sys/net/ipv{version}/conf/{name}/forwarding");
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_those_of_the_same_version_that_others_can_name() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let assigned =
            ["192.0.2.1", "2001:db8::1", "fe80::1", "198.51.100.1"].map(|text| Assigned {
                interface: "one".to_owned(),
                address: text.parse().unwrap(),
            });
        let expanded = expand(
            &["203.0.113.1:1", "0.0.0.0:2", "[::]:3"].map(address),
            &assigned,
        );
        let wanted = [
            "203.0.113.1:1",
            "192.0.2.1:2",
            "198.51.100.1:2",
            "[2001:db8::1]:3",
        ];
        assert_eq!(expanded, wanted.map(address));
    }

    #[test]
    fn the_loopback_interface_is_known() {
        assert_eq!(number("lo"), Some(1));
        assert_eq!(number("no interface has such a name"), None);
        assert_eq!(number("nul\0"), None);
        assert_eq!(driver("no interface has such a name"), None);
        let addresses = addresses().unwrap();
        // In a network of its own the interface may be down and have none.
        for assigned in addresses
            .iter()
            .filter(|assigned| assigned.interface == "lo")
        {
            assert!(assigned.address.is_loopback() || !addresses.is_empty());
        }
    }
}
