//! The two places: network namespaces with addresses, and the ports through which the link reaches them.
//!
//! Owns namespaces and their set-up with the `ip` program of iproute2. As root they are made directly; an ordinary user gets a
//! user namespace first, in which he may do the same. Must not know networks.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use legato_netem::gateway;
use nix::errno::Errno;
use nix::sched::{setns, unshare, CloneFlags};
use nix::unistd::{getgid, getuid};

use crate::device::{self, Port};
use crate::{failed, Failure};

/// The name of the only interface of a place, besides `lo`.
pub const INTERFACE: &str = "net0";
/// All of a veth place's frames carry this address, in both directions, so that nobody has to ask for it.
const MAC: [u8; 6] = [0x02, 0, 0, 0, 0x77, 0x01];

/// What connects a place to the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// A TUN device: the link is the other end of its file.
    Tun,
    /// A veth pair with a packet socket at its far end: for those who may not open /dev/net/tun.
    Veth,
}

/// A place.
pub struct Place {
    /// Keeps the namespace alive.
    namespace: File,
    /// Where the link reads what the place sends, and writes what it shall receive.
    pub port: Port,
}

/// Both places, and how others get into them.
pub struct Places {
    /// What connects them.
    pub wire: Wire,
    /// The client's side.
    pub client: Place,
    /// The server's side.
    pub server: Place,
    /// The user namespace that owns both, if this is not root's own.
    pub user_namespace: Option<PathBuf>,
    /// Whether the kernel has IPv6.
    pub ipv6: bool,
}

impl Place {
    /// A path by which other processes find the namespace.
    pub fn path(&self) -> PathBuf {
        path_of(&self.namespace)
    }

    /// Packets that the place sent and its interface dropped before the link saw them.
    pub fn dropped_by_kernel(&mut self) -> Result<u64, Failure> {
        if let Some(dropped) = self.port.dropped() {
            return Ok(dropped);
        }
        enter_file(&self.namespace)?;
        let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
        let line = table
            .lines()
            .find_map(|line| line.trim().strip_prefix("net0:"));
        // Eight columns of what was received, then bytes, packets, errors and drops of what was sent.
        let column = line.and_then(|line| line.split_whitespace().nth(11));
        Ok(column.and_then(|text| text.parse().ok()).unwrap_or(0))
    }
}

/// Make both places. Afterwards this process is in the client's.
pub fn build(wire: Option<Wire>) -> Result<Places, Failure> {
    let user_namespace = become_able()?;
    let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
    let wire = match wire {
        Some(wire) => wire,
        None if device::tun_may_be_opened() => Wire::Tun,
        None => Wire::Veth,
    };
    let server = new_namespace()?;
    let client = new_namespace()?;
    let (server_port, client_port) = match wire {
        Wire::Tun => {
            enter_file(&server)?;
            let server_port = device::open_tun(INTERFACE)?;
            enter_file(&client)?;
            (server_port, device::open_tun(INTERFACE)?)
        }
        Wire::Veth => {
            let _middle = new_namespace()?;
            // The middle only passes packets on; its own IPv6 would talk on its ends.
            let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
            (veth(&server, "server")?, veth(&client, "client")?)
        }
    };
    let mut places = Places {
        wire,
        client: Place {
            namespace: client,
            port: client_port,
        },
        server: Place {
            namespace: server,
            port: server_port,
        },
        user_namespace,
        ipv6,
    };
    configure(&mut places.server, wire, gateway::SERVER, ipv6)?;
    configure(&mut places.client, wire, gateway::client(0), ipv6)?;
    Ok(places)
}

/// Give a place its addresses; this process is in it afterwards.
fn configure(
    place: &mut Place,
    wire: Wire,
    (v4, v6): (Ipv4Addr, Ipv6Addr),
    ipv6: bool,
) -> Result<(), Failure> {
    enter_file(&place.namespace)?;
    if wire == Wire::Veth {
        device::compute_checksums_in_software(INTERFACE)?;
    }
    let mut batch = format!(
        "link set lo up\n\
         link set {INTERFACE} addrgenmode none\n\
         link set {INTERFACE} txqueuelen 10000 up\n\
         addr add {v4}/32 dev {INTERFACE}\n\
         route add default dev {INTERFACE} src {v4}\n"
    );
    if ipv6 {
        batch += &format!(
            "addr add {v6}/128 dev {INTERFACE} nodad\n\
             route add ::/0 dev {INTERFACE}\n"
        );
    }
    ip(&batch)
}

