//! The plane in the kernel: a program at the interfaces that forwards most packets before the system sees them.
//!
//! Owns the program, its maps and where it is attached. Must not know how decisions are made: the program in `xdp/` mirrors
//! [`View::judge`](crate::View::judge). It stands before a plane in userspace that listens at the same addresses, and leaves
//! to that whatever it is not sure of.

mod attachment;
mod error;
mod image;
mod kernel;
mod load;
mod program;
mod tables;

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use self::attachment::Attachment;
pub use self::error::XdpError;
pub use self::kernel::{Mode, TestRun};
pub use self::load::{Sender, Sink};
pub use self::program::{Program, XdpCounts};
use crate::{interfaces, View};

/// Where and how the program is attached.
#[derive(Debug, Clone, Copy)]
pub struct XdpSettings<'a> {
    /// The object that `xdp/build` makes.
    pub object: &'a [u8],
    /// Names of interfaces; none means those that have the addresses that are listened at.
    pub interfaces: &'a [String],
    /// None takes the better one that all interfaces have.
    pub mode: Option<Mode>,
    /// A directory in a BPF file system, for the names of what outlives this process.
    pub pins: &'a Path,
}

/// The program at work. Dropping it detaches the program.
pub struct Xdp {
    program: Program,
    attachment: Attachment,
    listeners: Vec<SocketAddr>,
    interfaces: Vec<u32>,
}

impl Xdp {
    /// Attaches the program before a plane that listens at these addresses. If a balancer was killed here, its program has
    /// gone on until now, and this one takes its place between two packets.
    pub fn attach(
        settings: XdpSettings<'_>,
        listeners: &[SocketAddr],
        view: &View,
    ) -> Result<Self, XdpError> {
        let names = attachment::choose(settings.interfaces, listeners)?;
        attachment::forget_the_gone(settings.pins);
        let mut program = Program::load(settings.object)?;
        let candidates = attachment::claim(&names, settings.pins)?;
        let interfaces: Vec<u32> = candidates
            .iter()
            .map(|candidate| candidate.number)
            .collect();
        set_view(&mut program, view, listeners, &names, &interfaces)?;
        let attachment = Attachment::new(candidates, program.descriptor(), settings.mode)?;
        Ok(Self {
            program,
            attachment,
            listeners: listeners.to_vec(),
            interfaces,
        })
    }

    /// Decides by this view from the next packet on. If it is refused, the one before stays. It is refused, too, if the
    /// program is no longer everywhere where it was attached.
    pub fn set_view(&mut self, view: &View) -> Result<(), XdpError> {
        if let Some(interface) = self.attachment.lost() {
            return Err(XdpError::Detached(interface.to_owned()));
        }
        let names = self.attachment.interfaces();
        set_view(
            &mut self.program,
            view,
            &self.listeners,
            &names,
            &self.interfaces,
        )
    }

    /// What was counted until now.
    pub fn counts(&self) -> io::Result<XdpCounts> {
        self.program.counts()
    }

    /// How it is attached.
    pub fn mode(&self) -> Mode {
        self.attachment.mode()
    }

    /// Why it is not attached in a better way.
    pub fn note(&self) -> Option<&str> {
        self.attachment.note()
    }

    /// The program that is attached.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Where it is attached.
    pub fn interfaces(&self) -> Vec<String> {
        self.attachment.interfaces()
    }

    /// Ends without detaching: the program goes on with its last view until another process takes over.
    pub fn leave(self) {
        self.attachment.leave();
    }
}

/// Detaches the programs of balancers that were killed at these addresses, for a balancer without one: they would decide by
/// a view that nobody replaces. Gives the names of the interfaces.
pub fn clear(interfaces: &[String], listeners: &[SocketAddr], pins: &Path) -> Vec<String> {
    attachment::forget_the_gone(pins);
    match attachment::holders(interfaces, listeners) {
        Ok(names) => attachment::clear(&names, pins),
        // It listens everywhere.
        Err(XdpError::AllAddresses) => attachment::clear(&[], pins),
        Err(_) => Vec::new(),
    }
}

fn set_view(
    program: &mut Program,
    view: &View,
    listeners: &[SocketAddr],
    names: &[String],
    numbers: &[u32],
) -> Result<(), XdpError> {
    let all = interfaces::addresses();
    let all = all.map_err(|error| XdpError::System("list addresses", error))?;
    let view = view.standing_at(&interfaces::expand(listeners, &all));
    let here: Vec<_> = all
        .into_iter()
        .filter(|assigned| names.contains(&assigned.interface))
        .collect();
    program.set_view(&view, &interfaces::expand(listeners, &here), numbers)
}
