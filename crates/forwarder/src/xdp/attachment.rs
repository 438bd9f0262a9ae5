//! Where the program is attached: links to interfaces, named in a BPF file system so that they outlive this process.
//!
//! Owns attaching, taking over what a process left that was killed, and detaching. Must not know what the program does.
//!
//! # Theory of operation
//!
//! Each interface has a directory of its own, whose lock says that a balancer is at work. A process that dies loses the lock,
//! but the name of its link stays, and so does the program with its last view. The next process finds the link and puts its
//! own program in that one's place. An orderly end removes the name and detaches the program.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{flock, FlockOperation};

use super::error::XdpError;
use super::kernel::{self, Mode};
use crate::interfaces;

/// One interface with the program.
struct Link {
    interface: String,
    number: u32,
    link: OwnedFd,
    /// Its name in the BPF file system.
    path: PathBuf,
    /// Keeps others away as long as it is open.
    lock: File,
}

/// All interfaces with the program. Dropping it detaches them, but for [`Attachment::leave`].
pub(crate) struct Attachment {
    links: Vec<Link>,
    mode: Mode,
    /// What an operator should know about the mode.
    note: Option<String>,
}

/// An interface that may get the program.
pub(crate) struct Candidate {
    name: String,
    pub(crate) number: u32,
    folder: PathBuf,
    lock: File,
}

/// The interfaces that are named, or those that have the addresses that are listened at.
pub(crate) fn holders(named: &[String], listeners: &[SocketAddr]) -> Result<Vec<String>, XdpError> {
    let mut chosen: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        if !chosen.iter().any(|each| each == name) {
            chosen.push(name.to_owned());
        }
    };
    if !named.is_empty() {
        named.iter().for_each(|name| add(name));
        return Ok(chosen);
    }
    let all = interfaces::addresses();
    let all = all.map_err(|error| XdpError::System("list addresses", error))?;
    for address in listeners.iter().map(SocketAddr::ip) {
        if address.is_unspecified() {
            return Err(XdpError::AllAddresses);
        }
        match all.iter().find(|assigned| assigned.address == address) {
            Some(assigned) => add(&assigned.interface),
            // All of 127.0.0.0/8 is there, though one address is listed.
            None if address.is_loopback() => add("lo"),
            None => return Err(XdpError::Nowhere(address)),
        }
    }
    Ok(chosen)
}

/// The same, if the program can be of use there.
pub(crate) fn choose(named: &[String], listeners: &[SocketAddr]) -> Result<Vec<String>, XdpError> {
    let chosen = holders(named, listeners)?;
    for name in &chosen {
        if interfaces::number(name).is_none() {
            return Err(XdpError::NoInterface(name.clone()));
        }
        if name == "lo" {
            return Err(XdpError::Loopback(name.clone()));
        }
        for version in [4, 6] {
            let listens = listeners
                .iter()
                .any(|each| each.is_ipv4() == (version == 4));
            if listens && !interfaces::forwards(name, version) {
                return Err(XdpError::NotForwarding(name.clone(), version));
            }
        }
    }
    Ok(chosen)
}

/// Detaches what dead processes have left on these interfaces; no names means all in this network. Gives their names.
pub(crate) fn clear(names: &[String], pins: &Path) -> Vec<String> {
    let (Ok(folders), Ok(network)) = (fs::read_dir(pins), own_network()) else {
        return Vec::new();
    };
    let mut cleared = Vec::new();
    for folder in folders.flatten() {
        let folder = folder.file_name().to_string_lossy().into_owned();
        let Some(name) = folder.strip_suffix(&format!("-{network}")) else {
            continue;
        };
        if !names.is_empty() && !names.iter().any(|each| each == name) {
            continue;
        }
        // Somebody alive has the others.
        if let Ok(candidate) = Candidate::claim(name, pins) {
            candidate.forget(Mode::Native);
            candidate.forget(Mode::Generic);
            let _ = fs::remove_dir(&candidate.folder);
            cleared.push(name.to_owned());
        }
    }
    cleared
}