/// What `ip -batch` must be told for a client that goes from one pair of addresses to another.
///
/// The new ones come first: with its last address an interface loses its routes.
pub fn roam_batch(from: u32, to: u32, ipv6: bool) -> String {
    let ((old4, old6), (new4, new6)) = (gateway::client(from), gateway::client(to));
    let mut batch = format!(
        "addr add {new4}/32 dev {INTERFACE}\n\
         route replace default dev {INTERFACE} src {new4}\n\
         addr del {old4}/32 dev {INTERFACE}\n"
    );
    if ipv6 {
        batch += &format!(
            "addr add {new6}/128 dev {INTERFACE} nodad\n\
             addr del {old6}/128 dev {INTERFACE}\n"
        );
    }
    batch
}

/// Start `ip` on a batch in the current namespace, without waiting for it.
pub fn start_ip(batch: &str) -> Result<std::process::Child, Failure> {
    // An ordinary user's PATH may not name the folder it is in.
    let usual = ["/usr/sbin/ip", "/sbin/ip"];
    let program = usual
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("ip");
    let mut child = Command::new(program)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Failure::Unavailable(format!(
                "the program ip cannot be run ({error}): install iproute2"
            ))
        })?;
    let mut input = child.stdin.take().expect("it was asked for");
    input
        .write_all(batch.as_bytes())
        .map_err(|error| Failure::Failed(format!("ip does not listen: {error}")))?;
    Ok(child)
}

/// Wait for `ip`.
pub fn finish_ip(child: std::process::Child) -> Result<(), Failure> {
    let done = child
        .wait_with_output()
        .map_err(|error| Failure::Failed(format!("ip: {error}")))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(Failure::Failed(format!(
        "ip refused: {}",
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    )))
}

fn ip(batch: &str) -> Result<(), Failure> {
    finish_ip(start_ip(batch)?)
}

/// Connect a place to the namespace this process is in, by a veth pair whose end here is `end`.
fn veth(place: &File, end: &str) -> Result<Port, Failure> {
    let mac: Vec<String> = MAC.iter().map(|byte| format!("{byte:02x}")).collect();
    let (mac, namespace) = (mac.join(":"), path_of(place));
    ip(&format!(
        "link add {end} txqueuelen 10000 type veth peer name {INTERFACE} address {mac} netns {}\n\
         link set {end} up\n",
        namespace.display()
    ))?;
    let here = File::open("/proc/thread-self/ns/net")
        .map_err(|error| Failure::Failed(format!("no namespace: {error}")))?;
    enter_file(place)?;
    // Without ARP and neighbour discovery, which would be lost like anything else, a frame goes to the address of its sender.
    ip(&format!("link set {INTERFACE} arp off\n"))?;
    enter_file(&here)?;
    device::open_packet_socket(end, MAC)
}

/// Get the right to make network namespaces; the path of the user namespace if one is needed for that.
fn become_able() -> Result<Option<PathBuf>, Failure> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => return Ok(None),
        Err(Errno::EPERM) => {}
        Err(error) => return Err(unavailable(error)),
    }
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(unavailable)?;
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(|error| {
            Failure::Unavailable(format!(
                "the user namespace cannot be set up: {file}: {error}"
            ))
        })
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(unavailable)?;
    Ok(Some(format!("/proc/{}/ns/user", std::process::id()).into()))
}

fn unavailable(error: Errno) -> Failure {
    Failure::Unavailable(format!(
        "user {} may not make network namespaces here ({}): run as root, or allow unprivileged user namespaces (sysctl \
         user.max_user_namespaces; on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0; in a container --privileged)",
        getuid(),
        error.desc()
    ))
}

fn new_namespace() -> Result<File, Failure> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(unavailable)?;
    File::open("/proc/thread-self/ns/net")
        .map_err(|error| Failure::Failed(format!("the new namespace cannot be opened: {error}")))
}

/// Go into the namespace of this path.
pub fn enter(path: &Path) -> Result<(), Failure> {
    let file = File::open(path).map_err(|error| {
        Failure::Failed(format!(
            "the place {} is not there: {error}",
            path.display()
        ))
    })?;
    enter_file(&file)
}

fn enter_file(namespace: &File) -> Result<(), Failure> {
    setns(namespace, CloneFlags::empty()).map_err(failed("the place cannot be entered"))
}

fn path_of(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}
