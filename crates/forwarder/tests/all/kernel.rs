//! Where programs of the kernel are tried: built from their source, in a network of their own.
//!
//! Owns building, the network, and saying what is in the way.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use legato_forwarder::xdp::{Program, XdpError};

use crate::frames::GATEWAY;

/// The program, built anew from its source.
pub fn object() -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Tests are threads of one process.
    static BUILT: AtomicU32 = AtomicU32::new(0);
    let number = BUILT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("balance-{}-{number}.o", std::process::id()));
    let build = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("xdp/build");
    let done = Command::new(build).arg(&path).output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let object = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    object
}

pub fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(
        done.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A network with one interface, by which everybody is reached; its number.
pub fn network() -> u32 {
    ip("link add one type veth peer name other");
    let gateway = GATEWAY.map(|octet| format!("{octet:02x}")).join(":");
    for words in [
        "link set one up mtu 2000",
        "link set other up",
        "link set lo up",
        "addr add 198.51.100.1/24 dev one",
        "addr add 2001:db8:1::1/64 dev one nodad",
        "route add default via 198.51.100.254",
        "-6 route add default via 2001:db8:1::fe dev one",
    ] {
        ip(words);
    }
    for gate in ["198.51.100.254", "2001:db8:1::fe"] {
        ip(&format!(
            "neigh replace {gate} lladdr {gateway} dev one nud permanent"
        ));
    }
    for version in [4, 6] {
        std::fs::write(
            format!("/proc/sys/net/ipv{version}/conf/one/forwarding"),
            "1",
        )
        .unwrap();
    }
    let text = std::fs::read_to_string("/proc/self/net/igmp").unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("\tone ") || line.contains("\tone\t"))
        .unwrap();
    line.split('\t').next().unwrap().trim().parse().unwrap()
}

/// Why the kernel cannot be asked here.
fn obstacle() -> Option<&'static str> {
    let has = |program: &str| {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output();
        found.is_ok_and(|found| found.status.success())
    };
    let may = Command::new("unshare").args(["--net", "true"]).output();
    if !may.is_ok_and(|may| may.status.success()) {
        return Some("this process may not make a network of its own (root is needed)");
    }
    if !has("ip") {
        return Some("there is no program `ip` (Debian: iproute2)");
    }
    if !has("clang") {
        return Some("there is no clang to build the program with");
    }
    match Program::load(&object()) {
        Err(XdpError::Permission) => Some("this process may not load programs into the kernel"),
        _ => None,
    }
}

/// Runs one of the tests below in a network of its own.
pub fn in_own_network(test: &str) {
    if let Some(why) = obstacle() {
        eprintln!("not tried: {why}");
        return;
    }
    let done = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([
            test,
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
}