/// Removes the names of links whose interface is gone, in whatever network it was: they keep programs and maps in memory
/// that no packet meets any more.
pub(crate) fn forget_the_gone(pins: &Path) {
    let Ok(folders) = fs::read_dir(pins) else {
        return;
    };
    for folder in folders.flatten().map(|folder| folder.path()) {
        // Somebody alive sees to the others.
        let Ok(Some(_lock)) = lock(&folder) else {
            continue;
        };
        for name in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let link = kernel::pinned(&name.path());
            if link.is_ok_and(|link| matches!(kernel::interface_of(&link), Ok(Some(0)))) {
                let _ = fs::remove_file(name.path());
            }
        }
        // It stays if anything is in it.
        let _ = fs::remove_dir(folder);
    }
}

/// Locks a directory; nothing if somebody else has, or has removed it a moment ago.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let lock = match File::open(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            // Whoever ends removes it with the lock in hand, and this may be what was removed.
            let is_there = fs::metadata(folder).is_ok_and(|there| {
                lock.metadata()
                    .is_ok_and(|here| (here.dev(), here.ino()) == (there.dev(), there.ino()))
            });
            Ok(is_there.then_some(lock))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Interfaces of different networks may have the same name and number; this tells the networks apart.
fn own_network() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

/// Claims these interfaces for this process.
pub(crate) fn claim(names: &[String], pins: &Path) -> Result<Vec<Candidate>, XdpError> {
    names
        .iter()
        .map(|name| Candidate::claim(name, pins))
        .collect()
}

impl Candidate {
    fn claim(name: &str, pins: &Path) -> Result<Self, XdpError> {
        let no_pins = |error| XdpError::Pins(pins.to_owned(), error);
        let number =
            interfaces::number(name).ok_or_else(|| XdpError::NoInterface(name.to_owned()))?;
        let network = own_network().map_err(|error| XdpError::System("find the network", error))?;
        let folder = pins.join(format!("{name}-{network}"));
        // Whoever can open it can lock it.
        let private = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        private.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied if rustix::process::geteuid().as_raw() != 0 => {
                XdpError::Permission
            }
            _ => no_pins(error),
        })?;
        match lock(&folder) {
            Ok(Some(lock)) => Ok(Self {
                name: name.to_owned(),
                number,
                folder,
                lock,
            }),
            Ok(None) => Err(XdpError::OtherBalancer(name.to_owned())),
            Err(error) => Err(no_pins(error)),
        }
    }

    fn path(&self, mode: Mode) -> PathBuf {
        self.folder.join(mode.name())
    }

    /// The link that another process left, if the interface is still the same.
    fn left(&self, mode: Mode) -> Option<OwnedFd> {
        let path = self.path(mode);
        let link = kernel::pinned(&path).ok()?;
        if kernel::interface_of(&link).ok().flatten() == Some(self.number) {
            return Some(link);
        }
        // Its interface is gone, and another one has the name.
        let _ = fs::remove_file(path);
        None
    }

    /// Removes what was left in another mode.
    fn forget(&self, mode: Mode) {
        if let Some(link) = self.left(mode) {
            let _ = kernel::detach(&link);
            let _ = fs::remove_file(self.path(mode));
        }
    }

    fn attach(self, program: &OwnedFd, mode: Mode) -> Result<Link, (Self, XdpError)> {
        let path = self.path(mode);
        let left = self.left(mode);
        let made = match left {
            Some(link) => kernel::replace(&link, program).map(|()| link),
            None => kernel::link(program, self.number, mode),
        };
        let link = match made {
            Ok(link) => link,
            Err(error) => {
                let why = match error.raw_os_error() {
                    Some(libc::EPERM) => XdpError::Permission,
                    Some(libc::EBUSY | libc::EEXIST) => XdpError::Occupied(self.name.clone()),
                    _ => XdpError::Attach(self.name.clone(), mode.name(), error),
                };
                return Err((self, why));
            }
        };
        if !path.exists() {
            if let Err(error) = kernel::pin(&link, &path) {
                let _ = kernel::detach(&link);
                return Err((self, XdpError::Pins(path, error)));
            }
        }
        Ok(Link {
            interface: self.name,
            number: self.number,
            link,
            path,
            lock: self.lock,
        })
    }
}

