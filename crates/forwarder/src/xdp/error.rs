//! Why there is no plane in the kernel: what is missing, and what to do about it.
//!
//! Owns the sentences. Must not decide whether the plane in userspace serves instead.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// Why packets are not forwarded in the kernel.
#[derive(Debug)]
#[non_exhaustive]
pub enum XdpError {
    /// The file is no program of ours.
    NoProgram,
    /// The file was made from another version of the source.
    OtherVersion,
    /// The process may not load programs.
    Permission,
    /// The kernel refuses the program; the last line of its reasons.
    Refused(io::Error, String),
    /// There is no interface of this name.
    NoInterface(String),
    /// It listens on all addresses, and no interface is named.
    AllAddresses,
    /// It listens on an address that no interface has.
    Nowhere(IpAddr),
    /// The interface is the loopback interface.
    Loopback(String),
    /// The kernel tells no next hops to programs on this interface.
    NotForwarding(String, u8),
    /// Another program is attached there.
    Occupied(String),
    /// The program is no longer there.
    Detached(String),
    /// Another balancer is at work there.
    OtherBalancer(String),
    /// The directory is not in a BPF file system.
    Pins(PathBuf, io::Error),
    /// The interface takes no program in this mode.
    Attach(String, &'static str, io::Error),
    /// More names or addresses than the tables hold.
    TooMany {
        /// Server IDs.
        names: usize,
        /// Servers and balancers.
        addresses: usize,
    },
    /// The system refuses something else.
    System(&'static str, io::Error),
}

impl fmt::Display for XdpError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram => out.write_str("the program for the kernel is damaged: run make setup again"),
            Self::OtherVersion => out.write_str(
                "the program for the kernel was built from another version: run make setup again",
            ),
            Self::Permission => out.write_str(
                "no permission: XDP needs root, or the capabilities BPF, NET_ADMIN and PERFMON",
            ),
            Self::Refused(error, why) => write!(out, "this kernel refuses the program ({error}): {why}"),
            Self::NoInterface(name) => write!(
                out,
                "there is no interface {name}: name one that `ip link` shows with --interface"
            ),
            Self::AllAddresses => out.write_str(
                "it listens on all addresses: name the interfaces that packets come by with --interface",
            ),
            Self::Nowhere(address) => write!(
                out,
                "no interface has the address {address}: name the one that packets come by with --interface"
            ),
            Self::Loopback(name) => write!(out, "{name} is the loopback interface, which has no driver to gain from"),
            Self::NotForwarding(name, version) => write!(
                out,
                "the kernel tells XDP no next hops while {name} does not forward: sysctl -w net.ipv{version}.conf.{}.forwarding=1",
                // Between dots, sysctl writes the dots of names as slashes.
                name.replace('.', "/")
            ),
            Self::Occupied(name) => write!(
                out,
                "another program is attached to {name}: take it off first, such as with `ip link set {name} xdp off`"
            ),
            Self::Detached(name) => write!(
                out,
                "the program is no longer at {name}: the interface was removed, or somebody took the program off; start the balancer again when it is back"
            ),
            Self::OtherBalancer(name) => write!(out, "another balancer forwards on {name} by XDP"),
            Self::Pins(path, error) => write!(
                out,
                "{} is in no BPF file system ({error}): mount -t bpf bpf /sys/fs/bpf",
                path.display()
            ),
            Self::Attach(name, mode, error) => write!(out, "{name} takes no XDP in {mode} mode: {error}"),
            Self::TooMany { names, addresses } => write!(
                out,
                "{names} server IDs and {addresses} addresses are more than the tables in the kernel hold"
            ),
            Self::System(what, error) => write!(out, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for XdpError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_type_is_right_for_names_with_dots_too() {
        let text = XdpError::NotForwarding("eth0.10".to_owned(), 6).to_string();
        assert!(text.ends_with("sysctl -w net.ipv6.conf.eth0/10.forwarding=1"));
    }
}