impl Attachment {
    /// Attaches the program: by the drivers if all of them can, else by the kernel for all. Packets go from one interface to
    /// another without a copy only where both have the same mode.
    pub(crate) fn new(
        candidates: Vec<Candidate>,
        program: &OwnedFd,
        wanted: Option<Mode>,
    ) -> Result<Self, XdpError> {
        let mut note = None;
        let mut candidates = candidates;
        if wanted.is_none() {
            let veth = candidates
                .iter()
                .find(|each| interfaces::driver(&each.name).as_deref() == Some("veth"));
            if let Some(veth) = veth {
                note = Some(format!(
                    "generic, as {} is a veth, and only its owner knows whether its other end takes packets of the native mode",
                    veth.name
                ));
            }
        }
        if wanted != Some(Mode::Generic) && note.is_none() {
            match Self::all(candidates, program, Mode::Native) {
                Ok(attached) => return Ok(attached),
                Err((rest, error @ XdpError::Attach(..))) if wanted.is_none() => {
                    candidates = rest;
                    note = Some(format!("generic, as {error}"));
                }
                Err((_, error)) => return Err(error),
            }
        }
        match Self::all(candidates, program, Mode::Generic) {
            Ok(mut attached) => {
                attached.note = note;
                Ok(attached)
            }
            Err((_, error)) => Err(error),
        }
    }

    fn all(
        candidates: Vec<Candidate>,
        program: &OwnedFd,
        mode: Mode,
    ) -> Result<Self, (Vec<Candidate>, XdpError)> {
        let mut attached = Self {
            links: Vec::new(),
            mode,
            note: None,
        };
        let mut rest = candidates.into_iter();
        while let Some(candidate) = rest.next() {
            candidate.forget(match mode {
                Mode::Native => Mode::Generic,
                Mode::Generic => Mode::Native,
            });
            match candidate.attach(program, mode) {
                Ok(link) => attached.links.push(link),
                Err((candidate, error)) => {
                    let back = attached.detach().into_iter();
                    return Err((back.chain([candidate]).chain(rest).collect(), error));
                }
            }
        }
        Ok(attached)
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    pub(crate) fn interfaces(&self) -> Vec<String> {
        self.links
            .iter()
            .map(|link| link.interface.clone())
            .collect()
    }

    /// An interface that the program is no longer at.
    pub(crate) fn lost(&self) -> Option<&str> {
        let is_lost = |link: &&Link| !matches!(kernel::interface_of(&link.link), Ok(Some(number)) if number == link.number);
        self.links
            .iter()
            .find(is_lost)
            .map(|link| link.interface.as_str())
    }

    /// Ends, while the program goes on for whoever takes over.
    pub(crate) fn leave(mut self) {
        self.links.clear();
    }

    fn detach(mut self) -> Vec<Candidate> {
        std::mem::take(&mut self.links)
            .into_iter()
            .filter_map(Link::detach)
            .collect()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        for link in self.links.drain(..) {
            link.take_off();
            if let Some(folder) = link.path.parent() {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

impl Link {
    fn take_off(&self) {
        // A link whose interface is gone is detached already.
        let _ = kernel::detach(&self.link);
        let _ = fs::remove_file(&self.path);
    }

    fn detach(self) -> Option<Candidate> {
        self.take_off();
        let folder = self.path.parent()?.to_owned();
        let number = interfaces::number(&self.interface)?;
        Some(Candidate {
            name: self.interface,
            number,
            folder,
            lock: self.lock,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_lock_has_the_directory() {
        let pins = std::env::temp_dir().join(format!("legato-pins-{}", std::process::id()));
        let claim_and_leave = || {
            for _ in 0..2000 {
                if let Ok(candidate) = Candidate::claim("lo", &pins) {
                    assert!(candidate.folder.exists());
                    fs::remove_dir(&candidate.folder).unwrap();
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(claim_and_leave);
            claim_and_leave();
        });
        fs::remove_dir(pins).unwrap();
    }
}
